//! What the queue tells of itself: connections, publishes, and how many messages are where.

use super::PublishError;
use crate::telemetry::metrics::Kind::{Counter, Gauge};
use crate::telemetry::metrics::Values::{Closed, Few};
use crate::telemetry::metrics::{LabelOf as Label, series};

const CONNECTION: Label =
    ("connection", Few("`publish`, and of a worker `consume`: each from its first use on"));
const RESULT: Label = ("result", Closed(|| RESULTS.to_vec()));

series! {
    /// What both roles tell.
    pub SERIES:
    PUBLISHES = Counter, "hostmatch_publishes_total", [RESULT],
        "Messages handed to the queue (an edge's events; a worker's retries and dead letters), by what it said";
    CONNECTED = Gauge, "hostmatch_amqp_connected", [CONNECTION],
        "1 while this connection to RabbitMQ is up";
    BLOCKED = Gauge, "hostmatch_amqp_blocked", [CONNECTION],
        "1 while RabbitMQ, short of memory or disk, takes nothing over it";
    RECONNECTS = Counter, "hostmatch_amqp_reconnects_total", [CONNECTION],
        "How often this connection to RabbitMQ was made again";
}

/// `unfit`: the message breaks a limit. `returned`: no queue is bound.
const RESULTS: [&str; 6] = ["confirmed", "nack", "returned", "timeout", "unavailable", "unfit"];

/// Counts messages by what became of them.
pub(super) fn published<'r>(results: impl IntoIterator<Item = &'r Result<(), PublishError>>) {
    let mut counts = [0; RESULTS.len()];
    for result in results {
        counts[match result {
            Ok(()) => 0,
            Err(PublishError::Refused(_)) => 1,
            Err(PublishError::Returned(_)) => 2,
            Err(PublishError::Timeout) => 3,
            Err(PublishError::Unavailable(_)) => 4,
            Err(PublishError::Unfit(_)) => 5,
        }] += 1;
    }
    for (result, count) in RESULTS.into_iter().zip(counts).filter(|(_, count)| *count > 0) {
        metrics::counter!(PUBLISHES.name, "result" => result).increment(count);
    }
}

/// A connection is about to be kept from now on.
pub(super) fn keeps(connection: &'static str) {
    metrics::counter!(RECONNECTS.name, "connection" => connection).absolute(0);
    connected(connection, false);
}

/// A connection was made (again), or is lost.
pub(super) fn connected(connection: &'static str, is_up: bool) {
    metrics::gauge!(CONNECTED.name, "connection" => connection).set(f64::from(u8::from(is_up)));
    blocked(connection, false);
}

/// A connection was made not for the first time.
pub(super) fn reconnected(connection: &'static str) {
    metrics::counter!(RECONNECTS.name, "connection" => connection).increment(1);
}

/// The broker takes nothing over it for now, or does again.
pub(super) fn blocked(connection: &'static str, is_blocked: bool) {
    metrics::gauge!(BLOCKED.name, "connection" => connection).set(f64::from(u8::from(is_blocked)));
}
