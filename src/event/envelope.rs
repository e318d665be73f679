//! What arrives beside the body: the message's own properties, as far as decoding needs them.

use std::collections::BTreeMap;

/// A message as the decoder sees it; whoever has one begins with [`Envelope::new`] and adds what came
/// with the bytes.
///
/// Header names are as sent; values are text.
#[derive(Clone, Copy, Debug)]
pub struct Envelope<'a> {
    /// The bytes.
    pub body: &'a [u8],
    /// Looks up a header by its exact name.
    pub headers: &'a BTreeMap<String, String>,
    /// The AMQP routing key.
    pub routing_key: &'a str,
    /// The AMQP property `type`.
    pub message_type: Option<&'a str>,
    /// The AMQP property `message_id`.
    pub message_id: Option<&'a str>,
    /// The AMQP property `correlation_id`.
    pub correlation_id: Option<&'a str>,
    /// The AMQP property `timestamp`, in ms since 1970 (UTC).
    pub timestamp_ms: Option<i64>,
    /// When it was first received, in ms since 1970 (UTC): the header `x-hostmatch-first-seen`
    /// where there is one, else now. Travels with retries and dead letters.
    pub first_seen_ms: i64,
}

impl<'a> Envelope<'a> {
    /// Bytes that nothing came with, first received at this moment (ms since 1970, UTC).
    pub fn new(body: &'a [u8], first_seen_ms: i64) -> Self {
        static NO_HEADERS: BTreeMap<String, String> = BTreeMap::new();
        Self {
            body,
            headers: &NO_HEADERS,
            routing_key: "",
            message_type: None,
            message_id: None,
            correlation_id: None,
            timestamp_ms: None,
            first_seen_ms,
        }
    }
}

/// Our own header that keeps the type of an event over retries, dead letters and replays.
pub const TYPE_HEADER: &str = "x-hostmatch-type";
