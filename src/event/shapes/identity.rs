//! What a message is called, by which id repeats are told, and when it was true: each has several
//! sources, and the first that says something wins.

use serde_json::Value;

use super::fields::{self, Object};
use super::outside::Outside;
use crate::event::booking::EventTime;
use crate::event::envelope::TYPE_HEADER;
use crate::event::ids::{BookingRef, EventId, MAX_TEXT};
use crate::event::kinds;

/// The type: our own header; else the first known type of the routing key, the AMQP type, what the
/// wrapping says (CloudEvents' type, Laravel's job), and the event.
///
/// When none is known, the wrapping or the event names an unknown one; routing key and AMQP type
/// often hold something else (a queue's name, a framework's class).
pub(super) fn event_type(outside: &Outside<'_>, in_event: Option<&str>) -> Option<String> {
    let envelope = outside.envelope;
    if let Some(name) = envelope.headers.get(TYPE_HEADER).and_then(|name| shown(name)) {
        return Some(name);
    }
    let known = |name: &&str| kinds::find(name).is_some();
    if let Some(name) = [Some(envelope.routing_key), envelope.message_type].into_iter().flatten().find(known)
    {
        return Some(name.to_owned());
    }
    let named = || outside.types.iter().map(String::as_str).chain(in_event).filter_map(shown);
    named().find(|name| known(&name.as_str())).or_else(|| named().next())
}

/// A type fit to be shown and stored: trimmed, without control characters, at most [`MAX_TEXT`] bytes.
fn shown(name: &str) -> Option<String> {
    let mut name: String = name.trim().chars().filter(|c| !c.is_control()).collect();
    name.truncate(name.floor_char_boundary(MAX_TEXT));
    (!name.is_empty()).then_some(name)
}

/// The id: CloudEvents' `id`, `event_id`, AMQP `message_id`, `correlation_id`, Laravel's `uuid`, else
/// a hash of what the event is.
pub(super) fn event_id(
    outside: &Outside<'_>,
    event: Option<&Object>,
    event_type: Option<&str>,
    booking: Option<&BookingRef>,
) -> EventId {
    let envelope = outside.envelope;
    let in_event = event.and_then(|event| event.get("event_id")).and_then(id_text);
    let sources = [
        outside.id.as_deref(),
        in_event.as_deref(),
        envelope.message_id,
        envelope.correlation_id,
        outside.uuid.as_deref(),
    ];
    match sources.into_iter().flatten().find(|id| !id.trim().is_empty()) {
        Some(id) => EventId::new(id),
        None => EventId::of(&[
            event_type.unwrap_or_default().as_bytes(),
            booking.map_or("", BookingRef::as_str).as_bytes(),
            envelope.body,
        ]),
    }
}

/// An id as it may stand in JSON: a text or a number.
pub(super) fn id_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

const DAY_MS: i64 = 86_400_000;

/// The time of the event itself, from the first of these fields of it that holds one, else from
/// CloudEvents' `time`; else when it was published (Laravel's `pushedAt`, the AMQP timestamp) or first
/// received.
pub(super) fn event_time(outside: &Outside<'_>, event: &Object, fields: &[&str]) -> EventTime {
    if let Some(ms) = fields.iter().find_map(|key| fields::time_ms(event, key)).or(outside.time_ms) {
        return EventTime { ms, stamped: false };
    }
    let first_seen_ms = outside.envelope.first_seen_ms;
    // A publisher that counts in another unit would be the newest for ever.
    let plausible = |ms: &i64| *ms <= first_seen_ms.saturating_add(DAY_MS);
    let published = [outside.pushed_ms, outside.envelope.timestamp_ms].into_iter().flatten().find(plausible);
    EventTime { ms: published.unwrap_or(first_seen_ms), stamped: true }
}
