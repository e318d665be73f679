//! Publishes events from a file or stdin: decodes each event as a worker does, and publishes the valid ones with
//! confirms. This does not need the database.

use serde::Serialize;

use super::AppError;
use crate::config::Config;
use crate::event::{Decoded, Envelope, decode};
use crate::queue::{Queue, header};
use crate::runtime::clock::now_ms;
use crate::runtime::shutdown::Shutdown;
use crate::telemetry::traces::{Parent, Span, SpanKind};

pub(crate) use crate::queue::Message;

/// The number of messages published at a time. More would be faster, but progress would be reported less often.
const PUBLISH_CHUNK: usize = 200;

/// The result of checking one event. `docs/commands.md` describes it: its JSON is a contract.
#[derive(Debug, Default, Serialize)]
pub(crate) struct EventCheck {
    pub(crate) place: String,
    pub(crate) status: EventStatus,
    pub(crate) event_type: Option<String>,
    pub(crate) event_id: Option<String>,
    pub(crate) bookings: Vec<String>,
    pub(crate) pointer: Option<String>,
    pub(crate) problem: Option<String>,
}

/// Whether an event is valid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum EventStatus {
    #[default]
    Valid,
    Ignored,
    Invalid,
}

/// Decodes one event as a worker does. Also returns the message to publish, unless the event is invalid.
pub(crate) fn check(place: String, body: &[u8]) -> (EventCheck, Option<Message>) {
    let now_ms = now_ms();
    let mut message = Message {
        body: body.to_vec().into(),
        headers: [
            (header::FIRST_SEEN.to_owned(), now_ms.to_string()),
            (header::PUBLISHER.to_owned(), "hostmatch publish".to_owned()),
        ]
        .into(),
        content_type: Some("application/json".to_owned()),
        timestamp_ms: Some(now_ms),
        ..Message::default()
    };
    let envelope = Envelope {
        headers: &message.headers,
        timestamp_ms: message.timestamp_ms,
        ..Envelope::new(body, now_ms)
    };
    let mut check = EventCheck { place, ..EventCheck::default() };
    match decode(&envelope) {
        Ok(Decoded::Event(event)) => {
            let references = event.bookings.iter().filter_map(|booking| booking.reference());
            check.bookings = references.map(ToString::to_string).collect();
            check.event_id = Some(event.id.to_string());
            check.event_type = Some(event.event_type);
        }
        Ok(Decoded::Ignored(ignored)) => {
            check.status = EventStatus::Ignored;
            check.event_id = Some(ignored.id.to_string());
            check.event_type = Some(ignored.event_type);
        }
        Err(malformed) => {
            check.status = EventStatus::Invalid;
            check.pointer = Some(malformed.pointer);
            check.problem = Some(malformed.message);
            return (check, None);
        }
    }
    // The routing key is the type, for other consumers of the exchange. AMQP allows 255 bytes.
    message.routing_key = check.event_type.clone().filter(|key| key.len() <= 255).unwrap_or_default();
    (check, Some(message))
}

/// Publishes messages in order, until `stop` is cancelled. Calls `watch` with the number of confirmed messages.
pub(crate) async fn publish(
    config: &Config,
    messages: &[Message],
    stop: &Shutdown,
    mut watch: impl FnMut(usize),
) -> Result<(), AppError> {
    let queue = Queue::open(&config.queue).await?;
    // Fails before the first message if the broker is unreachable.
    queue.depth().await?;
    let publisher = queue.publisher();
    let (mut published, mut result) = (0, Ok(()));
    for chunk in messages.chunks(PUBLISH_CHUNK) {
        if stop.is_cancelled() {
            break;
        }
        let mut chunk = chunk.to_vec();
        // Each event begins a trace of its own.
        let spans: Vec<Span> =
            chunk.iter_mut().map(|message| start_span(message, publisher.destination())).collect();
        let count = chunk.len();
        result = publisher.publish(chunk).await;
        if result.is_err() {
            spans.iter().for_each(|span| span.mark_failed("not_confirmed"));
            break;
        }
        published += count;
        watch(published);
    }
    queue.close().await;
    Ok(result?)
}

/// Starts the span of publishing one event and writes its context into the message.
fn start_span(message: &mut Message, destination: (&'static str, &str)) -> Span {
    let span = Span::messaging(Parent::None, SpanKind::Producer, "publish", destination, []);
    if let Some(origin) = span.origin() {
        origin.write(&mut message.headers);
    }
    span
}
