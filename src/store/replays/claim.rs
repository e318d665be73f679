//! Taking letters on the way: each is looked at again before its copy is published.

use migration::names;
use std::collections::{BTreeMap, BTreeSet};

use sea_orm::sea_query::{Expr, ExprTrait as _, LockType, Order, Query};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend};

use super::{ITEMS, REFUSED, REPLAYS, ReplayItemState, ReplayState};
use crate::matching::Stored;
use crate::store::{Database, DbId, LetterState, StoreError};

/// A letter as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) struct Standing {
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
    backend: DbBackend,
    ids: &[i64],
) -> Result<BTreeMap<i64, Standing>, StoreError> {
    let mut select = Query::select();
    select
        .columns(["id", "state", "last_failed_ms"])
        .from(names::DEAD_LETTERS)
        .and_where(Expr::col("id").is_in(ids.iter().copied()))
        .order_by("id", Order::Asc);
    if backend != DbBackend::Sqlite {
        select.lock(LockType::Update);
    }
    let rows = tx.query_all(&select).await?;
    let standing = |row: &sea_orm::QueryResult| {
        let state = Stored::read(&row.try_get::<String>("", "state")?);
        let standing = Standing { state, last_failed_ms: row.try_get("", "last_failed_ms")? };
        Ok((row.try_get::<DbId>("", "id")?.0, standing))
    };
    rows.iter().map(standing).collect()
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
        if !is_held(tx, database.backend(), replay, lease).await? {
            return Ok(Vec::new());
        }
        let letters: Vec<i64> = ids.iter().map(|(id, _)| *id).collect();
        let standing = lock_letters(tx, database.backend(), &letters).await?;
        let still_pending = still_pending(tx, database.backend(), replay, &letters).await?;
        let mut select = Query::select();
        select.column("letter_id").from(ITEMS);
        select.and_where(Expr::col("outstanding").is_in(letters.iter().copied()));
        let rows = tx.query_all(&select).await?;
        let outstanding: BTreeSet<i64> =
            rows.iter().map(|row| row.try_get("", "letter_id")).collect::<Result<_, _>>()?;
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
        let mut update = Query::update();
        update
            .table(names::DEAD_LETTERS)
            .value("state", LetterState::Replaying.as_str())
            .value("replays", Expr::col("replays").add(1))
            .and_where(Expr::col("id").is_in(taken.iter().copied()));
        tx.execute(&update).await?;
        let mut update = Query::update();
        update
            .table(ITEMS)
            .value("state", ReplayItemState::Claimed.as_str())
            .value("outstanding", Expr::col("letter_id"))
            .value("sent_ms", now_ms)
            .and_where(Expr::col("replay_id").eq(replay))
            .and_where(Expr::col("letter_id").is_in(taken.iter().copied()));
        tx.execute(&update).await?;
        for (id, code) in &left {
            let mut update = Query::update();
            update
                .table(ITEMS)
                .value("state", ReplayItemState::Ended.as_str())
                .value("result", REFUSED)
                .value("result_reason", *code)
                .value("ended_ms", now_ms)
                .and_where(Expr::col("replay_id").eq(replay))
                .and_where(Expr::col("letter_id").eq(*id));
            tx.execute(&update).await?;
        }
        Ok(taken)
    };
    database.transact(work).await
}

/// Whether this process has the replay, which it keeps until the transaction ends.
async fn is_held(
    tx: &impl ConnectionTrait,
    backend: DbBackend,
    replay: i64,
    lease: &str,
) -> Result<bool, StoreError> {
    let mut select = Query::select();
    select
        .column("id")
        .from(REPLAYS)
        .and_where(Expr::col("id").eq(replay))
        .and_where(Expr::col("state").eq(ReplayState::Running.as_str()))
        .and_where(Expr::col("lease").eq(lease));
    if backend != DbBackend::Sqlite {
        select.lock(LockType::Update);
    }
    Ok(tx.query_one(&select).await?.is_some())
}

async fn still_pending(
    tx: &impl ConnectionTrait,
    backend: DbBackend,
    replay: i64,
    ids: &[i64],
) -> Result<BTreeSet<i64>, StoreError> {
    let mut select = Query::select();
    select
        .column("letter_id")
        .from(ITEMS)
        .and_where(Expr::col("replay_id").eq(replay))
        .and_where(Expr::col("letter_id").is_in(ids.iter().copied()))
        .and_where(Expr::col("state").eq(ReplayItemState::Pending.as_str()))
        .order_by("letter_id", Order::Asc);
    if backend != DbBackend::Sqlite {
        select.lock(LockType::Update);
    }
    let rows = tx.query_all(&select).await?;
    rows.iter().map(|row| Ok(row.try_get("", "letter_id")?)).collect()
}

/// Notes that the copies of these letters are surely in the queue.
///
/// # Errors
/// [`StoreError`]; publishing them once more does no harm.
pub async fn sent(database: &Database, replay: i64, ids: &[i64]) -> Result<(), StoreError> {
    let mut update = Query::update();
    update
        .table(ITEMS)
        .value("state", ReplayItemState::Sent.as_str())
        .and_where(Expr::col("replay_id").eq(replay))
        .and_where(Expr::col("letter_id").is_in(ids.iter().copied()))
        .and_where(Expr::col("state").eq(ReplayItemState::Claimed.as_str()));
    database.connection().execute(&update).await?;
    Ok(())
}

/// The letters that were claimed, and perhaps never published: whoever claimed them has died.
///
/// # Errors
/// [`StoreError`]
pub async fn unsent(database: &Database, replay: i64) -> Result<Vec<i64>, StoreError> {
    let claimed = super::look::standing(database, replay, &[ReplayItemState::Claimed]).await?;
    Ok(claimed.into_iter().map(|item| item.letter).collect())
}
