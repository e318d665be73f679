//! The shapes in which events arrive, and how they are told apart: by the bytes, in a fixed order.
//!
//! 1. `specversion` in the body: CloudEvents, structured.
//! 2. A header with the same: CloudEvents, binary.
//! 3. A text `job` and a key `data`: a Laravel queue payload.
//! 4. `triggerEvent`: Cal.com's own webhook.
//! 5. Everything else: the gateway's own event.
//!
//! The first three are recognised, and refused with a message that says so.

mod fields;
mod identity;
mod person;
mod booking;
mod native;
mod calcom;

pub use native::MOST_BOOKINGS;
use serde_json::Value;

use self::fields::{Fault, Object};
use super::decode::{Decoded, Hints, Malformed};
use super::envelope::Envelope;

/// CloudEvents' AMQP binding, its JMS twin, and what HTTP bridges leave.
const CLOUDEVENTS_HEADERS: [&str; 3] =
    ["cloudEvents:specversion", "cloudEvents_specversion", "ce-specversion"];

/// Reads one message of any shape.
///
/// # Errors
/// See [`super::decode::decode`].
pub(super) fn decode(envelope: &Envelope<'_>) -> Result<Decoded, Malformed> {
    let body = parse(envelope.body).map_err(|fault| fault.with(outer_hints(envelope)))?;
    let unsupported = |pointer: &str, shape: &str| {
        let message = format!(
            "this is {shape}, a shape that is not supported yet; send the gateway's own event or Cal.com's webhook"
        );
        Err(Fault::at(pointer, message).with(outer_hints(envelope)))
    };
    if body.contains_key("specversion") {
        unsupported("/specversion", "a CloudEvents message")
    } else if CLOUDEVENTS_HEADERS.iter().any(|name| envelope.headers.contains_key(*name)) {
        unsupported("", "a CloudEvents message (binary mode)")
    } else if body.get("job").is_some_and(Value::is_string) && body.contains_key("data") {
        unsupported("/job", "a Laravel queue payload")
    } else if body.contains_key("triggerEvent") {
        calcom::decode(envelope, body)
    } else {
        native::decode(envelope, body)
    }
}

/// What is known of a message whose body says nothing.
fn outer_hints(envelope: &Envelope<'_>) -> Hints {
    let event_type = identity::event_type(envelope, None);
    let id = identity::event_id(envelope, None, event_type.as_deref(), None);
    Hints { id: Some(id), event_type, ..Hints::default() }
}

/// The body as a JSON object. Of a key that stands there twice the last one counts, as it does for
/// the senders' own parsers.
fn parse(bytes: &[u8]) -> Result<Object, Fault> {
    if bytes.starts_with(b"\xef\xbb\xbf") {
        return Err(Fault::at("", "the body begins with a byte order mark; send JSON in UTF-8 without one"));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let message = format!("the body is not UTF-8 (from byte {} on)", error.valid_up_to());
        Fault::at("", message)
    })?;
    // serde_json's messages name a kind of mistake and a place, never a value.
    match serde_json::from_str(text)
        .map_err(|error| Fault::at("", format!("the body is not JSON: {error}")))?
    {
        Value::Object(object) => Ok(object),
        other => {
            Err(Fault::at("", format!("an event must be a JSON object, and not {}", fields::kind_of(&other))))
        }
    }
}
