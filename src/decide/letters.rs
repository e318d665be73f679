//! Between a message and the dead letter that keeps it, and back.

use crate::queue::{Message, header};
use crate::store::DeadLetter;

/// What a dead letter keeps of its message beside routing key and body.
pub fn kept(letter: &DeadLetter) -> Message {
    serde_json::from_str(&letter.headers).unwrap_or_default()
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
    let (body, routing_key) = (letter.body.clone().into(), letter.routing_key.clone());
    let mut message = Message { body, routing_key, ..kept(letter) };
    let headers = &mut message.headers;
    headers.retain(|name, _| !OF_ONE_LIFE.contains(&name.as_str()));
    headers.insert(header::DEAD_ID.to_owned(), letter.dead_id.clone());
    headers.insert(header::FIRST_SEEN.to_owned(), letter.first_seen_ms.to_string());
    if letter.history != "[]" {
        headers.insert(header::HISTORY.to_owned(), letter.history.clone());
    }
    message
}
