//! `POST /v1/events`: one event, an array of them, or NDJSON; CloudEvents in structured, batched and
//! binary mode. All or nothing: if an event cannot be read, no event is queued, and the response lists
//! each unreadable event with a pointer to the error.

use std::fmt::Formatter;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use serde::Serialize;
use serde::de::{Deserializer as _, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::contract::CONTENT_TYPES;
use crate::edge::auth::{self, TokenCheck};
use crate::edge::intake::{Incoming, ReadEvent, Receipt, deadline_of, decode_apart, publish, read_body};
use crate::edge::layers::RequestSummary;
use crate::edge::permits::RequestPermit;
use crate::edge::state::Edge;
use crate::edge::trace::{self, RequestSpan};
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
    Extension(span): Extension<RequestSpan>,
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
    let origin = trace::origin(&headers);
    let span = span.begin(origin.as_ref());
    let mut incoming = Incoming::now(token.publisher(), origin);
    let (size, limit) = (bytes.len(), edge.config.events_limit);
    let accepted = async {
        let items = decode_apart(&edge, size, deadline, move || split(&bytes, format, limit)).await??;
        if let Some(attributes) = attributes {
            require_single_event(&items)?;
            incoming.attributes = attributes;
        }
        let rest = items.len() - 1;
        auth::count_rest(&edge, &token, rest)?;
        let more_events = Arc::clone(&edge.more_events)
            .try_acquire_many_owned(u32::try_from(rest).unwrap_or(u32::MAX))
            .map_err(|_| problem::busy())?;
        let read = move || read_all(items, &incoming, &token);
        let (events, messages): (Vec<_>, Vec<_>) = decode_apart(&edge, size, deadline, read)
            .await??
            .into_iter()
            .map(|event| (event.receipt, event.message))
            .unzip();
        publish(&edge, (permit, more_events), messages.into_iter().flatten().collect(), deadline).await?;
        Ok(events)
    };
    let events: Vec<Receipt> = span.instrument(accepted).await?;
    let summary = RequestSummary::of(&events, size);
    let mut response = (StatusCode::ACCEPTED, Json(Accepted { events })).into_response();
    response.extensions_mut().insert(summary);
    Ok(response)
}

/// Reads every event, even after one that cannot be read, so that the sender learns of all errors.
fn read_all(items: Vec<Item>, incoming: &Incoming, token: &TokenCheck) -> Result<Vec<ReadEvent>, Problem> {
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

    fn read(self, incoming: &Incoming) -> Result<ReadEvent, ErrorItem> {
        incoming.read(self.bytes.clone()).map_err(|malformed| {
            let line = self.line.map(|line| format!("line {line}: ")).unwrap_or_default();
            let detail = format!("{line}{}", malformed.message);
            ErrorItem { pointer: self.pointer(&malformed.pointer), detail }
        })
    }
}

/// Splits the body into its events, each with its original bytes. Never keeps more than `limit` events.
fn split(body: &Bytes, format: Format, limit: usize) -> Result<Vec<Item>, Problem> {
    let (items, count) = match format {
        Format::Lines => lines(body, limit),
        Format::Json if body.trim_ascii_start().starts_with(b"[") => array(body, limit)?,
        Format::Json => (vec![Item { bytes: body.clone(), index: None, line: None }], 1),
    };
    match count {
        0 => Err(problem::malformed("", "the body contains no event")),
        _ if count > limit => Err(problem::too_many_events(count, limit)),
        _ => Ok(items),
    }
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

/// Returns the first `limit` events, and the number of all.
fn lines(body: &Bytes, limit: usize) -> (Vec<Item>, usize) {
    let lines = body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).enumerate();
    let (mut items, mut count) = (Vec::new(), 0);
    for (line, bytes) in lines.filter(|(_, line)| !line.is_empty()) {
        if count < limit {
            items.push(Item { bytes: body.slice_ref(bytes), index: Some(count), line: Some(line + 1) });
        }
        count += 1;
    }
    (items, count)
}

/// Returns the first `limit` events, and the number of all.
fn array(body: &Bytes, limit: usize) -> Result<(Vec<Item>, usize), Problem> {
    let refuse = |detail: String| problem::malformed("", format!("{detail}; nothing was queued"));
    let text = std::str::from_utf8(body).map_err(|error| {
        refuse(format!("the body is not valid UTF-8, from byte {} on", error.valid_up_to()))
    })?;
    let mut parser = serde_json::Deserializer::from_str(text);
    let split =
        parser.deserialize_seq(Splitter { body, limit }).and_then(|split| parser.end().map(|()| split));
    split.map_err(|error| refuse(format!("the body is not JSON: {error}")))
}

/// Splits an array without parsing its events: each keeps its bytes, its numbers and the order of its keys.
struct Splitter<'a> {
    body: &'a Bytes,
    limit: usize,
}

impl<'de> Visitor<'de> for Splitter<'_> {
    type Value = (Vec<Item>, usize);

    fn expecting(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str("an array of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
        let (mut items, mut count) = (Vec::new(), 0);
        while let Some(raw) = array.next_element::<&RawValue>()? {
            if count < self.limit {
                let bytes = self.body.slice_ref(raw.get().as_bytes());
                items.push(Item { bytes, index: Some(count), line: None });
            }
            count += 1;
        }
        Ok((items, count))
    }
}
