//! Finding them again: pages, one, many by their ids.

use sea_orm::sea_query::{Expr, ExprTrait as _, Order, Query};
use sea_orm::{ConnectionTrait as _, QueryResult};

use super::{DeadLetterFilter, DeadLetterRow, DeadLetterSummary, NewDeadLetter, TABLE};
use crate::matching::Stored;
use crate::store::{Database, DbId, StoreError};

/// Lists dead letters, newest first, at most `limit`.
///
/// # Errors
/// [`StoreError`]
pub async fn dead_letters(
    database: &Database,
    filter: &DeadLetterFilter,
    limit: u64,
) -> Result<Vec<DeadLetterRow>, StoreError> {
    listing(database, filter, limit, COLUMNS).await?.iter().map(read).collect()
}

/// The same list without what may be large: for tables, and for many.
///
/// # Errors
/// [`StoreError`]
pub async fn dead_letter_summaries(
    database: &Database,
    filter: &DeadLetterFilter,
    limit: u64,
) -> Result<Vec<DeadLetterSummary>, StoreError> {
    listing(database, filter, limit, SUMMARY).await?.iter().map(summary).collect()
}

/// The ids of all of these, oldest first.
///
/// # Errors
/// [`StoreError`]
pub async fn dead_letter_ids(database: &Database, filter: &DeadLetterFilter) -> Result<Vec<i64>, StoreError> {
    let mut query = Query::select();
    query.column("id").from(TABLE).cond_where(filter.condition()).order_by("id", Order::Asc);
    let rows = database.connection().query_all(&query).await?;
    rows.iter().map(|row| Ok(row.try_get("", "id")?)).collect()
}

/// Those of these ids that are there, in the order of the ids.
///
/// # Errors
/// [`StoreError`]
pub async fn dead_letters_of(database: &Database, ids: &[i64]) -> Result<Vec<DeadLetterRow>, StoreError> {
    let mut query = Query::select();
    query.columns(ALWAYS).columns(COLUMNS).from(TABLE).order_by("id", Order::Asc);
    query.and_where(Expr::col("id").is_in(ids.iter().copied()));
    database.connection().query_all(&query).await?.iter().map(read).collect()
}

/// These columns of these rows, newest first.
async fn listing<const N: usize>(
    database: &Database,
    filter: &DeadLetterFilter,
    limit: u64,
    columns: [&'static str; N],
) -> Result<Vec<QueryResult>, StoreError> {
    let mut query = Query::select();
    query.columns(ALWAYS).columns(columns).from(TABLE).order_by("id", Order::Desc).limit(limit);
    query.cond_where(filter.condition());
    Ok(database.connection().query_all(&query).await?)
}

/// One dead letter by its id.
///
/// # Errors
/// [`StoreError`]
pub async fn dead_letter(database: &Database, id: i64) -> Result<Option<DeadLetterRow>, StoreError> {
    let mut query = Query::select();
    query.columns(ALWAYS).columns(COLUMNS).from(TABLE).and_where(Expr::col("id").eq(id));
    database.connection().query_one(&query).await?.as_ref().map(read).transpose()
}

fn read(row: &QueryResult) -> Result<DeadLetterRow, StoreError> {
    Ok(DeadLetterRow {
        id: row.try_get("", "id")?,
        state: Stored::read(&row.try_get::<String>("", "state")?),
        replays: row.try_get::<DbId>("", "replays")?.0,
        closed_ms: row.try_get("", "closed_ms")?,
        letter: NewDeadLetter {
            dead_id: row.try_get("", "dead_id")?,
            event_id: row.try_get("", "event_id")?,
            event_type: row.try_get("", "event_type")?,
            shape: None,
            publisher: None,
            booking_ref: row.try_get("", "booking_ref")?,
            company_id: row.try_get("", "company_id")?,
            host_id: row.try_get("", "host_id")?,
            starts_ms: row.try_get("", "starts_ms")?,
            replayed: None,
            reason: row.try_get("", "reason")?,
            error: row.try_get("", "error")?,
            fingerprint: row.try_get("", "fingerprint")?,
            attempts: row.try_get("", "attempts")?,
            history: row.try_get("", "history")?,
            routing_key: row.try_get("", "routing_key")?,
            headers: row.try_get("", "headers")?,
            body: row.try_get("", "body")?,
            first_seen_ms: row.try_get("", "first_seen_ms")?,
            last_failed_ms: row.try_get("", "last_failed_ms")?,
            recorded_ms: row.try_get("", "recorded_ms")?,
        },
    })
}

fn summary(row: &QueryResult) -> Result<DeadLetterSummary, StoreError> {
    Ok(DeadLetterSummary {
        id: row.try_get("", "id")?,
        state: Stored::read(&row.try_get::<String>("", "state")?),
        replays: row.try_get::<DbId>("", "replays")?.0,
        fingerprint: row.try_get("", "fingerprint")?,
        event_id: row.try_get("", "event_id")?,
        event_type: row.try_get("", "event_type")?,
        booking_ref: row.try_get("", "booking_ref")?,
        company_id: row.try_get("", "company_id")?,
        host_id: row.try_get("", "host_id")?,
        starts_ms: row.try_get("", "starts_ms")?,
        reason: row.try_get("", "reason")?,
        error: row.try_get("", "error")?,
        attempts: row.try_get("", "attempts")?,
        first_seen_ms: row.try_get("", "first_seen_ms")?,
        last_failed_ms: row.try_get("", "last_failed_ms")?,
    })
}

/// What a person or a replay changes.
const ALWAYS: [&str; 4] = ["id", "state", "replays", "closed_ms"];

/// What is recorded.
pub(super) const COLUMNS: [&str; 18] = [
    "dead_id",
    "event_id",
    "event_type",
    "booking_ref",
    "company_id",
    "host_id",
    "starts_ms",
    "reason",
    "error",
    "fingerprint",
    "attempts",
    "history",
    "routing_key",
    "headers",
    "body",
    "first_seen_ms",
    "last_failed_ms",
    "recorded_ms",
];

const SUMMARY: [&str; 12] = [
    "fingerprint",
    "event_id",
    "event_type",
    "booking_ref",
    "company_id",
    "host_id",
    "starts_ms",
    "reason",
    "error",
    "attempts",
    "first_seen_ms",
    "last_failed_ms",
];
