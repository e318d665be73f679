//! The end of a letter's replay, in the transaction that ends it: that of its effect, the one that
//! records it again, or the one that gives it up.

use sea_orm::DatabaseTransaction;

use super::{LOST, REFUSED, ReplayItemState};
use crate::matching::Outcome;
use crate::store::dead_letters::{NewAct, record_act};
use crate::store::entity::dead_letter;
use crate::store::entity::replay_item::{ActiveModel, Column, Entity};
use crate::store::prelude::*;
use crate::store::statement::{chunk_rows, values_of};
use crate::store::{Database, LetterState};

/// What a delivery says of itself: it is the copy of this letter, made by this replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// The replay.
    pub replay: i64,
    /// The letter.
    pub letter: i64,
    /// What tells its message from others, made from the delivery itself: headers can be forged.
    pub digest: String,
}

/// Ends a letter's replay with this result. False: it is not on the way as this copy says, because
/// an earlier copy has ended it, or because it lies. After an error the transaction is to be rolled back.
pub(in crate::store) async fn end_replayed(
    tx: &impl ConnectionTrait,
    copy: &Replayed,
    result: &str,
    reason: Option<&str>,
    now_ms: i64,
) -> Result<bool> {
    let update = Entity::update_many()
        .set(ended(result, reason, now_ms))
        .filter(Column::ReplayId.eq(copy.replay))
        .filter(Column::LetterId.eq(copy.letter))
        .filter(Column::Digest.eq(copy.digest.as_str()))
        .filter(Column::Outstanding.eq(copy.letter));
    Ok(update.exec(tx).await?.rows_affected > 0)
}

/// A letter that is not on the way any more.
pub(super) fn ended(result: &str, reason: Option<&str>, now_ms: i64) -> ActiveModel {
    ActiveModel {
        state: Set(ReplayItemState::Ended.into()),
        outstanding: Set(None),
        result: Set(Some(result.to_owned())),
        result_reason: Set(reason.map(|code| code.chars().take(64).collect())),
        ended_ms: Set(Some(now_ms)),
        ..Default::default()
    }
}

/// The copy was decided: its letter is resolved, or, where there was nothing left to do, skipped.
/// After an error the transaction is to be rolled back.
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

/// Gives up the letters of a replay that are on the way: their copies are taken for lost, and they
/// are open again. Should a copy come back after all, it is handled like any other message. Gives
/// how many, which are in the record. After an error nothing is given up.
pub async fn give_up(database: &Database, replay: i64, act: &NewAct) -> Result<usize> {
    let work = async |tx: &DatabaseTransaction| {
        let letters = take_back(tx, replay, None, (LOST, None), act.at_ms).await?;
        if letters > 0 {
            record_act(tx, &NewAct { letters, ..act.clone() }).await?;
        }
        Ok(letters)
    };
    database.transact(work).await
}

/// Ends a letter that was claimed and of which no copy can be published, for this reason; it is open
/// again.
pub async fn refuse(
    database: &Database,
    replay: i64,
    letter: i64,
    reason: &'static str,
    now_ms: i64,
) -> Result<()> {
    let result = (REFUSED, Some(reason));
    let work = async |tx: &DatabaseTransaction| take_back(tx, replay, Some(letter), result, now_ms).await;
    database.transact(work).await.map(drop)
}

/// Ends letters that are on the way, all or only this one, and opens them again.
async fn take_back(
    tx: &impl ConnectionTrait,
    replay: i64,
    only: Option<i64>,
    (result, reason): (&'static str, Option<&'static str>),
    now_ms: i64,
) -> Result<usize> {
    let on_the_way = Entity::find()
        .filter(Column::ReplayId.eq(replay))
        .filter(Column::State.is_in(ReplayItemState::ON_THE_WAY))
        .filter(Cond::all().add_option(only.map(|letter| Column::LetterId.eq(letter))))
        .order_by_asc(Column::LetterId)
        .lock_exclusive();
    let ids: Vec<i64> = values_of(tx, on_the_way, Column::LetterId).await?;
    for ids in chunk_rows(&ids) {
        Entity::update_many()
            .set(ended(result, reason, now_ms))
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
