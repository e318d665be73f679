//! Freezing a plan: exactly these letters, each with what would become of it now.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use crate::decide::{DeliveryResult, DryRun, Prediction, Processor, revived};
use crate::queue::identity;
use crate::runtime::clock::now_ms;
use crate::store::{
    Database, DeadLetterFilter, DeadLetterRow, FAILED, LetterState, NewItem, NewReplay, StoreError,
    dead_letter_ids, dead_letters_of, insert_replay,
};

/// Letters looked at together; each may be as large as a message can be.
const TOGETHER: usize = 50;

/// A plan that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frozen {
    /// Its id; none when there was nothing to plan.
    pub replay: Option<i64>,
    /// How many letters it has.
    pub letters: usize,
    /// Those that were asked for by their ids and are not in it, each with why.
    pub left_out: Vec<(i64, String)>,
}

/// Freezes the open letters that this filter chooses, and what deciding them now would do: it is
/// done in transactions that only read. `watch` is told how many of how many are looked at.
///
/// # Errors
/// [`StoreError`]; there is no plan then.
pub async fn plan(
    database: &Database,
    processor: &Processor,
    filter: &DeadLetterFilter,
    made_by: &str,
    valid: Duration,
    mut watch: impl FnMut(usize, usize),
) -> Result<Frozen, StoreError> {
    let open = DeadLetterFilter { state: Some(LetterState::Open), ..filter.clone() };
    let ids = database.in_time(dead_letter_ids(database, &open)).await?;
    let left_out = left_out(database, filter, &ids).await?;
    let mut dry_run = processor.dry_run();
    let mut items = Vec::new();
    for some in ids.chunks(TOGETHER) {
        let letters = database.in_time(dead_letters_of(database, some)).await?;
        items.extend(foretold(&mut dry_run, letters).await?);
        watch(items.len(), ids.len());
    }
    if items.is_empty() {
        return Ok(Frozen { replay: None, letters: 0, left_out });
    }
    let created_ms = now_ms();
    let letters = items.len();
    let plan = NewReplay {
        chosen: serde_json::to_string(filter).unwrap_or_default(),
        made_by: made_by.to_owned(),
        created_ms,
        expires_ms: created_ms.saturating_add(i64::try_from(valid.as_millis()).unwrap_or(i64::MAX)),
        items,
    };
    let replay = insert_replay(database, &plan).await?;
    Ok(Frozen { replay: Some(replay), letters, left_out })
}

/// Of the letters that were asked for by their ids, those that are not open.
async fn left_out(
    database: &Database,
    filter: &DeadLetterFilter,
    chosen: &[i64],
) -> Result<Vec<(i64, String)>, StoreError> {
    let mut left_out = Vec::new();
    let asked: BTreeSet<i64> =
        filter.ids.iter().copied().filter(|id| chosen.binary_search(id).is_err()).collect();
    let asked: Vec<i64> = asked.into_iter().collect();
    for some in asked.chunks(TOGETHER) {
        let there = database.in_time(dead_letters_of(database, some)).await?;
        for id in some {
            let why = match there.iter().find(|letter| letter.id == *id) {
                None => "there is no such dead letter".to_owned(),
                Some(letter) => match letter.state.known() {
                    Some(LetterState::Replaying) => "it is already being replayed".to_owned(),
                    Some(LetterState::Open) => "it is not what the filter asks for".to_owned(),
                    _ => format!("it is {}", letter.state),
                },
            };
            left_out.push((*id, why));
        }
    }
    Ok(left_out)
}

async fn foretold(dry_run: &mut DryRun<'_>, letters: Vec<DeadLetterRow>) -> Result<Vec<NewItem>, StoreError> {
    let messages: Vec<_> =
        letters.iter().map(|row| (revived(&row.letter), row.letter.first_seen_ms)).collect();
    let digests: Vec<String> = messages.iter().map(|(message, _)| identity(message).to_string()).collect();
    let prediction = dry_run.predict(messages).await?;
    Ok(letters
        .iter()
        .zip(digests)
        .zip(prediction)
        .map(|((row, digest), one)| item(row, digest, one))
        .collect())
}

/// In place of an appointment that is not there yet: letters of one booking go one after the other
/// all the same. Never an appointment's id.
fn lane_of(row: &DeadLetterRow) -> Option<i64> {
    let booking = row.letter.booking_ref.as_ref()?;
    let mut hash = DefaultHasher::new();
    (row.letter.company_id, booking).hash(&mut hash);
    Some(-1 - i64::try_from(hash.finish() >> 1).unwrap_or_default())
}

fn item(row: &DeadLetterRow, digest: String, prediction: Prediction) -> NewItem {
    let (predicted, reason) = match &prediction.result {
        DeliveryResult::Done(outcome) => (outcome.as_str(), None),
        DeliveryResult::Retry(reason, _) | DeliveryResult::Dead(reason, _) => {
            (FAILED, Some(reason.to_string()))
        }
        DeliveryResult::Deferred => (FAILED, None),
    };
    NewItem {
        letter: row.id,
        seen_ms: row.letter.last_failed_ms,
        digest,
        lane: prediction.appointment.map(|id| id.0).or_else(|| lane_of(row)),
        predicted: predicted.to_owned(),
        predicted_reason: reason,
        strategy: prediction.strategy,
    }
}
