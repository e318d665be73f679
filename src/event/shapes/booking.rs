//! One Cal.com booking, as the API (2024-08-13, 2024-04-15) or a webhook writes it.

use serde_json::Value;

use super::fields::{self, Fault, Object};
use super::person;
use crate::event::booking::{Booking, EventTime};
use crate::event::decode::MalformedKind;
use crate::event::host::HostSource;
use crate::event::ids::BookingRef;

/// What a booking takes from the event around it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Around {
    /// The event's time, for a booking that has none of its own.
    pub(super) time: EventTime,
    /// The event says which appointment it is about, so the booking need not.
    pub(super) has_appointment: bool,
}

/// Reads one booking at `pointer`, of which `text` is the JSON; `hosts` is what its own `hosts` are called.
///
/// # Errors
/// When it is not an object, when a reference cannot be kept, or when nothing says which booking
/// or appointment this is.
pub(super) fn read(
    booking: &Value,
    text: Option<&str>,
    pointer: &str,
    hosts: HostSource,
    around: Around,
) -> Result<Booking, Fault> {
    let Some(outer) = booking.as_object() else {
        let message = format!("a booking must be an object, and not {}", fields::kind_of(booking));
        return Err(Fault::at(pointer, message));
    };
    let inner = wrapped(outer, hosts);
    // The API's envelope has no reference of its own: then everything but the host is inside.
    let (own, pointer) = match inner {
        Some(inner) if !has_reference(outer) => (inner, format!("{pointer}/data")),
        _ => (outer, pointer.to_owned()),
    };
    let (uid, id) = (fields::reference(own, "uid", &pointer)?, numeric_id(own, &pointer)?);
    if uid.is_none() && id.is_none() && !around.has_appointment {
        let message =
            "the booking has neither uid nor id, and no appointment_id says which appointment it is";
        return Err(Fault::new(MalformedKind::NoBooking, pointer, message));
    }
    let replaces = match fields::reference(own, "rescheduledFromUid", &pointer)? {
        Some(reference) => Some(reference),
        None => fields::reference(own, "rescheduleUid", &pointer)?,
    };
    let places = [Some((outer, hosts)), inner.map(|inner| (inner, HostSource::DataHosts))];
    let places: Vec<_> = places.into_iter().flatten().collect();
    let host = person::primary_host(&places);
    let host_missing = person::missing(&places, host.as_ref().map(|(host, _)| host));
    let updated = fields::time_ms(own, "updatedAt").map(|ms| EventTime { ms, stamped: false });
    Ok(Booking {
        uid,
        id,
        replaces,
        host,
        host_missing,
        is_off: is_off(own) || is_off(outer),
        time: updated.unwrap_or(around.time),
        starts_ms: fields::time_ms(own, "start").or_else(|| fields::time_ms(own, "startTime")),
        raw: text.map(str::to_owned),
    })
}

/// The reference of what may be a booking, for hints: whatever cannot be read is absent.
pub(super) fn peek(value: &Value) -> Option<BookingRef> {
    let outer = first_object(value)?;
    peek_object(outer).or_else(|| peek_object(first_object(outer.get("data")?)?))
}

/// The same of an object that has been looked into already.
pub(super) fn peek_object(object: &Object) -> Option<BookingRef> {
    let uid = fields::reference(object, "uid", "").ok().flatten();
    uid.or_else(|| numeric_id(object, "").ok().flatten())
}

fn first_object(value: &Value) -> Option<&Object> {
    match value {
        Value::Array(items) => items.first()?.as_object(),
        value => value.as_object(),
    }
}

/// The booking inside the API's envelope; an item of `data` is never wrapped again.
fn wrapped(outer: &Object, hosts: HostSource) -> Option<&Object> {
    if hosts == HostSource::Hosts { outer.get("data")?.as_object() } else { None }
}

/// Whether the object itself says which booking it is.
pub(super) fn has_reference(object: &Object) -> bool {
    let blank = |value: &Value| value.as_str().is_some_and(|text| text.trim().is_empty());
    ["uid", "bookingId", "id"]
        .iter()
        .any(|key| fields::present(object, key).is_some_and(|value| !blank(value)))
}

/// The API calls it `id`, a webhook `bookingId`.
fn numeric_id(object: &Object, pointer: &str) -> Result<Option<BookingRef>, Fault> {
    match fields::reference(object, "bookingId", pointer)? {
        Some(id) => Ok(Some(id)),
        None => fields::reference(object, "id", pointer),
    }
}

/// `cancelled` (2024-08-13), `CANCELLED` (2024-04-15 and webhooks); the same for rejected.
fn is_off(object: &Object) -> bool {
    object.get("status").and_then(Value::as_str).is_some_and(|status| {
        let status = status.trim();
        status.eq_ignore_ascii_case("cancelled") || status.eq_ignore_ascii_case("rejected")
    })
}
