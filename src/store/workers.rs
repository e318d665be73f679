//! The workers that run, as they tell of themselves. Times are the database's: a worker and whoever looks
//! may have clocks that differ.

use migration::names;
use std::time::Duration;

use sea_orm::sea_query::{Expr, ExprTrait as _, OnConflict, Order, Query, SimpleExpr};
use sea_orm::{ConnectionTrait, QueryResult};
use uuid::Uuid;

use super::clock::now_in_ms;
use super::{Database, DbId, StoreError};

const TABLE: &str = names::WORKERS;

const COLUMNS: [&str; 14] = [
    "id",
    "host",
    "pid",
    "role",
    "version",
    "revision",
    "mode",
    "pipelines",
    "started_ms",
    "seen_ms",
    "settled_ms",
    "finished",
    "retried",
    "failed",
];

/// Rows that are read at most: far more than there are workers.
const MOST: u64 = 500;

/// What does not change while a worker runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worker {
    /// Its own, new for each process.
    pub id: Uuid,
    /// The name of the machine.
    pub host: String,
    /// The process there.
    pub pid: u32,
    /// What the process serves: `worker` or `all`.
    pub role: String,
    /// The version of the program.
    pub version: String,
    /// The revision that it was built from, where that is known.
    pub revision: Option<String>,
    /// `assign` or `observe`.
    pub mode: String,
    /// Its pipelines.
    pub pipelines: u32,
}

/// What it has done since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Deliveries that left it for good.
    pub finished: u64,
    /// Deliveries that are tried again.
    pub retried: u64,
    /// Of those that left, the ones that became dead letters.
    pub failed: u64,
    /// How long ago the last batch was settled.
    pub settled: Option<Duration>,
}

/// A worker in the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerRow {
    /// Who.
    pub worker: Worker,
    /// What it had done when it was last seen.
    pub work: Work,
    /// How long ago it started.
    pub started: Duration,
    /// How long ago it told of itself.
    pub seen: Duration,
}

/// Tells that this worker, which started `up` ago, is there: one row, made or brought up to date.
///
/// # Errors
/// [`StoreError`]
pub async fn tell_worker(
    database: &Database,
    worker: &Worker,
    up: Duration,
    work: Work,
) -> Result<(), StoreError> {
    let now = || Expr::cust(now_in_ms(database.backend()));
    let ago = |age: Duration| now().sub(ms(age));
    let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let cut = |text: &str, most| text.chars().take(most).collect::<String>();
    let mut insert = Query::insert();
    insert.into_table(TABLE).columns(COLUMNS);
    let settled = work.settled.map_or_else(|| SimpleExpr::from(Option::<i64>::None), ago);
    insert.values_panic([
        worker.id.to_string().into(),
        cut(&worker.host, 255).into(),
        i64::from(worker.pid).into(),
        worker.role.as_str().into(),
        cut(&worker.version, 64).into(),
        worker.revision.as_deref().map(|revision| cut(revision, 64)).into(),
        worker.mode.as_str().into(),
        i32::try_from(worker.pipelines).unwrap_or(i32::MAX).into(),
        ago(up),
        now(),
        settled,
        count(work.finished).into(),
        count(work.retried).into(),
        count(work.failed).into(),
    ]);
    let mut conflict = OnConflict::column("id");
    conflict.update_columns(["seen_ms", "settled_ms", "finished", "retried", "failed"]);
    insert.on_conflict(conflict.to_owned());
    database.connection().execute(&insert).await?;
    Ok(())
}

/// Removes this worker's row: it has stopped.
///
/// # Errors
/// [`StoreError`]
pub async fn remove_worker(db: &impl ConnectionTrait, id: Uuid) -> Result<(), StoreError> {
    let mut delete = Query::delete();
    delete.from_table(TABLE).and_where(Expr::col("id").eq(id.to_string()));
    db.execute(&delete).await?;
    Ok(())
}

/// The workers, those seen last first; some of them may be gone.
///
/// # Errors
/// [`StoreError`]
pub async fn workers(database: &Database) -> Result<Vec<WorkerRow>, StoreError> {
    let mut select = Query::select();
    select
        .columns(COLUMNS)
        .expr_as(Expr::cust(now_in_ms(database.backend())), "now_ms")
        .from(TABLE)
        .order_by("seen_ms", Order::Desc)
        .order_by("id", Order::Asc)
        .limit(MOST);
    database.connection().query_all(&select).await?.iter().map(read).collect()
}

/// Removes the rows of workers that have told nothing of themselves for so long. Gives how many.
///
/// # Errors
/// [`StoreError`]
pub async fn purge_workers(database: &Database, silent: Duration) -> Result<u64, StoreError> {
    let mut delete = Query::delete();
    let before = Expr::cust(now_in_ms(database.backend())).sub(ms(silent));
    delete.from_table(TABLE).and_where(Expr::col("seen_ms").lt(before));
    let purge = async { Ok(database.connection().execute(&delete).await?) };
    Ok(database.in_time(purge).await?.rows_affected())
}

fn read(row: &QueryResult) -> Result<WorkerRow, StoreError> {
    let number = |column: &str| row.try_get::<Option<DbId>>("", column).map(|n| n.map_or(0, |n| n.0));
    let count = |column: &str| number(column).map(|n| u64::try_from(n).unwrap_or(0));
    let small = |column: &str| number(column).map(|n| u32::try_from(n).unwrap_or(0));
    let now_ms = number("now_ms")?;
    let ago = |column: &str| {
        number(column).map(|at| Duration::from_millis(u64::try_from(now_ms - at).unwrap_or(0)))
    };
    let settled = row.try_get::<Option<DbId>>("", "settled_ms")?.is_some();
    Ok(WorkerRow {
        worker: Worker {
            id: Uuid::parse_str(&row.try_get::<String>("", "id")?).unwrap_or_default(),
            host: row.try_get("", "host")?,
            pid: small("pid")?,
            role: row.try_get("", "role")?,
            version: row.try_get("", "version")?,
            revision: row.try_get("", "revision")?,
            mode: row.try_get("", "mode")?,
            pipelines: small("pipelines")?,
        },
        work: Work {
            finished: count("finished")?,
            retried: count("retried")?,
            failed: count("failed")?,
            settled: if settled { Some(ago("settled_ms")?) } else { None },
        },
        started: ago("started_ms")?,
        seen: ago("seen_ms")?,
    })
}

fn ms(age: Duration) -> i64 {
    i64::try_from(age.as_millis()).unwrap_or(i64::MAX)
}
