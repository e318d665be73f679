//! Decodes Cal.com's own webhook: `triggerEvent`, `createdAt`, and the booking in `payload`; or flat, like
//! MEETING_STARTED and MEETING_ENDED, with the booking's fields next to `triggerEvent`.

use serde_json::Value;

use super::booking::{self, EventFacts};
use super::context::{self, EventContext};
use super::fields::{self, Fault, Object};
use crate::event::booking::{BookingEvent, Shape};
use crate::event::decode::{Decoded, Hints, Ignored, known_type};
use crate::event::host::HostSource;
use crate::event::ids::EventId;

/// The key of the booking.
pub(super) const PAYLOAD: &str = "payload";

/// Returns the event's id, and the hints that are known before the event is decoded.
pub(super) fn identify(context: &EventContext<'_>, body: &Object) -> (EventId, Hints) {
    let booking = body.get(PAYLOAD).map_or_else(|| booking::object_reference(body), booking::find_reference);
    context::identify(context, body, "triggerEvent", booking, None)
}

/// Decodes a webhook. A trigger that we do not act on is ignored, whatever the webhook contains: Cal.com adds
/// new triggers, and sends them to every subscription for all triggers.
pub(super) fn read(
    context: &EventContext<'_>,
    mut body: Object,
    id: EventId,
    hints: &Hints,
) -> Result<Decoded, Fault> {
    let Some(name) = hints.event_type.clone() else {
        return Err(Fault::at("/triggerEvent", "triggerEvent must be a string that names the trigger"));
    };
    let (shape, content) = (context.shape, Shape::Calcom);
    let Some(known) = known_type(&name) else {
        return Ok(Decoded::Ignored(Ignored { id, event_type: name, shape }));
    };
    // In a flat body createdAt is when the booking was made, long before the webhook was sent.
    let is_flat = !body.contains_key(PAYLOAD);
    let times: &[&str] = if is_flat { &[] } else { &["createdAt"] };
    let (time, time_note) = context::event_time(context, &body, times);
    let (raw, pointer) = match body.remove(PAYLOAD) {
        Some(payload) => (payload, format!("/{PAYLOAD}")),
        None if booking::has_reference(&body) || booking::object_reference(&body).is_some() => {
            (Value::Object(body), String::new())
        }
        None => return Err(Fault::at(format!("/{PAYLOAD}"), "a webhook of this trigger must have payload")),
    };
    if !raw.is_object() {
        let message = format!("payload must be an object, not {}", fields::json_type(&raw));
        return Err(Fault::at(pointer, message));
    }
    let text = if is_flat { context.raw_json_at(&[]) } else { context.raw_json_at(&[PAYLOAD]) };
    let facts = EventFacts { envelope: context.envelope, time, time_note, has_appointment: false };
    let booking = booking::read(&raw, text, &pointer, HostSource::Hosts, facts)?;
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
        form_notes: Vec::new(),
    };
    Ok(Decoded::Event(Box::new(event)))
}
