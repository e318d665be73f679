//! OpenAPI 3.1 of the edge: its routes, who may post to them, what they answer.

use serde_json::{Value, json};

use super::events::definitions;
use super::{DIALECT, Definitions, Place, needed, problem};
use crate::http::problem::ProblemKind;

/// The formats that `POST /v1/events` takes: one event or an array, one a line, and CloudEvents' own
/// names for an event and for an array.
pub const CONTENT_TYPES: [&str; 4] = [
    "application/json",
    "application/x-ndjson",
    "application/cloudevents+json",
    "application/cloudevents-batch+json",
];

/// The document. The edge gives it at `/openapi.json`.
pub fn openapi() -> Value {
    let paths = json!({
        "/v1/events": { "post": events() },
        "/api/retell/webhook": { "post": retell() },
        "/webhooks/calcom": { "post": calcom() },
        "/health/live": { "get": live() },
        "/health/ready": { "get": ready() },
        "/openapi.json": { "get": itself() },
    });
    let mut all = definitions(Place::COMPONENTS);
    answers(&mut all);
    json!({
        "openapi": "3.1.0",
        "jsonSchemaDialect": DIALECT,
        "info": {
            "title": "hostmatch edge",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "Takes booking events and answers once they are durably kept.",
            "description": "Sending an event again does no harm: repeats are told by its id.",
            "license": { "name": "Apache-2.0 OR MIT", "identifier": "Apache-2.0 OR MIT" },
        },
        // An edge has whatever address it is given.
        "servers": [{ "url": "/" }],
        "tags": [
            { "name": "events", "description": "Events from the gateway and from programs" },
            { "name": "webhooks", "description": "Webhooks of others" },
            { "name": "operation", "description": "For load balancers and tools" },
        ],
        "components": {
            "schemas": needed(&paths, Place::COMPONENTS, &all),
            "securitySchemes": security_schemes(),
        },
        "paths": paths,
    })
}

fn security_schemes() -> Value {
    let header = |name: &str, description: &str| json!({ "type": "apiKey", "in": "header", "name": name, "description": description });
    json!({
        "token": { "type": "http", "scheme": "bearer", "description": "A token of `hostmatch token create`." },
        "gatewaySignature": header("x-hostmatch-signature", "Hex HMAC-SHA256 of the body, with one of edge.gateway_secrets."),
        "calcomSignature": header("x-cal-signature-256", "Hex HMAC-SHA256 of the body, as Cal.com sends it, with one of edge.calcom_secrets."),
        "retellSignature": header("x-retell-signature", "v=<ms>,d=<hex HMAC-SHA256 of body and ms>, as Retell sends it, with one of edge.retell_api_keys."),
    })
}

/// What the routes answer beside problems, and the problems.
fn answers(all: &mut Definitions) {
    let mut add = |name: &str, schema: Value| all.insert(name.to_owned(), schema);
    add(
        "Receipt",
        json!({
            "description": "What became of one event.",
            "type": "object",
            "required": ["id", "status"],
            "properties": {
                "id": { "type": "string", "description": "The event's id: the sender's own, or a hash of the event." },
                "status": { "enum": ["queued", "ignored"], "description": "queued: it is durably kept. ignored: there is nothing in it to act on, and it went nowhere." },
            },
        }),
    );
    add(
        "Accepted",
        json!({
            "description": "A receipt for each event, in the order in which they were sent.",
            "type": "object",
            "required": ["events"],
            "properties": { "events": { "type": "array", "minItems": 1, "items": Place::COMPONENTS.of("Receipt") } },
        }),
    );
    add(
        "Check",
        json!({
            "description": "How a part of this process is, and since when.",
            "type": "object",
            "required": ["role", "name", "state", "since"],
            "properties": {
                "role": { "enum": ["edge", "worker"] },
                "name": { "enum": ["running", "queue", "spool", "database", "consumers", "progress"] },
                "state": { "enum": ["ok", "degraded", "failed", "stuck"] },
                "since": { "type": "string", "format": "date-time" },
                "reasons": { "type": "array", "items": { "type": "string" } },
            },
        }),
    );
    add(
        "Health",
        json!({
            "type": "object",
            "required": ["status", "version", "checks"],
            "properties": {
                "status": { "enum": ["live", "stuck", "ready", "degraded", "not_ready"] },
                "version": { "type": "string" },
                "reasons": { "type": "array", "items": { "type": "string" } },
                "checks": { "type": "array", "items": Place::COMPONENTS.of("Check") },
                "spool": {
                    "type": "object",
                    "properties": {
                        "messages": { "type": "integer" },
                        "bytes": { "type": "integer" },
                        "oldest_seconds": { "type": "integer" },
                        "set_aside": { "type": "integer" },
                    },
                },
            },
        }),
    );
    let place = json!({ "type": "string", "format": "json-pointer", "description": "A JSON pointer; in an array, or one event a line, it begins with the event's index." });
    add(
        "Problem",
        json!({
            "description": "A problem document (RFC 9457). It holds nothing of what was sent.",
            "type": "object",
            "required": ["type", "title", "status", "detail"],
            "properties": {
                "type": { "enum": problem::ALL.iter().map(ProblemKind::urn).collect::<Vec<_>>() },
                "title": { "type": "string" },
                "status": { "enum": statuses() },
                "detail": { "type": "string", "description": "What failed, and what to do." },
                "pointer": place,
                "errors": {
                    "description": "Every event of a batch that cannot be read, up to 100.",
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["pointer", "detail"],
                        "properties": { "pointer": place, "detail": { "type": "string" } },
                    },
                },
            },
        }),
    );
}

fn statuses() -> Vec<u16> {
    let mut statuses: Vec<u16> = problem::ALL.iter().map(|kind| kind.status).collect();
    statuses.dedup();
    statuses
}

const ANY_POST: [&ProblemKind; 8] = [
    &problem::BROKEN_OFF,
    &problem::UNAUTHORIZED,
    &problem::TOO_SLOW,
    &problem::TOO_LARGE,
    &problem::BUSY,
    &problem::TOO_FAST,
    &problem::INTERNAL,
    &problem::UNAVAILABLE,
];

/// The answers of a route: a success, and problems by their status.
fn responses(success: (u16, &str, Value), problems: &[&ProblemKind]) -> Value {
    let (status, description, schema) = success;
    let mut responses = json!({
        status.to_string(): { "description": description, "content": { "application/json": { "schema": schema } } },
    });
    for kind in problems {
        let status = kind.status.to_string();
        let told =
            responses[&status]["description"].as_str().map(|before| format!("{before}\n* {}", line(kind)));
        let mut response = json!({
            "description": told.unwrap_or_else(|| format!("* {}", line(kind))),
            "content": { "application/problem+json": { "schema": Place::COMPONENTS.of("Problem") } },
        });
        match kind.status {
            401 => {
                response["headers"] =
                    json!({ "WWW-Authenticate": { "schema": { "type": "string" }, "required": true } })
            }
            429 | 503 => {
                response["headers"] = json!({ "Retry-After": { "description": "Seconds", "schema": { "type": "integer" }, "required": true } })
            }
            _ => {}
        }
        responses[&status] = response;
    }
    responses
}

fn line(kind: &ProblemKind) -> String {
    format!("`{}`: {}", kind.urn(), kind.when)
}

fn events() -> Value {
    let with = |own: &[&'static ProblemKind]| [own, &ANY_POST[..]].concat();
    let event = Place::COMPONENTS.of("Event");
    let array = json!({ "type": "array", "minItems": 1, "items": event });
    let attribute = |name: &str, description: &str| {
        let schema = json!({ "type": "string", "maxLength": 2048 });
        json!({ "in": "header", "name": name, "required": false, "description": description, "schema": schema })
    };
    json!({
        "operationId": "postEvents",
        "parameters": [
            attribute("ce-specversion", "CloudEvents in binary mode: the attributes are headers, the body is one event. 1.0 or 0.3."),
            attribute("ce-type", "The event's type, before the one in its body."),
            attribute("ce-id", "By which repeats are told."),
            attribute("ce-time", "By which newer is told from older, where the event has no time."),
        ],
        "tags": ["events"],
        "summary": "One event, an array of them, or one a line. All or nothing.",
        "description": "202 once all of them are durably kept. When one cannot be read, none is, and the answer has all that cannot.",
        "security": [{ "token": [] }, { "gatewaySignature": [] }],
        "requestBody": {
            "required": true,
            "content": {
                CONTENT_TYPES[0]: { "schema": { "anyOf": [event, array] } },
                CONTENT_TYPES[1]: { "schema": { "type": "string", "description": "One event a line; empty lines count as nothing." } },
                CONTENT_TYPES[2]: { "schema": event },
                CONTENT_TYPES[3]: { "schema": array },
            },
        },
        "responses": responses(
            (202, "All of them are kept", Place::COMPONENTS.of("Accepted")),
            &with(&[&problem::MALFORMED, &problem::FORBIDDEN, &problem::UNSUPPORTED]),
        ),
    })
}

fn webhook(id: &str, security: &Value, more: &[&'static ProblemKind], who: &str) -> Value {
    json!({
        "operationId": id,
        "tags": ["webhooks"],
        "summary": who,
        "description": "200 once it is durably kept, or when there is nothing in it to act on. With a right proof of its sender no event is refused for its content: nobody sends it again. What cannot be read becomes a dead letter.",
        "security": security,
        "requestBody": { "content": { "application/json": { "schema": {} } } },
        "responses": responses((200, "It is kept, or there is nothing to do", Place::COMPONENTS.of("Receipt")), &[more, &ANY_POST[..]].concat()),
    })
}

fn retell() -> Value {
    let security = json!([{ "token": [] }, { "gatewaySignature": [] }, { "retellSignature": [] }]);
    webhook(
        "postRetellWebhook",
        &security,
        &[&problem::FORBIDDEN],
        "The gateway's own event, or a webhook of Retell's.",
    )
}

fn calcom() -> Value {
    webhook("postCalcomWebhook", &json!([{ "calcomSignature": [] }]), &[], "A webhook of Cal.com's.")
}

fn live() -> Value {
    let responses = health("It does", "A part of it will not go on without another start of the process");
    json!({
        "operationId": "getLive",
        "tags": ["operation"],
        "summary": "The process answers, and no part of it is stuck.",
        "responses": responses,
    })
}

fn ready() -> Value {
    let responses =
        health("It would; `degraded` tells why that is not the usual way", "It would not, and why");
    json!({
        "operationId": "getReady",
        "tags": ["operation"],
        "summary": "Whether an event would be durably accepted now.",
        "responses": responses,
    })
}

fn health(well: &str, otherwise: &str) -> Value {
    let health = Place::COMPONENTS.of("Health");
    let mut responses = responses((200, well, health.clone()), &[]);
    responses["503"] =
        json!({ "description": otherwise, "content": { "application/json": { "schema": health } } });
    responses
}

fn itself() -> Value {
    json!({
        "operationId": "getOpenapi",
        "tags": ["operation"],
        "summary": "This document.",
        "responses": responses((200, "OpenAPI 3.1", json!({ "type": "object" })), &[]),
    })
}
