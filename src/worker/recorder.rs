//! The recorder: consumes dead letters and stores them in the table `hostmatch_dead_letters`.
//!
//! The queue is only for transport: each read from a quorum queue counts as a delivery, and too many reads
//! destroy a message. So dead letters are recorded first, and operators read them in the table.

use sha2::{Digest as _, Sha256};

use super::health::BatchProgress;
use super::hold::{self, Hold};
use super::run::Worker;
use crate::decide::{
    Attempt, LOST_CONNECTIONS, begin_recording, history, properties_of_cut, read as read_event, replayed,
};
use crate::event::{Decoded, Hints, Ignored, LocalZone, TYPE_HEADER};
use crate::matching::Reason;
use crate::queue::{Batch, Consumer, Delivery, Disposition, Gathered, QueueError, header};
use crate::runtime::clock::now_ms;
use crate::runtime::crash_points;
use crate::runtime::shutdown::Shutdown;
use crate::store::{DeadLetter, LetterState, NewDeadLetter, StoreError, StoreErrorKind, insert_dead_letters};

/// The number of bytes of a body that are kept if the database refuses the whole body.
const MAX_REFUSED_BODY: usize = 64 * 1024;

/// The recorder.
pub(super) struct Recorder {
    pub(super) worker: Worker,
    pub(super) consumer: Consumer,
    pub(super) progress: BatchProgress,
    pub(super) shutdown: Shutdown,
}

impl Recorder {
    /// Runs until shutdown.
    pub(super) async fn run(mut self) -> Result<(), QueueError> {
        while let Gathered::Batch(batch) = self.consumer.next_batch(&self.shutdown, None).await? {
            self.worker.tally.begin_batch();
            self.progress.begin_batch();
            let span = begin_recording(self.consumer.destination(), batch.deliveries());
            let recorded = hold::ignore_unless_closed(span.instrument(self.handle(batch)).await);
            drop(span);
            self.progress.end_batch();
            self.worker.tally.end_batch();
            if !recorded? {
                self.consumer.pause().await;
                self.worker.availability.wait(&self.worker.processor, &self.shutdown).await;
            }
        }
        Ok(())
    }

    async fn handle(&self, batch: Batch) -> Result<bool, QueueError> {
        crash_points::point("recorder_received");
        let (now_ms, zone) = (now_ms(), self.worker.processor.local_zone());
        let letters: Vec<NewDeadLetter> =
            batch.deliveries().iter().map(|delivery| dead_letter(delivery, zone, now_ms)).collect();
        let pairs = batch.deliveries().iter().zip(&letters);
        let by_broker: Vec<bool> = pairs
            .map(|(delivery, letter)| !is_by_worker(&history(delivery), &letter.letter.reason))
            .collect();
        let mut hold = Hold::new(self.worker.config.worker.hold);
        let recorded = loop {
            match self.record(&letters).await {
                Ok(new) => break Some(new),
                Err(error) if hold.wait(&error, &self.shutdown).await => {}
                Err(_) => break None,
            }
        };
        let disposition = if recorded.is_some() { Disposition::Ack } else { Disposition::Release };
        crash_points::point("recorder_before_ack");
        let settled = batch.settle(vec![disposition; letters.len()]).await?;
        crash_points::point("recorder_after_ack");
        let removed = settled.removed.into_iter();
        for letter in removed.filter(|index| by_broker[*index]).map(|index| &letters[index]) {
            let is_replay = letter.replayed.is_some();
            let letter = &letter.letter;
            let meters = &self.worker.processor.meters;
            meters.count_broker_dead_letter(letter.event_type.as_deref(), &letter.reason, is_replay);
        }
        self.worker.tally.add("recorded_dead_letter", recorded.unwrap_or_default() as u64);
        Ok(recorded.is_some())
    }

    /// Records the letters in one transaction; if the database does not take that, one by one, so that one
    /// letter does not affect the others.
    async fn record(&self, letters: &[NewDeadLetter]) -> Result<usize, StoreError> {
        let error = match self.insert(letters).await {
            Err(error) => error,
            recorded => return recorded,
        };
        if !self.is_due_to_letters(&error, letters).await? {
            return Err(error);
        }
        let mut new = 0;
        for letter in letters {
            new += self.record_alone(letter).await?;
        }
        Ok(new)
    }

    /// Records one letter; if the database does not take it, with only the beginning of its body. After a lost
    /// connection it is tried again first: any connection may break once.
    async fn record_alone(&self, letter: &NewDeadLetter) -> Result<usize, StoreError> {
        let one = std::slice::from_ref(letter);
        let mut lost = 0;
        let error = loop {
            let error = match self.insert(one).await {
                Err(error) => error,
                recorded => return recorded,
            };
            if !self.is_due_to_letters(&error, one).await? {
                return Err(error);
            }
            lost += 1;
            if error.kind() == StoreErrorKind::Rejected || lost == LOST_CONNECTIONS {
                break error;
            }
        };
        let dead_id = &letter.letter.dead_id;
        tracing::error!(dead_id, %error, "recording a dead letter with only the beginning of its body");
        let mut shortened = letter.clone();
        let kept = &mut shortened.letter;
        let bytes = kept.body.len();
        kept.error = format!(
            "{} (the database does not take the whole body of {bytes} bytes, so only its beginning is stored and it \
             cannot be replayed: {error})",
            kept.error
        );
        kept.body.truncate(MAX_REFUSED_BODY);
        (kept.headers, kept.history) = (properties_of_cut(bytes), "[]".to_owned());
        self.insert(std::slice::from_ref(&shortened)).await
    }

    async fn insert(&self, letters: &[NewDeadLetter]) -> Result<usize, StoreError> {
        let database = &self.worker.processor.database;
        database.with_deadline(insert_dead_letters(database, letters)).await
    }

    async fn is_due_to_letters(
        &self,
        error: &StoreError,
        letters: &[NewDeadLetter],
    ) -> Result<bool, StoreError> {
        let size = |letter: &NewDeadLetter| letter.letter.body.len() + letter.letter.headers.len();
        let largest = letters.iter().map(size).max().unwrap_or_default();
        self.worker.processor.is_due_to_data(error, largest).await
    }
}

/// Creates the record of a dead letter.
fn dead_letter(delivery: &Delivery, zone: &LocalZone, now_ms: i64) -> NewDeadLetter {
    let message = &delivery.message;
    let text = |name: &str| message.headers.get(name).cloned();
    let reason = text(header::REASON).unwrap_or_else(|| Reason::DeliveryLimit.to_string());
    let (hints, host_id, starts_ms) = decode(delivery, zone);
    let shape = hints.shape.map(|shape| shape.as_str().to_owned());
    let history = history(delivery);
    let by_worker = is_by_worker(&history, &reason);
    let attempts = delivery.attempt.saturating_add(u32::from(!by_worker));
    let kept = DeadLetter {
        id: 0,
        state: LetterState::Open.into(),
        replays: 0,
        closed_ms: None,
        dead_id: text(header::DEAD_ID).unwrap_or_else(|| digest(&[&message.body, reason.as_bytes()])),
        event_id: hints.id.map(|id| id.to_string()),
        event_type: text(TYPE_HEADER).or(hints.event_type).map(|name| name.chars().take(64).collect()),
        booking_ref: hints.booking.map(|booking| booking.to_string()),
        company_id: hints.company,
        host_id,
        starts_ms,
        fingerprint: digest(&[
            reason.as_bytes(),
            without_ids(&text(header::ERROR).unwrap_or_default()).as_bytes(),
        ]),
        error: text(header::ERROR).unwrap_or_else(|| "dead-lettered by the broker".to_owned()),
        reason,
        attempts: i32::try_from(attempts).unwrap_or(i32::MAX),
        last_failed_ms: history.last().filter(|_| by_worker).map_or(now_ms, |attempt| attempt.at_ms),
        history: text(header::HISTORY).unwrap_or_else(|| "[]".to_owned()),
        routing_key: message.routing_key.chars().take(255).collect(),
        headers: serde_json::to_string(message).unwrap_or_else(|_| "{}".to_owned()),
        body: message.body.to_vec(),
        first_seen_ms: delivery.first_seen_ms,
        recorded_ms: now_ms,
    };
    NewDeadLetter { letter: kept, shape, publisher: text(header::PUBLISHER), replayed: replayed(delivery) }
}

/// Returns whether a worker dead-lettered the message: a worker first adds the attempt to the history, the
/// broker does not.
fn is_by_worker(history: &[Attempt], reason: &str) -> bool {
    history.last().is_some_and(|last| last.reason == reason)
}

/// Decodes as much of a dead letter as possible: the hints, the id of its host, and its earliest start.
fn decode(delivery: &Delivery, zone: &LocalZone) -> (Hints, Option<i64>, Option<i64>) {
    // `read_event` catches panics: a message that made the worker fail must not do so again here.
    match read_event(delivery, zone) {
        Some(Ok(Decoded::Event(event))) => {
            let first = event.bookings.first();
            let host = first.and_then(|booking| booking.host.as_ref()).and_then(|(host, _)| host.id);
            let starts_ms = event.bookings.iter().filter_map(|booking| booking.starts_ms).min();
            let hints = Hints {
                booking: first.and_then(|booking| booking.reference().cloned()),
                id: Some(event.id),
                event_type: Some(event.event_type),
                company: event.company,
                shape: Some(event.shape),
            };
            (hints, host.map(|id| id.0), starts_ms)
        }
        Some(Ok(Decoded::Ignored(Ignored { id, event_type, shape }))) => {
            let (id, event_type, shape) = (Some(id), Some(event_type), Some(shape));
            (Hints { id, event_type, shape, ..Hints::default() }, None, None)
        }
        Some(Err(malformed)) => (*malformed.hints, None, None),
        None => (Hints::default(), None, None),
    }
}

fn digest(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hex::encode(&hash.finalize()[..16])
}

/// Removes the parts of an error text that differ between occurrences (numbers, UUIDs and other hex ids), for
/// grouping.
fn without_ids(text: &str) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let mut kept = String::new();
    for run in text.split_inclusive(|c| !is_part(c)) {
        let word = run.trim_end_matches(|c| !is_part(c));
        if uuid::Uuid::try_parse(word).is_err() {
            let words = word.split_inclusive('-').filter(|part| !is_hex(part.trim_end_matches('-')));
            kept.extend(words.flat_map(str::chars).filter(|c| !c.is_ascii_digit()));
        }
        kept.push_str(&run[word.len()..]);
    }
    kept
}

/// Returns whether this is a hex id and not a word: words have no digits.
fn is_hex(word: &str) -> bool {
    word.len() >= 8
        && word.bytes().all(|byte| byte.is_ascii_hexdigit())
        && word.bytes().any(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::without_ids;

    #[test]
    fn numbers_and_ids_do_not_affect_the_group() {
        let same = |a: &str, b: &str| assert_eq!(without_ids(a), without_ids(b));
        same("row 12, not 7", "row 3, not 456");
        same(
            "no row f81d4fae-7dec-11d0-a765-00a0c91e6bf6: gone",
            "no row 550e8400-e29b-41d4-abcd-446655440000: gone",
        );
        same("trace 4bf92f3577b34da6 was cut", "trace a3ce929d0e0e4736 was cut");
        assert_ne!(without_ids("the facade is gone"), without_ids("the deadbeef is gone"));
        assert_eq!(without_ids("Größe 5: »x«"), "Größe : »x«");
    }
}
