//! The contracts with other programs, as documents for their tools: JSON Schema for the events, AsyncAPI for
//! the exchange, OpenAPI for the edge.
//!
//! Each document is a file here, in which `{name}` stands for a value from the code: a limit, a closed list,
//! the version. The code generates the parts that repeat for each type of event or kind of refusal.
//! `docs/schema/` contains copies of the results; a test compares them.
//!
//! The schema for events accepts everything that the decoder reads, and refuses what the decoder refuses, as
//! far as a schema can express it. A test compares the two, with the fixtures and with generated messages.
//! The decoder reads very few fields and ignores the rest, and so does the schema: an unusable host is not
//! an error, and neither is an unreadable time. The schema describes only the body of a message, as it
//! arrives over HTTP; over AMQP, a header or a routing key with an event type replaces `event` in the body.
//!
//! A wrapper (CloudEvents, Laravel's string job) may contain an event type, which takes precedence over the
//! event's own type. So some definitions exist three times: as `Plain`, if there is no wrapper or it contains
//! no type; as `PlainWithName`, if the wrapper's type is unknown, while the event's own type may be known;
//! and as `PlainWithType`, if the wrapper's type is known.

pub mod problem;
mod openapi;

pub use openapi::{CONTENT_TYPES, openapi};

use serde_json::{Map, Value, json};

use crate::event::{EVENT_TYPES, EventType, MAX_BOOKINGS, MAX_TEXT, Shape};

/// The location of the definitions in a document that is a schema itself.
const DEFINITIONS: &str = "#/$defs/";
/// The location of the definitions in an OpenAPI or AsyncAPI document.
const COMPONENTS: &str = "#/components/schemas/";

/// Definitions by name.
type Definitions = Map<String, Value>;

/// Returns the schema for events of any type, in any shape.
pub fn event_schema() -> Value {
    let types = EVENT_TYPES.map(|known| known.name.replace('.', "\\.")).join("|");
    let values =
        [("{types}", json!(types)), ("{max_text}", json!(MAX_TEXT)), ("{max_bookings}", json!(MAX_BOOKINGS))];
    fill_in(include_str!("events.json"), &values)
}

/// Returns the schema for events of this type, in the shape of the sender that uses this type: the gateway's
/// own event, or Cal.com's webhook.
pub fn event_type_schema(known: &EventType) -> Value {
    let mut all = event_schema();
    let mut schema = schema_of_type(known);
    schema["$defs"] = Value::Object(needed_definitions(&schema, &definitions(&all)));
    schema["$schema"] = all["$schema"].take();
    schema
}

/// Returns the AsyncAPI 3 document for the exchange: the messages that publishers send over AMQP, with their
/// properties. `prefix` is `queue.prefix`, the first part of the exchange's name.
pub fn asyncapi(prefix: &str) -> Value {
    let values = [version(), ("{exchange}", json!(format!("{prefix}.events")))];
    let mut document = fill_in(include_str!("asyncapi.json"), &values);
    let any = document["components"]["messages"]["event"].clone();
    for known in &EVENT_TYPES {
        let mut message = any.clone();
        message["name"] = json!(known.name);
        message["title"] = json!(known.name);
        message["summary"] = json!(describe(known));
        message["payload"]["schema"] = schema_of_type(known);
        document["components"]["messages"][known.name] = message;
        let reference = json!({ "$ref": format!("#/components/messages/{}", known.name) });
        document["channels"]["events"]["messages"][known.name] = reference;
    }
    let format = &any["payload"]["schemaFormat"];
    let schemas = definitions(&event_schema()).into_iter();
    let schemas = schemas.map(|(name, schema)| (name, json!({ "schemaFormat": format, "schema": schema })));
    document["components"]["schemas"] = Value::Object(schemas.collect());
    // A reference has to point to the schema inside the multi-format object.
    rewrite(&mut document, &|text| {
        text.strip_prefix(DEFINITIONS).map(|name| json!(format!("{COMPONENTS}{name}/schema")))
    });
    document
}

/// Parses a document and replaces these names with their values. Each string may contain at most one of the
/// names. A string that consists only of a name becomes the value itself.
pub(crate) fn fill_in(text: &str, values: &[(&str, Value)]) -> Value {
    // The text is a file of this program; a test checks that it is JSON.
    let mut document = serde_json::from_str(text).unwrap_or_default();
    rewrite(&mut document, &|text| {
        let (name, value) = values.iter().find(|(name, _)| text.contains(name))?;
        let inline = || value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        Some(if text == *name { value.clone() } else { text.replace(name, &inline()).into() })
    });
    document
}

fn version() -> (&'static str, Value) {
    ("{version}", json!(env!("CARGO_PKG_VERSION")))
}

/// Replaces each string in `value` for which `change` returns a value.
fn rewrite(value: &mut Value, change: &impl Fn(&str) -> Option<Value>) {
    match value {
        Value::Object(members) => members.values_mut().for_each(|member| rewrite(member, change)),
        Value::Array(items) => items.iter_mut().for_each(|item| rewrite(item, change)),
        Value::String(text) => {
            if let Some(replacement) = change(text) {
                *value = replacement;
            }
        }
        _ => {}
    }
}

fn definitions(schema: &Value) -> Definitions {
    schema["$defs"].as_object().cloned().unwrap_or_default()
}

/// Returns the schema for one event type, without the definitions.
fn schema_of_type(known: &EventType) -> Value {
    // The shapes that the decoder checks before this one.
    let cloudevent = json!({ "required": ["specversion"] });
    let laravel = json!({ "required": ["job", "data"], "properties": { "job": { "type": "string" } } });
    let calcom = json!({ "required": ["triggerEvent"] });
    let (key, content, others) = match known.named_by {
        Shape::Calcom => ("triggerEvent", "CalcomContent", vec![cloudevent, laravel]),
        _ => ("event", "NativeContent", vec![cloudevent, laravel, calcom]),
    };
    let name = format!("^\\s*({})\\s*$", known.name.replace('.', "\\."));
    json!({
        "title": known.name,
        "description": describe(known),
        "type": "object",
        "required": [key],
        "properties": { key: { "type": "string", "pattern": name } },
        "allOf": [{ "$ref": format!("{DEFINITIONS}{content}") }],
        "not": { "anyOf": others },
    })
}

/// Describes when an event of this type is sent.
fn describe(known: &EventType) -> String {
    format!("{}{}.", known.when[..1].to_uppercase(), &known.when[1..])
}

/// Returns only the definitions that `root` needs, directly or indirectly.
fn needed_definitions(root: &Value, all: &Definitions) -> Definitions {
    let mut found = Definitions::new();
    let mut pending = vec![root.clone()];
    while let Some(value) = pending.pop() {
        match value {
            Value::Object(members) => pending.extend(members.into_iter().map(|(_, member)| member)),
            Value::Array(items) => pending.extend(items),
            Value::String(text) => {
                if let Some(name) = text.strip_prefix(DEFINITIONS)
                    && let Some(definition) = all.get(name)
                    && found.insert(name.to_owned(), definition.clone()).is_none()
                {
                    pending.push(definition.clone());
                }
            }
            _ => {}
        }
    }
    found
}
