//! JSON Schema (2020-12) of the events. Whatever the decoder reads, the schema accepts; what the
//! decoder refuses, the schema refuses as far as a schema can say it. A test holds one against the
//! other, with the fixtures and with whatever else can be thought of.
//!
//! It describes a message by itself, as it comes by HTTP: a header or a routing key that names the
//! type of an event stands for `event` in its body.

use serde_json::{Value, json};

use super::{DIALECT, Definitions, Place, bookings, needed};
use crate::event::{EVENT_TYPES, EventType, Shape};

/// Events of any type, in any shape.
pub fn event_schema() -> Value {
    let mut schema = json!({ "$schema": DIALECT, "title": "An event that hostmatch reads" });
    let root = Place::SCHEMA.of("Event");
    schema["$ref"] = root["$ref"].clone();
    schema["$defs"] = Value::Object(needed(&root, Place::SCHEMA, &definitions(Place::SCHEMA)));
    schema
}

/// Events of this one type, in the shape of whoever names it so: the gateway's own event, or
/// Cal.com's webhook.
pub fn event_type_schema(known: &EventType) -> Value {
    let root = of_type(known, Place::SCHEMA);
    let defs = needed(&root, Place::SCHEMA, &definitions(Place::SCHEMA));
    let mut schema = root;
    schema["$schema"] = json!(DIALECT);
    schema["$defs"] = Value::Object(defs);
    schema
}

/// Every definition.
pub(super) fn definitions(place: Place) -> Definitions {
    let mut all = Definitions::new();
    bookings::define(&mut all, place);
    let mut add = |name: &str, schema: Value| all.insert(name.to_owned(), schema);
    add("Event", event(place));
    add("Native", native(place));
    add("NativeContent", native_content(place));
    add("Calcom", calcom(place));
    add("CalcomContent", calcom_content(place));
    add("Name", json!({ "description": "A text that is not blank.", "type": "string", "pattern": "\\S" }));
    all
}

/// The schema of one type.
pub(super) fn of_type(known: &EventType, place: Place) -> Value {
    let (key, content) = match known.named_by {
        Shape::Calcom => ("triggerEvent", "CalcomContent"),
        Shape::Native => ("event", "NativeContent"),
    };
    let mut schema = json!({
        "title": known.name,
        "description": format!("{}{}.", known.when[..1].to_uppercase(), &known.when[1..]),
        "type": "object",
        "required": [key],
        "properties": { key: named(&[known.name]) },
        "allOf": [place.of(content)],
    });
    if known.named_by == Shape::Native {
        schema["not"] = json!({ "anyOf": [is_cloudevent(), is_laravel(), is_calcom()] });
    } else {
        schema["not"] = json!({ "anyOf": [is_cloudevent(), is_laravel()] });
    }
    schema
}

/// One of these names; blanks around it do not count.
fn named(names: &[&str]) -> Value {
    let names: Vec<String> = names.iter().map(|name| name.replace('.', "\\.")).collect();
    json!({ "type": "string", "pattern": format!("^\\s*({})\\s*$", names.join("|")) })
}

fn known() -> Value {
    named(&EVENT_TYPES.map(|known| known.name))
}

fn is_cloudevent() -> Value {
    json!({ "required": ["specversion"] })
}

fn is_laravel() -> Value {
    json!({ "required": ["job", "data"], "properties": { "job": { "type": "string" } } })
}

fn is_calcom() -> Value {
    json!({ "required": ["triggerEvent"] })
}

/// The shapes, told apart in the decoder's order.
fn event(place: Place) -> Value {
    json!({
        "description": "Which shape it is, is decided by these keys in this order.",
        "type": "object",
        "if": is_cloudevent(),
        "then": false,
        "else": {
            "if": is_laravel(),
            "then": false,
            "else": { "if": is_calcom(), "then": place.of("Calcom"), "else": place.of("Native") },
        },
    })
}

/// With a booking it must be of a known type; without one it must not, and is ignored.
fn native(place: Place) -> Value {
    json!({
        "description": "The gateway's own event. One of another type that carries no booking is ignored.",
        "required": ["event"],
        "properties": { "event": place.of("Name") },
        "if": { "properties": { "calcom_booking": { "type": "null" } } },
        "then": { "properties": { "event": { "not": known() } } },
        "else": { "properties": { "event": known() }, "allOf": [place.of("NativeContent")] },
    })
}

fn native_content(place: Place) -> Value {
    json!({
        "required": ["calcom_booking"],
        "properties": {
            "event_id": { "description": "By which repeats are told: a text or a number. Without one it is a hash of the event." },
            "occurred_at": { "description": "By which newer is told from older, where the booking has no updatedAt: RFC 3339, or ISO 8601 with an offset." },
            "company_id": place.of("Key"),
            "appointment_id": place.of("Key"),
            "calcom_booking": { "description": "What Cal.com's API answered, untouched." },
        },
        "if": { "required": ["appointment_id"], "properties": { "appointment_id": { "not": { "type": "null" } } } },
        "then": { "properties": { "calcom_booking": place.of("AppointmentBooking") } },
        "else": { "properties": { "calcom_booking": place.of("Bookings") } },
    })
}

fn calcom(place: Place) -> Value {
    json!({
        "description": "Cal.com's own webhook. One of another trigger is ignored, whatever it carries.",
        "required": ["triggerEvent"],
        "properties": { "triggerEvent": place.of("Name") },
        "if": { "properties": { "triggerEvent": known() } },
        "then": place.of("CalcomContent"),
    })
}

/// The booking is the payload, or the body itself.
fn calcom_content(place: Place) -> Value {
    json!({
        "properties": { "createdAt": { "description": "When it was sent: by which newer is told from older, where the booking has no updatedAt." } },
        "if": { "required": ["payload"] },
        "then": { "properties": { "payload": place.of("WrappedBooking") } },
        "else": { "allOf": [place.of("Referenced"), place.of("NamedBooking")] },
    })
}
