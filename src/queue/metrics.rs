//! The metrics of the queue: connections and publishes.

use super::PublishError;
use crate::telemetry::metrics::Kind::{Counter, Gauge};
use crate::telemetry::metrics::Values::{Closed, Described};
use crate::telemetry::metrics::{LabelValues as Label, series};

const CONNECTION: Label =
    ("connection", Described("`publish`, and on a worker `consume`; each from its first use on"));
const RESULT: Label = ("result", Closed(|| RESULTS.to_vec()));

series! {
    /// The series of both roles.
    pub SERIES:
    PUBLISHES = Counter, "hostmatch_publishes_total", [RESULT],
        "Messages published to the queue (an edge's events; a worker's retries and dead letters), by result";
    CONNECTED = Gauge, "hostmatch_amqp_connected", [CONNECTION],
        "1 while this connection to RabbitMQ is up";
    BLOCKED = Gauge, "hostmatch_amqp_blocked", [CONNECTION],
        "1 while RabbitMQ, short of memory or disk, does not read from this connection";
    RECONNECTS = Counter, "hostmatch_amqp_reconnects_total", [CONNECTION],
        "How often this connection to RabbitMQ was re-established";
}

/// `unfit` means that the message exceeds a limit, `returned` that no queue is bound.
const RESULTS: [&str; 6] = ["confirmed", "nack", "returned", "timeout", "unavailable", "unfit"];

/// Counts published messages by result.
pub(super) fn count_published<'r>(results: impl IntoIterator<Item = &'r Result<(), PublishError>>) {
    let mut counts = [0; RESULTS.len()];
    for result in results {
        counts[match result {
            Ok(()) => 0,
            Err(PublishError::Refused(_)) => 1,
            Err(PublishError::Returned(_)) => 2,
            Err(PublishError::Timeout) => 3,
            Err(PublishError::Unavailable(_)) => 4,
            Err(PublishError::ExceedsLimit(_)) => 5,
        }] += 1;
    }
    for (result, count) in RESULTS.into_iter().zip(counts).filter(|(_, count)| *count > 0) {
        metrics::counter!(PUBLISHES.name, "result" => result).increment(count);
    }
}

/// Adds the series of a connection that is kept from now on.
pub(super) fn register_connection(connection: &'static str) {
    metrics::counter!(RECONNECTS.name, "connection" => connection).absolute(0);
    set_connected(connection, false);
}

/// Records that a connection is up or down.
pub(super) fn set_connected(connection: &'static str, is_up: bool) {
    metrics::gauge!(CONNECTED.name, "connection" => connection).set(f64::from(u8::from(is_up)));
    set_blocked(connection, false);
}

/// Counts a connection that was re-established.
pub(super) fn count_reconnect(connection: &'static str) {
    metrics::counter!(RECONNECTS.name, "connection" => connection).increment(1);
}

/// Records whether the broker blocks a connection.
pub(super) fn set_blocked(connection: &'static str, is_blocked: bool) {
    metrics::gauge!(BLOCKED.name, "connection" => connection).set(f64::from(u8::from(is_blocked)));
}
