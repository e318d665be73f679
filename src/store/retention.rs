//! Deletes what was kept for its time, in small steps that lock few rows.

use migration::names;
use sea_orm::ConnectionTrait as _;
use sea_orm::sea_query::{Expr, ExprTrait as _, Order, Query};

use super::{Database, DbId, StoreError};

/// Rows in one step.
const STEP: u64 = 500;

/// Forgets the bookings kept with assignments that were decided before `before_ms`.
/// Gives how many.
///
/// # Errors
/// [`StoreError`]; what was purged before is purged.
pub async fn purge_payloads(database: &Database, before_ms: i64) -> Result<u64, StoreError> {
    let mut purged = 0;
    loop {
        let mut select = Query::select();
        select
            .column("appointment_id")
            .from(names::ASSIGNMENTS)
            .and_where(Expr::col("decided_ms").lt(before_ms))
            .and_where(Expr::col("payload").is_not_null())
            .order_by("decided_ms", Order::Asc)
            .limit(STEP);
        let rows = database.in_time(async { Ok(database.connection().query_all(&select).await?) }).await?;
        let ids: Vec<i64> = rows
            .iter()
            .map(|row| row.try_get::<DbId>("", "appointment_id").map(|id| id.0))
            .collect::<Result<_, _>>()?;
        if ids.is_empty() {
            return Ok(purged);
        }
        purged += ids.len() as u64;
        let mut update = Query::update();
        update
            .table(names::ASSIGNMENTS)
            .value("payload", Option::<String>::None)
            .and_where(Expr::col("appointment_id").is_in(ids))
            .and_where(Expr::col("decided_ms").lt(before_ms));
        database.in_time(async { Ok(database.connection().execute(&update).await?) }).await?;
    }
}

/// Deletes the rows of events that were decided before `before_ms`. Gives how many.
///
/// # Errors
/// [`StoreError`]; what was deleted before is deleted.
pub async fn purge_events(database: &Database, before_ms: i64) -> Result<u64, StoreError> {
    let mut purged = 0;
    loop {
        let mut select = Query::select();
        select
            .column("event_id")
            .from(names::EVENTS)
            .and_where(Expr::col("decided_ms").lt(before_ms))
            .order_by("decided_ms", Order::Asc)
            .limit(STEP);
        let rows = database.in_time(async { Ok(database.connection().query_all(&select).await?) }).await?;
        let ids: Vec<String> =
            rows.iter().map(|row| row.try_get("", "event_id")).collect::<Result<_, _>>()?;
        if ids.is_empty() {
            return Ok(purged);
        }
        purged += ids.len() as u64;
        let mut delete = Query::delete();
        delete.from_table(names::EVENTS).and_where(Expr::col("event_id").is_in(ids));
        delete.and_where(Expr::col("decided_ms").lt(before_ms));
        database.in_time(async { Ok(database.connection().execute(&delete).await?) }).await?;
    }
}
