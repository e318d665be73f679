//! The part of the schema that is about wrappings: CloudEvents in structured mode and Laravel's string
//! jobs. What a wrapping says of the event's type counts before what the event says.

use serde_json::{Value, json};

use super::events::{Outside, is_cloudevent, known};
use super::{Definitions, Place};

/// Adds the definitions of the wrappings.
pub(super) fn define(all: &mut Definitions, place: Place) {
    let mut add = |name: &str, schema: Value| all.insert(name.to_owned(), schema);
    for outside in Outside::ALL {
        add(&outside.name("CloudEvent"), cloudevent(place, outside));
        add(&outside.name("CloudEventData"), cloudevent_data(place, outside));
        add(&outside.name("LaravelData"), laravel_data(place, outside));
    }
    add("LaravelJob", laravel_job(place));
}

/// A CloudEvents message; what is around it says `outside` of the type.
fn cloudevent(place: Place, outside: Outside) -> Value {
    let data = |outside: Outside| place.of(&outside.name("CloudEventData"));
    let own = |schema: Value| json!({ "required": ["type"], "properties": { "type": schema } });
    let is_typed = own(known());
    // Horizon writes job over it.
    let is_named = own(json!({ "allOf": [place.of("Name"), { "not": { "const": "job" } }] }));
    let content = match outside {
        Outside::Typed => data(Outside::Typed),
        Outside::Named => {
            json!({ "if": is_typed, "then": data(Outside::Typed), "else": data(Outside::Named) })
        }
        Outside::Unnamed => json!({
            "if": is_typed,
            "then": data(Outside::Typed),
            "else": { "if": is_named, "then": data(Outside::Named), "else": data(Outside::Unnamed) },
        }),
    };
    json!({
        "description": "CloudEvents 1.x or 0.3 in structured mode.",
        "required": ["specversion"],
        "properties": {
            "specversion": { "type": "string", "pattern": "^(1\\.|0\\.3$)" },
            "type": { "description": "The event's type; a name that is not known leaves it to the event. A job, as Horizon writes it over the type, counts as none." },
            "id": { "description": "By which repeats are told: a text or a number." },
            "time": { "description": "By which newer is told from older, where neither booking nor event has a time." },
        },
        "allOf": [content],
    })
}

/// The event is `data`, or is encoded. Encoded it cannot be looked into.
fn cloudevent_data(place: Place, outside: Outside) -> Value {
    let old_base64 = json!({
        "required": ["datacontentencoding"],
        "properties": { "datacontentencoding": { "type": "string", "pattern": "^[Bb][Aa][Ss][Ee]64$" } },
    });
    // Without any data the event has a name at most, and is ignored then.
    let nothing = outside == Outside::Named;
    json!({
        "if": { "properties": { "data": { "type": "null" } } },
        "then": {
            "if": { "properties": { "data_base64": { "type": "null" } } },
            "then": nothing,
            "else": { "properties": { "data_base64": { "type": "string", "contentEncoding": "base64", "contentMediaType": "application/json" } } },
        },
        "else": {
            "if": { "properties": { "data": { "type": "string" } } },
            "then": old_base64,
            "else": { "properties": { "data": place.of(&outside.name("Plain")) } },
        },
    })
}

/// A payload of Laravel's queue, also as Horizon writes it.
fn laravel_job(place: Place) -> Value {
    let data = |outside: Outside| json!({ "properties": { "data": place.of(&outside.name("LaravelData")) } });
    let either = |schema: &Value| {
        let says = |key: &str| json!({ "required": [key], "properties": { key: schema } });
        json!({ "anyOf": [says("displayName"), says("job")] })
    };
    json!({
        "description": "Laravel's string job: its name is the type, its data the event. A job that is an object, or is encrypted, is refused.",
        "required": ["job", "data"],
        "properties": {
            "job": { "type": "string" },
            "uuid": { "description": "By which repeats are told, where nothing else is there to tell them by." },
            "pushedAt": { "description": "Seconds since 1970: when it was published." },
        },
        "if": either(&known()),
        "then": data(Outside::Typed),
        "else": { "if": either(&place.of("Name")), "then": data(Outside::Named), "else": data(Outside::Unnamed) },
    })
}

fn laravel_data(place: Place, outside: Outside) -> Value {
    json!({
        "description": "The event, or a CloudEvents message.",
        "type": "object",
        "not": { "required": ["command"], "properties": { "command": { "type": "string" } } },
        "if": is_cloudevent(),
        "then": place.of(&outside.name("CloudEvent")),
        "else": place.of(&outside.name("Plain")),
    })
}
