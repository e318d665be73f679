//! Decodes one Cal.com booking, as the API (2024-08-13, 2024-04-15) or a webhook sends it, and its host.

use serde_json::Value;

use super::context;
use super::fields::{self, Fault, Object};
use super::forms;
use crate::event::booking::{Booking, BookingLinks, EventTime, TimeNote};
use crate::event::decode::{Envelope, MalformedKind};
use crate::event::host::{Host, HostMissing, HostSource};
use crate::event::ids::{BookingRef, HostId};

/// The facts about the event that decoding its bookings needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct EventFacts<'a> {
    /// The message.
    pub(super) envelope: &'a Envelope<'a>,
    /// The event's time, for a booking without its own.
    pub(super) time: EventTime,
    /// What is unusual about the time that the event gives.
    pub(super) time_note: Option<TimeNote>,
    /// Whether the event names the appointment, so that the booking needs no reference.
    pub(super) has_appointment: bool,
}

/// Decodes one booking at `pointer`. `text`: its JSON; `hosts`: the source of a host in its own `hosts`.
///
/// # Errors
/// Fails if the value is not an object, if a reference cannot be stored, or if nothing identifies the booking
/// or the appointment.
pub(super) fn read(
    booking: &Value,
    text: Option<&str>,
    pointer: &str,
    hosts: HostSource,
    facts: EventFacts<'_>,
) -> Result<Booking, Fault> {
    let Some(outer) = booking.as_object() else {
        let message = format!("a booking must be an object, not {}", fields::json_type(booking));
        return Err(Fault::at(pointer, message));
    };
    let inner = inner_booking(outer, hosts);
    // The API's envelope has no reference of its own; in that case everything except the host is inside it.
    let outer_pointer = pointer;
    let (own, pointer) = match inner {
        Some(inner) if !has_reference(outer) => (inner, format!("{pointer}/data")),
        _ => (outer, pointer.to_owned()),
    };
    let (uid, id) = (uid(own, &pointer)?, numeric_id(own, &pointer)?);
    let (replaces, links) = (replaced_uid(own, &pointer)?, links(own));
    let references = [&uid, &id, &replaces, &links.replaces_id, &links.root];
    if references.into_iter().all(Option::is_none) && !facts.has_appointment {
        let message = "the booking has neither uid nor id, names no booking that it replaced (rescheduleUid), \
                       and no appointment_id identifies its appointment";
        return Err(Fault::new(MalformedKind::NoBooking, pointer, message));
    }
    let objects = [Some((outer, hosts)), inner.map(|inner| (inner, HostSource::DataHosts))];
    let objects: Vec<_> = objects.into_iter().flatten().collect();
    let host = primary_host(&objects);
    let missing = missing_host(&objects, host.as_ref().map(|(host, _)| host));
    let host_missing_at = missing.as_ref().and_then(|missing| {
        let (index, place) = missing.at.as_ref()?;
        Some(format!("{outer_pointer}{}{place}", if *index == 0 { "" } else { "/data" }))
    });
    let zone = facts.envelope.zone;
    let (updated, note) = context::own_time(facts.envelope, fields::time(own, "updatedAt", zone));
    let starts = fields::time(own, "start", zone).or_else(|| fields::time(own, "startTime", zone));
    Ok(Booking {
        uid,
        id,
        replaces,
        links,
        host,
        host_missing: missing.map(|missing| missing.why),
        host_missing_at,
        is_cancelled: is_cancelled(own) || is_cancelled(outer),
        time: updated.unwrap_or(facts.time),
        time_note: note.or(facts.time_note.filter(|_| updated.is_none())),
        starts_ms: starts.map(|time| time.ms),
        raw: text.map(|text| forms::text_in(text).into_owned()),
    })
}

/// Returns the other bookings that a booking names, besides the one that it replaced. What cannot be a reference
/// is absent: nothing depends on these fields alone.
fn links(object: &Object) -> BookingLinks {
    let reference = |key| fields::reference(object, key, "").ok().flatten();
    let names_seat =
        ["seatUid", "seatReferenceUid", "attendeeSeatId"].iter().any(|key| is_filled(object, key));
    BookingLinks {
        replaces_id: reference("rescheduleId"),
        replaced_by: reference("rescheduledToUid"),
        root: reference("rootBookingUid"),
        names_seat,
    }
}

/// Returns the reference of a possible booking, for hints. `None` if the reference cannot be decoded.
pub(super) fn find_reference(value: &Value) -> Option<BookingRef> {
    let outer = first_object(value)?;
    object_reference(outer).or_else(|| object_reference(first_object(outer.get("data")?)?))
}

/// Returns the reference of a possible booking that is an object: its own, otherwise that of a booking that it
/// replaced.
pub(super) fn object_reference(object: &Object) -> Option<BookingRef> {
    let own = [uid(object, ""), numeric_id(object, ""), replaced_uid(object, "")];
    own.into_iter().find_map(|reference| reference.ok().flatten()).or_else(|| {
        let links = links(object);
        links.replaces_id.or(links.root)
    })
}

fn first_object(value: &Value) -> Option<&Object> {
    match forms::items(value) {
        Some(items) => items.first()?.1.as_object(),
        None => value.as_object(),
    }
}

/// Returns the booking inside the API's envelope; an item of `data` is never unwrapped again.
fn inner_booking(outer: &Object, hosts: HostSource) -> Option<&Object> {
    if hosts == HostSource::Hosts { outer.get("data")?.as_object() } else { None }
}

/// Returns whether the object itself has a booking's reference.
pub(super) fn has_reference(object: &Object) -> bool {
    ["uid", "bookingUid", "bookingId", "id"].iter().any(|key| is_filled(object, key))
}

/// Returns whether a field is neither absent nor null nor a blank string.
fn is_filled(object: &Object, key: &str) -> bool {
    fields::present(object, key).is_some_and(|value| !fields::is_blank(value))
}

/// Returns the uid: `uid`, or `bookingUid` in a webhook with few fields.
fn uid(object: &Object, pointer: &str) -> Result<Option<BookingRef>, Fault> {
    either_reference(object, ["uid", "bookingUid"], pointer)
}

/// Returns the uid of the booking that this one replaced.
fn replaced_uid(object: &Object, pointer: &str) -> Result<Option<BookingRef>, Fault> {
    either_reference(object, ["rescheduledFromUid", "rescheduleUid"], pointer)
}

/// Returns the numeric id: `id` in the API, `bookingId` in a webhook.
fn numeric_id(object: &Object, pointer: &str) -> Result<Option<BookingRef>, Fault> {
    either_reference(object, ["bookingId", "id"], pointer)
}

/// Returns the reference under the first of two keys that has one.
fn either_reference(object: &Object, keys: [&str; 2], pointer: &str) -> Result<Option<BookingRef>, Fault> {
    let first = fields::reference(object, keys[0], pointer)?;
    first.map_or_else(|| fields::reference(object, keys[1], pointer), |first| Ok(Some(first)))
}

/// Returns whether the status is `cancelled` (2024-08-13) or `CANCELLED` (2024-04-15 and webhooks), or
/// `rejected` in either spelling.
fn is_cancelled(object: &Object) -> bool {
    object.get("status").and_then(Value::as_str).is_some_and(|status| {
        let status = status.trim();
        status.eq_ignore_ascii_case("cancelled") || status.eq_ignore_ascii_case("rejected")
    })
}

/// The strings that Cal.com writes for unknown values. They are compared exactly, because they are literals in
/// Cal.com's code and a person may have a similar name.
const ABSENT: [&str; 3] = ["unknown", "Nameless", "Email-less"];

/// Returns the first usable host of a booking and where it was found.
///
/// `objects` are the objects that may be the booking, outermost first, each with the source of its `hosts`. A
/// booking that was published in the API's envelope has two.
pub(super) fn primary_host(objects: &[(&Object, HostSource)]) -> Option<(Host, HostSource)> {
    let hosts = objects.iter().map(|(object, source)| (first_host(object), *source));
    let organizers =
        objects.iter().map(|(object, _)| (host_under_key(object, "organizer"), HostSource::Organizer));
    let users = objects.iter().map(|(object, _)| (user(object), HostSource::User));
    hosts
        .chain(organizers)
        .chain(users)
        .find_map(|(host, source)| host.filter(Host::is_usable).map(|host| (host, source)))
}

/// Why a booking has no host, or none with an id.
struct MissingHost {
    why: HostMissing,
    /// The value that may be the host, if there is one: the index of the object, and the pointer in it.
    at: Option<(usize, String)>,
}

/// Returns the reason why no host was found or `found` has no id; `None` if it has an id.
fn missing_host(objects: &[(&Object, HostSource)], found: Option<&Host>) -> Option<MissingHost> {
    match found {
        Some(Host { id: Some(_), .. }) => return None,
        Some(_) => return Some(MissingHost { why: HostMissing::NullId, at: None }),
        None => {}
    }
    let find_value = |key: &'static str| {
        let mut objects = objects.iter().enumerate();
        objects.find_map(|(index, (object, _))| Some((index, key, fields::present(object, key)?)))
    };
    let is_empty = |value: &Value| value.as_array().is_some_and(Vec::is_empty);
    let hosts = find_value("hosts");
    // The most informative value, whichever object contains it.
    let found = hosts
        .filter(|(.., value)| !is_empty(value))
        .or_else(|| find_value("organizer"))
        .or_else(|| find_value("user"));
    let Some((index, key, value)) = found else {
        let why = if hosts.is_some() { HostMissing::Empty } else { HostMissing::Absent };
        return Some(MissingHost { why, at: hosts.map(|(index, key, _)| (index, format!("/{key}"))) });
    };
    let (item, host_object) = match (key, forms::first_host(value)) {
        ("hosts", Some((item, host))) => (item.map(|item| format!("/{item}")), host.as_object()),
        ("hosts", None) => (None, None),
        _ => (None, forms::single_host(value)),
    };
    let has_no_id = |host_object: &Object| host_object.get("id").is_none_or(is_placeholder);
    let why = if host_object.is_some_and(has_no_id) { HostMissing::NullId } else { HostMissing::Malformed };
    Some(MissingHost { why, at: Some((index, format!("/{key}{}", item.unwrap_or_default()))) })
}

fn first_host(object: &Object) -> Option<Host> {
    forms::first_host(object.get("hosts")?)?.1.as_object().map(read_host)
}

fn host_under_key(object: &Object, key: &str) -> Option<Host> {
    forms::single_host(object.get(key)?).map(read_host)
}

/// Returns `user`; in flat webhooks its id is next to it as `userId`.
fn user(object: &Object) -> Option<Host> {
    let mut host = host_under_key(object, "user")?;
    host.id = host.id.or_else(|| object.get("userId").and_then(host_id));
    Some(host)
}

fn read_host(host_object: &Object) -> Host {
    let email = |key| text(host_object, key).filter(|address| address.contains('@'));
    Host {
        id: host_object.get("id").and_then(host_id),
        name: text(host_object, "name"),
        email: email("email"),
        display_email: email("displayEmail"),
        username: text(host_object, "username"),
        time_zone: text(host_object, "timeZone"),
    }
}

/// Returns the id of a host as the key of a list.
pub(super) fn host_key(host: &Value) -> Option<u64> {
    host.get("id").and_then(host_id).and_then(|id| u64::try_from(id.0).ok())
}

/// Returns whether a value of a host stands for no value: null, a blank string, or what Cal.com writes.
pub(super) fn is_placeholder(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty() || ABSENT.contains(&text.trim()),
        _ => false,
    }
}

/// Returns the id of a host.
pub(super) fn host_id(value: &Value) -> Option<HostId> {
    fields::whole_number(value).and_then(HostId::new)
}

fn text(host_object: &Object, key: &str) -> Option<String> {
    fields::display_text(host_object, key).filter(|text| !ABSENT.contains(&text.as_str()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn find(booking: Value) -> Option<(Host, HostSource)> {
        primary_host(&[(booking.as_object().unwrap(), HostSource::Hosts)])
    }

    #[test]
    fn a_host_is_usable_with_an_id_or_a_real_address() {
        for (host, usable) in [
            (json!({"id": 7}), true),
            (json!({"id": " 7 "}), true),
            (json!({"email": "mara@salon.example"}), true),
            (json!({"displayEmail": "mara@salon.example"}), true),
            (json!({"id": 2_147_483_647}), true),
            (json!({"id": 2_147_483_648_i64}), false),
            (json!({"id": 0}), false),
            (json!({"id": -7}), false),
            (json!({"id": 7.5}), false),
            (json!({"id": true}), false),
            (json!({"id": "unknown", "email": "unknown", "name": "Mara Lind"}), false),
            (json!({"email": "Email-less", "name": "Nameless"}), false),
            (json!({"email": "no address"}), false),
            (json!({"email": ["mara@salon.example"]}), false),
            (json!({}), false),
            (json!(null), false),
            (json!("Mara"), false),
        ] {
            assert_eq!(find(json!({ "hosts": [host] })).is_some(), usable, "{host}");
        }
    }

    #[test]
    fn the_reason_for_a_host_without_an_id_is_reported() {
        use HostMissing::{Absent, Empty, Malformed, NullId};
        for (booking, why) in [
            (json!({}), Some(Absent)),
            (json!({"hosts": null}), Some(Absent)),
            (json!({"hosts": []}), Some(Empty)),
            (json!({"hosts": [], "organizer": {"id": 7}}), None),
            (json!({"hosts": [], "organizer": {"name": "Mara"}}), Some(NullId)),
            (json!({"hosts": [{"id": null}]}), Some(NullId)),
            (json!({"hosts": [{"id": "unknown", "email": "unknown"}]}), Some(NullId)),
            (json!({"hosts": [{"email": "mara@salon.example"}]}), Some(NullId)),
            (json!({"hosts": [{"id": 7.5}]}), Some(Malformed)),
            (json!({"hosts": ["Mara"]}), Some(Malformed)),
            (json!({"hosts": "Mara"}), Some(Malformed)),
            (json!({"hosts": {"0": {"id": 1}}}), None),
            (json!({"hosts": {"lea": {"id": 1}}}), Some(NullId)),
            (json!({"hosts": [{"id": 7}]}), None),
        ] {
            let objects = [(booking.as_object().unwrap(), HostSource::Hosts)];
            let found = primary_host(&objects);
            let missing = missing_host(&objects, found.as_ref().map(|(host, _)| host));
            assert_eq!(missing.map(|missing| missing.why), why, "{booking}");
        }
    }

    #[test]
    fn literals_are_absent_only_in_their_own_spelling() {
        let (host, _) =
            find(json!({"hosts": [{"id": 7, "name": " Nameless ", "username": "Unknown", "timeZone": ""}]}))
                .unwrap();
        assert_eq!(host.name, None);
        assert_eq!(host.username.as_deref(), Some("Unknown"));
        assert_eq!(host.time_zone, None);
    }

    #[test]
    fn the_first_field_with_a_usable_host_wins() {
        let a = json!({"id": 1});
        let nobody = json!({"id": "unknown", "email": "unknown"});
        for (booking, expected) in [
            (json!({"hosts": [a], "organizer": {"id": 2}}), Some((1, HostSource::Hosts))),
            (json!({"hosts": [nobody], "organizer": {"id": 2}}), Some((2, HostSource::Organizer))),
            (json!({"hosts": [nobody, a]}), None),
            (json!({"hosts": [], "organizer": nobody, "user": {"id": 3}}), Some((3, HostSource::User))),
            (json!({"hosts": {"0": a}, "organizer": {"id": 2}}), Some((1, HostSource::Hosts))),
            (json!({"hosts": {}, "organizer": {"id": 2}}), Some((2, HostSource::Organizer))),
            (json!({"hosts": null, "user": {"name": "Mara"}, "userId": "4"}), Some((4, HostSource::User))),
            (json!({"user": {"id": 3}, "userId": 4}), Some((3, HostSource::User))),
            (json!({"user": null, "userId": 4}), None),
        ] {
            let found = find(booking.clone()).map(|(host, source)| (host.id.map_or(0, |id| id.0), source));
            assert_eq!(found, expected, "{booking}");
        }
    }
}
