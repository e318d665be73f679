//! Claims letters for a replay: each is checked again before its copy is published.

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::DatabaseTransaction;

use super::end::ended_columns;
use super::{REFUSED, ReplayItemState, ReplayState};
use crate::matching::Stored;
use crate::store::entity::replay_item::{ActiveModel, Column, Entity};
use crate::store::entity::{dead_letter, replay};
use crate::store::prelude::*;
use crate::store::statement::values_of;
use crate::store::{Database, LetterState, Scope};

/// Locks these letters until the transaction ends, and returns the state of each and when it last failed.
pub(in crate::store) async fn lock_letters(
    tx: &impl ConnectionTrait,
    scope: &Scope,
    ids: &[i64],
) -> Result<BTreeMap<i64, (Stored<LetterState>, i64)>> {
    let letters: Vec<(i64, Stored<LetterState>, i64)> = dead_letter::Entity::find()
        .select_only()
        .columns([dead_letter::Column::Id, dead_letter::Column::State, dead_letter::Column::LastFailedMs])
        .filter(dead_letter::Column::Id.is_in(ids.iter().copied()))
        .filter(scope.condition(dead_letter::Column::CompanyId))
        .order_by_asc(dead_letter::Column::Id)
        .lock_exclusive()
        .into_tuple()
        .all(tx)
        .await?;
    Ok(letters.into_iter().map(|(id, state, last_failed_ms)| (id, (state, last_failed_ms))).collect())
}

/// Claims these pending letters of a replay, if they have not changed since the plan, and returns the claimed
/// ones. The others end with a code: `gone`, `changed`, `not_open`, `being_replayed`. If another process
/// holds the lease, nothing is changed. `ids` contains each letter with the time of its last failure as of
/// the plan, a few hundred at most. After an error no letter is claimed.
pub async fn claim(
    database: &Database,
    replay: i64,
    lease: &str,
    ids: &[(i64, i64)],
    now_ms: i64,
) -> Result<Vec<i64>> {
    let work = async |tx: &DatabaseTransaction| {
        if !lock_if_leased(tx, replay, lease).await? {
            return Ok(Vec::new());
        }
        let all: Vec<i64> = ids.iter().map(|(id, _)| *id).collect();
        let letters = lock_letters(tx, &Scope::All, &all).await?;
        let still_pending = still_pending(tx, replay, &all).await?;
        let outstanding = Entity::find().filter(Column::Outstanding.is_in(all));
        let outstanding: BTreeSet<i64> = values_of(tx, outstanding, Column::LetterId).await?;
        let (mut claimed, mut refused) = (Vec::new(), Vec::new());
        // The others are no longer pending: an operator has just cancelled the replay.
        for (id, seen_ms) in ids.iter().filter(|(id, _)| still_pending.contains(id)) {
            match letters.get(id).map(|(state, last_failed_ms)| (state.known(), *last_failed_ms)) {
                None => refused.push((*id, "gone")),
                Some(_) if outstanding.contains(id) => refused.push((*id, "being_replayed")),
                Some((Some(LetterState::Replaying), _)) => refused.push((*id, "being_replayed")),
                Some((state, _)) if state != Some(LetterState::Open) => refused.push((*id, "not_open")),
                Some((_, last_failed_ms)) if last_failed_ms != *seen_ms => refused.push((*id, "changed")),
                Some(_) => claimed.push(*id),
            }
        }
        dead_letter::Entity::update_many()
            .col_expr(dead_letter::Column::State, LetterState::Replaying.into())
            .col_expr(dead_letter::Column::Replays, Expr::col(dead_letter::Column::Replays).add(1))
            .filter(dead_letter::Column::Id.is_in(claimed.iter().copied()))
            .exec(tx)
            .await?;
        let claimed_columns = ActiveModel {
            state: Set(ReplayItemState::Claimed.into()),
            sent_ms: Set(Some(now_ms)),
            ..Default::default()
        };
        Entity::update_many()
            .set(claimed_columns)
            .col_expr(Column::Outstanding, Expr::col(Column::LetterId))
            .filter(Column::ReplayId.eq(replay))
            .filter(Column::LetterId.is_in(claimed.iter().copied()))
            .exec(tx)
            .await?;
        for (id, code) in &refused {
            let item = Entity::update_many()
                .set(ended_columns(REFUSED, Some(code), now_ms))
                .filter(Column::ReplayId.eq(replay))
                .filter(Column::LetterId.eq(*id));
            item.exec(tx).await?;
        }
        Ok(claimed)
    };
    database.transact(work).await
}

/// Locks the replay until the transaction ends, and returns whether this process holds its lease.
async fn lock_if_leased(tx: &impl ConnectionTrait, replay: i64, lease: &str) -> Result<bool> {
    let leased = replay::Entity::find_by_id(replay)
        .filter(replay::Column::State.eq(ReplayState::Running))
        .filter(replay::Column::Lease.eq(lease))
        .lock_exclusive();
    let leased: Vec<i64> = values_of(tx, leased, replay::Column::Id).await?;
    Ok(!leased.is_empty())
}

async fn still_pending(tx: &impl ConnectionTrait, replay: i64, ids: &[i64]) -> Result<BTreeSet<i64>> {
    let pending = Entity::find()
        .filter(Column::ReplayId.eq(replay))
        .filter(Column::LetterId.is_in(ids.iter().copied()))
        .filter(Column::State.eq(ReplayItemState::Pending))
        .order_by_asc(Column::LetterId)
        .lock_exclusive();
    values_of(tx, pending, Column::LetterId).await
}

/// Records that the copies of these letters are confirmed in the queue. After an error, publishing them again
/// is harmless.
pub async fn mark_sent(database: &Database, replay: i64, ids: &[i64]) -> Result<()> {
    Entity::update_many()
        .col_expr(Column::State, ReplayItemState::Sent.into())
        .filter(Column::ReplayId.eq(replay))
        .filter(Column::LetterId.is_in(ids.iter().copied()))
        .filter(Column::State.eq(ReplayItemState::Claimed))
        .exec(database.connection())
        .await?;
    Ok(())
}
