//! AsyncAPI 3 of the exchange: what publishers send by AMQP, and with which properties.

use serde_json::{Map, Value, json};

use super::events::{definitions, of_type};
use super::{DIALECT, Place, needed};
use crate::event::{EVENT_TYPES, EventType, TYPE_HEADER};

/// How a schema says that it is one of ours, and not of the older dialect of AsyncAPI.
const FORMAT: &str = "application/schema+json;version=draft-2020-12";

/// The document. `prefix` is `queue.prefix`, of which the exchange's name is made.
pub fn asyncapi(prefix: &str) -> Value {
    let known = EVENT_TYPES.iter().map(|known| (known.name.to_owned(), message(known)));
    let mut messages = Value::Object(known.chain([any()]).collect());
    let schemas = needed(&messages, Place::COMPONENTS, &definitions(Place::COMPONENTS));
    let schemas =
        schemas.into_iter().map(|(name, schema)| (name, json!({ "schemaFormat": FORMAT, "schema": schema })));
    let mut schemas = Value::Object(schemas.collect());
    inside(&mut messages);
    inside(&mut schemas);
    let names = EVENT_TYPES.iter().map(|known| known.name).chain(["event"]);
    let refs: Map<String, Value> = names
        .map(|name| (name.to_owned(), json!({ "$ref": format!("#/components/messages/{name}") })))
        .collect();
    let exchange = format!("{prefix}.events");
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "hostmatch events",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Publishers know the exchange only: what is bound to it is hostmatch's own. Publish persistent and mandatory, and wait for the confirm.",
            "license": { "name": "Apache-2.0 OR MIT" },
        },
        "defaultContentType": "application/json",
        "channels": {
            "events": {
                "address": "{type}",
                "title": exchange,
                "description": "The type of the event is the routing key.",
                "parameters": { "type": { "description": "The type of the event. Another key is read as well; then the event itself says its type." } },
                "messages": refs,
                "bindings": { "amqp": { "bindingVersion": "0.3.0", "is": "routingKey", "exchange": { "name": exchange, "type": "topic", "durable": true, "autoDelete": false } } },
            },
        },
        "operations": {
            "takeEvents": {
                "action": "receive",
                "summary": "hostmatch takes every event of the exchange.",
                "channel": { "$ref": "#/channels/events" },
                "bindings": { "amqp": { "bindingVersion": "0.3.0", "deliveryMode": 2, "mandatory": true, "ack": true } },
            },
        },
        "components": { "messages": messages, "schemas": schemas },
    })
}

fn message(known: &EventType) -> Value {
    json!({
        "name": known.name,
        "title": known.name,
        "summary": format!("{}{}.", known.when[..1].to_uppercase(), &known.when[1..]),
        "contentType": "application/json",
        "headers": headers(),
        "payload": { "schemaFormat": FORMAT, "schema": of_type(known, Place::COMPONENTS) },
    })
}

/// Every other shape.
fn any() -> (String, Value) {
    let message = json!({
        "name": "event",
        "title": "An event of any type, in any shape",
        "contentType": "application/json",
        "headers": headers(),
        "payload": { "schemaFormat": FORMAT, "schema": Place::COMPONENTS.of("Event") },
    });
    ("event".to_owned(), message)
}

/// The headers that are looked at; all others travel along.
fn headers() -> Value {
    json!({
        "schemaFormat": FORMAT,
        "schema": {
            "$schema": DIALECT,
            "type": "object",
            "properties": {
                TYPE_HEADER: { "type": "string", "description": "The type of the event, before everything else that names it." },
                "traceparent": { "type": "string", "description": "W3C trace context; travels along." },
            },
        },
    })
}

/// References to components mean the schema that stands inside.
fn inside(value: &mut Value) {
    match value {
        Value::Object(members) => members.iter_mut().for_each(|(name, member)| match member {
            Value::String(to) if name == "$ref" && to.starts_with(Place::COMPONENTS.0) => {
                to.push_str("/schema")
            }
            member => inside(member),
        }),
        Value::Array(items) => items.iter_mut().for_each(inside),
        _ => {}
    }
}
