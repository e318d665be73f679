//! What the queue tells of itself: connections, publishes, and how many messages are where.

use super::PublishError;
use crate::telemetry::metrics::{Kind, Series, Values};

const CONNECTED: &str = "hostmatch_amqp_connected";
const BLOCKED: &str = "hostmatch_amqp_blocked";
const RECONNECTS: &str = "hostmatch_amqp_reconnects_total";

/// What both roles tell.
pub const SERIES: [Series; 4] = [
    Series::new(
        "hostmatch_publishes_total",
        Kind::Counter,
        "Messages handed to the queue (an edge's events; a worker's retries and dead letters), by what it said",
    )
    .by(&[("result", Values::Closed(|| RESULTS.to_vec()))]),
    Series::new(CONNECTED, Kind::Gauge, "1 while this connection to RabbitMQ is up").by(CONNECTION),
    Series::new(BLOCKED, Kind::Gauge, "1 while RabbitMQ, short of memory or disk, takes nothing over it").by(CONNECTION),
    Series::new(RECONNECTS, Kind::Counter, "How often this connection to RabbitMQ was made again").by(CONNECTION),
];

const CONNECTION: &[(&str, Values)] =
    &[("connection", Values::Few("`publish`, and of a worker `consume`: each from its first use on"))];

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
        metrics::counter!("hostmatch_publishes_total", "result" => result).increment(count);
    }
}

/// A connection is about to be kept from now on.
pub(super) fn keeps(connection: &'static str) {
    metrics::counter!(RECONNECTS, "connection" => connection).absolute(0);
    connected(connection, false);
}

/// A connection was made (again), or is lost.
pub(super) fn connected(connection: &'static str, is_up: bool) {
    metrics::gauge!(CONNECTED, "connection" => connection).set(f64::from(u8::from(is_up)));
    blocked(connection, false);
}

/// A connection was made not for the first time.
pub(super) fn reconnected(connection: &'static str) {
    metrics::counter!(RECONNECTS, "connection" => connection).increment(1);
}

/// The broker takes nothing over it for now, or does again.
pub(super) fn blocked(connection: &'static str, is_blocked: bool) {
    metrics::gauge!(BLOCKED, "connection" => connection).set(f64::from(u8::from(is_blocked)));
}
