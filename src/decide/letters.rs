//! Between a message and the dead letter that keeps it, and back.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::queue::{Message, header};
use crate::store::DeadLetter;

/// What a dead letter keeps of its message beside routing key and body: headers and AMQP properties.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KeptProperties {
    /// Text headers.
    pub headers: BTreeMap<String, String>,
    /// AMQP `type`.
    #[serde(rename = "type")]
    pub message_type: Option<String>,
    /// AMQP `message_id`.
    pub message_id: Option<String>,
    /// AMQP `correlation_id`.
    pub correlation_id: Option<String>,
    /// AMQP `content_type`.
    pub content_type: Option<String>,
    /// AMQP `timestamp`, in ms since 1970 (UTC).
    pub timestamp_ms: Option<i64>,
}

impl KeptProperties {
    pub(crate) fn of(message: &Message) -> Self {
        Self {
            headers: message.headers.clone(),
            message_type: message.message_type.clone(),
            message_id: message.message_id.clone(),
            correlation_id: message.correlation_id.clone(),
            content_type: message.content_type.clone(),
            timestamp_ms: message.timestamp_ms,
        }
    }

    /// What stands in a dead letter's `headers`.
    pub fn read(letter: &DeadLetter) -> Self {
        serde_json::from_str(&letter.headers).unwrap_or_default()
    }
}

/// What belongs to one life of a message, and not to the next.
const OF_ONE_LIFE: [&str; 8] = [
    header::ATTEMPT,
    header::REASON,
    header::ERROR,
    header::REPLAY,
    header::REPLAY_LETTER,
    header::REPLAY_COUNT,
    header::REPLAY_BY,
    header::REPLAY_REASON,
];

/// The message of a dead letter as it was, about to be handled as if for the first time: its attempts
/// begin at zero, its history is kept, and it was first received when it was.
pub fn revived(letter: &DeadLetter) -> Message {
    let kept = KeptProperties::read(letter);
    let mut headers = kept.headers;
    headers.retain(|name, _| !OF_ONE_LIFE.contains(&name.as_str()));
    headers.insert(header::DEAD_ID.to_owned(), letter.dead_id.clone());
    headers.insert(header::FIRST_SEEN.to_owned(), letter.first_seen_ms.to_string());
    if letter.history != "[]" {
        headers.insert(header::HISTORY.to_owned(), letter.history.clone());
    }
    Message {
        body: letter.body.clone().into(),
        headers,
        routing_key: letter.routing_key.clone(),
        message_type: kept.message_type,
        message_id: kept.message_id,
        correlation_id: kept.correlation_id,
        content_type: kept.content_type,
        timestamp_ms: kept.timestamp_ms,
    }
}
