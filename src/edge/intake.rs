//! Turns the bytes of a request into messages in the queue.
//!
//! The message's id is the event's id: the sender's own id, or the hash that decoding computes from the
//! event. Either id is the same when the event is sent again, so the worker recognises a repeat by it.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::Request;
use futures_util::StreamExt as _;
use serde::Serialize;
use tokio::task::JoinError;
use tokio::task::coop::consume_budget;
use tokio::time::{Instant, timeout_at};

use super::state::Edge;
use super::{problem, trace};
use crate::event::{BookingEvent, CompanyId, Decoded, Envelope, Malformed, Shape, decode};
use crate::http::problem::Problem;
use crate::queue::{Message, header};
use crate::runtime::clock::now_ms;
use crate::telemetry::traces::Origin;

/// The routing key of anything that is not an event of a known type.
const UNKNOWN: &str = "unknown";

/// Larger bodies are decoded on a thread for blocking work, so that other requests do not wait for it.
const MAX_INLINE: usize = 64 << 10;

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

/// An authenticated request: its time of arrival, its sender, and the headers that are passed on.
#[derive(Clone, Debug)]
pub(super) struct Incoming {
    at_ms: i64,
    publisher: String,
    /// The trace of the sender.
    origin: Option<Origin>,
    /// The CloudEvents attributes of a request in binary mode. No other header of a request becomes a
    /// header of the message, because a sender could use it to claim any event type.
    pub(super) attributes: BTreeMap<String, String>,
}

impl Incoming {
    /// Describes a request that arrives now, from `publisher`.
    pub(super) fn now(publisher: &str, origin: Option<Origin>) -> Self {
        Self { at_ms: now_ms(), publisher: publisher.to_owned(), origin, attributes: BTreeMap::new() }
    }

    /// Reads one event.
    ///
    /// # Errors
    /// Fails if the event cannot be read; see [`Incoming::read_leniently`].
    pub(super) fn read(&self, body: Bytes) -> Result<ReadEvent, Malformed> {
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
    ///
    /// # Errors
    /// Fails like [`decode_apart`].
    pub(super) async fn read_leniently(
        self,
        edge: &Edge,
        body: Bytes,
        deadline: Instant,
    ) -> Result<ReadEvent, Problem> {
        let (incoming, bytes) = (self.clone(), body.clone());
        let read = decode_apart(edge, body.len(), deadline, move || incoming.read(bytes)).await?;
        Ok(read.unwrap_or_else(|malformed| {
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
        }))
    }

    fn decode(&self, body: &[u8]) -> Result<Decoded, Malformed> {
        decode(&Envelope { headers: &self.attributes, ..Envelope::new(body, self.at_ms) })
    }

    fn message(&self, body: Bytes, id: String, event_type: Option<String>, shape: Shape) -> Message {
        let mut headers = self.attributes.clone();
        headers.insert(header::FIRST_SEEN.to_owned(), self.at_ms.to_string());
        headers.insert(header::PUBLISHER.to_owned(), self.publisher.clone());
        if let Some(origin) = &self.origin {
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

/// Runs `work`, which decodes a body of `size` bytes. For a large body this happens on another thread, and only
/// for a few bodies at the same time, because decoding takes many times the memory of the body.
///
/// # Errors
/// Fails with 503 if other bodies are decoded until the deadline.
pub(super) async fn decode_apart<T: Send + 'static>(
    edge: &Edge,
    size: usize,
    deadline: Instant,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    if size <= MAX_INLINE {
        return Ok(work());
    }
    let too_late = || problem::unavailable("the events were not read in time; send the request again");
    // The semaphore is never closed.
    let turn = timeout_at(deadline, Arc::clone(&edge.decoding).acquire_owned()).await;
    let Ok(Ok(turn)) = turn else { return Err(too_late()) };
    let decoding = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        work()
    });
    match decoding.await.map_err(JoinError::try_into_panic) {
        Ok(decoded) => Ok(decoded),
        // A layer responds, as it does to a panic on this thread.
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        // The process ends.
        Err(Err(_)) => Err(too_late()),
    }
}

/// Puts the messages into the queue or the spool, and waits until they are stored durably. The `permits` are
/// held as long as the messages are in memory.
///
/// # Errors
/// Fails with 503 if it is uncertain whether all messages are stored, or if they are not stored before the
/// deadline. In both cases some may have been stored, or may be stored later: a repeat is recognised by its id.
pub(super) async fn publish(
    edge: &Arc<Edge>,
    permits: impl Send + 'static,
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
        drop(permits);
        accepted
    });
    match timeout_at(deadline, accepted).await {
        Ok(Ok(Ok(()))) => Ok(()),
        Ok(Ok(Err(error))) => {
            if let Some(suppressed) = edge.refusals.admit() {
                tracing::warn!(%error, count, suppressed, "posted events were not accepted");
            }
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

/// Reads the body's bytes as they were sent, into one buffer: a list of its chunks would take 32 bytes for
/// each, and a chunk may have one byte.
///
/// # Errors
/// Fails with 413 if the body is too large, 408 if it is too slow, and 400 if the client disconnected before
/// the body was complete.
pub(super) async fn read_body(edge: &Edge, request: Request, deadline: Instant) -> Result<Bytes, Problem> {
    let limit = edge.config.body_limit;
    let mut chunks = request.into_body().into_data_stream();
    let read = async {
        let mut body = Vec::new();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|_| problem::incomplete_body())?;
            let size = body.len() + chunk.len();
            if size > limit {
                return Err(problem::too_large(limit));
            }
            if size > body.capacity() {
                // Never more than the limit, which doubling alone could exceed.
                let capacity = size.max(2 * body.capacity()).min(limit);
                body.reserve_exact(capacity - body.len());
            }
            body.extend_from_slice(&chunk);
            // Chunks that have already arrived would otherwise be read without a pause.
            consume_budget().await;
        }
        body.shrink_to_fit();
        Ok(Bytes::from(body))
    };
    timeout_at(deadline, read).await.unwrap_or_else(|_| Err(problem::too_slow()))
}
