//! From bytes to a message in the queue.
//!
//! The message's id is the event's id: the sender's own, or the hash that decoding makes of the
//! event. Either is the same when the same event comes again, and so it is told as a repeat.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use axum::body::Bytes;
use axum::extract::{FromRequest as _, Request};
use axum::http::{HeaderMap, StatusCode};
use serde::Serialize;
use tokio::time::{Instant, timeout_at};

use super::state::{Edge, Place};
use super::{problem, trace};
use crate::event::{BookingEvent, CompanyId, Decoded, Envelope, Malformed, Shape, decode};
use crate::http::problem::Problem;
use crate::queue::{Message, header};
use crate::runtime::clock::now_ms;

/// The routing key of what is no event of a known type.
const UNKNOWN: &str = "unknown";

static NO_HEADERS: LazyLock<BTreeMap<String, String>> = LazyLock::new(BTreeMap::new);

/// What became of one event.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Receipt {
    /// The event's id.
    pub(super) id: String,
    /// What was done with it.
    pub(super) status: Status,
}

impl Receipt {
    fn queued(id: String) -> Self {
        Self { id, status: Status::Queued }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Status {
    /// It is durably in the queue, or in the spool before it.
    Queued,
    /// There is nothing to do for it, and it went nowhere.
    Ignored,
}

/// An event that has been looked at: what will be answered, and what is to be queued.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) receipt: Receipt,
    pub(super) message: Option<Message>,
    /// The company that it names, where that can be read.
    pub(super) company: Option<CompanyId>,
}

/// When a request came and from whom, and what of its headers travels along.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrived<'a> {
    pub(super) headers: &'a HeaderMap,
    pub(super) at_ms: i64,
    pub(super) publisher: &'a str,
    /// CloudEvents' attributes of a request in binary mode. No other header of a request stands for one
    /// of a message: who posts could name any type with it.
    pub(super) attributes: &'a BTreeMap<String, String>,
}

impl<'a> Arrived<'a> {
    /// Now, from `publisher`.
    pub(super) fn now(headers: &'a HeaderMap, publisher: &'a str) -> Self {
        Self { headers, at_ms: now_ms(), publisher, attributes: &NO_HEADERS }
    }

    /// Looks at one event.
    ///
    /// # Errors
    /// When it cannot be read; see [`Arrived::take_anything`].
    pub(super) fn take(self, body: Bytes) -> Result<Arrival, Malformed> {
        Ok(match self.decode(&body)? {
            Decoded::Event(event) => {
                let BookingEvent { id, event_type, shape, company, .. } = *event;
                let message = self.message(body, id.to_string(), Some(event_type), shape);
                Arrival { receipt: Receipt::queued(id.to_string()), message: Some(message), company }
            }
            Decoded::Ignored(ignored) => {
                let receipt = Receipt { id: ignored.id.to_string(), status: Status::Ignored };
                Arrival { receipt, message: None, company: None }
            }
        })
    }

    /// Looks at one event that is never refused for its content: what cannot be read is queued
    /// all the same.
    pub(super) fn take_anything(self, body: Bytes) -> Arrival {
        self.take(body.clone()).unwrap_or_else(|malformed| {
            // Names no value of the event; the id may be all that its sender can look for.
            tracing::warn!(problem = %malformed, "queued what cannot be read: it will be a dead letter");
            let id = malformed.hints.id.map(|id| id.to_string()).unwrap_or_default();
            let message = self.message(body, id.clone(), None, Shape::Native);
            let company = malformed.hints.company;
            Arrival { receipt: Receipt::queued(id), message: Some(message), company }
        })
    }

    fn decode(self, body: &[u8]) -> Result<Decoded, Malformed> {
        decode(&Envelope { headers: self.attributes, ..Envelope::new(body, self.at_ms) })
    }

    fn message(self, body: Bytes, id: String, event_type: Option<String>, shape: Shape) -> Message {
        let mut headers = self.attributes.clone();
        headers.insert(header::FIRST_SEEN.to_owned(), self.at_ms.to_string());
        headers.insert(header::PUBLISHER.to_owned(), self.publisher.to_owned());
        if let Some(origin) = trace::origin(self.headers) {
            origin.write(&mut headers);
        }
        Message {
            body,
            headers,
            routing_key: event_type.clone().unwrap_or_else(|| UNKNOWN.to_owned()),
            message_type: event_type,
            message_id: Some(id),
            correlation_id: None,
            content_type: Some(content_type(shape).to_owned()),
            // AMQP keeps whole seconds; first-seen has the same in milliseconds.
            timestamp_ms: None,
        }
    }
}

/// For whoever else listens to the exchange; a worker looks at the bytes.
fn content_type(shape: Shape) -> &'static str {
    if shape == Shape::CloudEvents { "application/cloudevents+json" } else { "application/json" }
}

/// Puts the messages into the queue, or into the spool, and waits until they are there for good.
///
/// # Errors
/// 503 when that is not sure, or not before the deadline. Some may be there all the same, or get
/// there later: their ids tell a repeat.
pub(super) async fn publish(
    edge: &Arc<Edge>,
    place: Place,
    mut messages: Vec<Message>,
    deadline: Instant,
) -> Result<(), Problem> {
    if messages.is_empty() {
        return Ok(());
    }
    let (count, accepting) = (messages.len(), Arc::clone(edge));
    let span = trace::publishing(edge.sink.destination(), &mut messages);
    let accepted = edge.publishing.spawn(async move {
        let accepted = span.within(accepting.sink.accept(messages, deadline)).await;
        if accepted.is_err() {
            span.failed("not_accepted");
        }
        drop(place);
        accepted
    });
    match timeout_at(deadline, accepted).await {
        Ok(Ok(Ok(()))) => Ok(()),
        Ok(Ok(Err(error))) => {
            tracing::warn!(%error, count, "what was posted is not accepted");
            Err(problem::unavailable("it cannot be kept at the moment; send it again"))
        }
        Ok(Err(error)) => {
            tracing::error!(%error, count, "publishing broke off");
            Err(problem::internal())
        }
        Err(_) => {
            tracing::warn!(count, "what was posted was not accepted within edge.request_timeout");
            Err(problem::unavailable("it was not confirmed in time; send it again"))
        }
    }
}

/// When this request must have its answer.
pub(super) fn deadline_of(edge: &Edge) -> Instant {
    Instant::now() + edge.config.request_timeout
}

/// The bytes as they were sent. The router has set the limit.
///
/// # Errors
/// 413, 408, or 400 when the client hung up half-way.
pub(super) async fn read_body(edge: &Edge, request: Request, deadline: Instant) -> Result<Bytes, Problem> {
    match timeout_at(deadline, Bytes::from_request(request, &())).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(rejection)) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            Err(problem::too_large(edge.config.body_limit))
        }
        Ok(Err(_)) => Err(problem::broken_off()),
        Err(_) => Err(problem::too_slow()),
    }
}
