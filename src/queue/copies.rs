//! Converts a received message to a [`Delivery`], and creates its copy for a retry or for the dead-letter queue,
//! in the same way on both queues.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use uuid::Uuid;

use super::error::PublishError;
use super::message::{Delivery, Message, header, is_own_header};
use crate::event::is_header_read;
use crate::runtime::clock::now_ms;

/// The namespace of the ids that identify messages. It must never change.
const MESSAGE_IDS: Uuid = Uuid::from_u128(0x9d1f_42c7_5b0e_4a83_a6d4_0c93_7be1_58f2);

/// The maximum size of all headers of one message, in bytes: they must fit into one AMQP frame (128 KiB as
/// negotiated), with room for headers that are added later.
const MAX_HEADERS: usize = 64 * 1024;

/// The maximum size of the error of a message of which only what is necessary is kept, in bytes.
const MAX_CUT_ERROR: usize = 1024;

/// The maximum length of an AMQP short string, in bytes.
pub(super) const MAX_SHORT: usize = 255;

/// Refuses messages that AMQP cannot carry, on both queues, because a message that a local file accepts must
/// still be publishable when it is forwarded to a broker.
pub(super) fn check(message: &Message) -> Result<(), PublishError> {
    let properties = [
        ("the routing key", Some(&message.routing_key)),
        ("the type", message.message_type.as_ref()),
        ("the message id", message.message_id.as_ref()),
        ("the correlation id", message.correlation_id.as_ref()),
        ("the content type", message.content_type.as_ref()),
    ];
    let named = properties.into_iter().filter_map(|(name, value)| value.map(|value| (name, value)));
    for (name, value) in named.chain(message.headers.keys().map(|key| ("the name of a header", key))) {
        if value.len() > MAX_SHORT {
            return Err(PublishError::ExceedsLimit(format!("{name} is longer than {MAX_SHORT} bytes")));
        }
    }
    if header_bytes(&message.headers) > MAX_HEADERS {
        return Err(PublishError::ExceedsLimit(format!("the headers are larger than {MAX_HEADERS} bytes")));
    }
    Ok(())
}

/// Returns whether a header belongs to the broker. A copied `x-death` makes RabbitMQ 3.x drop messages
/// silently when it detects a cycle; `CC` and `BCC` would send copies to other queues.
pub(super) fn is_brokers_own(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    matches!(name.as_str(), "x-death" | "x-delivery-count" | "x-acquired-count" | "cc" | "bcc" | "x-delay")
        || name.starts_with("x-first-death-")
        || name.starts_with("x-last-death-")
        || name.starts_with("x-opt-")
}

/// Converts a received message to a delivery: reads the counters from its headers and restores the
/// routing key.
pub(super) fn receive(mut message: Message, redelivered: bool) -> Delivery {
    if let Some(original) = message.headers.remove(header::ROUTING_KEY) {
        message.routing_key = original;
    }
    let attempt = parse_header(&message.headers, header::ATTEMPT).unwrap_or(0);
    let now_ms = now_ms();
    let first_seen_ms = parse_header(&message.headers, header::FIRST_SEEN).unwrap_or(now_ms).clamp(0, now_ms);
    Delivery { message, attempt, first_seen_ms, redelivered }
}

/// Creates the copy for a retry: counts this attempt if `counts` is true, and sets `headers`.
pub(super) fn retry_copy(delivery: &Delivery, counts: bool, headers: &BTreeMap<String, String>) -> Message {
    let mut message = delivery.message.clone();
    message.headers.extend(headers.iter().map(|(name, value)| (name.clone(), value.clone())));
    let attempt = delivery.attempt.saturating_add(u32::from(counts));
    message.headers.insert(header::ATTEMPT.to_owned(), attempt.to_string());
    message.headers.insert(header::FIRST_SEEN.to_owned(), delivery.first_seen_ms.to_string());
    work_copy(message)
}

/// Creates the copy for the dead-letter queue: counts the failed attempt, sets `headers`, and adds an id
/// unless the message already has one (a replayed message that fails again keeps its dead letter).
pub(super) fn dead_letter_copy(delivery: &Delivery, headers: &BTreeMap<String, String>) -> Message {
    let mut message = retry_copy(delivery, true, headers);
    let id = identity(&delivery.message).to_string();
    message.headers.entry(header::DEAD_ID.to_owned()).or_insert(id);
    message
}

/// Prepares a message to be published to a queue by name.
pub(super) fn work_copy(mut message: Message) -> Message {
    message.headers.insert(header::ROUTING_KEY.to_owned(), message.routing_key.clone());
    drop_oversized_headers(&mut message.headers);
    message
}

/// Derives a UUID from a message. Messages with the same id, routing key and bytes are the same message.
///
/// A worker that is killed between the confirm of a copy and the acknowledgement of its original leaves two
/// copies, and a sender may send a message twice. All copies get the same UUID, and so become one dead letter.
pub fn identity(message: &Message) -> Uuid {
    let id = message.message_id.as_deref().unwrap_or_default();
    let parts = [id.as_bytes(), message.routing_key.as_bytes(), &message.body];
    let mut name = Vec::new();
    for part in parts {
        name.extend_from_slice(&part.len().to_be_bytes());
        name.extend_from_slice(part);
    }
    Uuid::new_v5(&MESSAGE_IDS, &name)
}

/// The reasons of messages that the queue itself dead-lettered, each with an explanation.
pub(super) const QUEUE_REASONS: [(&str, &str); 4] = [
    (
        "delivery_limit",
        "delivered up to the delivery limit without ever being settled: the worker crashed on it, or lost its \
         connection, each time",
    ),
    ("expired", "its own time to live expired before it was processed"),
    ("maxlen", "the queue was full"),
    (
        "rejected",
        "rejected by a worker, because the broker accepts no copy of it (the worker's log says why), or by another \
         consumer of the queue",
    ),
];

/// Marks a message that no worker dead-lettered with a reason, an explanation and an id. This counts as an
/// attempt, like any other failure.
pub(super) fn mark_dead_lettered(message: &mut Message, (reason, explanation): (&str, &str), dead_id: Uuid) {
    let attempt = parse_header(&message.headers, header::ATTEMPT).unwrap_or(0_u32).saturating_add(1);
    message.headers.insert(header::ATTEMPT.to_owned(), attempt.to_string());
    message.headers.insert(header::REASON.to_owned(), reason.to_owned());
    message.headers.insert(header::ERROR.to_owned(), explanation.to_owned());
    message.headers.entry(header::DEAD_ID.to_owned()).or_insert_with(|| dead_id.to_string());
}

/// Drops headers until the rest fits. A copy that the broker cannot accept would block its queue forever. First
/// the largest headers of the publisher are dropped, those that the decoder reads last, then the history.
fn drop_oversized_headers(headers: &mut BTreeMap<String, String>) {
    let mut bytes = header_bytes(headers);
    if bytes <= MAX_HEADERS {
        return;
    }
    let others = headers.iter().filter(|(name, _)| !is_own_header(name));
    let mut others: Vec<(bool, Reverse<usize>, String)> = others
        .map(|(name, value)| (is_header_read(name), Reverse(bytes_of(name, value)), name.clone()))
        .collect();
    others.sort_unstable();
    let (read, unread): (Vec<_>, Vec<_>) = others.into_iter().partition(|(is_read, ..)| *is_read);
    let names = |some: Vec<(bool, Reverse<usize>, String)>| some.into_iter().map(|(.., name)| name);
    let own = |name: &str| std::iter::once(name.to_owned());
    let order = names(unread).chain(own(header::HISTORY)).chain(names(read)).chain(own(header::ERROR));
    let mut dropped = 0_u64;
    for name in order {
        if bytes <= MAX_HEADERS {
            break;
        }
        if let Some(value) = headers.remove(&name) {
            bytes -= bytes_of(&name, &value);
            dropped += u64::from(!is_own_header(&name));
        }
    }
    record_dropped(headers, dropped);
}

/// Drops everything that is not necessary: the publisher's headers that the decoder does not read, the history,
/// and all but the beginning of the error.
pub(super) fn cut_to_necessary(message: &mut Message) {
    let headers = &mut message.headers;
    headers.remove(header::HISTORY);
    if let Some(error) = headers.get_mut(header::ERROR) {
        error.truncate(error.floor_char_boundary(MAX_CUT_ERROR));
    }
    let before = headers.len();
    headers.retain(|name, _| is_own_header(name) || is_header_read(name));
    let dropped = before - headers.len();
    record_dropped(headers, dropped as u64);
}

/// Adds to the number of headers of the publisher that were dropped.
fn record_dropped(headers: &mut BTreeMap<String, String>, dropped: u64) {
    if dropped > 0 {
        let before: u64 = parse_header(headers, header::DROPPED_HEADERS).unwrap_or(0);
        headers.insert(header::DROPPED_HEADERS.to_owned(), before.saturating_add(dropped).to_string());
        // Not their names, which a publisher may choose.
        tracing::warn!(dropped, "the headers of a message are too large for a copy of it; some are dropped");
    }
}

fn header_bytes(headers: &BTreeMap<String, String>) -> usize {
    headers.iter().map(|(name, value)| bytes_of(name, value)).sum()
}

fn bytes_of(name: &str, value: &str) -> usize {
    name.len() + value.len() + 6
}

fn parse_header<N: std::str::FromStr>(headers: &BTreeMap<String, String>, name: &str) -> Option<N> {
    headers.get(name).and_then(|value| value.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery() -> Delivery {
        receive(Message { routing_key: "appointment.created".into(), ..Message::default() }, false)
    }

    #[test]
    fn a_copy_counts_the_attempt_and_keeps_the_routing_key() {
        let first = delivery();
        assert_eq!(first.attempt, 0);
        let mut retried = retry_copy(&first, true, &BTreeMap::new());
        retried.routing_key = "hostmatch.bookings".into();
        let second = receive(retried, false);
        assert_eq!((second.attempt, second.first_seen_ms), (1, first.first_seen_ms));
        assert_eq!(second.message.routing_key, "appointment.created");
        let deferred = receive(retry_copy(&second, false, &BTreeMap::new()), false);
        assert_eq!(deferred.attempt, 1, "a deferral does not count as an attempt");
    }

    #[test]
    fn a_dead_letter_keeps_its_id_when_it_is_dead_lettered_again() {
        let once = receive(dead_letter_copy(&delivery(), &BTreeMap::new()), false);
        let twice = dead_letter_copy(&once, &BTreeMap::new());
        assert_eq!(twice.headers[header::DEAD_ID], once.message.headers[header::DEAD_ID]);
    }

    #[test]
    fn copies_of_one_message_share_a_dead_letter_id_and_other_messages_do_not() {
        let id = |message: Message| {
            let dead = dead_letter_copy(&receive(message, false), &BTreeMap::new());
            dead.headers[header::DEAD_ID].clone()
        };
        let received = |body: &'static str, first_seen: &str| Message {
            body: body.into(),
            headers: BTreeMap::from([(header::FIRST_SEEN.to_owned(), first_seen.to_owned())]),
            ..Message::default()
        };
        assert_eq!(id(received("one", "1")), id(received("one", "2")));
        assert_ne!(id(received("one", "1")), id(received("two", "1")));
        let plain = |body: &'static str| Message { body: body.into(), ..Message::default() };
        assert_eq!(id(plain("one")), id(plain("one")), "without the time of first receipt");
        assert_ne!(id(plain("one")), id(plain("two")));
    }

    #[test]
    fn headers_of_a_copy_are_dropped_until_the_rest_fits_a_frame() {
        let mut big = delivery();
        big.message.headers.insert("x-other".into(), "o".repeat(40_000));
        let added = BTreeMap::from([
            (header::HISTORY.to_owned(), "h".repeat(40_000)),
            (header::REASON.to_owned(), "malformed".to_owned()),
        ]);
        let copy = dead_letter_copy(&big, &added);
        assert!(header_bytes(&copy.headers) <= MAX_HEADERS);
        assert!(!copy.headers.contains_key("x-other"), "other headers are dropped before our history");
        assert_eq!(copy.headers[header::HISTORY].len(), 40_000);
        assert_eq!(copy.headers[header::REASON], "malformed");
    }

    /// With the headers searched again for each one that is dropped, this took minutes.
    #[test]
    fn many_small_headers_are_dropped_in_one_pass() {
        let mut many = delivery();
        many.message.headers.extend((0..100_000).map(|n| (format!("x-{n}"), "true".to_owned())));
        many.message.headers.insert("x-large".to_owned(), "l".repeat(1_000));
        let copy = retry_copy(&many, true, &BTreeMap::new());
        assert!(header_bytes(&copy.headers) <= MAX_HEADERS + 100 && copy.headers.len() > 3_000);
        assert!(!copy.headers.contains_key("x-large"), "the largest are dropped first");
    }

    #[test]
    fn headers_count_towards_the_bytes_of_a_message() {
        let headers = BTreeMap::from([("x-note".to_owned(), "n".repeat(1_000))]);
        assert!(Message { headers, ..Message::default() }.bytes() > 1_000);
    }

    #[test]
    fn headers_that_the_decoder_reads_are_dropped_last() {
        let mut big = delivery();
        big.message
            .headers
            .extend([("ce-id".to_owned(), "i".repeat(40_000)), ("x-small".to_owned(), "s".repeat(30_000))]);
        let copy = retry_copy(&big, true, &BTreeMap::new());
        assert!(copy.headers.contains_key("ce-id") && !copy.headers.contains_key("x-small"));
        assert_eq!(copy.headers[header::DROPPED_HEADERS], "1");
        let history = BTreeMap::from([(header::HISTORY.to_owned(), "h".repeat(40_000))]);
        let mut again = retry_copy(&receive(copy, false), true, &history);
        assert!(again.headers.contains_key("ce-id") && !again.headers.contains_key(header::HISTORY));
        again.headers.insert(header::ERROR.to_owned(), "ü".repeat(1000));
        again.headers.insert("x-note".to_owned(), "n".to_owned());
        cut_to_necessary(&mut again);
        assert_eq!(
            (again.headers[header::ERROR].len(), &*again.headers[header::DROPPED_HEADERS]),
            (1024, "2")
        );
    }

    #[test]
    fn a_time_of_first_receipt_out_of_range_is_clamped() {
        let first_seen = |value: &str| {
            let headers = BTreeMap::from([(header::FIRST_SEEN.to_owned(), value.to_owned())]);
            receive(Message { headers, ..Message::default() }, false).first_seen_ms
        };
        assert_eq!(first_seen("-9223372036854775808"), 0);
        assert_eq!(first_seen("1772323200000"), 1_772_323_200_000);
        for wrong in ["9223372036854775807", "99999999999999999999", "soon", ""] {
            assert!(now_ms().abs_diff(first_seen(wrong)) < 60_000, "{wrong}");
        }
    }

    #[test]
    fn a_message_that_amqp_cannot_carry_is_refused() {
        let long = "k".repeat(256);
        let message = Message { routing_key: long, ..Message::default() };
        assert!(matches!(check(&message), Err(PublishError::ExceedsLimit(_))));
        let headers = BTreeMap::from([("x".to_owned(), "v".repeat(70_000))]);
        assert!(matches!(
            check(&Message { headers, ..Message::default() }),
            Err(PublishError::ExceedsLimit(_))
        ));
        assert_eq!(check(&Message::default()), Ok(()));
    }

    #[test]
    fn the_brokers_own_headers_are_recognised() {
        for name in ["x-death", "x-first-death-queue", "x-last-death-reason", "x-delivery-count", "CC", "BCC"]
        {
            assert!(is_brokers_own(name), "{name}");
        }
        assert!(!is_brokers_own("traceparent") && !is_brokers_own(header::ATTEMPT));
    }
}
