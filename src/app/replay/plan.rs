//! Makes a plan: a fixed set of letters, each with its predicted outcome.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use serde::Serialize;

use super::{Report, find};
use crate::app::{AppContext, AppError};
use crate::decide::{CUT_BODY, DeliveryResult, DryRun, Prediction, is_cut, message_for_replay};
use crate::queue::identity;
use crate::runtime::clock::{now_ms, rfc3339};
use crate::store::{
    DeadLetter, DeadLetterFilter, FAILED, LetterState, NewItem, NewReplay, RefusedLetter, StoreError,
    dead_letter_ids, dead_letters_of, insert_replay,
};

/// The number of letters read at a time. Each may have the maximum size of a message.
const READ_CHUNK: usize = 50;

/// A new plan, or the reasons why there is none.
#[derive(Debug, Serialize)]
pub(crate) struct PlanView {
    pub(crate) plan: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expires: Option<String>,
    pub(crate) left_out: Vec<RefusedLetter>,
    pub(crate) report: Option<Report>,
}

/// Makes a plan of the open letters that this filter chooses, with the outcome that each would have now,
/// predicted in read-only transactions. Calls `watch` with the number of letters done and the number of all
/// letters. On failure no plan is stored.
pub(crate) async fn plan(
    context: &AppContext,
    filter: &DeadLetterFilter,
    mut watch: impl FnMut(usize, usize),
) -> Result<PlanView, AppError> {
    let (database, scope) = (&context.database, &context.scope);
    let open = DeadLetterFilter { state: Some(LetterState::Open), ..filter.clone() };
    let ids = context.with_deadline(dead_letter_ids(database, scope, &open)).await?;
    let mut left_out = left_out(context, filter, &ids).await?;
    let processor = context.processor();
    let mut dry_run = processor.dry_run();
    let mut items = Vec::new();
    for chunk in ids.chunks(READ_CHUNK) {
        let letters = context.with_deadline(dead_letters_of(database, scope, chunk)).await?;
        let (cut, letters): (Vec<_>, Vec<_>) = letters.into_iter().partition(is_cut);
        left_out.extend(cut.iter().map(|letter| RefusedLetter { id: letter.id, why: CUT_BODY.to_owned() }));
        items.extend(predictions(&mut dry_run, letters).await?);
        watch(items.len(), ids.len());
    }
    if items.is_empty() {
        return Ok(PlanView { plan: None, expires: None, left_out, report: None });
    }
    let (created_ms, valid_for) = (now_ms(), context.config.replay.plan_valid);
    let plan = NewReplay {
        chosen: filter.to_json(scope),
        made_by: context.author.as_str().to_owned(),
        created_ms,
        expires_ms: created_ms.saturating_add(i64::try_from(valid_for.as_millis()).unwrap_or(i64::MAX)),
        items,
    };
    let id = insert_replay(database, &plan).await?;
    let (expires, report) = (Some(rfc3339(plan.expires_ms)), Some(Report::read(context, id).await?));
    Ok(PlanView { plan: Some(id), expires, left_out, report })
}

/// Returns the predictions of a plan.
pub(crate) async fn read_predictions(context: &AppContext, id: i64) -> Result<Report, AppError> {
    find(context, id).await?;
    Ok(Report::read(context, id).await?)
}

/// Returns the letters that were requested by id and are not in the plan, with the reason.
async fn left_out(
    context: &AppContext,
    filter: &DeadLetterFilter,
    chosen: &[i64],
) -> Result<Vec<RefusedLetter>, StoreError> {
    let requested = filter.ids.iter().copied().filter(|id| chosen.binary_search(id).is_err());
    let requested: Vec<i64> = requested.collect::<BTreeSet<_>>().into_iter().collect();
    let mut left_out = Vec::new();
    for chunk in requested.chunks(READ_CHUNK) {
        let found = dead_letters_of(&context.database, &context.scope, chunk);
        let found = context.with_deadline(found).await?;
        left_out.extend(chunk.iter().map(|id| {
            let letter = found.iter().find(|letter| letter.id == *id);
            let why = match letter.map(|letter| (letter.state.known(), letter)) {
                None => "there is no such dead letter".to_owned(),
                Some((Some(LetterState::Replaying), _)) => "it is already being replayed".to_owned(),
                Some((Some(LetterState::Open), _)) => "it does not match the filter".to_owned(),
                Some((_, letter)) => format!("it is {}", letter.state),
            };
            RefusedLetter { id: *id, why }
        }));
    }
    Ok(left_out)
}

async fn predictions(dry_run: &mut DryRun<'_>, letters: Vec<DeadLetter>) -> Result<Vec<NewItem>, StoreError> {
    let messages: Vec<_> = letters.iter().map(|row| (message_for_replay(row), row.first_seen_ms)).collect();
    let digests: Vec<String> = messages.iter().map(|(message, _)| identity(message).to_string()).collect();
    let predictions = dry_run.predict(messages).await?;
    let items = letters.iter().zip(digests).zip(predictions);
    Ok(items.map(|((row, digest), prediction)| item(row, digest, prediction)).collect())
}

/// Returns the lane of a letter whose appointment does not exist yet. Letters with the same lane are sent one
/// after the other; usually the lane is the appointment's id. This one is derived from the booking's
/// reference, and negative, so that it never equals an appointment's id.
fn lane_of(row: &DeadLetter) -> Option<i64> {
    let booking = row.booking_ref.as_ref()?;
    let mut hash = DefaultHasher::new();
    (row.company_id, booking).hash(&mut hash);
    Some(-1 - i64::try_from(hash.finish() >> 1).unwrap_or_default())
}

fn item(row: &DeadLetter, digest: String, prediction: Prediction) -> NewItem {
    let (predicted, reason) = match &prediction.result {
        DeliveryResult::Done(outcome) => (outcome.as_str(), None),
        DeliveryResult::Retry(reason, _) | DeliveryResult::Dead(reason, _) => {
            (FAILED, Some(reason.to_string()))
        }
        DeliveryResult::Deferred => (FAILED, None),
    };
    NewItem {
        letter: row.id,
        seen_ms: row.last_failed_ms,
        digest,
        lane: prediction.appointment.map(|id| id.0).or_else(|| lane_of(row)),
        predicted: predicted.to_owned(),
        predicted_reason: reason,
        strategy: prediction.strategy,
    }
}
