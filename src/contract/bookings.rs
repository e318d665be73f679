//! The part of the schema that is about bookings: references, and where a booking may stand.
//!
//! The decoder looks for very little and leaves the rest alone, so the schema does as well: a host
//! that cannot be used is no mistake, and neither is a time that cannot be read.

use serde_json::{Value, json};

use super::{Definitions, Place};
use crate::event::{MAX_BOOKINGS, MAX_TEXT};

/// Adds the definitions of references and bookings.
pub(super) fn define(all: &mut Definitions, place: Place) {
    let mut add = |name: &str, schema: Value| all.insert(name.to_owned(), schema);
    add("Key", key());
    add(
        "Blank",
        json!({ "description": "Counts as absent.", "anyOf": [{ "type": "null" }, { "type": "string", "pattern": "^\\s*$" }] }),
    );
    add("Reference", reference());
    add("OptionalReference", json!({ "anyOf": [place.of("Reference"), place.of("Blank")] }));
    add("Referenced", referenced(place));
    add("Booking", booking(place));
    add("NamedBooking", named(place));
    add("WrappedBooking", wrapped(place));
    add("Bookings", bookings(place));
    add("AppointmentBooking", of_an_appointment(place));
}

/// A key of a table of the gateway's.
fn key() -> Value {
    json!({
        "description": "A positive whole number, or a text of digits that is one. Null is absent.",
        "anyOf": [
            { "type": "null" },
            { "type": "integer", "minimum": 1, "maximum": i64::MAX },
            { "type": "string", "pattern": "^\\s*0*[1-9][0-9]{0,18}\\s*$" },
        ],
    })
}

fn reference() -> Value {
    json!({
        "description": format!("What a booking is called: a text of up to {MAX_TEXT} bytes, or a whole number. Compared byte for byte."),
        "anyOf": [
            { "type": "string", "pattern": "^[^\\u0000]*\\S[^\\u0000]*$", "maxLength": MAX_TEXT },
            { "type": "integer", "minimum": i64::MIN, "maximum": u64::MAX },
        ],
    })
}

/// Says of itself which booking it is, rightly or not.
fn referenced(place: Place) -> Value {
    let says = |key: &str| json!({ "required": [key], "properties": { key: { "not": place.of("Blank") } } });
    json!({ "anyOf": [says("uid"), says("bookingId"), says("id")] })
}

/// Whether `key` holds a reference.
fn holds(place: Place, key: &str) -> Value {
    json!({ "required": [key], "properties": { key: place.of("Reference") } })
}

/// A booking by its fields, which need not say which one it is.
fn booking(place: Place) -> Value {
    let optional = place.of("OptionalReference");
    let person = "The first usable of hosts[0], organizer, user is the primary host: one with an id (a whole number from 1 to 2147483647, or a text of digits) or an e-mail address. Anything else counts as nobody.";
    let time = "RFC 3339 or ISO 8601 with an offset; anything else counts as absent.";
    json!({
        "description": "A Cal.com booking as the API (2024-08-13, 2024-04-15) or a webhook writes it. Fields that are not named here are left alone.",
        "type": "object",
        "properties": {
            "uid": optional,
            "bookingId": optional,
            "id": { "description": "The API's name for what a webhook calls bookingId; it is looked at where there is no bookingId." },
            "rescheduledFromUid": optional,
            "rescheduleUid": { "description": "As rescheduledFromUid, where that is absent." },
            "status": { "description": "cancelled or rejected, in any case: then the booking is recorded only." },
            "hosts": { "description": person },
            "organizer": { "description": person },
            "user": { "description": person },
            "start": { "description": time },
            "startTime": { "description": time },
            "updatedAt": { "description": format!("By which newer is told from older. {time}") },
        },
        // What stands in the second place is looked at only where the first holds none.
        "allOf": [
            { "if": holds(place, "bookingId"), "else": { "properties": { "id": optional } } },
            { "if": holds(place, "rescheduledFromUid"), "else": { "properties": { "rescheduleUid": optional } } },
        ],
    })
}

fn named(place: Place) -> Value {
    json!({
        "description": "A booking that says which one it is.",
        "allOf": [
            place.of("Booking"),
            { "anyOf": [holds(place, "uid"), holds(place, "bookingId"), holds(place, "id")] },
        ],
    })
}

/// `schema` of the booking itself, or of what the API's envelope holds as `data`.
fn maybe_wrapped(place: Place, schema: &Value) -> Value {
    json!({
        "if": place.of("Referenced"),
        "then": schema,
        "else": {
            "if": { "required": ["data"], "properties": { "data": { "type": "object" } } },
            "then": { "properties": { "data": schema } },
            "else": schema,
        },
    })
}

fn wrapped(place: Place) -> Value {
    let mut schema = maybe_wrapped(place, &place.of("NamedBooking"));
    schema["description"] = json!("A booking, bare or as data of the API's envelope.");
    schema["type"] = json!("object");
    schema
}

fn bookings(place: Place) -> Value {
    let several = |item: &str| json!({ "type": "array", "minItems": 1, "maxItems": MAX_BOOKINGS, "items": place.of(item) });
    json!({
        "description": "A booking, an array of them (a recurring one), or the API's envelope around either.",
        "anyOf": [
            several("WrappedBooking"),
            {
                "type": "object",
                "if": place.of("Referenced"),
                "then": place.of("NamedBooking"),
                "else": { "required": ["data"], "properties": { "data": { "anyOf": [place.of("NamedBooking"), several("NamedBooking")] } } },
            },
        ],
    })
}

fn of_an_appointment(place: Place) -> Value {
    json!({
        "description": "The one booking of an event with appointment_id, bare or in the API's envelope. It need not say which one it is.",
        "type": "object",
        "anyOf": [place.of("Referenced"), { "properties": { "data": { "type": ["object", "null"] } } }],
        "allOf": [maybe_wrapped(place, &place.of("Booking"))],
    })
}
