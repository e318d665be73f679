//! The shapes in which events arrive. They are recognised from the message, in a fixed order:
//!
//! 1. `specversion` in the body: CloudEvents, structured.
//! 2. `specversion` in a header: CloudEvents, binary.
//! 3. A string `job` and a key `data`: a Laravel queue payload.
//! 4. `triggerEvent`: Cal.com's own webhook.
//! 5. Everything else: the gateway's own event.
//!
//! The first three wrap an event of one of the last two shapes (a Laravel payload may also wrap a CloudEvents
//! message). Their attributes are kept in `Outside` while the event is decoded.

mod fields;
mod pruned;
mod outside;
mod booking;
mod native;
mod calcom;
mod cloudevents;
mod laravel;

use serde_json::Value;

use self::fields::{Fault, Object};
use self::outside::Outside;
use super::booking::Shape;
use super::decode::{Decoded, Envelope, Malformed};

pub use self::cloudevents::carried_context;
pub use self::native::MAX_BOOKINGS;

/// The result of unwrapping. Boxed: a `Malformed` is large, and few messages are malformed.
type Answer<T> = Result<T, Box<Malformed>>;

/// Decodes one message.
///
/// # Errors
/// [`Malformed`] for everything that is not a booking event of a known shape. Never panics,
/// whatever the bytes.
pub fn decode(envelope: &Envelope<'_>) -> Result<Decoded, Malformed> {
    let mut outside = Outside::new(envelope);
    let event = unwrapped(&mut outside).map_err(|malformed| *malformed)?;
    let is_webhook = event.contains_key("triggerEvent");
    if is_webhook && outside.shape == Shape::Native {
        outside.shape = Shape::Calcom;
    }
    let identify = if is_webhook { calcom::identify } else { native::identify };
    let read = if is_webhook { calcom::read } else { native::read };
    let (id, hints) = identify(&outside, &event);
    read(&outside, event, id, &hints).map_err(|fault| outside.placed(fault.with(hints)))
}

/// Unwraps the event, and stores the wrapper's attributes in `outside`.
fn unwrapped(outside: &mut Outside<'_>) -> Answer<Object> {
    let prefix = cloudevents::binary_prefix(outside);
    let body = match parse(outside.envelope.body) {
        Ok(body) => body,
        Err(fault) => {
            if let Some(prefix) = prefix {
                outside.shape = Shape::CloudEventsBinary;
                cloudevents::from_headers(outside, prefix)?;
            }
            return Err(Box::new(fault.with(outside.hints())));
        }
    };
    outside.pushed_ms = body.get("pushedAt").and_then(fields::seconds_ms);
    if cloudevents::is_structured(&body) {
        outside.shape = Shape::CloudEvents;
        return cloudevents::unwrap(outside, body);
    }
    if let Some(prefix) = prefix {
        outside.shape = Shape::CloudEventsBinary;
        cloudevents::from_headers(outside, prefix)?;
        return Ok(body);
    }
    if !laravel::is_payload(&body) {
        return Ok(body);
    }
    outside.shape = Shape::Laravel;
    let event = laravel::unwrap(outside, body)?;
    if cloudevents::is_structured(&event) { cloudevents::unwrap(outside, event) } else { Ok(event) }
}

/// Parses the body as a JSON object, with only the keys that this module uses. If a key occurs twice, the
/// last one counts, as in the senders' own parsers.
fn parse(bytes: &[u8]) -> Result<Object, Fault> {
    if bytes.starts_with(b"\xef\xbb\xbf") {
        return Err(Fault::at("", "the body begins with a byte order mark; send JSON in UTF-8 without one"));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let message = format!("the body is not UTF-8 (from byte {} on)", error.valid_up_to());
        Fault::at("", message)
    })?;
    // serde_json's messages name the kind of error and its place, never a value.
    match pruned::from_str(text).map_err(|error| Fault::at("", format!("the body is not JSON: {error}")))? {
        Value::Object(object) => Ok(object),
        other => {
            Err(Fault::at("", format!("an event must be a JSON object, not {}", fields::kind_of(&other))))
        }
    }
}
