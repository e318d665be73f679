//! CloudEvents 1.x and 0.3: structured mode (one JSON document with the event in `data`) and binary
//! mode (the attributes are headers, the body is the event).
//!
//! Attributes that we have no use for (`source`, which the specification demands) may be missing.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::Value;

use super::fields::{self, Object};
use super::outside::{self, Outside};
use super::{Answer, hints, parse};

/// The names of CloudEvents' headers begin so: its AMQP binding, the JMS twin of that, and what HTTP
/// has and bridges leave.
pub(in crate::event) const PREFIXES: [&str; 3] = ["cloudEvents:", "cloudEvents_", "ce-"];

/// What Horizon writes over the `type` of whatever passes through it.
const HORIZONS_TYPE: &str = "job";

/// With or without padding: senders differ.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Whether this document is a CloudEvents message.
pub(super) fn is_structured(body: &Object) -> bool {
    body.contains_key("specversion")
}

/// How the headers' names begin, if they make the message a CloudEvents message.
pub(super) fn binary_prefix(outside: &Outside<'_>) -> Option<&'static str> {
    let has = |prefix: &&str| {
        outside.envelope.headers.keys().any(|name| name.strip_prefix(prefix) == Some("specversion"))
    };
    PREFIXES.into_iter().find(has)
}

/// Takes the attributes from the headers; the event is the body.
///
/// # Errors
/// When the version is one that we do not know.
pub(super) fn from_headers(outside: &mut Outside<'_>, prefix: &str) -> Answer<()> {
    let headers = outside.envelope.headers;
    let attribute = |name: &str| headers.get(&format!("{prefix}{name}")).cloned();
    outside.types.extend(attribute("type"));
    outside.id = attribute("id");
    outside.time_ms = attribute("time").and_then(|text| fields::text_ms(&text));
    let version = attribute("specversion").unwrap_or_default();
    if !is_known(&version) {
        let message = format!("the header {prefix}specversion must be 1.0 (or 0.3)");
        return Err(Box::new(outside.fault("", message, hints(outside))));
    }
    Ok(())
}

/// Takes the attributes from the document, and the event out of it.
///
/// # Errors
/// When the version is one that we do not know, or the data cannot be read.
pub(super) fn unwrap(outside: &mut Outside<'_>, mut body: Object) -> Answer<Object> {
    let own_type = body.get("type").and_then(Value::as_str).filter(|name| *name != HORIZONS_TYPE);
    if let Some(name) = own_type {
        // Before the name of a job that carries it.
        outside.types.insert(0, name.to_owned());
        outside.names_type_at("type");
    }
    outside.id = body.get("id").and_then(outside::id_text);
    outside.time_ms = fields::time_ms(&body, "time");
    if !body.get("specversion").and_then(Value::as_str).is_some_and(is_known) {
        let message = "specversion must be the text 1.0 (or 0.3)";
        return Err(Box::new(outside.fault("specversion", message, hints(outside))));
    }
    let encoded = body.get("datacontentencoding").and_then(Value::as_str);
    let old_base64 = encoded.is_some_and(|name| name.eq_ignore_ascii_case("base64"));
    match (body.remove("data"), body.remove("data_base64")) {
        (Some(Value::String(text)), _) if old_base64 => decode_base64(outside, "data", &text),
        (None | Some(Value::Null), Some(Value::String(text))) => decode_base64(outside, "data_base64", &text),
        (Some(Value::Object(data)), _) => {
            outside.enter("data");
            Ok(data)
        }
        // The event answers for what it lacks then.
        (None | Some(Value::Null), None | Some(Value::Null)) => {
            outside.enter("data");
            Ok(Object::new())
        }
        (None | Some(Value::Null), Some(other)) => {
            let message =
                format!("data_base64 must be a text in base64, and not {}", fields::kind_of(&other));
            Err(Box::new(outside.fault("data_base64", message, hints(outside))))
        }
        (Some(other), _) => {
            let twice = if other.is_string() { " (is it encoded twice?)" } else { "" };
            let kind = fields::kind_of(&other);
            let message = format!("data must be the event, an object, and not {kind}{twice}");
            Err(Box::new(outside.fault("data", message, hints(outside))))
        }
    }
}

fn decode_base64(outside: &mut Outside<'_>, key: &str, text: &str) -> Answer<Object> {
    let Ok(bytes) = BASE64.decode(text.trim()) else {
        let message = format!("{key} is not base64");
        return Err(Box::new(outside.fault(key, message, hints(outside))));
    };
    let event = parse(&bytes);
    outside.enter_text(key, bytes);
    event.map_err(|fault| Box::new(outside.placed(fault.with(hints(outside)))))
}

fn is_known(version: &str) -> bool {
    version.starts_with("1.") || version == "0.3"
}
