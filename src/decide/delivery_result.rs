//! Derives the disposition of a delivery from its result, and restores the message of a dead letter.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::event::TYPE_HEADER;
use crate::matching::{Outcome, Reason};
use crate::queue::{Delivery, Disposition, Message, header};
use crate::store::DeadLetter;

/// The result of one delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeliveryResult {
    /// Decided and committed: acknowledge.
    Done(Outcome),
    /// Retry according to the schedule; when the schedule is exhausted, dead-letter.
    Retry(Reason, String),
    /// Another database session held locks on the event's rows: retry after the first delay, without counting
    /// an attempt.
    Deferred,
    /// Dead-letter at once: a retry would not help.
    Dead(Reason, String),
}

/// A failed attempt, as it is stored in a message header and shown with a dead letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// When the attempt failed, in ms since 1970 (UTC).
    pub at_ms: i64,
    /// A reason code.
    pub reason: String,
    /// An explanation without personal data.
    pub error: String,
    /// The version of the worker that made the attempt.
    #[serde(rename = "worker")]
    pub worker_version: String,
}

/// The maximum number of failed attempts that a message keeps; older ones are dropped.
const MAX_HISTORY: usize = 32;

impl DeliveryResult {
    pub(crate) fn poison() -> Self {
        let why = "hostmatch failed while deciding this event; see the worker's log";
        Self::Dead(Reason::Poison, why.to_owned())
    }

    pub(crate) fn undecided() -> Self {
        Self::Retry(Reason::Refused, "the event was not decided".to_owned())
    }

    /// Returns the disposition of the delivery. `schedule`: the delays between attempts.
    pub fn disposition(
        &self,
        delivery: &Delivery,
        event_type: Option<&str>,
        schedule: &[Duration],
        now_ms: i64,
    ) -> Disposition {
        let mut headers = BTreeMap::new();
        // A retry or a replay must keep the type, because the message may no longer have its original routing
        // key.
        if let Some(event_type) = event_type {
            headers.insert(TYPE_HEADER.to_owned(), event_type.to_owned());
        }
        let (reason, error) = match (self, schedule.first()) {
            (Self::Done(_), _) => return Disposition::Ack,
            (Self::Deferred, Some(after)) => {
                return Disposition::Retry { after: *after, counts: false, headers };
            }
            (Self::Deferred, None) => return Disposition::Release,
            (Self::Retry(reason, error) | Self::Dead(reason, error), _) => (*reason, error),
        };
        let delay = schedule.get(delivery.attempt as usize).filter(|_| matches!(self, Self::Retry(..)));
        let mut history = history(delivery);
        history.push(Attempt {
            at_ms: now_ms,
            reason: reason.to_string(),
            error: error.clone(),
            worker_version: env!("CARGO_PKG_VERSION").to_owned(),
        });
        let first = history.len().saturating_sub(MAX_HISTORY);
        if let Ok(text) = serde_json::to_string(&history[first..]) {
            headers.insert(header::HISTORY.to_owned(), text);
        }
        if let Some(after) = delay {
            return Disposition::Retry { after: *after, counts: true, headers };
        }
        headers.insert(header::REASON.to_owned(), reason.to_string());
        headers.insert(header::ERROR.to_owned(), error.clone());
        Disposition::DeadLetter { headers }
    }
}

/// Returns the failed attempts that are recorded in a delivery's headers.
pub(crate) fn history(delivery: &Delivery) -> Vec<Attempt> {
    let text = delivery.message.headers.get(header::HISTORY);
    text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

/// Returns the stored properties and headers of a dead letter's message, without the routing key and the
/// body.
pub fn stored_properties(letter: &DeadLetter) -> Message {
    serde_json::from_str(&letter.headers).unwrap_or_default()
}

/// The header in the stored properties of a dead letter that marks a body of which only the beginning is
/// stored. Its value is the size of the whole body, in bytes.
const CUT_HEADER: &str = "x-hostmatch-cut";

/// Returns the stored properties of a dead letter whose body of this size is stored only in part.
pub(crate) fn properties_of_cut(bytes: usize) -> String {
    let headers = BTreeMap::from([(CUT_HEADER.to_owned(), bytes.to_string())]);
    serde_json::to_string(&Message { headers, ..Message::default() }).unwrap_or_else(|_| "{}".to_owned())
}

/// Says what to do about a dead letter of which only the beginning is stored.
pub const CUT_BODY: &str = "only the beginning of its body is stored, so it cannot be replayed: let its sender send it \
                            again, then discard it";

/// Returns whether only the beginning of a dead letter's body is stored, so that it cannot be replayed.
pub fn is_cut(letter: &DeadLetter) -> bool {
    stored_properties(letter).headers.contains_key(CUT_HEADER)
}

/// The headers that are removed from a message when it is replayed.
const HEADERS_DROPPED_ON_REPLAY: [&str; 8] = [
    header::ATTEMPT,
    header::REASON,
    header::ERROR,
    header::REPLAY,
    header::REPLAY_LETTER,
    header::REPLAY_COUNT,
    header::REPLAY_BY,
    header::REPLAY_REASON,
];

/// Restores the message of a dead letter, to be processed as if for the first time: its attempts start at
/// zero; its history and the time of its first receipt are kept.
pub fn message_for_replay(letter: &DeadLetter) -> Message {
    let (body, routing_key) = (letter.body.clone().into(), letter.routing_key.clone());
    let mut message = Message { body, routing_key, ..stored_properties(letter) };
    let headers = &mut message.headers;
    headers.retain(|name, _| !HEADERS_DROPPED_ON_REPLAY.contains(&name.as_str()));
    headers.insert(header::DEAD_ID.to_owned(), letter.dead_id.clone());
    headers.insert(header::FIRST_SEEN.to_owned(), letter.first_seen_ms.to_string());
    if letter.history != "[]" {
        headers.insert(header::HISTORY.to_owned(), letter.history.clone());
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery(attempt: u32) -> Delivery {
        Delivery { message: Message::default(), attempt, first_seen_ms: 0, redelivered: false }
    }

    #[test]
    fn retries_follow_the_schedule_and_end_as_a_dead_letter_with_the_history() {
        let schedule = [Duration::from_secs(5), Duration::from_secs(30)];
        let again = DeliveryResult::Retry(Reason::AppointmentNotFound, "no appointment yet".into());
        let mut current = delivery(0);
        for (attempt, after) in schedule.iter().enumerate() {
            let Disposition::Retry { after: got, counts: true, headers } =
                again.disposition(&current, Some("appointment.created"), &schedule, 7)
            else {
                panic!("attempt {attempt} was not retried")
            };
            assert_eq!(got, *after);
            assert_eq!(headers[TYPE_HEADER], "appointment.created");
            current = delivery(u32::try_from(attempt).unwrap() + 1);
            current.message.headers = headers;
        }
        let Disposition::DeadLetter { headers } = again.disposition(&current, None, &schedule, 8) else {
            panic!("the message was not dead-lettered after the last attempt")
        };
        assert_eq!(headers[header::REASON], "appointment_not_found");
        let history: Vec<Attempt> = serde_json::from_str(&headers[header::HISTORY]).unwrap();
        assert_eq!(history.iter().map(|attempt| attempt.at_ms).collect::<Vec<_>>(), [7, 7, 8]);
    }

    #[test]
    fn a_permanent_failure_is_dead_lettered_at_once() {
        let dead = DeliveryResult::Dead(Reason::Malformed, "not JSON".into());
        let schedule = [Duration::from_secs(5)];
        assert!(matches!(dead.disposition(&delivery(0), None, &schedule, 0), Disposition::DeadLetter { .. }));
        assert_eq!(
            DeliveryResult::Done(Outcome::Stale).disposition(&delivery(9), None, &schedule, 0),
            Disposition::Ack
        );
    }

    #[test]
    fn a_deferral_never_counts_as_an_attempt() {
        let schedule = [Duration::from_secs(5), Duration::from_secs(30)];
        let Disposition::Retry { after, counts, headers } =
            DeliveryResult::Deferred.disposition(&delivery(9), Some("appointment.created"), &schedule, 0)
        else {
            panic!("the deferred delivery was not retried")
        };
        assert_eq!((after, counts), (schedule[0], false));
        assert_eq!(headers.into_keys().collect::<Vec<_>>(), [TYPE_HEADER], "no history");
    }
}
