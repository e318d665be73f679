//! What other people's code depends on, as documents for their tools: JSON Schema of the events,
//! AsyncAPI of the exchange, OpenAPI of the edge.
//!
//! Each is a file here, in which `{name}` stands for what the program itself works with: its bounds,
//! its closed lists, its version. What repeats for each type of event or kind of refusal is added by
//! code. `docs/schema/` has copies of the results, which a test compares.
//!
//! Whatever the decoder reads, the schema of events accepts; what the decoder refuses, it refuses as far
//! as a schema can say it. A test holds one against the other, with the fixtures and with whatever else
//! can be thought of. The decoder looks for very little and leaves the rest alone, so the schema does as
//! well: a host that cannot be used is no mistake, and neither is a time that cannot be read. It describes
//! a message by itself, as it comes by HTTP: a header or a routing key that names the type of an event
//! stands for `event` in its body.
//!
//! A wrapping (CloudEvents, Laravel's string job) may name the event's type, which counts before what the
//! event says. So some definitions come three times: as `Plain`, where the wrapping says nothing or there
//! is none; as `PlainWithName`, where it has a name that we do not know, and the event may have one that we
//! do; and as `PlainWithType`, where it has one that we know.

pub mod problem;
mod openapi;

pub use openapi::{CONTENT_TYPES, openapi};

use serde_json::{Map, Value, json};

use crate::event::{EVENT_TYPES, EventType, MAX_BOOKINGS, MAX_TEXT, Shape};

/// Where the definitions stand in a document that is a schema itself.
const DEFINITIONS: &str = "#/$defs/";
/// And where in an OpenAPI or AsyncAPI document.
const COMPONENTS: &str = "#/components/schemas/";

/// Definitions by name.
type Definitions = Map<String, Value>;

/// Events of any type, in any shape.
pub fn event_schema() -> Value {
    let types = EVENT_TYPES.map(|known| known.name.replace('.', "\\.")).join("|");
    let values =
        [("{types}", json!(types)), ("{max_text}", json!(MAX_TEXT)), ("{max_bookings}", json!(MAX_BOOKINGS))];
    filled(include_str!("events.json"), &values)
}

/// Events of this one type, in the shape of whoever names it so: the gateway's own event, or
/// Cal.com's webhook.
pub fn event_type_schema(known: &EventType) -> Value {
    let mut all = event_schema();
    let mut schema = of_type(known);
    schema["$defs"] = Value::Object(needed(&schema, &definitions(&all)));
    schema["$schema"] = all["$schema"].take();
    schema
}

/// AsyncAPI 3 of the exchange: what publishers send by AMQP, and with which properties. `prefix` is
/// `queue.prefix`, of which the exchange's name is made.
pub fn asyncapi(prefix: &str) -> Value {
    let values = [version(), ("{exchange}", json!(format!("{prefix}.events")))];
    let mut document = filled(include_str!("asyncapi.json"), &values);
    let any = document["components"]["messages"]["event"].clone();
    for known in &EVENT_TYPES {
        let mut message = any.clone();
        message["name"] = json!(known.name);
        message["title"] = json!(known.name);
        message["summary"] = json!(sentence(known));
        message["payload"]["schema"] = of_type(known);
        document["components"]["messages"][known.name] = message;
        let reference = json!({ "$ref": format!("#/components/messages/{}", known.name) });
        document["channels"]["events"]["messages"][known.name] = reference;
    }
    let format = &any["payload"]["schemaFormat"];
    let schemas = definitions(&event_schema()).into_iter();
    let schemas = schemas.map(|(name, schema)| (name, json!({ "schemaFormat": format, "schema": schema })));
    document["components"]["schemas"] = Value::Object(schemas.collect());
    // A reference means the schema that stands inside.
    rewrite(&mut document, &|text| {
        text.strip_prefix(DEFINITIONS).map(|name| json!(format!("{COMPONENTS}{name}/schema")))
    });
    document
}

/// A document out of its text, with these values in the places of their names. A text that is nothing but
/// a name becomes the value itself.
pub(crate) fn filled(text: &str, values: &[(&str, Value)]) -> Value {
    // A file of this program: that it is JSON, a test has found.
    let mut document = serde_json::from_str(text).unwrap_or_default();
    rewrite(&mut document, &|text| {
        let (name, value) = values.iter().find(|(name, _)| text.contains(name))?;
        let within = || value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        Some(if text == *name { value.clone() } else { text.replace(name, &within()).into() })
    });
    document
}

fn version() -> (&'static str, Value) {
    ("{version}", json!(env!("CARGO_PKG_VERSION")))
}

/// Puts in place of each text in `value` what `change` makes of it, if anything.
fn rewrite(value: &mut Value, change: &impl Fn(&str) -> Option<Value>) {
    match value {
        Value::Object(members) => members.values_mut().for_each(|member| rewrite(member, change)),
        Value::Array(items) => items.iter_mut().for_each(|item| rewrite(item, change)),
        Value::String(text) => {
            if let Some(other) = change(text) {
                *value = other;
            }
        }
        _ => {}
    }
}

fn definitions(schema: &Value) -> Definitions {
    schema["$defs"].as_object().cloned().unwrap_or_default()
}

/// The schema of one type.
fn of_type(known: &EventType) -> Value {
    // The shapes that the decoder looks for before this one.
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
        "description": sentence(known),
        "type": "object",
        "required": [key],
        "properties": { key: { "type": "string", "pattern": name } },
        "allOf": [{ "$ref": format!("{DEFINITIONS}{content}") }],
        "not": { "anyOf": others },
    })
}

/// When an event of this type comes.
fn sentence(known: &EventType) -> String {
    format!("{}{}.", known.when[..1].to_uppercase(), &known.when[1..])
}

/// Only those definitions that are needed for `root`, directly or by each other.
fn needed(root: &Value, all: &Definitions) -> Definitions {
    let mut found = Definitions::new();
    let mut open = vec![root.clone()];
    while let Some(value) = open.pop() {
        match value {
            Value::Object(members) => open.extend(members.into_iter().map(|(_, member)| member)),
            Value::Array(items) => open.extend(items),
            Value::String(text) => {
                if let Some(name) = text.strip_prefix(DEFINITIONS)
                    && let Some(definition) = all.get(name)
                    && found.insert(name.to_owned(), definition.clone()).is_none()
                {
                    open.push(definition.clone());
                }
            }
            _ => {}
        }
    }
    found
}
