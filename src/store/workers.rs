//! Records the running workers by their heartbeats. Times are the database's, because the clocks of workers
//! and readers may differ.

use std::time::Duration;

use sea_orm::FromQueryResult as _;
use sea_orm::sea_query::OnConflict;
use serde::Serialize;
use uuid::Uuid;

use super::clock::now_in_ms;
use super::entity::worker::{Column, Entity, Model};
use super::prelude::*;
use super::statement::insert;
use super::{Database, DbId};

/// The alias of the database's current time in the query for workers.
const NOW_MS: &str = "now_ms";

/// The maximum number of rows to read: far more than there are workers.
const MAX_ROWS: u64 = 500;

/// Workers send a heartbeat every 10 s; a worker without one for this long counts as gone.
const GONE_AFTER_SECONDS: u64 = 45;

/// The properties of a worker that do not change while it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Worker {
    /// Its own id, new for each process.
    #[serde(skip)]
    pub id: Uuid,
    /// The name of its machine.
    pub host: String,
    /// Its process id on that machine.
    pub pid: u32,
    /// The role of its process: `worker` or `all`.
    pub role: String,
    /// The version of the program.
    pub version: String,
    /// The revision that it was built from, if known.
    pub revision: Option<String>,
    /// `assign` or `observe`.
    pub mode: String,
    /// The number of its pipelines.
    pub pipelines: u32,
}

/// A worker's totals since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Work {
    /// The number of deliveries that were finished.
    pub finished: u64,
    /// The number of deliveries that will be tried again.
    pub retried: u64,
    /// The number of finished deliveries that became dead letters.
    pub failed: u64,
    /// How many seconds ago the last batch was settled.
    pub settled_seconds: Option<u64>,
}

/// A worker in the table. `docs/commands.md` describes its JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WorkerRow {
    /// The worker.
    #[serde(flatten)]
    pub worker: Worker,
    /// Whether its heartbeats have stopped, although it has not deregistered.
    pub gone: bool,
    /// How many seconds ago it started.
    pub up_seconds: u64,
    /// How many seconds ago its last heartbeat was.
    pub seen_seconds: u64,
    /// Its totals as of the last heartbeat.
    #[serde(flatten)]
    pub work: Work,
}

/// Records a heartbeat of this worker, which started `up` ago: inserts or updates its row.
pub async fn record_heartbeat(database: &Database, worker: &Worker, up: Duration, work: Work) -> Result<()> {
    let now = || Expr::cust(now_in_ms(database.backend()));
    let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let ago = |seconds: u64| now().sub(count(seconds).saturating_mul(1000));
    let truncate = |text: &str, length| text.chars().take(length).collect::<String>();
    let settled = work.settled_seconds.map_or_else(|| Expr::from(Option::<i64>::None), ago);
    let row: [(Column, Expr); 14] = [
        (Column::Id, worker.id.to_string().into()),
        (Column::Host, truncate(&worker.host, 255).into()),
        (Column::Pid, i64::from(worker.pid).into()),
        (Column::Role, worker.role.as_str().into()),
        (Column::Version, truncate(&worker.version, 64).into()),
        (Column::Revision, worker.revision.as_deref().map(|revision| truncate(revision, 64)).into()),
        (Column::Mode, worker.mode.as_str().into()),
        (Column::Pipelines, i32::try_from(worker.pipelines).unwrap_or(i32::MAX).into()),
        (Column::StartedMs, ago(up.as_secs())),
        (Column::SeenMs, now()),
        (Column::SettledMs, settled),
        (Column::Finished, count(work.finished).into()),
        (Column::Retried, count(work.retried).into()),
        (Column::Failed, count(work.failed).into()),
    ];
    let progress = [Column::SeenMs, Column::SettledMs, Column::Finished, Column::Retried, Column::Failed];
    let mut insert = insert::<Entity, 14>([row]);
    insert.on_conflict(OnConflict::column(Column::Id).update_columns(progress).to_owned());
    database.connection().execute(&insert).await?;
    Ok(())
}

/// Deletes the row of a worker that has stopped.
pub async fn remove_worker(db: &impl ConnectionTrait, id: Uuid) -> Result<()> {
    Entity::delete_many().filter(Column::Id.eq(id.to_string())).exec(db).await?;
    Ok(())
}

/// Returns the workers, the last seen first; some of them may be gone.
pub async fn workers(database: &Database) -> Result<Vec<WorkerRow>> {
    let select = Entity::find()
        .column_as(Expr::cust(now_in_ms(database.backend())), NOW_MS)
        .order_by_desc(Column::SeenMs)
        .order_by_asc(Column::Id)
        .limit(MAX_ROWS)
        .into_query();
    let rows = database.connection().query_all(&select).await?;
    let read = rows.iter().map(|row| {
        let now_ms = row.try_get::<DbId>("", NOW_MS)?.0;
        Ok(WorkerRow::from_row(now_ms, Model::from_query_result(row, "")?))
    });
    read.collect()
}

/// Deletes the rows of workers without a heartbeat for this long, and returns how many.
pub async fn purge_workers(database: &Database, silent: Duration) -> Result<u64> {
    let before =
        Expr::cust(now_in_ms(database.backend())).sub(i64::try_from(silent.as_millis()).unwrap_or(i64::MAX));
    let delete = Entity::delete_many().filter(Expr::col(Column::SeenMs).lt(before));
    let purge = async { Ok(delete.exec(database.connection()).await?) };
    Ok(database.with_deadline(purge).await?.rows_affected)
}

impl WorkerRow {
    fn from_row(now_ms: i64, row: Model) -> Self {
        let ago = |at: i64| u64::try_from(now_ms - at).unwrap_or(0) / 1000;
        let count = |count: i64| u64::try_from(count).unwrap_or(0);
        let seen_seconds = ago(row.seen_ms);
        Self {
            worker: Worker {
                id: Uuid::parse_str(&row.id).unwrap_or_default(),
                host: row.host,
                pid: u32::try_from(row.pid).unwrap_or(0),
                role: row.role,
                version: row.version,
                revision: row.revision,
                mode: row.mode,
                pipelines: u32::try_from(row.pipelines).unwrap_or(0),
            },
            gone: seen_seconds > GONE_AFTER_SECONDS,
            up_seconds: ago(row.started_ms),
            seen_seconds,
            work: Work {
                finished: count(row.finished),
                retried: count(row.retried),
                failed: count(row.failed),
                settled_seconds: row.settled_ms.map(ago),
            },
        }
    }
}
