//! The shapes in which events arrive. They are recognised from the message, in a fixed order:
//!
//! 1. `specversion` in the body: CloudEvents, structured.
//! 2. `specversion` in a header: CloudEvents, binary.
//! 3. A string `job` and a key `data`: a Laravel queue payload.
//! 4. `triggerEvent`: Cal.com's own webhook.
//! 5. Everything else: the gateway's own event.
//!
//! The first three wrap an event of one of the last two shapes (a Laravel payload may also wrap a CloudEvents
//! message). The wrapper's attributes are kept in `EventContext` while the event is decoded.

mod fields;
mod forms;
mod unread;
mod pruned;
mod context;
mod booking;
mod native;
mod calcom;
mod cloudevents;
mod laravel;

use std::cell::Cell;

use serde_json::Value;
use serde_json::error::Category;

use self::context::EventContext;
use self::fields::{Fault, Object};
use super::booking::{FormNote, OddForm, Shape};
use super::decode::{Decoded, Envelope, Malformed};

pub use self::cloudevents::{carried_context, is_header_read};
pub use self::native::MAX_BOOKINGS;

/// The result of unwrapping. The error is boxed because a `Malformed` is large, and few messages are
/// malformed.
type UnwrapResult<T> = Result<T, Box<Malformed>>;

/// Decodes one message.
///
/// # Errors
/// Returns [`Malformed`] for everything that is not a booking event of a known shape. It never panics,
/// whatever the bytes are.
pub fn decode(envelope: &Envelope<'_>) -> Result<Decoded, Malformed> {
    let mut context = EventContext::new(envelope);
    let mut event = unwrap_event(&mut context).map_err(|malformed| *malformed)?;
    let is_webhook = event.contains_key("triggerEvent");
    if is_webhook && context.shape == Shape::Native {
        context.shape = Shape::Calcom;
    }
    let identify = if is_webhook { calcom::identify } else { native::identify };
    let read = if is_webhook { calcom::read } else { native::read };
    let notes = forms::normalise(&mut event, if is_webhook { calcom::PAYLOAD } else { native::BOOKING });
    let (id, hints) = identify(&context, &event);
    let mut decoded = read(&context, event, id, &hints)
        .map_err(|fault| context.with_body_pointer(fault.with_hints(hints)))?;
    if let Decoded::Event(event) = &mut decoded {
        event.form_notes = notes;
        if context.has_half_characters {
            event.form_notes.push(FormNote { pointer: String::new(), form: OddForm::HalfCharacter });
        }
        context.set_body_pointers(event);
    }
    Ok(decoded)
}

/// Unwraps the event, and stores the wrapper's attributes in `context`.
fn unwrap_event(context: &mut EventContext<'_>) -> UnwrapResult<Object> {
    let prefix = cloudevents::binary_prefix(context);
    let body = match parse(context.envelope.body) {
        Ok(body) => context.set_document(body),
        Err(fault) => {
            let fault = encoding_of(context.envelope).map_or(fault, |encoding| {
                let message = format!("the body is compressed ({encoding}); send JSON without compression");
                Fault::at("", message)
            });
            if let Some(prefix) = prefix {
                context.shape = Shape::CloudEventsBinary;
                cloudevents::from_headers(context, prefix)?;
            }
            return Err(Box::new(fault.with_hints(context.hints())));
        }
    };
    context.pushed_ms = body.get("pushedAt").and_then(fields::seconds_ms);
    if cloudevents::is_structured(&body) {
        context.shape = Shape::CloudEvents;
        return cloudevents::unwrap(context, body);
    }
    if let Some(prefix) = prefix {
        context.shape = Shape::CloudEventsBinary;
        cloudevents::from_headers(context, prefix)?;
        return Ok(body);
    }
    if !laravel::is_payload(&body) {
        return Ok(body);
    }
    context.shape = Shape::Laravel;
    let event = laravel::unwrap(context, body)?;
    if cloudevents::is_structured(&event) { cloudevents::unwrap(context, event) } else { Ok(event) }
}

/// The header that names the encoding of the body: sent over HTTP, or made from the AMQP property.
pub const ENCODING_HEADER: &str = "content-encoding";

/// Returns how a body that is not JSON is compressed: as the header `content-encoding` says, or by its first
/// bytes.
fn encoding_of(envelope: &Envelope<'_>) -> Option<&'static str> {
    // A value that is not in this list is not repeated in the error, because it can be anything.
    const ENCODINGS: [(&str, &[u8]); 8] = [
        ("gzip", b"\x1f\x8b"),
        ("zstd", b"\x28\xb5\x2f\xfd"),
        ("br", b""),
        // The last three are what PHP's gzcompress() creates.
        ("deflate", b"\x78\x9c"),
        ("deflate", b"\x78\xda"),
        ("deflate", b"\x78\x01"),
        ("x-gzip", b""),
        ("compress", b""),
    ];
    let named = envelope.headers.get(ENCODING_HEADER).map(|value| value.trim().to_ascii_lowercase());
    let known = ENCODINGS.iter().find(|(name, first_bytes)| {
        named.as_deref() == Some(*name) || (!first_bytes.is_empty() && envelope.body.starts_with(first_bytes))
    });
    known.map(|(name, _)| *name)
}

/// Returns which other encoding of Unicode a body is in: by its byte order mark, or because each of the first
/// characters of JSON, which are ASCII, has a zero byte.
fn other_unicode(body: &[u8]) -> Option<&'static str> {
    match body {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] | [0, 0, 0, _, ..] | [_, 0, 0, 0, ..] => {
            Some("UTF-32")
        }
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [0, _, ..] | [_, 0, ..] => Some("UTF-16"),
        _ => None,
    }
}

/// A parsed JSON object.
struct Document {
    object: Object,
    /// Its text with replacement characters, if there were halves of surrogate pairs where it is read.
    replaced: Option<String>,
}

/// Parses the body as a JSON object, with only the keys that this module uses. If a key occurs twice, the
/// last one counts, as in the senders' own parsers.
fn parse(bytes: &[u8]) -> Result<Document, Fault> {
    if bytes.starts_with(b"\xef\xbb\xbf") {
        return Err(Fault::at("", "the body begins with a byte order mark; send JSON in UTF-8 without one"));
    }
    if let Some(encoding) = other_unicode(bytes) {
        return Err(Fault::at("", format!("the body is in {encoding}; send JSON in UTF-8")));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let message = format!("the body is not valid UTF-8, from byte {} on", error.valid_up_to());
        Fault::at("", message)
    })?;
    // serde_json's messages contain the kind of error, the line and the column, but never a value.
    let fault = |error: serde_json::Error| match error.classify() {
        Category::Data => format!(
            "the event has more than {} values in fields that are read; send fewer bookings and hosts in one event",
            pruned::MAX_VALUES
        ),
        _ => format!("the body is not JSON: {error}"),
    };
    let parsed = pruned::from_str_leniently(text, &Cell::new(0));
    match parsed.map_err(|error| Fault::at("", fault(error)))? {
        (Value::Object(object), replaced) => Ok(Document { object, replaced }),
        (other, _) => {
            let twice = if other.is_string() { " (is it encoded twice?)" } else { "" };
            let kind = fields::json_type(&other);
            Err(Fault::at("", format!("an event must be a JSON object, not {kind}{twice}")))
        }
    }
}
