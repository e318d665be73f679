//! Ends the replay of a letter, in the transaction that decides its copy, records the copy as a dead letter,
//! or gives it up.

use sea_orm::DatabaseTransaction;

use super::{LOST, REFUSED, ReplayItemState};
use crate::matching::Outcome;
use crate::store::dead_letters::{NewLetterAction, insert_action};
use crate::store::entity::dead_letter;
use crate::store::entity::replay_item::{ActiveModel, Column, Entity};
use crate::store::prelude::*;
use crate::store::statement::{chunk_rows, values_of};
use crate::store::{Database, LetterState};

/// The identity of a replayed copy: the letter and the replay that its headers name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// The replay.
    pub replay: i64,
    /// The letter.
    pub letter: i64,
    /// The hash of its message, computed from the delivery itself, because headers can be forged.
    pub digest: String,
}

/// Ends a letter's replay with this result. Returns false if the letter is not in flight as this copy claims:
/// an earlier copy has ended it, or the claim is forged. After an error the caller must roll back.
pub(in crate::store) async fn end_replayed(
    tx: &impl ConnectionTrait,
    copy: &Replayed,
    result: &str,
    reason: Option<&str>,
    now_ms: i64,
) -> Result<bool> {
    let update = Entity::update_many()
        .set(ended_columns(result, reason, now_ms))
        .filter(Column::ReplayId.eq(copy.replay))
        .filter(Column::LetterId.eq(copy.letter))
        .filter(Column::Digest.eq(copy.digest.as_str()))
        .filter(Column::Outstanding.eq(copy.letter));
    Ok(update.exec(tx).await?.rows_affected > 0)
}

/// Returns the columns of a letter that is no longer in flight.
pub(super) fn ended_columns(result: &str, reason: Option<&str>, now_ms: i64) -> ActiveModel {
    ActiveModel {
        state: Set(ReplayItemState::Ended.into()),
        outstanding: Set(None),
        result: Set(Some(result.to_owned())),
        result_reason: Set(reason.map(|code| code.chars().take(64).collect())),
        ended_ms: Set(Some(now_ms)),
        ..Default::default()
    }
}

/// Ends a decided copy: its letter is resolved, or skipped if there was nothing left to do. After an error
/// the caller must roll back.
pub async fn end_decided(
    tx: &impl ConnectionTrait,
    copy: &Replayed,
    outcome: Outcome,
    now_ms: i64,
) -> Result<()> {
    if !end_replayed(tx, copy, outcome.as_str(), None, now_ms).await? {
        return Ok(());
    }
    let nothing_to_do = matches!(outcome, Outcome::Stale | Outcome::Unchanged | Outcome::Kept);
    let state = if nothing_to_do { LetterState::Skipped } else { LetterState::Resolved };
    let closed = dead_letter::ActiveModel {
        state: Set(state.into()),
        closed_ms: Set(Some(now_ms)),
        ..Default::default()
    };
    let letter = dead_letter::Column::Id.eq(copy.letter);
    dead_letter::Entity::update_many().set(closed).filter(letter).exec(tx).await?;
    Ok(())
}

/// Gives up the letters of a replay that are in flight: their copies count as lost, and the letters are open
/// again. If a copy arrives after all, it is handled like any other message. Records the action and returns
/// the number of letters. After an error nothing is given up.
pub async fn give_up(database: &Database, replay: i64, action: &NewLetterAction) -> Result<usize> {
    let work = async |tx: &DatabaseTransaction| {
        let letters = end_in_flight(tx, replay, None, (LOST, None), action.at_ms).await?;
        if letters > 0 {
            insert_action(tx, &NewLetterAction { letters, ..action.clone() }).await?;
        }
        Ok(letters)
    };
    database.transact(work).await
}

/// Ends a claimed letter whose copy cannot be published, for this reason; the letter is open again.
pub async fn refuse(
    database: &Database,
    replay: i64,
    letter: i64,
    reason: &'static str,
    now_ms: i64,
) -> Result<()> {
    let result = (REFUSED, Some(reason));
    let work = async |tx: &DatabaseTransaction| end_in_flight(tx, replay, Some(letter), result, now_ms).await;
    database.transact(work).await.map(drop)
}

/// Ends letters in flight, all or only this one, and opens them again.
async fn end_in_flight(
    tx: &impl ConnectionTrait,
    replay: i64,
    only: Option<i64>,
    (result, reason): (&'static str, Option<&'static str>),
    now_ms: i64,
) -> Result<usize> {
    let in_flight = Entity::find()
        .filter(Column::ReplayId.eq(replay))
        .filter(Column::State.is_in(ReplayItemState::IN_FLIGHT))
        .filter(Cond::all().add_option(only.map(|letter| Column::LetterId.eq(letter))))
        .order_by_asc(Column::LetterId)
        .lock_exclusive();
    let ids: Vec<i64> = values_of(tx, in_flight, Column::LetterId).await?;
    for ids in chunk_rows(&ids) {
        Entity::update_many()
            .set(ended_columns(result, reason, now_ms))
            .filter(Column::ReplayId.eq(replay))
            .filter(Column::LetterId.is_in(ids.iter().copied()))
            .exec(tx)
            .await?;
        dead_letter::Entity::update_many()
            .col_expr(dead_letter::Column::State, LetterState::Open.into())
            .filter(dead_letter::Column::Id.is_in(ids.iter().copied()))
            .filter(dead_letter::Column::State.eq(LetterState::Replaying))
            .exec(tx)
            .await?;
    }
    Ok(ids.len())
}
