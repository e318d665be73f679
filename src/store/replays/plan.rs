//! Freezing a plan.

use sea_orm::sea_query::Query;
use sea_orm::{ConnectionTrait as _, DatabaseTransaction};
use uuid::Uuid;

use super::{ITEMS, REPLAYS, ReplayItemState, ReplayState};
use crate::store::dead_letters::{NewAct, id_of, record_act};
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
    /// The outcome foretold, or [`FAILED`](super::FAILED).
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
        let token = Uuid::new_v4().to_string();
        let mut insert = Query::insert();
        insert
            .into_table(REPLAYS)
            .columns(["token", "state", "chosen", "made_by", "total", "created_ms", "expires_ms"])
            .values_panic([
                token.as_str().into(),
                ReplayState::Planned.as_str().into(),
                plan.chosen.as_str().into(),
                plan.made_by.chars().take(255).collect::<String>().into(),
                i32::try_from(plan.items.len()).unwrap_or(i32::MAX).into(),
                plan.created_ms.into(),
                plan.expires_ms.into(),
            ]);
        tx.execute(&insert).await?;
        let id = id_of(tx, REPLAYS, &token).await?;
        for items in chunk_rows(&plan.items) {
            let mut insert = Query::insert();
            insert.into_table(ITEMS).columns([
                "replay_id",
                "letter_id",
                "digest",
                "seen_ms",
                "lane",
                "state",
                "predicted",
                "predicted_reason",
                "strategy",
            ]);
            for one in items {
                insert.values_panic([
                    id.into(),
                    one.letter.into(),
                    one.digest.as_str().into(),
                    one.seen_ms.into(),
                    one.lane.into(),
                    ReplayItemState::Pending.as_str().into(),
                    one.predicted.as_str().into(),
                    one.predicted_reason.clone().into(),
                    one.strategy.clone().into(),
                ]);
            }
            tx.execute(&insert).await?;
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
