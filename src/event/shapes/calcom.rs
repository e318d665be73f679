//! Cal.com's own webhook: `triggerEvent`, `createdAt`, and the booking in `payload`; or flat, as
//! MEETING_STARTED and MEETING_ENDED are, with the booking's fields beside `triggerEvent`.

use serde_json::Value;

use super::booking::{self, Around};
use super::fields::{self, Fault, Object};
use super::outside::{self, Outside};
use crate::event::booking::{BookingEvent, Shape};
use crate::event::decode::{Decoded, Hints, Ignored, Malformed, known_type};
use crate::event::host::HostSource;
use crate::event::ids::EventId;

const PAYLOAD: &str = "payload";

/// Reads a webhook. A trigger that we do not act on is ignored, whatever it carries: Cal.com adds
/// new ones, and sends all of them to a subscription that asks for all.
pub(super) fn decode(outside: &Outside<'_>, body: Object) -> Result<Decoded, Malformed> {
    let (id, hints) = identify(outside, &body);
    read(outside, body, id, &hints).map_err(|fault| fault.with(hints))
}

fn identify(outside: &Outside<'_>, body: &Object) -> (EventId, Hints) {
    let event_type = outside::event_type(outside, body.get("triggerEvent").and_then(Value::as_str));
    let booking = match body.get(PAYLOAD) {
        Some(payload) => booking::peek(payload),
        None => booking::peek_object(body),
    };
    let id = outside::event_id(outside, Some(body), event_type.as_deref(), booking.as_ref());
    (id.clone(), Hints { id: Some(id), event_type, booking, company: None, shape: Some(outside.shape) })
}

fn read(outside: &Outside<'_>, mut body: Object, id: EventId, hints: &Hints) -> Result<Decoded, Fault> {
    let Some(name) = hints.event_type.clone() else {
        return Err(Fault::at("/triggerEvent", "triggerEvent must be a text that names the trigger"));
    };
    let (shape, content) = (outside.shape, Shape::Calcom);
    let Some(known) = known_type(&name) else {
        return Ok(Decoded::Ignored(Ignored { id, event_type: name, shape }));
    };
    // In a flat body createdAt is when the booking was made, long before this was sent.
    let is_flat = !body.contains_key(PAYLOAD);
    let times: &[&str] = if is_flat { &[] } else { &["createdAt"] };
    let time = outside::event_time(outside, &body, times);
    let (raw, pointer) = match body.remove(PAYLOAD) {
        Some(payload) => (payload, format!("/{PAYLOAD}")),
        None if booking::has_reference(&body) => (Value::Object(body), String::new()),
        None => return Err(Fault::at(format!("/{PAYLOAD}"), "a webhook of this trigger must carry payload")),
    };
    if !raw.is_object() {
        let message = format!("payload must be an object, and not {}", fields::kind_of(&raw));
        return Err(Fault::at(pointer, message));
    }
    let text = if is_flat { outside.text(&[]) } else { outside.text(&[PAYLOAD]) };
    let around = Around { time, has_appointment: false };
    let booking = booking::read(&raw, text, &pointer, HostSource::Hosts, around)?;
    let (kind, bookings) = (known.kind, vec![booking]);
    let event = BookingEvent {
        id,
        event_type: name,
        kind,
        shape,
        content,
        company: None,
        appointment: None,
        bookings,
    };
    Ok(Decoded::Event(Box::new(event)))
}
