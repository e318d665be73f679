//! Whose a replay is: one process works on it, for as long as it renews its lease; others say by
//! its state what it is to do.

use sea_orm::sea_query::{Cond, Expr, ExprTrait as _, Query, UpdateStatement};
use sea_orm::{ConnectionTrait as _, DatabaseTransaction};

use super::{FAILED, ITEMS, REPLAYS, ReplayState, item};
use crate::store::dead_letters::{NewAct, record_act};
use crate::store::{Database, StoreError};

/// How a replay goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayTerms {
    /// How fast, such as `20/s`.
    pub rate: String,
    /// So many letters first.
    pub canary: i32,
    /// It stops when more than so many in a hundred have failed.
    pub stop_percent: i32,
}

/// Makes a replay this process's own, and begins or resumes it; `terms` on the first time. False:
/// another process works on it, or it cannot be begun any more.
///
/// # Errors
/// [`StoreError`]
pub async fn begin_replay(
    database: &Database,
    replay: i64,
    lease: (&str, i64),
    terms: Option<&ReplayTerms>,
    act: &NewAct,
) -> Result<bool, StoreError> {
    let work = async |tx: &DatabaseTransaction| {
        let mut update = held(replay, lease, act.at_ms);
        update.value("state", ReplayState::Running.as_str()).value("ended_because", Option::<String>::None);
        match terms {
            Some(terms) => {
                update
                    .value("rate", terms.rate.as_str())
                    .value("canary", terms.canary)
                    .value("stop_percent", terms.stop_percent)
                    .value("why", act.why.clone())
                    .value("started_ms", act.at_ms)
                    .and_where(Expr::col("state").eq(ReplayState::Planned.as_str()))
                    .and_where(Expr::col("expires_ms").gt(act.at_ms));
            }
            None => {
                let live = [ReplayState::Running.as_str(), ReplayState::Paused.as_str()];
                update.and_where(Expr::col("state").is_in(live));
            }
        }
        let is_ours = tx.execute(&update).await?.rows_affected() > 0;
        if is_ours {
            record_act(tx, act).await?;
        }
        Ok(is_ours)
    };
    database.transact(work).await
}

/// Renews the lease. False: it was lost.
///
/// # Errors
/// [`StoreError`]
pub async fn hold_lease(
    database: &Database,
    replay: i64,
    lease: (&str, i64),
    now_ms: i64,
) -> Result<bool, StoreError> {
    let mut update = held(replay, lease, now_ms);
    update.and_where(Expr::col("state").eq(ReplayState::Running.as_str()));
    Ok(database.connection().execute(&update).await?.rows_affected() > 0)
}

/// Sets the lease, if nobody else has one.
fn held(replay: i64, (lease, until_ms): (&str, i64), now_ms: i64) -> UpdateStatement {
    let mut update = Query::update();
    update
        .table(REPLAYS)
        .value("lease", lease)
        .value("lease_until_ms", until_ms)
        .and_where(Expr::col("id").eq(replay))
        .cond_where(
            Cond::any()
                .add(Expr::col("lease").is_null())
                .add(Expr::col("lease").eq(lease))
                .add(Expr::col("lease_until_ms").lt(now_ms)),
        );
    update
}

/// Leaves a replay in this state, with what is to be recorded of it. A state that ends it gives the
/// lease up. False: it was not in one of the states `from`.
///
/// # Errors
/// [`StoreError`]
pub async fn set_state(
    database: &Database,
    replay: i64,
    from: &[ReplayState],
    to: ReplayState,
    because: Option<&str>,
    act: Option<&NewAct>,
    now_ms: i64,
) -> Result<bool, StoreError> {
    let work = async |tx: &DatabaseTransaction| {
        let mut update = Query::update();
        update
            .table(REPLAYS)
            .value("state", to.as_str())
            .value("ended_because", because)
            .value("lease", Option::<String>::None)
            .value("lease_until_ms", Option::<i64>::None)
            .and_where(Expr::col("id").eq(replay))
            .and_where(Expr::col("state").is_in(from.iter().map(|state| state.as_str())));
        if to != ReplayState::Paused {
            update.value("ended_ms", now_ms);
        }
        let is_changed = tx.execute(&update).await?.rows_affected() > 0;
        if let Some(act) = act.filter(|_| is_changed) {
            record_act(tx, act).await?;
        }
        Ok(is_changed)
    };
    database.transact(work).await
}

/// Ends the letters of a replay that were never taken, all or only those that were foretold to fail:
/// they stay as they are.
///
/// # Errors
/// [`StoreError`]
pub async fn leave_pending(
    database: &Database,
    replay: i64,
    only_failing: bool,
    now_ms: i64,
) -> Result<(), StoreError> {
    let mut update = Query::update();
    update
        .table(ITEMS)
        .value("state", item::ENDED)
        .value("result", "left")
        .value("ended_ms", now_ms)
        .and_where(Expr::col("replay_id").eq(replay))
        .and_where(Expr::col("state").eq(item::PENDING));
    if only_failing {
        update.and_where(Expr::col("predicted").eq(FAILED));
    }
    database.connection().execute(&update).await?;
    Ok(())
}
