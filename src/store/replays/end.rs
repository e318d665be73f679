//! The end of a letter's replay, in the transaction that ends it: that of its effect, or the one
//! that records it again.

use sea_orm::ConnectionTrait;
use sea_orm::sea_query::{Expr, ExprTrait as _, Query};

use super::{ITEMS, item};
use crate::matching::Outcome;
use crate::store::StoreError;

/// The result of a letter whose copy became a dead letter again, and the prediction of it.
pub const FAILED: &str = "failed";

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
/// an earlier copy has ended it, or because it lies.
///
/// # Errors
/// [`StoreError`]; then the transaction is to be rolled back.
pub(in crate::store) async fn end_replayed(
    tx: &impl ConnectionTrait,
    copy: &Replayed,
    result: &str,
    reason: Option<&str>,
    now_ms: i64,
) -> Result<bool, StoreError> {
    let mut update = Query::update();
    update
        .table(ITEMS)
        .value("state", item::ENDED)
        .value("outstanding", Option::<i64>::None)
        .value("result", result)
        .value("result_reason", reason.map(|code| code.chars().take(64).collect::<String>()))
        .value("ended_ms", now_ms)
        .and_where(Expr::col("replay_id").eq(copy.replay))
        .and_where(Expr::col("letter_id").eq(copy.letter))
        .and_where(Expr::col("digest").eq(copy.digest.as_str()))
        .and_where(Expr::col("outstanding").eq(copy.letter));
    Ok(tx.execute(&update).await?.rows_affected() > 0)
}

/// The copy was decided: its letter is resolved, or, where there was nothing left to do, skipped.
///
/// # Errors
/// [`StoreError`]; then the transaction is to be rolled back.
pub async fn end_decided(
    tx: &impl ConnectionTrait,
    copy: &Replayed,
    outcome: Outcome,
    now_ms: i64,
) -> Result<(), StoreError> {
    if !end_replayed(tx, copy, outcome.as_str(), None, now_ms).await? {
        return Ok(());
    }
    let nothing_to_do = matches!(outcome, Outcome::Stale | Outcome::Unchanged | Outcome::Kept);
    let mut update = Query::update();
    update
        .table("dead_letters")
        .value("state", if nothing_to_do { "skipped" } else { "resolved" })
        .value("closed_ms", now_ms)
        .and_where(Expr::col("id").eq(copy.letter));
    tx.execute(&update).await?;
    Ok(())
}
