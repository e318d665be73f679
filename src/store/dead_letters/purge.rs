//! Forgetting: what was resolved, skipped or discarded long ago. What is open stays for ever.

use sea_orm::ConnectionTrait as _;
use sea_orm::sea_query::{Expr, ExprTrait as _, Order, Query};

use super::{LetterState, TABLE};
use crate::store::{Database, DbId, StoreError};

/// Rows in one step.
const STEP: u64 = 200;

/// Deletes dead letters that were closed before `before_ms`. Gives how many.
///
/// # Errors
/// [`StoreError`]; what was deleted before is deleted.
pub async fn purge_closed_letters(database: &Database, before_ms: i64) -> Result<u64, StoreError> {
    let closed =
        [LetterState::Resolved, LetterState::Skipped, LetterState::Discarded].map(LetterState::as_str);
    let mut purged = 0;
    loop {
        let mut select = Query::select();
        select
            .column("id")
            .from(TABLE)
            .and_where(Expr::col("closed_ms").lt(before_ms))
            .and_where(Expr::col("state").is_in(closed))
            .order_by("closed_ms", Order::Asc)
            .limit(STEP);
        let rows = database.in_time(async { Ok(database.connection().query_all(&select).await?) }).await?;
        let ids: Vec<i64> =
            rows.iter().map(|row| row.try_get::<DbId>("", "id").map(|id| id.0)).collect::<Result<_, _>>()?;
        if ids.is_empty() {
            return Ok(purged);
        }
        let mut delete = Query::delete();
        delete.from_table(TABLE).and_where(Expr::col("id").is_in(ids));
        // One may have been opened again meanwhile.
        delete.and_where(Expr::col("closed_ms").lt(before_ms)).and_where(Expr::col("state").is_in(closed));
        let deleted = database.in_time(async { Ok(database.connection().execute(&delete).await?) }).await?;
        purged += deleted.rows_affected();
    }
}
