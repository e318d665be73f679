//! The OpenAPI 3.1 document for the edge: its routes, their authentication and their responses.

use serde_json::{Value, json};

use super::{COMPONENTS, DEFINITIONS, definitions, event_schema, fill_in, problem, rewrite, version};
use crate::http::problem::ProblemKind;

/// The formats that `POST /v1/events` accepts: one event or an array, one event per line, and CloudEvents'
/// own names for an event and for an array.
pub const CONTENT_TYPES: [&str; 4] = [
    "application/json",
    "application/x-ndjson",
    "application/cloudevents+json",
    "application/cloudevents-batch+json",
];

/// The refusals that any POST request may get.
const ANY_POST: [&ProblemKind; 8] = [
    &problem::INCOMPLETE_BODY,
    &problem::UNAUTHORIZED,
    &problem::TOO_SLOW,
    &problem::TOO_LARGE,
    &problem::BUSY,
    &problem::TOO_FAST,
    &problem::INTERNAL,
    &problem::UNAVAILABLE,
];

/// The additional refusals of each path.
const POSTS: [(&str, &[&ProblemKind]); 3] = [
    ("/v1/events", &[&problem::MALFORMED, &problem::FORBIDDEN, &problem::UNSUPPORTED]),
    ("/api/retell/webhook", &[&problem::FORBIDDEN]),
    ("/webhooks/calcom", &[]),
];

/// Returns the document. The edge serves it at `/openapi.json`.
pub fn openapi() -> Value {
    let mut statuses = problem::ALL.map(|kind| kind.status).to_vec();
    statuses.dedup();
    let types = problem::ALL.map(|kind| kind.urn());
    let values = [version(), ("{problem_types}", json!(types)), ("{problem_statuses}", json!(statuses))];
    let mut document = fill_in(include_str!("openapi.json"), &values);
    for (path, own) in POSTS {
        let responses = &mut document["paths"][path]["post"]["responses"];
        own.iter().chain(&ANY_POST).for_each(|kind| add_problem(responses, kind));
    }
    let schemas = &mut document["components"]["schemas"];
    for (name, mut schema) in definitions(&event_schema()) {
        rewrite(&mut schema, &|text| {
            text.strip_prefix(DEFINITIONS).map(|name| json!(format!("{COMPONENTS}{name}")))
        });
        schemas[name] = schema;
    }
    document
}

/// Adds a refusal to the responses of a route; several refusals may have the same status.
fn add_problem(responses: &mut Value, kind: &ProblemKind) {
    let status = kind.status.to_string();
    let previous = responses[&status]["description"].as_str().map(|previous| format!("{previous}\n"));
    let mut response = json!({
        "description": format!("{}* `{}`: {}", previous.unwrap_or_default(), kind.urn(), kind.when),
        "content": {
            "application/problem+json": { "schema": { "$ref": format!("{COMPONENTS}Problem") } },
        },
    });
    match kind.status {
        401 => {
            response["headers"] =
                json!({ "WWW-Authenticate": { "schema": { "type": "string" }, "required": true } });
        }
        429 | 503 => {
            let retry =
                json!({ "description": "Seconds", "schema": { "type": "integer" }, "required": true });
            response["headers"] = json!({ "Retry-After": retry });
        }
        _ => {}
    }
    responses[&status] = response;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_names_the_accepted_formats() {
        let document = openapi();
        let content = &document["paths"]["/v1/events"]["post"]["requestBody"]["content"];
        let mut named: Vec<&String> = content.as_object().unwrap().keys().collect();
        named.sort_by_key(|name| CONTENT_TYPES.iter().position(|known| known == name));
        assert_eq!(named, CONTENT_TYPES);
    }
}
