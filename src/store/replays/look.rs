//! How far a replay is, and what became of its letters.

use sea_orm::sea_query::{Expr, ExprTrait as _, Order, Query};
use sea_orm::{ConnectionTrait as _, QueryResult};

use super::{ITEMS, REPLAYS, ReplayItemState, ReplayState};
use crate::matching::Stored;
use crate::store::{Database, DbId, StoreError};

/// A plan or replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayRow {
    /// Its id, growing.
    pub id: i64,
    /// Where it stands.
    pub state: ReplayState,
    /// How its letters were chosen, as JSON.
    pub chosen: String,
    /// Who planned it.
    pub made_by: String,
    /// Why it was begun.
    pub why: Option<String>,
    /// Its letters.
    pub total: i64,
    /// How fast, such as `20/s`; none before it was begun, as with the next two.
    pub rate: Option<String>,
    /// So many letters first.
    pub canary: Option<i32>,
    /// It stops when more than so many in a hundred have failed.
    pub stop_percent: Option<i32>,
    /// Why it ended before the end.
    pub ended_because: Option<String>,
    /// Which process has it.
    pub lease: Option<String>,
    /// Until when a process has it, in ms since 1970 (UTC).
    pub lease_until_ms: Option<i64>,
    /// When it was planned, in ms since 1970 (UTC).
    pub created_ms: i64,
    /// Until when it can be begun, in ms since 1970 (UTC).
    pub expires_ms: i64,
    /// When it was begun, in ms since 1970 (UTC).
    pub started_ms: Option<i64>,
    /// When it ended, in ms since 1970 (UTC).
    pub ended_ms: Option<i64>,
}

/// One letter of a replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemRow {
    /// The letter.
    pub letter: i64,
    /// When it had failed last when it was planned.
    pub seen_ms: i64,
    /// Its appointment, as far as it was known.
    pub lane: Option<i64>,
    /// Where it stands.
    pub state: Stored<ReplayItemState>,
    /// The outcome foretold, or `failed`.
    pub predicted: String,
    /// The reason code foretold.
    pub predicted_reason: Option<String>,
    /// The outcome, or `failed`, `refused`, `left`, `lost`.
    pub result: Option<String>,
    /// The reason code of a failure, or why it was refused.
    pub result_reason: Option<String>,
}

/// How many letters of a replay have all of this in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shares {
    /// Where it stands.
    pub state: Stored<ReplayItemState>,
    /// The outcome foretold, or `failed`.
    pub predicted: String,
    /// The reason code foretold.
    pub predicted_reason: Option<String>,
    /// The strategy foretold.
    pub strategy: Option<String>,
    /// The outcome, or `failed`, `refused`, `left`, `lost`.
    pub result: Option<String>,
    /// The reason code of a failure, or why it was refused.
    pub result_reason: Option<String>,
    /// So many.
    pub count: i64,
}

/// One plan or replay.
///
/// # Errors
/// [`StoreError`]
pub async fn replay(database: &Database, id: i64) -> Result<Option<ReplayRow>, StoreError> {
    let mut query = Query::select();
    query.columns(COLUMNS).from(REPLAYS).and_where(Expr::col("id").eq(id));
    database.connection().query_one(&query).await?.as_ref().map(row).transpose()
}

/// Plans and replays, newest first, at most `limit` of those older than `before`.
///
/// # Errors
/// [`StoreError`]
pub async fn replays(
    database: &Database,
    before: Option<i64>,
    limit: u64,
) -> Result<Vec<ReplayRow>, StoreError> {
    let mut query = Query::select();
    query.columns(COLUMNS).from(REPLAYS).order_by("id", Order::Desc).limit(limit);
    if let Some(before) = before {
        query.and_where(Expr::col("id").lt(before));
    }
    database.connection().query_all(&query).await?.iter().map(row).collect()
}

fn row(row: &QueryResult) -> Result<ReplayRow, StoreError> {
    Ok(ReplayRow {
        id: row.try_get::<DbId>("", "id")?.0,
        state: ReplayState::read(&row.try_get::<String>("", "state")?),
        chosen: row.try_get("", "chosen")?,
        made_by: row.try_get("", "made_by")?,
        why: row.try_get("", "why")?,
        total: row.try_get::<DbId>("", "total")?.0,
        rate: row.try_get("", "rate")?,
        canary: row.try_get("", "canary")?,
        stop_percent: row.try_get("", "stop_percent")?,
        ended_because: row.try_get("", "ended_because")?,
        lease: row.try_get("", "lease")?,
        lease_until_ms: row.try_get("", "lease_until_ms")?,
        created_ms: row.try_get("", "created_ms")?,
        expires_ms: row.try_get("", "expires_ms")?,
        started_ms: row.try_get("", "started_ms")?,
        ended_ms: row.try_get("", "ended_ms")?,
    })
}

/// The letters of a replay behind `after`, in order, at most `limit`; only with this result, if one
/// is given.
///
/// # Errors
/// [`StoreError`]
pub async fn items(
    database: &Database,
    replay: i64,
    result: Option<&str>,
    after: i64,
    limit: u64,
) -> Result<Vec<ItemRow>, StoreError> {
    let mut query = Query::select();
    query.columns(ITEM).from(ITEMS).and_where(Expr::col("replay_id").eq(replay));
    query.and_where(Expr::col("letter_id").gt(after)).order_by("letter_id", Order::Asc).limit(limit);
    if let Some(result) = result {
        query.and_where(Expr::col("result").eq(result));
    }
    database.connection().query_all(&query).await?.iter().map(item_row).collect()
}

/// The letters that are still to be taken, in their order.
///
/// # Errors
/// [`StoreError`]
pub async fn pending(database: &Database, replay: i64) -> Result<Vec<ItemRow>, StoreError> {
    standing(database, replay, &[ReplayItemState::Pending]).await
}

/// The letters that are on their way.
///
/// # Errors
/// [`StoreError`]
pub async fn in_flight(database: &Database, replay: i64) -> Result<Vec<ItemRow>, StoreError> {
    standing(database, replay, &[ReplayItemState::Claimed, ReplayItemState::Sent]).await
}

pub(super) async fn standing(
    database: &Database,
    replay: i64,
    states: &[ReplayItemState],
) -> Result<Vec<ItemRow>, StoreError> {
    let mut query = Query::select();
    query
        .columns(ITEM)
        .from(ITEMS)
        .and_where(Expr::col("replay_id").eq(replay))
        .and_where(Expr::col("state").is_in(states.iter().copied().map(ReplayItemState::as_str)))
        .order_by("letter_id", Order::Asc);
    database.connection().query_all(&query).await?.iter().map(item_row).collect()
}

/// Since when the first of the letters on the way is on it, in ms since 1970 (UTC).
///
/// # Errors
/// [`StoreError`]
pub async fn on_the_way_since(database: &Database, replay: i64) -> Result<Option<i64>, StoreError> {
    let mut query = Query::select();
    query
        .expr_as(Expr::col("sent_ms").min(), "since_ms")
        .from(ITEMS)
        .and_where(Expr::col("replay_id").eq(replay))
        .and_where(
            Expr::col("state").is_in([ReplayItemState::Claimed.as_str(), ReplayItemState::Sent.as_str()]),
        );
    let row = database.connection().query_one(&query).await?;
    Ok(row.map(|row| row.try_get("", "since_ms")).transpose()?.flatten())
}

/// How many letters of a replay are in which state, with which result. An index holds all of it.
///
/// # Errors
/// [`StoreError`]
pub async fn standings(
    database: &Database,
    replay: i64,
) -> Result<Vec<(Stored<ReplayItemState>, Option<String>, i64)>, StoreError> {
    let mut query = Query::select();
    query
        .columns(["state", "result"])
        .expr_as(Expr::col("letter_id").count(), "letters")
        .from(ITEMS)
        .and_where(Expr::col("replay_id").eq(replay))
        .group_by_columns(["state", "result"]);
    let rows = database.connection().query_all(&query).await?;
    let standing = |row: &QueryResult| {
        let letters = row.try_get::<DbId>("", "letters")?.0;
        let state = Stored::read(&row.try_get::<String>("", "state")?);
        Ok((state, row.try_get("", "result")?, letters))
    };
    rows.iter().map(standing).collect()
}

/// How the letters of a replay are shared out.
///
/// # Errors
/// [`StoreError`]
pub async fn shares(database: &Database, replay: i64) -> Result<Vec<Shares>, StoreError> {
    const BY: [&str; 6] = ["state", "predicted", "predicted_reason", "strategy", "result", "result_reason"];
    let mut query = Query::select();
    query
        .columns(BY)
        .expr_as(Expr::col("letter_id").count(), "letters")
        .from(ITEMS)
        .and_where(Expr::col("replay_id").eq(replay))
        .group_by_columns(BY);
    let rows = database.connection().query_all(&query).await?;
    let share = |row: &QueryResult| {
        Ok(Shares {
            state: Stored::read(&row.try_get::<String>("", "state")?),
            predicted: row.try_get("", "predicted")?,
            predicted_reason: row.try_get("", "predicted_reason")?,
            strategy: row.try_get("", "strategy")?,
            result: row.try_get("", "result")?,
            result_reason: row.try_get("", "result_reason")?,
            count: row.try_get::<DbId>("", "letters")?.0,
        })
    };
    rows.iter().map(share).collect()
}

fn item_row(row: &QueryResult) -> Result<ItemRow, StoreError> {
    Ok(ItemRow {
        letter: row.try_get("", "letter_id")?,
        seen_ms: row.try_get("", "seen_ms")?,
        lane: row.try_get("", "lane")?,
        state: Stored::read(&row.try_get::<String>("", "state")?),
        predicted: row.try_get("", "predicted")?,
        predicted_reason: row.try_get("", "predicted_reason")?,
        result: row.try_get("", "result")?,
        result_reason: row.try_get("", "result_reason")?,
    })
}

const COLUMNS: [&str; 16] = [
    "id",
    "state",
    "chosen",
    "made_by",
    "why",
    "total",
    "rate",
    "canary",
    "stop_percent",
    "ended_because",
    "lease",
    "lease_until_ms",
    "created_ms",
    "expires_ms",
    "started_ms",
    "ended_ms",
];

const ITEM: [&str; 8] =
    ["letter_id", "seen_ms", "lane", "state", "predicted", "predicted_reason", "result", "result_reason"];
