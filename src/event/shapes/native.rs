//! Decodes the gateway's own event: `event`, and in `calcom_booking` the response of Cal.com's API: one
//! booking or (for a recurring one) an array, with or without the API's envelope.

use serde_json::Value;

use super::booking::{self, EventFacts};
use super::context::{self, EventContext};
use super::fields::{self, Fault, Object};
use super::forms;
use crate::event::booking::{Booking, BookingEvent, Shape};
use crate::event::decode::{Decoded, EVENT_TYPES, EventType, Hints, Ignored, MalformedKind, known_type};
use crate::event::host::HostSource;
use crate::event::ids::{AppointmentId, CompanyId, EventId};

/// The key of the bookings.
pub(super) const BOOKING: &str = "calcom_booking";

/// Returns the event's id, and the hints that are known before the event is decoded.
pub(super) fn identify(context: &EventContext<'_>, body: &Object) -> (EventId, Hints) {
    let company = fields::positive_id(body, "company_id").ok().flatten().map(CompanyId);
    context::identify(context, body, "event", body.get(BOOKING).and_then(booking::find_reference), company)
}

/// Decodes the gateway's own event. An unknown type without a booking (Retell's `call_ended`) is ignored;
/// with a booking it is refused, because the sender expects an effect.
pub(super) fn read(
    context: &EventContext<'_>,
    mut body: Object,
    id: EventId,
    hints: &Hints,
) -> Result<Decoded, Fault> {
    // The body is owned here, so move the booking out of it instead of copying it.
    let raw = body.remove(BOOKING).filter(|raw| !forms::is_nothing(raw));
    let (known, raw) = match (hints.event_type.as_deref().map(|name| (name, known_type(name))), raw) {
        (Some((_, Some(known))), Some(raw)) => (known, raw),
        (Some((name, Some(_))), None) => return Err(no_booking(name)),
        (_, None) if body.contains_key("hosts") => return Err(flat_booking()),
        (Some((name, None)), None) => {
            let (event_type, shape) = (name.to_owned(), context.shape);
            return Ok(Decoded::Ignored(Ignored { id, event_type, shape }));
        }
        (Some((name, None)), Some(_)) => return Err(unknown_type(Some(name))),
        (None, Some(_)) => return Err(unknown_type(None)),
        (None, None) => {
            let message = "not an event: event (a string), calcom_booking and triggerEvent are all missing";
            return Err(Fault::at("", message));
        }
    };
    let company = fields::positive_id(&body, "company_id")?.map(CompanyId);
    let appointment = fields::positive_id(&body, "appointment_id")?.map(AppointmentId);
    let (time, time_note) = context::event_time(context, &body, &["occurred_at", "time", "createdAt"]);
    let text = context.raw_json_at(&[BOOKING]);
    let has_appointment = appointment.is_some();
    let facts = EventFacts { envelope: context.envelope, time, time_note, has_appointment };
    let (bookings, form_notes) = (bookings(&raw, text, facts)?, Vec::new());
    let EventType { name, kind, .. } = *known;
    let (event_type, shape, content) = (name.to_owned(), context.shape, Shape::Native);
    let event =
        BookingEvent { id, event_type, kind, shape, content, company, appointment, bookings, form_notes };
    Ok(Decoded::Event(Box::new(event)))
}

fn no_booking(name: &str) -> Fault {
    Fault::at(format!("/{BOOKING}"), format!("an event of type {name} must have calcom_booking"))
}

/// Refuses a booking that was sent in place of an event: it would have no effect.
fn flat_booking() -> Fault {
    let message = "this is a booking and not an event; put the booking into calcom_booking, and the type \
                   into event";
    Fault::at("", message)
}

/// Refuses an unknown type. The name is shown only if it looks like a type, because the sender may send
/// anything.
fn unknown_type(name: Option<&str>) -> Fault {
    let looks_like_a_type = |name: &&str| {
        let is_address = name.split_once('@').is_some_and(|(_, after)| after.contains('.'));
        name.len() <= 64
            && !is_address
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'\\' | b'@'))
    };
    let message = match name {
        Some(name) => match Some(name).filter(looks_like_a_type) {
            Some(name) => format!("{name} is not an event type that hostmatch knows; {}", known_types()),
            None => format!("this is not an event type that hostmatch knows; {}", known_types()),
        },
        None => "the event has no type in event (a string), a header or the routing key".to_owned(),
    };
    Fault::new(MalformedKind::UnknownEventType, "/event", message)
}

/// Lists the types of the gateway.
fn known_types() -> String {
    let names = EVENT_TYPES.iter().filter(|known| known.named_by == Shape::Native).map(|known| known.name);
    format!("the gateway's types are {}", names.collect::<Vec<_>>().join(", "))
}

/// The most bookings in one event. A recurring booking has far fewer; more would be a transaction that is too
/// large and cannot be split.
pub const MAX_BOOKINGS: usize = 500;

/// Decodes `calcom_booking`: a booking, an array of them, or the API's envelope around either.
fn bookings(raw: &Value, text: Option<&str>, facts: EventFacts<'_>) -> Result<Vec<Booking>, Fault> {
    let pointer = format!("/{BOOKING}");
    let text = text.map(forms::text_in);
    let text = text.as_deref();
    if let Some(items) = forms::items(raw) {
        return read_list(&items, text, &pointer, HostSource::Hosts, facts);
    }
    if let Some(object) = raw.as_object()
        && !booking::has_reference(object)
    {
        let inside = format!("{pointer}/data");
        let data = object.get("data");
        if let Some(items) = data.and_then(forms::items) {
            let text = text.and_then(|text| fields::text_of_key(text, "data")).map(forms::text_in);
            return read_list(&items, text.as_deref(), &inside, HostSource::DataHosts, facts);
        }
        match data {
            None | Some(Value::Object(_) | Value::Null) => {}
            Some(other) => {
                let kind = fields::json_type(other);
                let message = format!("data must be a booking or an array of them, not {kind}");
                return Err(Fault::at(inside, message));
            }
        }
    }
    Ok(vec![booking::read(raw, text, &pointer, HostSource::Hosts, facts)?])
}

fn read_list(
    items: &[(u64, &Value)],
    text: Option<&str>,
    pointer: &str,
    hosts: HostSource,
    facts: EventFacts<'_>,
) -> Result<Vec<Booking>, Fault> {
    if items.len() > MAX_BOOKINGS {
        let message = format!("there are {} bookings; send at most {MAX_BOOKINGS} in one event", items.len());
        return Err(Fault::at(pointer, message));
    }
    if items.is_empty() {
        return Err(Fault::at(pointer, "the array of bookings is empty"));
    }
    if facts.has_appointment {
        let message = "appointment_id names one appointment, but calcom_booking has an array of bookings; send one event for each";
        return Err(Fault::at("/appointment_id", message));
    }
    let texts = text.map(fields::text_of_items).unwrap_or_default();
    let read = |(index, (key, item)): (usize, &(u64, &Value))| {
        booking::read(item, texts.get(index).copied(), &format!("{pointer}/{key}"), hosts, facts)
    };
    items.iter().enumerate().map(read).collect()
}
