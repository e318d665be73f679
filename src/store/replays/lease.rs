//! Stores replays and changes their state, from the plan to the end. One process works on a replay, as long
//! as it renews its lease; others control the replay by changing its state.

use sea_orm::{DatabaseTransaction, NotSet, UpdateMany};

use uuid::Uuid;

use super::end::ended_columns;
use super::{FAILED, LEFT, ReplayItemState, ReplayState};
use crate::store::Database;
use crate::store::dead_letters::{LetterAction, NewLetterAction, insert_action};
use crate::store::entity::replay::{ActiveModel, Column, Entity};
use crate::store::entity::replay_item;
use crate::store::prelude::*;
use crate::store::statement::chunk_rows;

/// A plan to store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewReplay {
    /// How the letters were chosen, as JSON.
    pub chosen: String,
    /// Who created it, such as `cli:anna@office-3`.
    pub made_by: String,
    /// When it was created, in ms since 1970 (UTC).
    pub created_ms: i64,
    /// Until when it may be started, in ms since 1970 (UTC).
    pub expires_ms: i64,
    /// The letters, each only once.
    pub items: Vec<NewItem>,
}

/// One letter of a plan, in its current state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewItem {
    /// The letter.
    pub letter: i64,
    /// When it last failed. A letter that has failed again since then no longer matches the plan.
    pub seen_ms: i64,
    /// The hash of its message.
    pub digest: String,
    /// The appointment: two letters of one appointment are never in flight at the same time.
    pub lane: Option<i64>,
    /// The predicted outcome, or [`FAILED`].
    pub predicted: String,
    /// The reason code of a predicted failure.
    pub predicted_reason: Option<String>,
    /// The strategy that would find the member of staff.
    pub strategy: Option<String>,
}

/// Stores a plan and returns its id. After an error nothing is stored.
pub async fn insert_replay(database: &Database, plan: &NewReplay) -> Result<i64> {
    let work = async |tx: &DatabaseTransaction| {
        let row = ActiveModel {
            token: Set(Uuid::new_v4().to_string()),
            state: Set(ReplayState::Planned.into()),
            chosen: Set(plan.chosen.clone()),
            made_by: Set(plan.made_by.chars().take(255).collect()),
            total: Set(i32::try_from(plan.items.len()).unwrap_or(i32::MAX)),
            created_ms: Set(plan.created_ms),
            expires_ms: Set(plan.expires_ms),
            ..Default::default()
        };
        let id = Entity::insert(row).exec(tx).await?.last_insert_id;
        for items in chunk_rows(&plan.items) {
            let rows = items.iter().map(|one| replay_item::ActiveModel {
                replay_id: Set(id),
                letter_id: Set(one.letter),
                digest: Set(one.digest.clone()),
                seen_ms: Set(one.seen_ms),
                lane: Set(one.lane),
                state: Set(ReplayItemState::Pending.into()),
                predicted: Set(one.predicted.clone()),
                predicted_reason: Set(one.predicted_reason.clone()),
                strategy: Set(one.strategy.clone()),
                ..Default::default()
            });
            replay_item::Entity::insert_many(rows).exec_without_returning(tx).await?;
        }
        let action = NewLetterAction {
            at_ms: plan.created_ms,
            chosen: Some(plan.chosen.clone()),
            replay: Some(id),
            letters: plan.items.len(),
            ..NewLetterAction::new(LetterAction::Plan, &plan.made_by)
        };
        insert_action(tx, &action).await?;
        Ok(id)
    };
    database.transact(work).await
}

/// The settings of a replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayTerms {
    /// The rate, such as `20/s`.
    pub rate: String,
    /// The number of letters that are replayed first.
    pub canary: i32,
    /// The replay stops when more than this percentage of letters has failed.
    pub stop_percent: i32,
    /// Whether letters that are predicted to fail are left as they are.
    pub skip_failing: bool,
}

/// How a process starts to work on a replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplayStart {
    /// It starts a planned replay.
    First(ReplayTerms),
    /// It continues where an earlier process stopped.
    Again {
        /// Whether letters in flight count as lost and are published once more.
        resend: bool,
    },
}

/// A change of a replay's state.
#[derive(Clone, Copy, Debug)]
pub struct StateChange<'a> {
    /// The states from which the change is allowed.
    pub from: &'a [ReplayState],
    /// The new state.
    pub to: ReplayState,
    /// The reason, if it ends early.
    pub because: Option<&'a str>,
    /// If set, the change is allowed only while this process holds the lease.
    pub lease: Option<&'a str>,
    /// The action to record.
    pub action: Option<&'a NewLetterAction>,
    /// The time of the change, in ms since 1970 (UTC).
    pub now_ms: i64,
}

/// Takes the lease of a replay, and starts or resumes it. Returns false if another process works on it, or it
/// can no longer be started.
pub async fn begin_replay(
    database: &Database,
    replay: i64,
    lease: (&str, i64),
    start: &ReplayStart,
    action: &NewLetterAction,
) -> Result<bool> {
    let work = async |tx: &DatabaseTransaction| {
        let running = ActiveModel {
            state: Set(ReplayState::Running.into()),
            ended_because: Set(None),
            ..Default::default()
        };
        let update = set_lease(replay, lease, action.at_ms).set(running);
        let update = match start {
            ReplayStart::First(terms) => {
                let first = ActiveModel {
                    rate: Set(Some(terms.rate.clone())),
                    canary: Set(Some(terms.canary)),
                    stop_percent: Set(Some(terms.stop_percent)),
                    why: Set(action.why.clone()),
                    started_ms: Set(Some(action.at_ms)),
                    ..Default::default()
                };
                let planned = update.set(first).filter(Column::State.eq(ReplayState::Planned));
                planned.filter(Column::ExpiresMs.gt(action.at_ms))
            }
            ReplayStart::Again { .. } => update.filter(Column::State.is_in(ReplayState::LIVE)),
        };
        if update.exec(tx).await?.rows_affected == 0 {
            return Ok(false);
        }
        match start {
            ReplayStart::First(terms) if terms.skip_failing => {
                end_pending(tx, replay, true, action.at_ms).await?;
            }
            ReplayStart::Again { resend: true } => {
                let claimed = replay_item::ActiveModel {
                    state: Set(ReplayItemState::Claimed.into()),
                    sent_ms: Set(Some(action.at_ms)),
                    ..Default::default()
                };
                replay_item::Entity::update_many()
                    .set(claimed)
                    .filter(replay_item::Column::ReplayId.eq(replay))
                    .filter(replay_item::Column::State.eq(ReplayItemState::Sent))
                    .exec(tx)
                    .await?;
            }
            _ => {}
        }
        insert_action(tx, action).await?;
        Ok(true)
    };
    database.transact(work).await
}

/// Renews the lease. Returns false if it was lost.
pub async fn renew_lease(database: &Database, replay: i64, lease: (&str, i64), now_ms: i64) -> Result<bool> {
    let update = set_lease(replay, lease, now_ms).filter(Column::State.eq(ReplayState::Running));
    Ok(update.exec(database.connection()).await?.rows_affected > 0)
}

/// Sets the lease, unless another process holds it.
fn set_lease(replay: i64, (lease, until_ms): (&str, i64), now_ms: i64) -> UpdateMany<Entity> {
    let columns = ActiveModel {
        lease: Set(Some(lease.to_owned())),
        lease_until_ms: Set(Some(until_ms)),
        ..Default::default()
    };
    let free = Cond::any()
        .add(Column::Lease.is_null())
        .add(Column::Lease.eq(lease))
        .add(Column::LeaseUntilMs.lt(now_ms));
    Entity::update_many().set(columns).filter(Column::Id.eq(replay)).filter(free)
}

/// Changes the state of a replay, records the action, and releases the lease. If the replay ends early,
/// unclaimed letters stay as they are. Returns false if it was not in one of the states `from`, or another
/// process holds its lease.
pub async fn set_replay_state(database: &Database, replay: i64, change: StateChange<'_>) -> Result<bool> {
    let StateChange { from, to, because, lease, action, now_ms } = change;
    let work = async |tx: &DatabaseTransaction| {
        let columns = ActiveModel {
            state: Set(to.into()),
            ended_because: Set(because.map(str::to_owned)),
            lease: Set(None),
            lease_until_ms: Set(None),
            ended_ms: if to == ReplayState::Paused { NotSet } else { Set(Some(now_ms)) },
            ..Default::default()
        };
        let update = Entity::update_many()
            .set(columns)
            .filter(Column::Id.eq(replay))
            .filter(Column::State.is_in(from.iter().copied()))
            .filter(Cond::all().add_option(lease.map(|lease| Column::Lease.eq(lease))));
        if update.exec(tx).await?.rows_affected == 0 {
            return Ok(false);
        }
        if matches!(to, ReplayState::Stopped | ReplayState::Cancelled) {
            end_pending(tx, replay, false, now_ms).await?;
        }
        if let Some(action) = action {
            insert_action(tx, action).await?;
        }
        Ok(true)
    };
    database.transact(work).await
}

/// Ends the unclaimed letters of a replay, all or only those that were predicted to fail. The letters stay as
/// they are.
async fn end_pending(tx: &impl ConnectionTrait, replay: i64, only_failing: bool, now_ms: i64) -> Result<()> {
    let failing = only_failing.then(|| replay_item::Column::Predicted.eq(FAILED));
    replay_item::Entity::update_many()
        .set(ended_columns(LEFT, None, now_ms))
        .filter(replay_item::Column::ReplayId.eq(replay))
        .filter(replay_item::Column::State.eq(ReplayItemState::Pending))
        .filter(Cond::all().add_option(failing))
        .exec(tx)
        .await?;
    Ok(())
}
