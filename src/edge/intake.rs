//! Turns the bytes of a request into messages in the queue.
//!
//! The message's id is the event's id: the sender's own id, or the hash that decoding computes from the
//! event. Either id is the same when the event is sent again, so the worker recognises a repeat by it.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use axum::body::Bytes;
use axum::extract::{FromRequest as _, Request};
use axum::http::{HeaderMap, StatusCode};
use serde::Serialize;
use tokio::time::{Instant, timeout_at};

use super::permits::RequestPermit;
use super::state::Edge;
use super::{problem, trace};
use crate::event::{BookingEvent, CompanyId, Decoded, Envelope, Malformed, Shape, decode};
use crate::http::problem::Problem;
use crate::queue::{Message, header};
use crate::runtime::clock::now_ms;

/// The routing key of anything that is not an event of a known type.
const UNKNOWN: &str = "unknown";

static NO_HEADERS: LazyLock<BTreeMap<String, String>> = LazyLock::new(BTreeMap::new);

/// The part of the response that is about one event.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Receipt {
    /// The event's id.
    pub(super) id: String,
    /// What was done with the event.
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
    /// The event is stored durably, in the queue or in the spool.
    Queued,
    /// There is nothing to do for the event, and it was not queued.
    Ignored,
}

/// An event that has been read: the receipt, and the message to queue.
#[derive(Debug)]
pub(super) struct ReadEvent {
    pub(super) receipt: Receipt,
    pub(super) message: Option<Message>,
    /// The company that the event names, if that can be read.
    pub(super) company: Option<CompanyId>,
}

/// A request: its time of arrival, its sender, and the headers that are passed on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Incoming<'a> {
    pub(super) headers: &'a HeaderMap,
    pub(super) at_ms: i64,
    pub(super) publisher: &'a str,
    /// The CloudEvents attributes of a request in binary mode. No other header of a request becomes a
    /// header of the message, because a sender could use it to claim any event type.
    pub(super) attributes: &'a BTreeMap<String, String>,
}

impl<'a> Incoming<'a> {
    /// Describes a request that arrives now, from `publisher`.
    pub(super) fn now(headers: &'a HeaderMap, publisher: &'a str) -> Self {
        Self { headers, at_ms: now_ms(), publisher, attributes: &NO_HEADERS }
    }

    /// Reads one event.
    ///
    /// # Errors
    /// Fails if the event cannot be read; see [`Incoming::read_leniently`].
    pub(super) fn read(self, body: Bytes) -> Result<ReadEvent, Malformed> {
        Ok(match self.decode(&body)? {
            Decoded::Event(event) => {
                let BookingEvent { id, event_type, shape, company, .. } = *event;
                let message = self.message(body, id.to_string(), Some(event_type), shape);
                ReadEvent { receipt: Receipt::queued(id.to_string()), message: Some(message), company }
            }
            Decoded::Ignored(ignored) => {
                let receipt = Receipt { id: ignored.id.to_string(), status: Status::Ignored };
                ReadEvent { receipt, message: None, company: None }
            }
        })
    }

    /// Reads one event without ever refusing it for its content: an event that cannot be read is queued
    /// unchanged.
    pub(super) fn read_leniently(self, body: Bytes) -> ReadEvent {
        self.read(body.clone()).unwrap_or_else(|malformed| {
            // `malformed` does not quote the event.
            tracing::warn!(
                problem = %malformed,
                "queued an event that cannot be read: it will become a dead letter"
            );
            // The sender can search for the event by this id.
            let id = malformed.hints.id.map(|id| id.to_string()).unwrap_or_default();
            let message = self.message(body, id.clone(), None, Shape::Native);
            let company = malformed.hints.company;
            ReadEvent { receipt: Receipt::queued(id), message: Some(message), company }
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
            // AMQP keeps whole seconds; first-seen has the same time in milliseconds.
            timestamp_ms: None,
        }
    }
}

/// Returns the content type for other consumers of the exchange; a worker inspects the bytes instead.
fn content_type(shape: Shape) -> &'static str {
    if shape == Shape::CloudEvents { "application/cloudevents+json" } else { "application/json" }
}

/// Puts the messages into the queue or the spool, and waits until they are stored durably.
///
/// # Errors
/// Fails with 503 if it is uncertain whether all messages are stored, or if they are not stored before the
/// deadline. In both cases some may have been stored, or may be stored later: a repeat is recognised by its id.
pub(super) async fn publish(
    edge: &Arc<Edge>,
    permit: Arc<RequestPermit>,
    mut messages: Vec<Message>,
    deadline: Instant,
) -> Result<(), Problem> {
    if messages.is_empty() {
        return Ok(());
    }
    let (count, accepting) = (messages.len(), Arc::clone(edge));
    let span = trace::begin_publish(edge.sink.destination(), &mut messages);
    let accepted = edge.publishing.spawn(async move {
        let accepted = span.instrument(accepting.sink.accept(messages, deadline)).await;
        if accepted.is_err() {
            span.mark_failed("not_accepted");
        }
        drop(permit);
        accepted
    });
    match timeout_at(deadline, accepted).await {
        Ok(Ok(Ok(()))) => Ok(()),
        Ok(Ok(Err(error))) => {
            tracing::warn!(%error, count, "posted events were not accepted");
            Err(problem::unavailable("the events cannot be stored at the moment; send the request again"))
        }
        Ok(Err(error)) => {
            tracing::error!(%error, count, "the task that publishes events failed");
            Err(problem::internal())
        }
        Err(_) => {
            tracing::warn!(count, "posted events were not accepted within edge.request_timeout");
            Err(problem::unavailable("the events were not stored in time; send the request again"))
        }
    }
}

/// Returns the time by which a request that arrives now must be answered.
pub(super) fn deadline_of(edge: &Edge) -> Instant {
    Instant::now() + edge.config.request_timeout
}

/// Reads the body's bytes as they were sent. The router sets the size limit.
///
/// # Errors
/// Fails with 413 if the body is too large, 408 if it is too slow, and 400 if the client disconnected before
/// the body was complete.
pub(super) async fn read_body(edge: &Edge, request: Request, deadline: Instant) -> Result<Bytes, Problem> {
    match timeout_at(deadline, Bytes::from_request(request, &())).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(rejection)) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            Err(problem::too_large(edge.config.body_limit))
        }
        Ok(Err(_)) => Err(problem::incomplete_body()),
        Err(_) => Err(problem::too_slow()),
    }
}
