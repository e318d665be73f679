//! Taking letters on the way: each is read again before its copy is published.

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::sea_query::{Expr, ExprTrait as _};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, DatabaseTransaction, DerivePartialModel, EntityTrait as _,
    QueryFilter as _, QueryOrder as _, QuerySelect as _, Set,
};

use super::{REFUSED, ReplayItemState, ReplayState};
use crate::matching::Stored;
use crate::store::entity::replay_item::{ActiveModel, Column, Entity};
use crate::store::entity::{dead_letter, replay};
use crate::store::{Database, LetterState, StoreError};

/// A letter as it is now.
#[derive(Clone, Debug, PartialEq, Eq, DerivePartialModel)]
#[sea_orm(entity = "dead_letter::Entity")]
pub(in crate::store) struct LockedLetter {
    id: i64,
    /// Where it stands.
    pub(in crate::store) state: Stored<LetterState>,
    /// When it failed last.
    pub(in crate::store) last_failed_ms: i64,
}

/// These letters as they are, locked until the transaction ends.
///
/// # Errors
/// [`StoreError`]
pub(in crate::store) async fn lock_letters(
    tx: &impl ConnectionTrait,
    ids: &[i64],
) -> Result<BTreeMap<i64, LockedLetter>, StoreError> {
    let letters: Vec<LockedLetter> = dead_letter::Entity::find()
        .filter(dead_letter::Column::Id.is_in(ids.iter().copied()))
        .order_by_asc(dead_letter::Column::Id)
        .lock_exclusive()
        .into_partial_model()
        .all(tx)
        .await?;
    Ok(letters.into_iter().map(|letter| (letter.id, letter)).collect())
}

/// Takes these pending letters of a replay on their way, as far as they are still what was planned,
/// and gives those that it took. The others end with a code: `gone`, `changed`, `not_open`,
/// `being_replayed`. None is touched when another process has the replay by now. `ids`, each with
/// when it was planned to have failed last, are at most a few hundred.
///
/// # Errors
/// [`StoreError`]; nothing is taken then.
pub async fn claim(
    database: &Database,
    replay: i64,
    lease: &str,
    ids: &[(i64, i64)],
    now_ms: i64,
) -> Result<Vec<i64>, StoreError> {
    let work = async |tx: &DatabaseTransaction| {
        if !is_held(tx, replay, lease).await? {
            return Ok(Vec::new());
        }
        let letters: Vec<i64> = ids.iter().map(|(id, _)| *id).collect();
        let standing = lock_letters(tx, &letters).await?;
        let still_pending = still_pending(tx, replay, &letters).await?;
        let outstanding: Vec<i64> = Entity::find()
            .select_only()
            .column(Column::LetterId)
            .filter(Column::Outstanding.is_in(letters))
            .into_tuple()
            .all(tx)
            .await?;
        let outstanding: BTreeSet<i64> = outstanding.into_iter().collect();
        let (mut taken, mut left) = (Vec::new(), Vec::new());
        // The others were left alone by somebody who cancelled the replay a moment ago.
        for (id, seen_ms) in ids.iter().filter(|(id, _)| still_pending.contains(id)) {
            let refused = match standing.get(id) {
                None => Some("gone"),
                Some(_) if outstanding.contains(id) => Some("being_replayed"),
                Some(letter) if letter.state.known() == Some(LetterState::Replaying) => {
                    Some("being_replayed")
                }
                Some(letter) if letter.state.known() != Some(LetterState::Open) => Some("not_open"),
                Some(letter) if letter.last_failed_ms != *seen_ms => Some("changed"),
                Some(_) => None,
            };
            match refused {
                Some(code) => left.push((*id, code)),
                None => taken.push(*id),
            }
        }
        dead_letter::Entity::update_many()
            .col_expr(dead_letter::Column::State, LetterState::Replaying.into())
            .col_expr(dead_letter::Column::Replays, Expr::col(dead_letter::Column::Replays).add(1))
            .filter(dead_letter::Column::Id.is_in(taken.iter().copied()))
            .exec(tx)
            .await?;
        let claimed = ActiveModel {
            state: Set(ReplayItemState::Claimed.into()),
            sent_ms: Set(Some(now_ms)),
            ..Default::default()
        };
        Entity::update_many()
            .set(claimed)
            .col_expr(Column::Outstanding, Expr::col(Column::LetterId))
            .filter(Column::ReplayId.eq(replay))
            .filter(Column::LetterId.is_in(taken.iter().copied()))
            .exec(tx)
            .await?;
        for (id, code) in &left {
            let refused = ActiveModel {
                state: Set(ReplayItemState::Ended.into()),
                result: Set(Some(REFUSED.to_owned())),
                result_reason: Set(Some((*code).to_owned())),
                ended_ms: Set(Some(now_ms)),
                ..Default::default()
            };
            let item = Entity::update_many()
                .set(refused)
                .filter(Column::ReplayId.eq(replay))
                .filter(Column::LetterId.eq(*id));
            item.exec(tx).await?;
        }
        Ok(taken)
    };
    database.transact(work).await
}

/// Whether this process has the replay, which it keeps until the transaction ends.
async fn is_held(tx: &impl ConnectionTrait, replay: i64, lease: &str) -> Result<bool, StoreError> {
    let held = replay::Entity::find_by_id(replay)
        .select_only()
        .column(replay::Column::Id)
        .filter(replay::Column::State.eq(ReplayState::Running))
        .filter(replay::Column::Lease.eq(lease))
        .lock_exclusive()
        .into_tuple::<i64>();
    Ok(held.one(tx).await?.is_some())
}

async fn still_pending(
    tx: &impl ConnectionTrait,
    replay: i64,
    ids: &[i64],
) -> Result<BTreeSet<i64>, StoreError> {
    let pending: Vec<i64> = Entity::find()
        .select_only()
        .column(Column::LetterId)
        .filter(Column::ReplayId.eq(replay))
        .filter(Column::LetterId.is_in(ids.iter().copied()))
        .filter(Column::State.eq(ReplayItemState::Pending))
        .order_by_asc(Column::LetterId)
        .lock_exclusive()
        .into_tuple()
        .all(tx)
        .await?;
    Ok(pending.into_iter().collect())
}

/// Notes that the copies of these letters are surely in the queue.
///
/// # Errors
/// [`StoreError`]; publishing them once more does no harm.
pub async fn sent(database: &Database, replay: i64, ids: &[i64]) -> Result<(), StoreError> {
    Entity::update_many()
        .col_expr(Column::State, ReplayItemState::Sent.into())
        .filter(Column::ReplayId.eq(replay))
        .filter(Column::LetterId.is_in(ids.iter().copied()))
        .filter(Column::State.eq(ReplayItemState::Claimed))
        .exec(database.connection())
        .await?;
    Ok(())
}

/// The letters that were claimed, and perhaps never published: whoever claimed them has died.
///
/// # Errors
/// [`StoreError`]
pub async fn unsent(database: &Database, replay: i64) -> Result<Vec<i64>, StoreError> {
    let claimed = super::read::items_in(database, replay, &[ReplayItemState::Claimed]).await?;
    Ok(claimed.into_iter().map(|item| item.letter).collect())
}
