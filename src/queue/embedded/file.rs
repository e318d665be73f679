//! Opens the file, checks that it is a queue of ours, and serialises writes.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sea_orm::sqlx::Executor as _;
use sea_orm::sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};
use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction, DbErr, RuntimeErr,
    SqliteTransactionMode, TransactionOptions,
};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use super::TransactionTrait;
use super::reserve::Reserve;
use crate::queue::QueueError;
use crate::runtime::backoff::Delays;
use crate::runtime::private_file;

/// Identifies our files ("hmq1"), so that we do not write to another program's SQLite file.
const APPLICATION_ID: i64 = 0x686d_7131;
const SCHEMA_VERSION: i64 = 1;

/// The time for which SQLite itself waits for another process that is writing.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// The time for which we retry after [`BUSY_TIMEOUT`] has expired.
const BUSY_RETRY_TIMEOUT: Duration = Duration::from_secs(30);

const SCHEMA: &str = include_str!("schema.sql");

pub(super) struct File {
    path: String,
    pub(super) connection: DatabaseConnection,
    /// SQLite allows one writer at a time. Within a process a fair lock is faster than waiting in SQLite.
    writers: Mutex<()>,
    reserve: Reserve,
    /// Whether the growth of the file was ever limited on one of the connections, which remember the limit.
    was_limited: AtomicBool,
}

/// Limits the file to its size: a transaction then uses only the pages that are free in it.
const LIMIT_GROWTH: &str = "PRAGMA max_page_count = 1";
const ALLOW_GROWTH: &str = "PRAGMA max_page_count = 4294967294";

impl File {
    /// Opens `sqlite://path`.
    pub(super) async fn open(url: &str) -> Result<Self, QueueError> {
        let path = url.trim_start_matches("sqlite://").split('?').next().unwrap_or_default().to_owned();
        if path.is_empty() || path.contains(":memory:") {
            return Err(QueueError::Config("queue.url must name a file: sqlite://path".to_owned()));
        }
        Self::open_at(path).await
    }

    /// Opens the file at `path`; creates the file and its schema when they do not exist. A new file can be read
    /// only by this user, and a file of another user is refused.
    pub(super) async fn open_at(path: String) -> Result<Self, QueueError> {
        let mut options = ConnectOptions::new("sqlite://queue");
        // sqlx would log statements, slow ones even at the level warn.
        options.max_connections(4).sqlx_logging(false);
        options.map_sqlx_sqlite_pool_opts(|pool| {
            // After a disk error the previous user of the connection may have left a transaction open, in which
            // writes would never be committed. Usually none is open, and the resulting error is ignored.
            pool.before_acquire(|connection, _| {
                Box::pin(async move {
                    let _none_open = connection.execute("ROLLBACK").await;
                    Ok(true)
                })
            })
        });
        let refused = |problem| QueueError::File { path: path.clone(), problem };
        private_file::check_sqlite_owner(Path::new(&path)).map_err(refused)?;
        // If this fails, SQLite fails too, and its error is explained.
        let _ = private_file::create_private(Path::new(&path));
        let filename = path.clone();
        options.map_sqlx_sqlite_opts(move |sqlite| {
            sqlite
                .filename(&filename)
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Full)
                .busy_timeout(BUSY_TIMEOUT)
        });
        let reserve = Reserve::of(&path);
        let connection = loop {
            match while_busy(|| Database::connect(options.clone())).await {
                Err(error) if has_made_room(&reserve, &error).await => {}
                connected => break connected.map_err(|error| problem(&path, &error))?,
            }
        };
        let file = Self::new(path, connection, reserve);
        file.check_or_create_schema().await?;
        if !file.reserve.is_whole().await {
            tracing::warn!(
                file = file.path,
                "no room can be reserved on the disk: new messages are accepted only as far as the file has free \
                 room; free some space"
            );
        }
        Ok(file)
    }

    /// Opens the file at `path` read-only: nothing is created, and nothing can be written.
    pub(super) async fn open_read_only(path: String) -> Result<Self, QueueError> {
        let mut options = ConnectOptions::new("sqlite://queue");
        options.max_connections(1).sqlx_logging(false);
        let filename = path.clone();
        options.map_sqlx_sqlite_opts(move |sqlite| {
            let sqlite = sqlite.filename(&filename).create_if_missing(false).busy_timeout(BUSY_TIMEOUT);
            sqlite.pragma("query_only", "ON")
        });
        let connection = Database::connect(options).await.map_err(|error| problem(&path, &error))?;
        let reserve = Reserve::of(&path);
        Ok(Self::new(path, connection, reserve))
    }

    fn new(path: String, connection: DatabaseConnection, reserve: Reserve) -> Self {
        Self { path, connection, writers: Mutex::default(), reserve, was_limited: AtomicBool::default() }
    }

    /// Changes or removes messages in one transaction, one writer at a time; on a full disk with the reserved
    /// room. If it fails or is dropped, nothing is written.
    pub(super) async fn write<T>(
        &self,
        work: impl AsyncFnOnce(&DatabaseTransaction) -> Result<T, DbErr> + Clone,
    ) -> Result<T, DbErr> {
        let _guard = self.writers.lock().await;
        loop {
            match self.transact(ALLOW_GROWTH, work.clone()).await {
                Err(error) if has_made_room(&self.reserve, &error).await => {}
                written => return written,
            }
        }
    }

    /// Adds messages, like [`Self::write`], but leaves the reserved room for removing them.
    pub(super) async fn add<T>(
        &self,
        work: impl AsyncFnOnce(&DatabaseTransaction) -> Result<T, DbErr>,
    ) -> Result<T, DbErr> {
        let _guard = self.writers.lock().await;
        let growth = if self.reserve.is_whole().await {
            ALLOW_GROWTH
        } else {
            self.was_limited.store(true, Ordering::Relaxed);
            LIMIT_GROWTH
        };
        self.transact(growth, work).await
    }

    /// Runs a transaction. It uses `BEGIN IMMEDIATE`, because a transaction that reads first and writes later
    /// fails if another process has written in between.
    async fn transact<T>(
        &self,
        growth: &str,
        work: impl AsyncFnOnce(&DatabaseTransaction) -> Result<T, DbErr>,
    ) -> Result<T, DbErr> {
        let immediate = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        let transaction = while_busy(|| self.connection.begin_with_options(immediate)).await?;
        if self.was_limited.load(Ordering::Relaxed) {
            transaction.execute_unprepared(growth).await?;
        }
        let written = work(&transaction).await?;
        transaction.commit().await?;
        Ok(written)
    }

    /// Returns the error for a file on which a write takes too long.
    pub(super) fn hanging_error(&self) -> QueueError {
        let problem =
            "it does not answer; check the disk, and whether another program locks the file".to_owned();
        QueueError::File { path: self.path.clone(), problem }
    }

    /// Describes what is wrong with the file, and what to do.
    pub(super) fn problem(&self, error: &DbErr) -> QueueError {
        problem(&self.path, error)
    }

    async fn check_or_create_schema(&self) -> Result<(), QueueError> {
        let checked = self.write(async |db| {
            let application = number(db, "PRAGMA application_id").await?;
            let version = number(db, "PRAGMA user_version").await?;
            let tables = number(db, "SELECT count(*) FROM sqlite_master").await?;
            Ok(match (application, version, tables) {
                (APPLICATION_ID, SCHEMA_VERSION, _) => None,
                (0, 0, 0) => {
                    db.execute_unprepared(SCHEMA).await?;
                    let pragmas = format!(
                        "PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION};"
                    );
                    db.execute_unprepared(&pragmas).await?;
                    None
                }
                (APPLICATION_ID, version, _) => Some(format!(
                    "it was created by another version of hostmatch (its schema version is {version}, \
                     this hostmatch needs {SCHEMA_VERSION}); let that version process its messages, then \
                     delete it"
                )),
                _ => Some("it is a database, but not a hostmatch queue; choose another path".to_owned()),
            })
        });
        match checked.await {
            Ok(None) => Ok(()),
            Ok(Some(problem)) => Err(QueueError::File { path: self.path.clone(), problem }),
            Err(error) => Err(self.problem(&error)),
        }
    }
}

async fn number(db: &DatabaseTransaction, sql: &str) -> Result<i64, DbErr> {
    let row = db.query_one_raw(super::rows::statement(sql, [])).await?;
    row.map_or(Ok(0), |row| row.try_get_by_index(0))
}

/// Retries while another process has locked the file.
async fn while_busy<T, A: Future<Output = Result<T, DbErr>>>(attempt: impl Fn() -> A) -> Result<T, DbErr> {
    let until = Instant::now() + BUSY_RETRY_TIMEOUT;
    let mut delays = Delays::new(Duration::from_millis(20), Duration::from_secs(1));
    loop {
        match attempt().await {
            Err(error) if is_busy(&error) && Instant::now() < until => sleep(delays.next()).await,
            result => return result,
        }
    }
}

/// Releases a part of the reserve if that may help: besides "full", SQLite then reports that writing (over a
/// quota) or opening (the `-shm` file) failed. Returns whether to try again.
async fn has_made_room(reserve: &Reserve, error: &DbErr) -> bool {
    matches!(code(error), Some(10 | 13 | 14)) && reserve.release_part().await
}

/// Returns the primary SQLite result code of an error.
fn code(error: &DbErr) -> Option<u32> {
    let (DbErr::Conn(RuntimeErr::SqlxError(error))
    | DbErr::Exec(RuntimeErr::SqlxError(error))
    | DbErr::Query(RuntimeErr::SqlxError(error))) = error
    else {
        return None;
    };
    let code = error.as_database_error()?.code()?;
    code.parse::<u32>().ok().map(|code| code & 0xff)
}

fn is_busy(error: &DbErr) -> bool {
    matches!(code(error), Some(5 | 6))
}

fn problem(path: &str, error: &DbErr) -> QueueError {
    let problem = match code(error) {
        Some(8 | 3) => "this user may not write to it or to its directory; grant write access".to_owned(),
        Some(10) => "reading or writing failed; check the disk".to_owned(),
        Some(11) => {
            "it is damaged; move it aside (a new one is created) and try to recover its content with \
                     `sqlite3 FILE .recover`"
                .to_owned()
        }
        Some(13) => "the disk is full; free some space".to_owned(),
        Some(14) => "it cannot be opened; check that its directory exists and that this user may write to it"
            .to_owned(),
        Some(26) => "it is not a SQLite file; choose another path, or move it aside".to_owned(),
        _ => error.to_string(),
    };
    QueueError::File { path: path.to_owned(), problem }
}

#[cfg(test)]
mod tests {
    use sea_orm::{ConnectionTrait as _, Iterable as _};

    use super::super::entity::Column;
    use super::super::rows::statement;
    use super::File;

    #[tokio::test]
    async fn the_entity_has_the_columns_of_the_table() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("queue.db").to_str().unwrap().to_owned();
        let file = File::open_at(path).await.unwrap();
        let columns = statement("SELECT name, \"notnull\" FROM pragma_table_info('messages')", []);
        let actual: Vec<(String, bool)> = file
            .connection
            .query_all_raw(columns)
            .await
            .unwrap()
            .iter()
            .map(|row| (row.try_get_by_index(0).unwrap(), row.try_get_by_index(1).unwrap()))
            .collect();
        let nullable =
            |column: &Column| sea_orm::ColumnTrait::def(column).is_null() || matches!(column, Column::Id);
        let expected: Vec<_> =
            Column::iter().map(|c| (sea_orm::IdenStatic::as_str(&c).to_owned(), !nullable(&c))).collect();
        assert_eq!(actual, expected);
    }
}
