//! What arrives beside the body: the message's own properties, as far as decoding needs them.

/// A message as the decoder sees it; the queue and the edge both fill it.
///
/// Header names are as sent; values are text.
#[derive(Clone, Copy, Debug)]
pub struct Envelope<'a> {
    /// The bytes.
    pub body: &'a [u8],
    /// Looks up a header by its exact name.
    pub headers: &'a std::collections::BTreeMap<String, String>,
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

/// Our own header that keeps the type of an event over retries, dead letters and replays.
pub const TYPE_HEADER: &str = "x-hostmatch-type";
