//! Decodes CloudEvents 1.x and 0.3: structured mode (one JSON document with the event in `data`) and binary
//! mode (the attributes are headers, the body is the event).
//!
//! Attributes that we do not use (`source`, which the specification requires) may be missing.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use serde_json::Value;

use super::context::{self, EventContext};
use super::fields::{self, Object};
use super::pruned::CONTENT_ENCODING;
use super::{ENCODING_HEADER, UnwrapResult, parse};

/// The prefixes of CloudEvents headers: in the AMQP binding, in its variant for JMS, and in HTTP (bridges
/// keep it).
const PREFIXES: [&str; 3] = ["cloudEvents:", "cloudEvents_", "ce-"];

/// The value with which Horizon overwrites the `type` of every message that passes through it.
const HORIZONS_TYPE: &str = "job";

/// Accepts Base64 with and without padding, because senders differ.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The attributes in headers by which an event is decided.
const ATTRIBUTES: [&str; 4] = ["specversion", "type", "id", "time"];

/// The maximum size of one of them, in bytes, as at the edge.
const MAX_ATTRIBUTE: usize = 2048;

/// Returns whether decoding depends on this header.
pub fn is_header_read(name: &str) -> bool {
    let is_attribute =
        |prefix: &&str| name.strip_prefix(prefix).is_some_and(|name| ATTRIBUTES.contains(&name));
    name == ENCODING_HEADER || PREFIXES.iter().any(is_attribute)
}

/// Returns whether this document is a CloudEvents message.
pub(super) fn is_structured(body: &Object) -> bool {
    body.contains_key("specversion")
}

/// Returns the prefix of the CloudEvents headers, if the message has them.
pub(super) fn binary_prefix(context: &EventContext<'_>) -> Option<&'static str> {
    let has = |prefix: &&str| {
        context.envelope.headers.keys().any(|name| name.strip_prefix(prefix) == Some("specversion"))
    };
    PREFIXES.into_iter().find(has)
}

/// Reads the attributes from the headers; the event is the body.
///
/// # Errors
/// Fails if the version is unknown, or if an attribute is too long.
pub(super) fn from_headers(context: &mut EventContext<'_>, prefix: &str) -> UnwrapResult<()> {
    let headers = context.envelope.headers;
    let attribute = |name: &str| headers.get(&format!("{prefix}{name}")).cloned();
    context.types.extend(attribute("type"));
    context.id = attribute("id");
    context.time = attribute("time").and_then(|text| fields::text_time(&text, context.envelope.zone));
    let is_long = |name: &&str| attribute(name).is_some_and(|value| value.len() > MAX_ATTRIBUTE);
    if let Some(name) = ATTRIBUTES.into_iter().find(is_long) {
        let message = format!("the header {prefix}{name} must have at most {MAX_ATTRIBUTE} bytes");
        return Err(context.fault("", message));
    }
    let version = attribute("specversion").unwrap_or_default();
    if !is_known(&version) {
        let message = format!("the header {prefix}specversion must be 1.0 (or 0.3)");
        return Err(context.fault("", message));
    }
    Ok(())
}

/// Reads the attributes from the document, and extracts the event.
///
/// # Errors
/// Fails if the version is unknown, or if the data cannot be decoded.
pub(super) fn unwrap(context: &mut EventContext<'_>, mut body: Object) -> UnwrapResult<Object> {
    let own_type = body.get("type").and_then(Value::as_str).filter(|name| *name != HORIZONS_TYPE);
    if let Some(name) = own_type {
        // This type takes precedence over the name of a job that wraps the document.
        context.types.insert(0, name.to_owned());
        context.set_type_pointer("type");
    }
    context.id = body.get("id").and_then(context::id_text);
    context.time = fields::time(&body, "time", context.envelope.zone);
    if !body.get("specversion").and_then(Value::as_str).is_some_and(is_known) {
        let message = "specversion must be the string 1.0 (or 0.3)";
        return Err(context.fault("specversion", message));
    }
    let encoded = body.get(CONTENT_ENCODING).and_then(Value::as_str);
    let old_base64 = encoded.is_some_and(|name| name.eq_ignore_ascii_case("base64"));
    match (body.remove("data"), body.remove("data_base64")) {
        (Some(Value::String(text)), _) if old_base64 => decode_base64(context, "data", &text),
        (None | Some(Value::Null), Some(Value::String(text))) => decode_base64(context, "data_base64", &text),
        (Some(Value::Object(data)), _) => {
            context.enter("data");
            Ok(data)
        }
        // Missing data is treated as an empty event, so the missing fields are reported as errors of the
        // event.
        (None | Some(Value::Null), None | Some(Value::Null)) => {
            context.enter("data");
            Ok(Object::new())
        }
        (None | Some(Value::Null), Some(other)) => {
            let message =
                format!("data_base64 must be a string in base64, not {}", fields::json_type(&other));
            Err(context.fault("data_base64", message))
        }
        (Some(other), _) => {
            let twice = if other.is_string() { " (is it encoded twice?)" } else { "" };
            let kind = fields::json_type(&other);
            let message = format!("data must be the event, an object, not {kind}{twice}");
            Err(context.fault("data", message))
        }
    }
}

fn decode_base64(context: &mut EventContext<'_>, key: &str, text: &str) -> UnwrapResult<Object> {
    let Ok(bytes) = BASE64.decode(text.trim()) else {
        let message = format!("{key} is not base64");
        return Err(context.fault(key, message));
    };
    let event = parse(&bytes);
    context.enter_decoded(key, bytes);
    match event {
        Ok(event) => Ok(context.set_document(event)),
        Err(fault) => Err(Box::new(context.with_body_pointer(fault.with_hints(context.hints())))),
    }
}

fn is_known(version: &str) -> bool {
    version.starts_with("1.") || version == "0.3"
}

/// The attributes of the trace context in the event itself, as its sender set them: CloudEvents' extension
/// for distributed tracing. A header of the same name, from the newest hop, takes precedence.
const TRACE_ATTRIBUTES: [&str; 2] = ["traceparent", "tracestate"];

/// The required and optional fields of a CloudEvent in structured mode.
#[derive(Deserialize)]
struct Extension {
    #[serde(rename = "specversion")]
    _version: String,
    traceparent: String,
    #[serde(default)]
    tracestate: Option<String>,
}

/// Returns `traceparent` and, if present, `tracestate`; nothing for a message that is not a CloudEvent.
pub fn carried_context(headers: &BTreeMap<String, String>, body: &[u8]) -> BTreeMap<&'static str, String> {
    let is_binary = |prefix: &&&str| headers.contains_key(&format!("{prefix}specversion"));
    if let Some(prefix) = PREFIXES.iter().find(is_binary) {
        let attribute = |name| Some((name, headers.get(&format!("{prefix}{name}"))?.clone()));
        return TRACE_ATTRIBUTES.into_iter().filter_map(attribute).collect();
    }
    // Most events have no trace context: searching the bytes is cheaper than parsing them a second time.
    let is_named =
        body.windows(TRACE_ATTRIBUTES[0].len()).any(|bytes| bytes == TRACE_ATTRIBUTES[0].as_bytes());
    let extension = is_named.then(|| serde_json::from_slice::<Extension>(body).ok()).flatten();
    let Some(Extension { traceparent, tracestate, .. }) = extension else { return BTreeMap::new() };
    let state = tracestate.map(|state| (TRACE_ATTRIBUTES[1], state));
    [(TRACE_ATTRIBUTES[0], traceparent)].into_iter().chain(state).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn carried(headers: &[(&str, &str)], body: &str) -> String {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let carried = carried_context(&headers, body.as_bytes());
        carried.values().map(String::as_str).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn only_cloudevents_have_their_own_context() {
        let event = r#"{"specversion": "1.0", "traceparent": "00-a", "tracestate": "v=1", "data": {}}"#;
        assert_eq!(carried(&[], event), "00-a v=1");
        assert_eq!(carried(&[], r#"{"event": "appointment.created", "traceparent": "00-a"}"#), "");
        assert_eq!(carried(&[], r#"{"specversion": "1.0", "traceparent": 7}"#), "");
        for prefix in PREFIXES {
            let (version, parent) = (format!("{prefix}specversion"), format!("{prefix}traceparent"));
            assert_eq!(carried(&[(&version, "1.0"), (&parent, "00-b")], event), "00-b", "{prefix}");
            assert_eq!(carried(&[(&parent, "00-b")], "{}"), "", "{prefix}");
        }
    }
}
