//! What a message is called, by which id repeats are told, and when it was true: each has several
//! sources, and the first that says something wins.

use serde_json::Value;

use super::fields::{self, Object};
use crate::event::booking::EventTime;
use crate::event::envelope::{Envelope, TYPE_HEADER};
use crate::event::ids::{BookingRef, EventId, MAX_TEXT};
use crate::event::kinds;

/// The type: our own header, the routing key and the AMQP type if they are known types, the body.
///
/// Only our header may name an unknown type: the other two often hold something else (a queue's
/// name, a framework's class).
pub(super) fn event_type(envelope: &Envelope<'_>, in_body: Option<&str>) -> Option<String> {
    let known = |name: &&str| kinds::find(name).is_some();
    let header = envelope.headers.get(TYPE_HEADER).map(String::as_str);
    header
        .and_then(shown)
        .or_else(|| Some(envelope.routing_key).filter(known).map(str::to_owned))
        .or_else(|| envelope.message_type.filter(known).map(str::to_owned))
        .or_else(|| in_body.and_then(shown))
}

/// A type fit to be shown and stored: trimmed, without control characters, at most [`MAX_TEXT`] bytes.
fn shown(name: &str) -> Option<String> {
    let mut name: String = name.trim().chars().filter(|c| !c.is_control()).collect();
    name.truncate(name.floor_char_boundary(MAX_TEXT));
    (!name.is_empty()).then_some(name)
}

/// The id: `event_id`, AMQP `message_id`, `correlation_id`, else a hash of what the event is.
pub(super) fn event_id(
    envelope: &Envelope<'_>,
    body: Option<&Object>,
    event_type: Option<&str>,
    booking: Option<&BookingRef>,
) -> EventId {
    let sent = body.and_then(|body| body.get("event_id")).and_then(|id| match id {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    });
    let given = |id: &&str| !id.trim().is_empty();
    match sent
        .as_deref()
        .filter(given)
        .or(envelope.message_id.filter(given))
        .or(envelope.correlation_id.filter(given))
    {
        Some(id) => EventId::new(id),
        None => EventId::of(&[
            event_type.unwrap_or_default().as_bytes(),
            booking.map_or("", BookingRef::as_str).as_bytes(),
            envelope.body,
        ]),
    }
}

const DAY_MS: i64 = 86_400_000;

/// The time of the event itself, from the first of these fields of the body that holds one; else
/// when it was published or first received.
pub(super) fn event_time(envelope: &Envelope<'_>, body: &Object, fields: &[&str]) -> EventTime {
    match fields.iter().find_map(|key| fields::time_ms(body, key)) {
        Some(ms) => EventTime { ms, stamped: false },
        // A publisher that counts in another unit would be the newest for ever.
        None => {
            let published =
                envelope.timestamp_ms.filter(|ms| *ms <= envelope.first_seen_ms.saturating_add(DAY_MS));
            EventTime { ms: published.unwrap_or(envelope.first_seen_ms), stamped: true }
        }
    }
}
