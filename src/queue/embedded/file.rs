//! The file itself: opening it, recognising it, writing in turns.

use std::time::Duration;

use sea_orm::sqlx::Executor as _;
use sea_orm::sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};
use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction, DbErr, RuntimeErr,
    SqliteTransactionMode, TransactionOptions,
};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{Instant, sleep};

use super::TransactionTrait;
use crate::queue::QueueError;
use crate::runtime::backoff::Delays;

/// Marks the file as ours ("hmq1"), so that another program's SQLite file is not written into.
const APPLICATION_ID: i64 = 0x686d_7131;
const SCHEMA_VERSION: i64 = 1;

/// How long SQLite itself waits for another process that is writing.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long we try again after that.
const BUSY_LIMIT: Duration = Duration::from_secs(30);

const SCHEMA: &str = "
CREATE TABLE messages (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    queue           TEXT NOT NULL CHECK (queue IN ('bookings', 'dead')),
    body            BLOB NOT NULL,
    headers         TEXT NOT NULL,
    routing_key     TEXT NOT NULL,
    message_type    TEXT,
    message_id      TEXT,
    correlation_id  TEXT,
    content_type    TEXT,
    timestamp_ms    INTEGER,
    enqueued_ms     INTEGER NOT NULL,
    rank_ms         INTEGER NOT NULL,
    due_ms          INTEGER NOT NULL DEFAULT 0,
    deliveries      INTEGER NOT NULL DEFAULT 0,
    redelivered     INTEGER NOT NULL DEFAULT 0,
    lease           TEXT,
    leased_until_ms INTEGER
);
CREATE INDEX messages_in_order ON messages (queue, rank_ms, id);
CREATE INDEX messages_leased ON messages (lease) WHERE lease IS NOT NULL;
";

pub(super) struct File {
    path: String,
    pub(super) connection: DatabaseConnection,
    /// SQLite has one writer at a time. Within a process a fair queue is faster than its waiting.
    writers: Mutex<()>,
}

/// The right to write, and the transaction in which to do it. Rolled back when dropped.
pub(super) struct Turn<'a> {
    pub(super) transaction: DatabaseTransaction,
    _turn: MutexGuard<'a, ()>,
}

impl Turn<'_> {
    pub(super) async fn commit(self) -> Result<(), DbErr> {
        self.transaction.commit().await
    }
}

impl File {
    /// Opens `sqlite://path`.
    pub(super) async fn open(url: &str) -> Result<Self, QueueError> {
        let path = url.trim_start_matches("sqlite://").split('?').next().unwrap_or_default().to_owned();
        if path.is_empty() || path.contains(":memory:") {
            return Err(QueueError::Url("queue.url must name a file: sqlite://path".to_owned()));
        }
        Self::at(path).await
    }

    /// Opens the file at `path`, and makes file and schema when they are not there.
    pub(super) async fn at(path: String) -> Result<Self, QueueError> {
        let mut options = ConnectOptions::new("sqlite://queue");
        // sqlx would log statements, slow ones even at the level warn.
        options.max_connections(4).sqlx_logging(false);
        options.map_sqlx_sqlite_pool_opts(|pool| {
            // Whoever had it before may have left a transaction open, after an error of the disk:
            // what is written within that one would never be committed. Usually there is none, which
            // is an error that means nothing.
            pool.before_acquire(|connection, _| {
                Box::pin(async move {
                    let _none_open = connection.execute("ROLLBACK").await;
                    Ok(true)
                })
            })
        });
        let filename = path.clone();
        options.map_sqlx_sqlite_opts(move |sqlite| {
            sqlite
                .filename(&filename)
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Full)
                .busy_timeout(BUSY_TIMEOUT)
        });
        let connection = connect(options).await.map_err(|error| problem(&path, &error))?;
        let file = Self { path, connection, writers: Mutex::new(()) };
        file.recognise().await?;
        Ok(file)
    }

    /// Opens the file at `path` to look: nothing is made, and nothing can be written.
    pub(super) async fn to_look(path: String) -> Result<Self, QueueError> {
        let mut options = ConnectOptions::new("sqlite://queue");
        options.max_connections(1).sqlx_logging(false);
        let filename = path.clone();
        options.map_sqlx_sqlite_opts(move |sqlite| {
            let sqlite = sqlite.filename(&filename).create_if_missing(false).busy_timeout(BUSY_TIMEOUT);
            sqlite.pragma("query_only", "ON")
        });
        let connection = Database::connect(options).await.map_err(|error| problem(&path, &error))?;
        Ok(Self { path, connection, writers: Mutex::new(()) })
    }

    /// Starts to write. `BEGIN IMMEDIATE`: a transaction that reads first and writes later fails
    /// when another process wrote in between.
    pub(super) async fn begin(&self) -> Result<Turn<'_>, DbErr> {
        let turn = self.writers.lock().await;
        let immediate = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        let until = Instant::now() + BUSY_LIMIT;
        let mut delays = Delays::new(Duration::from_millis(20), Duration::from_secs(1));
        loop {
            match self.connection.begin_with_options(immediate).await {
                Err(error) if is_busy(&error) && Instant::now() < until => sleep(delays.next()).await,
                begun => return begun.map(|transaction| Turn { transaction, _turn: turn }),
            }
        }
    }

    /// It has not answered for long.
    pub(super) fn hangs(&self) -> QueueError {
        let problem = "it does not answer; look at the disk, and at who else writes into it".to_owned();
        QueueError::File { path: self.path.clone(), problem }
    }

    /// What is wrong with the file, in words.
    pub(super) fn problem(&self, error: &DbErr) -> QueueError {
        problem(&self.path, error)
    }

    async fn recognise(&self) -> Result<(), QueueError> {
        let made = async {
            let turn = self.begin().await?;
            let application = self.pragma(&turn, "application_id").await?;
            let version = self.pragma(&turn, "user_version").await?;
            let tables = number(&turn, "SELECT count(*) FROM sqlite_master").await?;
            let wrong = match (application, version, tables) {
                (APPLICATION_ID, SCHEMA_VERSION, _) => None,
                (0, 0, 0) => {
                    turn.transaction.execute_unprepared(SCHEMA).await?;
                    let mark = format!(
                        "PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION};"
                    );
                    turn.transaction.execute_unprepared(&mark).await?;
                    None
                }
                (APPLICATION_ID, version, _) => Some(format!(
                    "it was made by another version of hostmatch (its schema is {version}, this one knows \
                     {SCHEMA_VERSION}); empty it with the version that made it"
                )),
                _ => Some("it is a database, but not a hostmatch queue; give another path".to_owned()),
            };
            turn.commit().await?;
            Ok(wrong)
        };
        match made.await {
            Ok(None) => Ok(()),
            Ok(Some(problem)) => Err(QueueError::File { path: self.path.clone(), problem }),
            Err(error) => Err(self.problem(&error)),
        }
    }

    async fn pragma(&self, turn: &Turn<'_>, name: &str) -> Result<i64, DbErr> {
        number(turn, &format!("PRAGMA {name}")).await
    }
}

async fn number(turn: &Turn<'_>, sql: &str) -> Result<i64, DbErr> {
    let row = turn.transaction.query_one_raw(super::rows::statement(sql, [])).await?;
    row.map_or(Ok(0), |row| row.try_get_by_index(0))
}

/// Tries again while another process has the file for itself.
async fn connect(options: ConnectOptions) -> Result<DatabaseConnection, DbErr> {
    let until = Instant::now() + BUSY_LIMIT;
    let mut delays = Delays::new(Duration::from_millis(20), Duration::from_secs(1));
    loop {
        match Database::connect(options.clone()).await {
            Err(error) if is_busy(&error) && Instant::now() < until => sleep(delays.next()).await,
            done => return done,
        }
    }
}

/// The SQLite result code of an error, without its extension.
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
        Some(8 | 3) => "no right to write to it or to its directory".to_owned(),
        Some(10) => "reading or writing failed; look at the disk".to_owned(),
        Some(11) => "it is damaged; move it aside (a new one is made) and try to rescue what is in it with \
                     `sqlite3 FILE .recover`"
            .to_owned(),
        Some(13) => "the disk is full".to_owned(),
        Some(14) => {
            "it cannot be opened; does its directory exist, and may this user write there?".to_owned()
        }
        Some(26) => "it is not a SQLite file; give another path, or move it aside".to_owned(),
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
        let file = File::at(path).await.unwrap();
        let columns = statement("SELECT name, \"notnull\" FROM pragma_table_info('messages')", []);
        let there: Vec<(String, bool)> = file
            .connection
            .query_all_raw(columns)
            .await
            .unwrap()
            .iter()
            .map(|row| (row.try_get_by_index(0).unwrap(), row.try_get_by_index(1).unwrap()))
            .collect();
        let nullable =
            |column: &Column| sea_orm::ColumnTrait::def(column).is_null() || matches!(column, Column::Id);
        let described: Vec<_> =
            Column::iter().map(|c| (sea_orm::IdenStatic::as_str(&c).to_owned(), !nullable(&c))).collect();
        assert_eq!(described, there);
    }
}
