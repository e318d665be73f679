//! Whose a replay is: one process works on it, for as long as it renews its lease; others say by
//! its state what it is to do.

use sea_orm::sea_query::{Cond, Expr, ExprTrait as _, Query, UpdateStatement};
use sea_orm::{ConnectionTrait, DatabaseTransaction};

use super::{FAILED, ITEMS, LEFT, REPLAYS, ReplayItemState, ReplayState};
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
    /// Letters that were foretold to fail are left as they are.
    pub skip_failing: bool,
}

/// How a process begins to work on a replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// For the first time.
    First(ReplayTerms),
    /// Where it was left.
    Again {
        /// The copies of letters without a result are taken for lost, and published once more.
        resend: bool,
    },
}

/// What becomes of a replay as a whole.
#[derive(Clone, Copy, Debug)]
pub struct Turn<'a> {
    /// Only out of one of these states.
    pub from: &'a [ReplayState],
    /// Into this one.
    pub to: ReplayState,
    /// Why, where it ends before the end.
    pub because: Option<&'a str>,
    /// Only while this process has it.
    pub lease: Option<&'a str>,
    /// What is recorded of it.
    pub act: Option<&'a NewAct>,
    /// When, in ms since 1970 (UTC).
    pub now_ms: i64,
}

/// Makes a replay this process's own, and begins or resumes it. False: another process works on it,
/// or it cannot be begun any more.
///
/// # Errors
/// [`StoreError`]
pub async fn begin_replay(
    database: &Database,
    replay: i64,
    lease: (&str, i64),
    beginning: &Beginning,
    act: &NewAct,
) -> Result<bool, StoreError> {
    let work = async |tx: &DatabaseTransaction| {
        let mut update = held(replay, lease, act.at_ms);
        update.value("state", ReplayState::Running.as_str()).value("ended_because", Option::<String>::None);
        match beginning {
            Beginning::First(terms) => {
                update
                    .value("rate", terms.rate.as_str())
                    .value("canary", terms.canary)
                    .value("stop_percent", terms.stop_percent)
                    .value("why", act.why.clone())
                    .value("started_ms", act.at_ms)
                    .and_where(Expr::col("state").eq(ReplayState::Planned.as_str()))
                    .and_where(Expr::col("expires_ms").gt(act.at_ms));
            }
            Beginning::Again { .. } => {
                let live = [ReplayState::Running.as_str(), ReplayState::Paused.as_str()];
                update.and_where(Expr::col("state").is_in(live));
            }
        }
        let is_ours = tx.execute(&update).await?.rows_affected() > 0;
        if !is_ours {
            return Ok(false);
        }
        match beginning {
            Beginning::First(terms) if terms.skip_failing => {
                leave_pending(tx, replay, true, act.at_ms).await?;
            }
            Beginning::Again { resend: true } => {
                let mut update = Query::update();
                update
                    .table(ITEMS)
                    .value("state", ReplayItemState::Claimed.as_str())
                    .value("sent_ms", act.at_ms)
                    .and_where(Expr::col("replay_id").eq(replay))
                    .and_where(Expr::col("state").eq(ReplayItemState::Sent.as_str()));
                tx.execute(&update).await?;
            }
            _ => {}
        }
        record_act(tx, act).await?;
        Ok(true)
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

/// Leaves a replay in another state, with what is to be recorded of it, and gives the lease up. If it
/// ends before the end, the letters that were never taken stay as they are. False: it was not in one
/// of the states `from`, or another process has it.
///
/// # Errors
/// [`StoreError`]
pub async fn set_state(database: &Database, replay: i64, turn: Turn<'_>) -> Result<bool, StoreError> {
    let Turn { from, to, because, lease, act, now_ms } = turn;
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
        if let Some(lease) = lease {
            update.and_where(Expr::col("lease").eq(lease));
        }
        if tx.execute(&update).await?.rows_affected() == 0 {
            return Ok(false);
        }
        if matches!(to, ReplayState::Stopped | ReplayState::Cancelled) {
            leave_pending(tx, replay, false, now_ms).await?;
        }
        if let Some(act) = act {
            record_act(tx, act).await?;
        }
        Ok(true)
    };
    database.transact(work).await
}

/// Ends the letters of a replay that were never taken, all or only those that were foretold to fail:
/// they stay as they are.
async fn leave_pending(
    tx: &impl ConnectionTrait,
    replay: i64,
    only_failing: bool,
    now_ms: i64,
) -> Result<(), StoreError> {
    let mut update = Query::update();
    update
        .table(ITEMS)
        .value("state", ReplayItemState::Ended.as_str())
        .value("result", LEFT)
        .value("ended_ms", now_ms)
        .and_where(Expr::col("replay_id").eq(replay))
        .and_where(Expr::col("state").eq(ReplayItemState::Pending.as_str()));
    if only_failing {
        update.and_where(Expr::col("predicted").eq(FAILED));
    }
    tx.execute(&update).await?;
    Ok(())
}
