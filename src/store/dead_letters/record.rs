//! Records dead letters: one row per dead letter, however often it is recorded.

use sea_orm::sea_query::OnConflict;
use sea_orm::{DatabaseTransaction, DbErr, IntoActiveModel as _, UpdateMany};

use super::{DeadLetter, LetterState, NewDeadLetter};
use crate::matching::DEAD_LETTER;
use crate::runtime::crash_points;
use crate::store::Database;
use crate::store::entity::dead_letter::{ActiveModel, Column, Entity};
use crate::store::entity::event;
use crate::store::prelude::*;
use crate::store::replays::{FAILED, end_replayed};

/// Records dead letters in one transaction. A letter that is already recorded gets its newest attempt and is
/// opened again, unless its copy is in flight. Returns the number of new rows. After an error nothing is
/// recorded.
pub async fn insert_dead_letters(database: &Database, letters: &[NewDeadLetter]) -> Result<usize> {
    // The letters are sorted by key, so that two recorders do not deadlock.
    let mut letters: Vec<&NewDeadLetter> = letters.iter().collect();
    letters.sort_by(|a, b| a.letter.dead_id.cmp(&b.letter.dead_id));

    let transaction = database.begin().await?;
    let mut new = 0;
    // They are recorded one by one, because each may have the maximum size of a message, and the size of a
    // statement is limited.
    for letter in &letters {
        if record_failed_copy(&transaction, letter).await? {
            continue;
        }
        if is_recorded(&transaction, &letter.letter.dead_id).await? {
            update_attempt(&letter.letter).exec(&transaction).await?;
        } else {
            insert(&transaction, &letter.letter).await?;
            new += 1;
        }
    }
    // The rows of events have their own key order.
    letters.sort_by(|a, b| a.letter.event_id.cmp(&b.letter.event_id));
    for letter in letters {
        if let Some(event_id) = &letter.letter.event_id {
            record_event(&transaction, event_id, letter).await?;
        }
    }
    crash_points::point("recorder_before_commit");
    transaction.commit().await?;
    crash_points::point("recorder_after_commit");
    Ok(new)
}

async fn is_recorded(transaction: &DatabaseTransaction, dead_id: &str) -> Result<bool, DbErr> {
    let id = Entity::find().select_only().column(Column::Id).filter(Column::DeadId.eq(truncate(dead_id, 64)));
    Ok(id.into_tuple::<i64>().one(transaction).await?.is_some())
}

/// Ends the replay of this copy, and records the attempt in its letter. Returns false if the dead letter is
/// not a copy in flight, or if the copied letter no longer exists: the caller then records it like any other
/// dead letter.
async fn record_failed_copy(transaction: &DatabaseTransaction, letter: &NewDeadLetter) -> Result<bool> {
    let Some(copy) = &letter.replayed else { return Ok(false) };
    let letter = &letter.letter;
    let reason = Some(letter.reason.as_str());
    if !end_replayed(transaction, copy, FAILED, reason, letter.recorded_ms).await? {
        return Ok(false);
    }
    // This is the newest attempt, even if the clocks of two machines differ.
    let attempt = ActiveModel { state: Set(LetterState::Open.into()), ..attempt_columns(letter) };
    let update = Entity::update_many().set(attempt).filter(Column::Id.eq(copy.letter));
    Ok(update.exec(transaction).await?.rows_affected > 0)
}

/// Updates the row of a message that failed again: it was sent once more, or a crash left two copies of it. A
/// letter whose copy is in flight stays in that state; one that was closed after this attempt stays closed.
fn update_attempt(letter: &DeadLetter) -> UpdateMany<Entity> {
    let (replaying, open) = (LetterState::Replaying, LetterState::Open);
    let state = Expr::case(Column::State.eq(replaying), replaying).finally(open);
    let not_closed_since =
        Cond::any().add(Column::ClosedMs.is_null()).add(Column::ClosedMs.lt(letter.last_failed_ms));
    Entity::update_many()
        .set(attempt_columns(letter))
        .col_expr(Column::State, state.into())
        .filter(Column::DeadId.eq(truncate(&letter.dead_id, 64)))
        .filter(Column::LastFailedMs.lt(letter.last_failed_ms))
        .filter(not_closed_since)
}

/// Returns the columns that an attempt changes.
fn attempt_columns(letter: &DeadLetter) -> ActiveModel {
    ActiveModel {
        reason: Set(truncate(&letter.reason, 64)),
        error: Set(truncate(&letter.error, MAX_ERROR)),
        fingerprint: Set(truncate(&letter.fingerprint, 64)),
        attempts: Set(letter.attempts),
        history: Set(letter.history.replace('\0', "\u{fffd}")),
        last_failed_ms: Set(letter.last_failed_ms),
        closed_ms: Set(None),
        ..Default::default()
    }
}

async fn insert(transaction: &DatabaseTransaction, letter: &DeadLetter) -> Result<(), DbErr> {
    let text = |value: &Option<String>, length| value.as_deref().map(|value| truncate(value, length));
    let row = ActiveModel {
        dead_id: Set(truncate(&letter.dead_id, 64)),
        event_id: Set(text(&letter.event_id, 255)),
        event_type: Set(text(&letter.event_type, 64)),
        booking_ref: Set(text(&letter.booking_ref, 255)),
        company_id: Set(letter.company_id),
        host_id: Set(letter.host_id),
        starts_ms: Set(letter.starts_ms),
        routing_key: Set(truncate(&letter.routing_key, 255)),
        headers: Set(letter.headers.replace('\0', "\u{fffd}")),
        body: Set(letter.body.clone()),
        first_seen_ms: Set(letter.first_seen_ms),
        recorded_ms: Set(letter.recorded_ms),
        ..attempt_columns(letter)
    };
    // It is not an error if another recorder has just inserted the same letter.
    let keep_existing = OnConflict::column(Column::DeadId).do_nothing_on([Column::Id]).to_owned();
    Entity::insert(row).on_conflict(keep_existing).exec_without_returning(transaction).await?;
    Ok(())
}

/// Records the event's own row. An earlier decision stays: the dead letter may be a late copy.
async fn record_event(
    transaction: &DatabaseTransaction,
    event_id: &str,
    letter: &NewDeadLetter,
) -> Result<()> {
    let NewDeadLetter { letter, shape, publisher, .. } = letter;
    let (event_id, reason) = (truncate(event_id, 255), Some(truncate(&letter.reason, 64)));
    let text = |text: &Option<String>, length| text.as_deref().map(|text| truncate(text, length));
    let row = event::Model {
        event_id: event_id.clone(),
        event_type: text(&letter.event_type, 64).unwrap_or_else(|| "unknown".to_owned()),
        shape: text(shape, 16).unwrap_or_else(|| "unknown".to_owned()),
        publisher: text(publisher, 64),
        booking_ref: text(&letter.booking_ref, 255),
        company_id: letter.company_id,
        appointment_id: None,
        outcome: DEAD_LETTER.to_owned(),
        reason: reason.clone(),
        reading: None,
        received_ms: letter.first_seen_ms,
        decided_ms: letter.last_failed_ms,
    };
    let key = event::Column::EventId;
    let keep_existing = OnConflict::column(key).do_nothing_on([key]).to_owned();
    let insert = event::Entity::insert(row.into_active_model()).on_conflict(keep_existing);
    insert.exec_without_returning(transaction).await?;
    let newest = event::ActiveModel {
        reason: Set(reason),
        decided_ms: Set(letter.last_failed_ms),
        ..Default::default()
    };
    event::Entity::update_many()
        .set(newest)
        .filter(key.eq(event_id))
        .filter(event::Column::Outcome.eq(DEAD_LETTER))
        .exec(transaction)
        .await?;
    Ok(())
}

/// Cuts a string to its column's length in characters, and replaces NUL, which PostgreSQL cannot store.
fn truncate(text: &str, length: usize) -> String {
    text.chars().take(length).map(|c| if c == '\0' { '\u{fffd}' } else { c }).collect()
}

/// The maximum length of an error in characters: far below the limit of MySQL's TEXT (64 KiB), even at four
/// bytes per character.
const MAX_ERROR: usize = 8_000;
