//! What travels through a queue: bytes, headers, and what is to become of them.
//!
//! The queue knows nothing of bookings: it moves messages and does what a [`Disposition`] says.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Our own headers. They are set by the queue and the worker, and travel along.
pub mod header {
    /// Attempts so far, as a number; absent means 0. Counted here and nowhere else: the broker's
    /// own counters differ from version to version.
    pub const ATTEMPT: &str = "x-hostmatch-attempt";
    /// When the message was first received, in ms since 1970 (UTC).
    pub const FIRST_SEEN: &str = "x-hostmatch-first-seen";
    /// Who published it, as far as is known: the name of a token, a sender of webhooks, the AMQP
    /// `app_id` or `user_id`.
    pub const PUBLISHER: &str = "x-hostmatch-publisher";
    /// Why it became a dead letter: a reason code.
    pub const REASON: &str = "x-hostmatch-reason";
    /// Why it became a dead letter, in words.
    pub const ERROR: &str = "x-hostmatch-error";
    /// The id of the dead letter, so that recording it twice makes one row.
    pub const DEAD_ID: &str = "x-hostmatch-dead-id";
    /// What went wrong on earlier attempts: a JSON array of {at_ms, reason, error}.
    pub const HISTORY: &str = "x-hostmatch-history";
    /// The replay that sent this copy: a number.
    pub const REPLAY: &str = "x-hostmatch-replay";
    /// The dead letter that this is a copy of: the number of its row.
    pub const REPLAY_LETTER: &str = "x-hostmatch-replay-letter";
    /// How often the dead letter has been replayed, this time included.
    pub const REPLAY_COUNT: &str = "x-hostmatch-replay-count";
    /// Who replays it.
    pub const REPLAY_BY: &str = "x-hostmatch-replay-by";
    /// Why, in words of theirs.
    pub const REPLAY_REASON: &str = "x-hostmatch-replay-reason";
}

/// A message to be published, or as it arrived. Only text headers are kept; the broker's own
/// (`x-death` and its kin) are never among them. As JSON it is what a dead letter keeps of its message
/// beside the routing key and the body: headers and AMQP properties.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Message {
    /// The bytes, untouched.
    #[serde(skip)]
    pub body: Bytes,
    /// Text headers by name.
    pub headers: BTreeMap<String, String>,
    /// The routing key under which it was, or is to be, published.
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

/// One message in somebody's hand.
#[derive(Clone, Debug, Default)]
pub struct Delivery {
    /// The message.
    pub message: Message,
    /// Attempts before this one, from our own header.
    pub attempt: u32,
    /// When it was first received, in ms since 1970: from our header, else now.
    pub first_seen_ms: i64,
    /// It was handed out before without being settled: a crash, a lost connection. Such a one is
    /// handled alone, so that a poison does not use up its neighbours' delivery limit.
    pub redelivered: bool,
}

/// What is to become of a delivery. Nothing is acknowledged before its successor is confirmed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Disposition {
    /// Done: acknowledge.
    Ack,
    /// Back into the work queue after this delay.
    Retry {
        /// One of the configured delays.
        after: Duration,
        /// It was an attempt, and is counted as one.
        counts: bool,
        /// Headers to set on the copy (the event's type, the history).
        headers: BTreeMap<String, String>,
    },
    /// To the dead letters, with these headers set (reason, error, the event's type, the history).
    DeadLetter {
        /// Headers to set on the copy.
        headers: BTreeMap<String, String>,
    },
    /// Give it back untouched: nothing is counted.
    #[default]
    Release,
}
