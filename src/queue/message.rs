//! Messages, deliveries and dispositions.
//!
//! The queue knows nothing about bookings: it moves messages and does what a [`Disposition`] says.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Our own headers. The queue, the edge and the worker set them, and copies keep them. Those of another publisher
/// are dropped on receipt.
pub mod header {
    /// The number of attempts so far; absent means 0. Attempts are counted only here, because the broker's own
    /// counters differ from version to version.
    pub const ATTEMPT: &str = "x-hostmatch-attempt";
    /// When the message was first received, in ms since 1970 (UTC).
    pub const FIRST_SEEN: &str = "x-hostmatch-first-seen";
    /// The publisher of the message, as far as it is known: the name of a token, a sender of webhooks, the
    /// AMQP `app_id` or `user_id`.
    pub const PUBLISHER: &str = "x-hostmatch-publisher";
    /// The reason code of the dead letter.
    pub const REASON: &str = "x-hostmatch-reason";
    /// The explanation of the dead letter.
    pub const ERROR: &str = "x-hostmatch-error";
    /// The id of the dead letter, so that recording it twice creates one row.
    pub const DEAD_ID: &str = "x-hostmatch-dead-id";
    /// The failures of earlier attempts: a JSON array of {at_ms, reason, error, worker}.
    pub const HISTORY: &str = "x-hostmatch-history";
    /// The id of the replay that sent this copy.
    pub const REPLAY: &str = "x-hostmatch-replay";
    /// The row id of the dead letter that this message is a copy of.
    pub const REPLAY_LETTER: &str = "x-hostmatch-replay-letter";
    /// The number of times that the dead letter has been replayed, including this replay.
    pub const REPLAY_COUNT: &str = "x-hostmatch-replay-count";
    /// The operator who started the replay.
    pub const REPLAY_BY: &str = "x-hostmatch-replay-by";
    /// The reason that this operator gave.
    pub const REPLAY_REASON: &str = "x-hostmatch-replay-reason";
    /// The number of headers of the publisher that were dropped because they did not fit into one frame.
    pub const DROPPED_HEADERS: &str = "x-hostmatch-dropped-headers";
    /// The publisher's routing key. A copy is published with the name of its queue as the routing key, so the
    /// original key is kept in this header and restored on receipt.
    pub(in crate::queue) const ROUTING_KEY: &str = "x-hostmatch-routing-key";
    /// On RabbitMQ, the proof that all of these headers are our own. It is never part of a [`super::Message`].
    pub(in crate::queue) const MAC: &str = "x-hostmatch-mac";
}

/// Returns whether a header has a name of ours, in any case. Only those that hostmatch itself has set count: see
/// `amqp/header_keys.rs`.
pub(super) fn is_own_header(name: &str) -> bool {
    const PREFIX: &str = "x-hostmatch-";
    name.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}

/// A message to be published, or as it arrived. Header values are kept as strings, without the broker's own
/// headers (`x-death` and similar). A dead letter stores the JSON form of its message: the headers and AMQP
/// properties, without the routing key and the body.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Message {
    /// The bytes, unchanged.
    #[serde(skip)]
    pub body: Bytes,
    /// Header values by name.
    pub headers: BTreeMap<String, String>,
    /// The routing key with which it was published, or will be.
    #[serde(skip)]
    pub routing_key: String,
    /// AMQP `type`.
    #[serde(rename = "type")]
    pub message_type: Option<String>,
    /// AMQP `message_id`.
    pub message_id: Option<String>,
    /// AMQP `correlation_id`.
    pub correlation_id: Option<String>,
    /// AMQP `content_type`.
    pub content_type: Option<String>,
    /// AMQP `timestamp`, in ms since 1970 (UTC); the protocol keeps whole seconds.
    pub timestamp_ms: Option<i64>,
}

impl Message {
    /// Returns the number of bytes that its body and headers occupy. Many small headers take more memory than on the
    /// wire, so each counts with what the map adds.
    pub(super) fn bytes(&self) -> usize {
        const HEADER_OVERHEAD: usize = 64;
        let headers = self.headers.iter().map(|(name, value)| name.len() + value.len() + HEADER_OVERHEAD);
        self.body.len() + headers.sum::<usize>()
    }
}

/// One message that the queue has delivered.
#[derive(Clone, Debug, Default)]
pub struct Delivery {
    /// The message.
    pub message: Message,
    /// Attempts before this one, from our own header.
    pub attempt: u32,
    /// When the message was first received, in ms since 1970: from our header, otherwise now.
    pub first_seen_ms: i64,
    /// Whether the message was delivered before without being settled (after a crash or a lost connection).
    /// Such a message is processed alone, so that a message that makes processing fail does not use up the
    /// delivery limit of others.
    pub redelivered: bool,
}

/// The way in which a delivery is settled. A delivery is acknowledged only after its copy, if any, is
/// confirmed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Disposition {
    /// Done: acknowledge.
    Ack,
    /// Publish it to the work queue again after a delay.
    Retry {
        /// One of the configured delays.
        after: Duration,
        /// Whether this counts as an attempt.
        counts: bool,
        /// Headers to set on the copy (the event's type, the history).
        headers: BTreeMap<String, String>,
    },
    /// Publish it to the dead letters.
    DeadLetter {
        /// Headers to set on the copy (reason, error, the event's type, the history).
        headers: BTreeMap<String, String>,
    },
    /// Return it unchanged to the queue; this does not count as an attempt.
    #[default]
    Release,
}
