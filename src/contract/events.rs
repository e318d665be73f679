//! JSON Schema (2020-12) of the events. Whatever the decoder reads, the schema accepts; what the
//! decoder refuses, the schema refuses as far as a schema can say it. A test holds one against the
//! other, with the fixtures and with whatever else can be thought of.
//!
//! It describes a message by itself, as it comes by HTTP: a header or a routing key that names the
//! type of an event stands for `event` in its body.

use serde_json::{Value, json};

use super::{DIALECT, Definitions, Place, bookings, needed, wrappings};
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
    wrappings::define(&mut all, place);
    let mut add = |name: &str, schema: Value| all.insert(name.to_owned(), schema);
    for outside in Outside::ALL {
        add(&outside.name("Plain"), plain(place, outside));
        add(&outside.name("Native"), native(place, outside));
        add(&outside.name("Calcom"), calcom(place, outside));
    }
    add("Event", event(place));
    add("NativeContent", native_content(place));
    add("CalcomContent", calcom_content(place));
    add("Name", json!({ "description": "A text that is not blank.", "type": "string", "pattern": "\\S" }));
    all
}

/// What a wrapping around an event says of its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outside {
    /// Nothing, or there is none.
    Unnamed,
    /// A name that we do not know: the event may have one that we do.
    Named,
    /// One that we know, and that counts.
    Typed,
}

impl Outside {
    pub(super) const ALL: [Self; 3] = [Self::Unnamed, Self::Named, Self::Typed];

    /// What the definition is called that describes `what` within this.
    pub(super) fn name(self, what: &str) -> String {
        let suffix = match self {
            Self::Unnamed => "",
            Self::Named => "WithName",
            Self::Typed => "WithType",
        };
        format!("{what}{suffix}")
    }
}

/// The schema of one type.
pub(super) fn of_type(known: &EventType, place: Place) -> Value {
    let (key, content) = match known.named_by {
        Shape::Calcom => ("triggerEvent", "CalcomContent"),
        _ => ("event", "NativeContent"),
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

pub(super) fn known() -> Value {
    named(&EVENT_TYPES.map(|known| known.name))
}

pub(super) fn is_cloudevent() -> Value {
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
        "then": place.of("CloudEvent"),
        "else": { "if": is_laravel(), "then": place.of("LaravelJob"), "else": place.of("Plain") },
    })
}

/// An event without a wrapping, or inside of one.
fn plain(place: Place, outside: Outside) -> Value {
    let of = |what: &str| place.of(&outside.name(what));
    json!({ "type": "object", "if": is_calcom(), "then": of("Calcom"), "else": of("Native") })
}

/// With a booking it must be of a known type; without one it must not, and is ignored, unless what
/// stands there is a booking itself.
fn native(place: Place, outside: Outside) -> Value {
    let mut schema = json!({
        "description": "The gateway's own event. One of another type that carries no booking is ignored.",
        "if": { "properties": { "calcom_booking": { "type": "null" } } },
        "then": { "properties": { "event": { "not": known() } }, "not": { "required": ["hosts"] } },
        "else": { "required": ["event"], "properties": { "event": known() }, "allOf": [place.of("NativeContent")] },
    });
    match outside {
        Outside::Unnamed => {
            schema["required"] = json!(["event"]);
            schema["properties"] = json!({ "event": place.of("Name") });
        }
        Outside::Named => {}
        Outside::Typed => {
            schema = json!({
                "description": "The gateway's own event, whose type stands outside of it.",
                "allOf": [place.of("NativeContent")],
            });
        }
    }
    schema
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

fn calcom(place: Place, outside: Outside) -> Value {
    let mut schema = json!({
        "description": "Cal.com's own webhook. One of another trigger is ignored, whatever it carries.",
        "required": ["triggerEvent"],
        "if": { "properties": { "triggerEvent": known() } },
        "then": place.of("CalcomContent"),
    });
    match outside {
        Outside::Unnamed => schema["properties"] = json!({ "triggerEvent": place.of("Name") }),
        Outside::Named => {}
        Outside::Typed => {
            schema = json!({
                "description": "Cal.com's own webhook, whose type stands outside of it.",
                "allOf": [place.of("CalcomContent")],
            });
        }
    }
    schema
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
