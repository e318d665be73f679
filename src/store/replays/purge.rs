//! Forgetting plans, replays and acts of long ago.

use migration::names;
use sea_orm::ConnectionTrait as _;
use sea_orm::sea_query::{Cond, Expr, ExprTrait as _, Order, Query, SelectStatement};

use super::{ITEMS, REPLAYS, ReplayState};
use crate::store::{Database, DbId, LetterState, StoreError};

/// Rows in one step.
const STEP: u64 = 200;

/// Deletes plans and replays that were made before `before_ms`, with their letters, and what operators
/// did before then. Kept are: a replay that is running or paused; one of which a letter is on the way,
/// or was and is open; what was done on an open letter, or with a replay that is kept. Gives the
/// number of replays.
///
/// # Errors
/// [`StoreError`]; what was deleted before is deleted.
pub async fn purge_replays(database: &Database, before_ms: i64) -> Result<u64, StoreError> {
    let mut purged = 0;
    let live = [ReplayState::Running.as_str(), ReplayState::Paused.as_str()];
    loop {
        // Its letters first: a replay that still has some is found again.
        let mut select = Query::select();
        select
            .column("id")
            .from(REPLAYS)
            .and_where(Expr::col("created_ms").lt(before_ms))
            .and_where(Expr::col("state").is_not_in(live))
            .and_where(Expr::exists(items_that_matter()).not())
            .order_by("id", Order::Asc)
            .limit(STEP);
        let Some(replays) = ids(database, &select, "id").await? else { break };
        purged += replays.len() as u64;
        for replay in &replays {
            delete_items(database, *replay).await?;
        }
        delete(database, REPLAYS, "id", &replays).await?;
    }
    loop {
        let mut replay = Query::select();
        replay
            .expr(Expr::val(1))
            .from(REPLAYS)
            .and_where(Expr::col((REPLAYS, "id")).equals((ACTS, "replay_id")));
        let mut select = Query::select();
        select
            .column("id")
            .from(ACTS)
            .and_where(Expr::col("at_ms").lt(before_ms))
            // Notes belong to their group, for as long as it has letters.
            .and_where(Expr::col("action").ne("note"))
            .and_where(Expr::exists(replay).not())
            .and_where(Expr::exists(open_letters_of_acts()).not())
            .order_by("id", Order::Asc)
            .limit(STEP);
        let Some(acts) = ids(database, &select, "id").await? else { break };
        delete(database, ACT_LETTERS, "action_id", &acts).await?;
        delete(database, ACTS, "id", &acts).await?;
    }
    Ok(purged)
}

/// Of a replay in the statement around it: letters on the way, and open ones that were.
fn items_that_matter() -> SelectStatement {
    let mut open = Query::select();
    open.expr(Expr::val(1))
        .from(LETTERS)
        .and_where(Expr::col((LETTERS, "id")).equals((ITEMS, "letter_id")))
        .and_where(Expr::col((LETTERS, "state")).is_in(open_letters()));
    let was_sent = Cond::all().add(Expr::col((ITEMS, "sent_ms")).is_not_null()).add(Expr::exists(open));
    let mut select = Query::select();
    select
        .expr(Expr::val(1))
        .from(ITEMS)
        .and_where(Expr::col((ITEMS, "replay_id")).equals((REPLAYS, "id")))
        .cond_where(Cond::any().add(Expr::col((ITEMS, "outstanding")).is_not_null()).add(was_sent));
    select
}

/// Of an act in the statement around it: the letters that it was done on and that are open.
fn open_letters_of_acts() -> SelectStatement {
    let mut select = Query::select();
    select
        .expr(Expr::val(1))
        .from(ACT_LETTERS)
        .inner_join(LETTERS, Expr::col((LETTERS, "id")).equals((ACT_LETTERS, "letter_id")))
        .and_where(Expr::col((ACT_LETTERS, "action_id")).equals((ACTS, "id")))
        .and_where(Expr::col((LETTERS, "state")).is_in(open_letters()));
    select
}

/// Deletes the letters of a replay step by step: there may be very many.
async fn delete_items(database: &Database, replay: i64) -> Result<(), StoreError> {
    loop {
        let mut select = Query::select();
        select
            .column("letter_id")
            .from(ITEMS)
            .and_where(Expr::col("replay_id").eq(replay))
            .order_by("letter_id", Order::Asc)
            .limit(STEP);
        let Some(letters) = ids(database, &select, "letter_id").await? else { return Ok(()) };
        let mut delete = Query::delete();
        delete
            .from_table(ITEMS)
            .and_where(Expr::col("replay_id").eq(replay))
            .and_where(Expr::col("letter_id").is_in(letters));
        database.in_time(async { Ok(database.connection().execute(&delete).await?) }).await?;
    }
}

async fn ids(
    database: &Database,
    select: &SelectStatement,
    column: &str,
) -> Result<Option<Vec<i64>>, StoreError> {
    let rows = database.in_time(async { Ok(database.connection().query_all(select).await?) }).await?;
    let ids: Vec<i64> =
        rows.iter().map(|row| row.try_get::<DbId>("", column).map(|id| id.0)).collect::<Result<_, _>>()?;
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

/// The states of letters that are not closed.
fn open_letters() -> [&'static str; 2] {
    [LetterState::Open, LetterState::Replaying].map(LetterState::as_str)
}

const LETTERS: &str = names::DEAD_LETTERS;

const ACTS: &str = names::DEAD_LETTER_ACTIONS;

const ACT_LETTERS: &str = names::DEAD_LETTER_ACTION_LETTERS;
