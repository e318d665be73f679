//! The end of a letter's replay, in the transaction that ends it: that of its effect, the one that
//! records it again, or the one that gives it up.

use migration::names;
use sea_orm::sea_query::{Expr, ExprTrait as _, LockType, Order, Query};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend};

use super::{ITEMS, LOST, REFUSED, ReplayItemState};
use crate::matching::Outcome;
use crate::store::dead_letters::{NewAct, record_act};
use crate::store::statement::chunk_rows;
use crate::store::{Database, LetterState, StoreError};

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
        .value("state", ReplayItemState::Ended.as_str())
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
    let state = if nothing_to_do { LetterState::Skipped } else { LetterState::Resolved };
    let mut update = Query::update();
    update
        .table(names::DEAD_LETTERS)
        .value("state", state.as_str())
        .value("closed_ms", now_ms)
        .and_where(Expr::col("id").eq(copy.letter));
    tx.execute(&update).await?;
    Ok(())
}

/// Gives up the letters of a replay that are on the way: their copies are taken for lost, and they
/// are open again. Should a copy come back after all, it is handled like any other message. Gives
/// how many, which are in the record.
///
/// # Errors
/// [`StoreError`]; nothing is given up then.
pub async fn give_up(database: &Database, replay: i64, act: &NewAct) -> Result<usize, StoreError> {
    let work = async |tx: &DatabaseTransaction| {
        let letters = take_back(tx, database.backend(), replay, None, (LOST, None), act.at_ms).await?;
        if letters > 0 {
            record_act(tx, &NewAct { letters, ..act.clone() }).await?;
        }
        Ok(letters)
    };
    database.transact(work).await
}

/// Ends a letter that was claimed and of which no copy can be published, for this reason; it is open
/// again.
///
/// # Errors
/// [`StoreError`]
pub async fn refuse(
    database: &Database,
    replay: i64,
    letter: i64,
    reason: &'static str,
    now_ms: i64,
) -> Result<(), StoreError> {
    let result = (REFUSED, Some(reason));
    let work = async |tx: &DatabaseTransaction| {
        take_back(tx, database.backend(), replay, Some(letter), result, now_ms).await
    };
    database.transact(work).await.map(drop)
}

/// Ends letters that are on the way, all or only this one, and opens them again.
async fn take_back(
    tx: &impl ConnectionTrait,
    backend: DbBackend,
    replay: i64,
    only: Option<i64>,
    (result, reason): (&'static str, Option<&'static str>),
    now_ms: i64,
) -> Result<usize, StoreError> {
    let mut select = Query::select();
    select
        .column("letter_id")
        .from(ITEMS)
        .and_where(Expr::col("replay_id").eq(replay))
        .and_where(
            Expr::col("state").is_in([ReplayItemState::Claimed.as_str(), ReplayItemState::Sent.as_str()]),
        )
        .order_by("letter_id", Order::Asc);
    if let Some(letter) = only {
        select.and_where(Expr::col("letter_id").eq(letter));
    }
    if backend != DbBackend::Sqlite {
        select.lock(LockType::Update);
    }
    let rows = tx.query_all(&select).await?;
    let ids: Vec<i64> = rows.iter().map(|row| row.try_get("", "letter_id")).collect::<Result<_, _>>()?;
    for ids in chunk_rows(&ids) {
        let mut update = Query::update();
        update
            .table(ITEMS)
            .value("state", ReplayItemState::Ended.as_str())
            .value("outstanding", Option::<i64>::None)
            .value("result", result)
            .value("result_reason", reason)
            .value("ended_ms", now_ms)
            .and_where(Expr::col("replay_id").eq(replay))
            .and_where(Expr::col("letter_id").is_in(ids.iter().copied()));
        tx.execute(&update).await?;
        let mut update = Query::update();
        update
            .table(names::DEAD_LETTERS)
            .value("state", LetterState::Open.as_str())
            .and_where(Expr::col("id").is_in(ids.iter().copied()))
            .and_where(Expr::col("state").eq(LetterState::Replaying.as_str()));
        tx.execute(&update).await?;
    }
    Ok(ids.len())
}
