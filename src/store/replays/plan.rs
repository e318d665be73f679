//! Freezing a plan.

use sea_orm::{DatabaseTransaction, EntityTrait as _, Set};
use uuid::Uuid;

use super::{ReplayItemState, ReplayState};
use crate::store::dead_letters::{NewAct, record_act};
use crate::store::entity::{replay, replay_item};
use crate::store::statement::chunk_rows;
use crate::store::{Database, StoreError};

/// A plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewReplay {
    /// How the letters were chosen, as JSON.
    pub chosen: String,
    /// Who, such as `cli:anna@office-3`.
    pub made_by: String,
    /// When, in ms since 1970 (UTC).
    pub created_ms: i64,
    /// Until when it may be begun, in ms since 1970 (UTC).
    pub expires_ms: i64,
    /// The letters, each once.
    pub items: Vec<NewItem>,
}

/// One letter of a plan, as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewItem {
    /// The letter.
    pub letter: i64,
    /// When it failed last: a later failure makes it another one than was planned.
    pub seen_ms: i64,
    /// What tells its message from others.
    pub digest: String,
    /// The appointment: two letters of one appointment are not on the way at the same time.
    pub lane: Option<i64>,
    /// The outcome predicted, or [`FAILED`](super::FAILED).
    pub predicted: String,
    /// The reason code, where it would fail.
    pub predicted_reason: Option<String>,
    /// The strategy that would find somebody.
    pub strategy: Option<String>,
}

/// Freezes a plan. Gives its id.
///
/// # Errors
/// [`StoreError`]; nothing is kept then.
pub async fn insert_replay(database: &Database, plan: &NewReplay) -> Result<i64, StoreError> {
    let work = async |tx: &DatabaseTransaction| {
        let row = replay::ActiveModel {
            token: Set(Uuid::new_v4().to_string()),
            state: Set(ReplayState::Planned.into()),
            chosen: Set(plan.chosen.clone()),
            made_by: Set(plan.made_by.chars().take(255).collect()),
            total: Set(i32::try_from(plan.items.len()).unwrap_or(i32::MAX)),
            created_ms: Set(plan.created_ms),
            expires_ms: Set(plan.expires_ms),
            ..Default::default()
        };
        let id = replay::Entity::insert(row).exec(tx).await?.last_insert_id;
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
        let act = NewAct {
            action: "plan",
            made_by: plan.made_by.clone(),
            at_ms: plan.created_ms,
            chosen: Some(plan.chosen.clone()),
            replay: Some(id),
            letters: plan.items.len(),
            ..NewAct::default()
        };
        record_act(tx, &act).await?;
        Ok(id)
    };
    database.transact(work).await
}
