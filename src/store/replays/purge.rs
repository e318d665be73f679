//! Forgetting plans, replays and acts of long ago.

use sea_orm::ConnectionTrait as _;
use sea_orm::sea_query::{Expr, ExprTrait as _, Order, Query};

use super::{ITEMS, REPLAYS, ReplayState};
use crate::store::{Database, DbId, StoreError};

/// Rows in one step.
const STEP: u64 = 200;

/// Deletes plans and replays that were made before `before_ms` and are neither running nor paused,
/// with their letters, and what operators did before then. Gives the number of replays.
///
/// # Errors
/// [`StoreError`]; what was deleted before is deleted.
pub async fn purge_replays(database: &Database, before_ms: i64) -> Result<u64, StoreError> {
    let mut purged = 0;
    let live = [ReplayState::Running.as_str(), ReplayState::Paused.as_str()];
    loop {
        // Its letters first: a replay that still has some is found again. One on the way stays.
        let mut select = Query::select();
        select
            .column("id")
            .from(REPLAYS)
            .and_where(Expr::col("created_ms").lt(before_ms))
            .and_where(Expr::col("state").is_not_in(live))
            .order_by("id", Order::Asc)
            .limit(STEP);
        let Some(ids) = ids(database, &select).await? else { break };
        purged += ids.len() as u64;
        delete(database, ITEMS, "replay_id", &ids).await?;
        delete(database, REPLAYS, "id", &ids).await?;
    }
    loop {
        let mut select = Query::select();
        select.column("id").from("dead_letter_actions").and_where(Expr::col("at_ms").lt(before_ms));
        // Notes belong to their group, for as long as it has letters.
        select.and_where(Expr::col("action").ne("note")).order_by("id", Order::Asc).limit(STEP);
        let Some(ids) = ids(database, &select).await? else { break };
        delete(database, "dead_letter_action_letters", "action_id", &ids).await?;
        delete(database, "dead_letter_actions", "id", &ids).await?;
    }
    Ok(purged)
}

async fn ids(
    database: &Database,
    select: &sea_orm::sea_query::SelectStatement,
) -> Result<Option<Vec<i64>>, StoreError> {
    let rows = database.in_time(async { Ok(database.connection().query_all(select).await?) }).await?;
    let ids: Vec<i64> =
        rows.iter().map(|row| row.try_get::<DbId>("", "id").map(|id| id.0)).collect::<Result<_, _>>()?;
    Ok(Some(ids).filter(|ids| !ids.is_empty()))
}

async fn delete(
    database: &Database,
    table: &'static str,
    column: &'static str,
    ids: &[i64],
) -> Result<(), StoreError> {
    let mut delete = Query::delete();
    delete.from_table(table).and_where(Expr::col(column).is_in(ids.iter().copied()));
    database.in_time(async { Ok(database.connection().execute(&delete).await?) }).await?;
    Ok(())
}
