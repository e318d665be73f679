//! `POST /v1/events`: one event, an array of them, or NDJSON; CloudEvents in structured, batched and
//! binary mode. All or nothing: if an event cannot be read, no event is queued, and the response lists
//! each unreadable event with a pointer to the error.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::contract::CONTENT_TYPES;
use crate::edge::auth::{self, TokenCheck};
use crate::edge::intake::{Incoming, ReadEvent, Receipt, deadline_of, publish, read_body};
use crate::edge::layers::RequestSummary;
use crate::edge::permits::RequestPermit;
use crate::edge::state::Edge;
use crate::edge::{cloudevents, content_encoding, problem};
use crate::http::problem::{ErrorItem, Problem};
use crate::http::tokens::Scope;

/// The response: a receipt for each event, in the order in which they were sent.
#[derive(Serialize)]
struct Accepted {
    events: Vec<Receipt>,
}

/// Responds with 202 and the ids once all events are durably queued.
pub(in crate::edge) async fn events(
    State(edge): State<Arc<Edge>>,
    Extension(permit): Extension<Arc<RequestPermit>>,
    request: Request,
) -> Result<Response, Problem> {
    let (deadline, headers) = (deadline_of(&edge), request.headers().clone());
    let token = auth::check_token(&edge, &headers, Scope::Events).await?;
    let signature = match &token {
        TokenCheck::Valid(_) => {
            permit.keep();
            None
        }
        TokenCheck::SignatureNeeded => auth::gateway_signature(&edge, &headers)?,
    };
    let format = Format::of(&headers)?;
    let attributes = cloudevents::attributes(&headers)?;
    let bytes = read_body(&edge, request, deadline).await?;
    auth::check_gateway(&edge, signature.as_deref(), &bytes)?;
    if token == TokenCheck::SignatureNeeded && attributes.is_some() {
        auth::check_unsigned_headers(&edge)?;
    }
    let size = bytes.len();
    let mut incoming = Incoming::now(&headers, token.publisher());
    let items = split(&bytes, format)?;
    if let Some(attributes) = &attributes {
        require_single_event(&items)?;
        incoming.attributes = attributes;
    }
    let events_read = read_all(items, incoming, &token)?;
    let (events, messages): (Vec<_>, Vec<_>) =
        events_read.into_iter().map(|event| (event.receipt, event.message)).unzip();
    publish(&edge, permit, messages.into_iter().flatten().collect(), deadline).await?;
    let summary = RequestSummary::of(&events, size);
    let mut response = (StatusCode::ACCEPTED, Json(Accepted { events })).into_response();
    response.extensions_mut().insert(summary);
    Ok(response)
}

/// Reads every event, even after one that cannot be read, so that the sender learns of all errors.
fn read_all(items: Vec<Item>, incoming: Incoming<'_>, token: &TokenCheck) -> Result<Vec<ReadEvent>, Problem> {
    let (mut events_read, mut errors, total) = (Vec::with_capacity(items.len()), Vec::new(), items.len());
    for item in items {
        let pointer = item.pointer("");
        match item.read(incoming) {
            Ok(event) => {
                if event.message.is_some() {
                    auth::check_company(token, event.company).map_err(|problem| problem.at(pointer))?;
                }
                events_read.push(event);
            }
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(events_read) } else { Err(problem::malformed_batch(errors, total)) }
}

/// The format in which the body contains the events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    /// One event, or an array of them.
    Json,
    /// One event per line.
    Lines,
}

impl Format {
    /// Reads the format from the content type; no content type means JSON.
    fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        if content_encoding::of(headers).is_some() {
            let detail = "the body is compressed; send it uncompressed, without Content-Encoding";
            return Err(problem::unsupported(detail));
        }
        let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(Self::Json) };
        let value = value.to_str().unwrap_or_default().to_ascii_lowercase();
        match value.split(';').next().unwrap_or_default().trim() {
            "application/x-ndjson" => Ok(Self::Lines),
            known if CONTENT_TYPES.contains(&known) => Ok(Self::Json),
            _ => Err(problem::unsupported(
                "send application/json (one event or an array), application/x-ndjson (one event per line), \
                 application/cloudevents+json or application/cloudevents-batch+json",
            )),
        }
    }
}

/// One event of the body, and its position.
struct Item {
    bytes: Bytes,
    /// Its index, if the body may have several events: JSON pointers begin with it.
    index: Option<usize>,
    /// Its line, counted from 1 as editors do.
    line: Option<usize>,
}

impl Item {
    /// Converts a JSON pointer relative to this event into one relative to the body.
    fn pointer(&self, inside: &str) -> String {
        self.index.map(|index| format!("/{index}")).unwrap_or_default() + inside
    }

    fn read(self, incoming: Incoming<'_>) -> Result<ReadEvent, ErrorItem> {
        incoming.read(self.bytes.clone()).map_err(|malformed| {
            let line = self.line.map(|line| format!("line {line}: ")).unwrap_or_default();
            let detail = format!("{line}{}", malformed.message);
            ErrorItem { pointer: self.pointer(&malformed.pointer), detail }
        })
    }
}

/// Splits the body into its events, each with its original bytes.
fn split(body: &Bytes, format: Format) -> Result<Vec<Item>, Problem> {
    let items = match format {
        Format::Lines => lines(body),
        Format::Json if body.trim_ascii_start().starts_with(b"[") => array(body)?,
        Format::Json => vec![Item { bytes: body.clone(), index: None, line: None }],
    };
    if items.is_empty() {
        return Err(problem::malformed("", "the body contains no event"));
    }
    Ok(items)
}

/// Checks that the body is a single event: in binary mode the headers describe one event, and further
/// events would be treated as duplicates of it.
fn require_single_event(items: &[Item]) -> Result<(), Problem> {
    match items {
        [Item { index: None, .. }] => Ok(()),
        _ => Err(problem::malformed(
            "",
            "in binary mode (with the header ce-specversion) the body must be a single event; send several as \
             application/cloudevents-batch+json, without ce- headers; nothing was queued",
        )),
    }
}

fn lines(body: &Bytes) -> Vec<Item> {
    let lines = body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).enumerate();
    lines
        .filter(|(_, line)| !line.is_empty())
        .enumerate()
        .map(|(index, (line, bytes))| Item {
            bytes: body.slice_ref(bytes),
            index: Some(index),
            line: Some(line + 1),
        })
        .collect()
}

fn array(body: &Bytes) -> Result<Vec<Item>, Problem> {
    let refuse = |detail: String| problem::malformed("", format!("{detail}; nothing was queued"));
    let text = std::str::from_utf8(body).map_err(|error| {
        refuse(format!("the body is not valid UTF-8, from byte {} on", error.valid_up_to()))
    })?;
    // The array is split, not parsed: each event keeps its bytes, its numbers and the order of its keys.
    let raws: Vec<&RawValue> =
        serde_json::from_str(text).map_err(|error| refuse(format!("the body is not JSON: {error}")))?;
    let item = |(index, raw): (usize, &RawValue)| {
        let bytes = body.slice_ref(raw.get().as_bytes());
        Item { bytes, index: Some(index), line: None }
    };
    Ok(raws.into_iter().enumerate().map(item).collect())
}
