//! Connects to the database with the session settings that the queries rely on: UTC, READ COMMITTED, strict
//! values, limits for statements and lock waits, and on SQLite durable commits and foreign keys.
//!
//! The pools are built with sqlx and passed to sea-orm: sea-orm's own `connect` puts the whole URL, with the
//! password, into a trace span.

use std::str::FromStr as _;
use std::time::Duration;

use sea_orm::sqlx::mysql::MySqlConnectOptions;
use sea_orm::sqlx::pool::PoolOptions;
use sea_orm::sqlx::postgres::PgConnectOptions;
use sea_orm::sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sea_orm::sqlx::{self, ConnectOptions as _, Executor as _};
use sea_orm::{
    AccessMode, DatabaseConnection, DatabaseTransaction, DbBackend, IsolationLevel, SqliteTransactionMode,
    SqlxMySqlConnector, SqlxPostgresConnector, SqlxSqliteConnector, TransactionOptions,
    TransactionTrait as _,
};

use super::StoreError;
use super::error::Result;
use crate::config::DatabaseConfig;
use crate::runtime::private_file;

/// The time limit for closing. The server rolls back transactions that are unfinished by then.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// The number of prepared statements that a connection caches: more than we use regularly. Lists of every
/// possible length would need somewhat more; then the least recently used statements are prepared again.
const STATEMENT_CACHE_SIZE: usize = 256;

/// The purpose of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Work,
    Migrate,
    ReadOnly,
}

impl Purpose {
    /// Returns the time limit for a statement.
    fn statement_timeout(self, config: &DatabaseConfig) -> Option<Duration> {
        (self != Self::Migrate).then_some(config.statement_timeout)
    }
}

/// An open connection pool, and its engine.
#[derive(Clone, Debug)]
pub struct Database {
    connection: DatabaseConnection,
    backend: DbBackend,
    /// The time limit for a whole transaction.
    deadline: Duration,
}

impl Database {
    /// Connects for the program's daily work.
    ///
    /// # Errors
    /// Returns [`StoreError::Unavailable`] with the reason if the server cannot be reached or refuses the
    /// connection, and [`StoreError::Schema`] if the URL is invalid.
    pub async fn connect(config: &DatabaseConfig) -> Result<Self> {
        Self::open(config, Purpose::Work).await
    }

    /// Connects read-only: the server refuses every write, and a missing SQLite file is not created.
    pub async fn connect_read_only(config: &DatabaseConfig) -> Result<Self> {
        Self::open(config, Purpose::ReadOnly).await
    }

    /// Connects for migrations, without a time limit for statements, because adding a column to a large table
    /// can take long.
    pub async fn connect_for_migrations(config: &DatabaseConfig) -> Result<Self> {
        Self::open(config, Purpose::Migrate).await
    }

    async fn open(config: &DatabaseConfig, purpose: Purpose) -> Result<Self> {
        let url = config.url.expose();
        let (backend, connection) = match url.split_once(':').map(|(scheme, _)| scheme) {
            Some("mysql" | "mariadb") => (DbBackend::MySql, mysql(url, config, purpose).await?),
            Some("postgres" | "postgresql") => (DbBackend::Postgres, postgres(url, config, purpose).await?),
            Some("sqlite") => (DbBackend::Sqlite, sqlite(url, config, purpose).await?),
            _ => {
                let expected = "database.url must begin with mysql://, postgres:// or sqlite://";
                return Err(StoreError::Schema(expected.into()));
            }
        };
        let deadline = config.acquire_timeout + config.statement_timeout * 2;
        Ok(Self { connection, backend, deadline })
    }

    /// Waits for `work`, a transaction or a few statements, up to a deadline. The server's own limits abort a
    /// slow statement; this deadline covers a server that has stopped responding, and makes it unavailable.
    pub async fn with_deadline<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::time::timeout(self.deadline, work).await.unwrap_or_else(|_| {
            let reason = format!("no response within {} s", self.deadline.as_secs());
            Err(StoreError::Unavailable { reason, source: None })
        })
    }

    /// Returns the engine.
    pub fn backend(&self) -> DbBackend {
        self.backend
    }

    /// Returns the pool, for reads and for single statements. Use [`Database::begin`] to read and then write.
    pub fn connection(&self) -> &DatabaseConnection {
        &self.connection
    }

    /// Begins a transaction that will write. On SQLite it takes the write lock at once: a transaction that
    /// reads first and takes the lock later fails under load, without waiting.
    pub async fn begin(&self) -> Result<DatabaseTransaction> {
        let sqlite_transaction_mode =
            (self.backend == DbBackend::Sqlite).then_some(SqliteTransactionMode::Immediate);
        let options = TransactionOptions { sqlite_transaction_mode, ..TransactionOptions::default() };
        Ok(self.connection.begin_with_options(options).await?)
    }

    /// Runs `work` in a transaction from [`Database::begin`] and commits it, or rolls it back at once: a
    /// transaction that is only dropped keeps its locks until the pool reuses its connection.
    pub async fn transact<T>(&self, work: impl AsyncFnOnce(&DatabaseTransaction) -> Result<T>) -> Result<T> {
        let tx = self.begin().await?;
        match work(&tx).await {
            Ok(done) => {
                tx.commit().await?;
                Ok(done)
            }
            Err(error) => {
                // The first error is the one to report.
                let _ = tx.rollback().await;
                Err(error)
            }
        }
    }

    /// Begins a transaction that reads one snapshot of the database; the server refuses every write in it.
    /// (SQLite does not refuse writes, but the transaction is rolled back like the others.)
    pub async fn begin_reading(&self) -> Result<DatabaseTransaction> {
        let on_a_server = self.backend != DbBackend::Sqlite;
        let options = TransactionOptions {
            isolation_level: on_a_server.then_some(IsolationLevel::RepeatableRead),
            access_mode: on_a_server.then_some(AccessMode::ReadOnly),
            ..TransactionOptions::default()
        };
        Ok(self.connection.begin_with_options(options).await?)
    }

    /// Returns the number of open connections, and how many of them are idle.
    pub fn connections(&self) -> (u32, u32) {
        let (open, idle) = match self.backend {
            DbBackend::MySql => pool_state(self.connection.get_mysql_connection_pool()),
            DbBackend::Postgres => pool_state(self.connection.get_postgres_connection_pool()),
            _ => pool_state(self.connection.get_sqlite_connection_pool()),
        };
        (open, u32::try_from(idle).unwrap_or(u32::MAX))
    }

    /// Checks whether the server responds. The result is used for readiness, and to detect the end of an
    /// outage.
    pub async fn ping(&self) -> Result<()> {
        Ok(self.connection.ping().await?)
    }

    /// Closes every connection, and waits briefly for those in use: a statement that waits for another
    /// session's lock would delay the end of the program by up to `database.statement_timeout`.
    pub async fn close(&self) {
        // Closing a pool cannot fail; the Result exists for sea-orm's other drivers.
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, self.connection.close_by_ref()).await;
    }
}

fn pool_state<DB: sqlx::Database>(pool: &sqlx::Pool<DB>) -> (u32, usize) {
    (pool.size(), pool.num_idle())
}

fn pool<DB: sqlx::Database>(config: &DatabaseConfig) -> PoolOptions<DB> {
    PoolOptions::new()
        .max_connections(config.max_connections)
        .acquire_timeout(config.acquire_timeout)
        // After a fail-over the old server may still run, read-only, so connections are replaced regularly.
        .max_lifetime(Duration::from_secs(300))
}

fn bad_url(error: &sqlx::Error) -> StoreError {
    // The parser's text does not quote the URL, which may contain a password.
    StoreError::Schema(format!("database.url cannot be used: {error}"))
}

async fn mysql(url: &str, config: &DatabaseConfig, purpose: Purpose) -> Result<DatabaseConnection> {
    let url = url.strip_prefix("mariadb").map_or_else(|| url.to_owned(), |rest| format!("mysql{rest}"));
    let options = MySqlConnectOptions::from_str(&url)
        .map_err(|e| bad_url(&e))?
        .statement_cache_capacity(STATEMENT_CACHE_SIZE)
        .disable_statement_logging();
    if options.get_socket().is_none() {
        check_reachable(options.get_host(), options.get_port(), config.acquire_timeout).await?;
    }
    let setup = mysql_session(purpose.statement_timeout(config));
    let waits = mysql_lock_waits(config.statement_timeout);
    let waits_on_acquire = waits.clone();
    let pool = pool::<sqlx::MySql>(config)
        .after_connect(move |connection, _| {
            let (setup, waits) = (setup.clone(), waits.clone());
            Box::pin(async move {
                connection.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").await?;
                if purpose == Purpose::ReadOnly {
                    connection.execute("SET SESSION TRANSACTION READ ONLY").await?;
                }
                connection.execute(sqlx::AssertSqlSafe(setup)).await?;
                connection.execute(sqlx::AssertSqlSafe(waits)).await.map(drop)
            })
        })
        // A transaction that called set_nowait left its session without lock waits, so they are set again.
        // This also checks, as a ping would, whether the connection is alive.
        .test_before_acquire(false)
        .before_acquire(move |connection, _| {
            let waits = waits_on_acquire.clone();
            Box::pin(async move { Ok(connection.execute(sqlx::AssertSqlSafe(waits)).await.is_ok()) })
        });
    let pool = pool.connect_with(options).await.map_err(StoreError::cannot_connect)?;
    Ok(SqlxMySqlConnector::from_sqlx_mysql_pool(pool))
}

/// Builds the session settings. MariaDB and MySQL name the statement limit differently; each ignores the
/// other's conditional comment. (sqlx itself sets the session's time zone to UTC.)
///
/// The SQL mode replaces the server's: values that do not fit are refused, and no other mode changes the
/// meaning of our statements. The gateway's zero dates cause no errors.
fn mysql_session(limit: Option<Duration>) -> String {
    let limit = limit.unwrap_or_default();
    format!(
        "SET SESSION sql_mode = 'STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION' \
         /*M! , SESSION max_statement_time = {} */ /*!80000 , SESSION max_execution_time = {} */",
        limit.as_secs_f64(),
        limit.as_millis(),
    )
}

/// Sets how long to wait for the lock of a row, and of a table that is being altered.
fn mysql_lock_waits(limit: Duration) -> String {
    let seconds = limit.as_secs().clamp(1, 31_536_000);
    format!("SET SESSION innodb_lock_wait_timeout = {seconds}, SESSION lock_wait_timeout = {seconds}")
}

async fn postgres(url: &str, config: &DatabaseConfig, purpose: Purpose) -> Result<DatabaseConnection> {
    let millis = |limit: Duration| limit.as_millis().to_string();
    // Prepared statements keep their plans, and a plan that was made while a table was empty would scan the
    // table until the server's next ANALYZE. Every regular query of ours has an index, so scans are
    // off; if the gateway lacks an index, JIT compilation would cost more than it saves.
    let (scan, jit) = if purpose == Purpose::Work { ("off", "off") } else { ("on", "on") };
    let options = PgConnectOptions::from_str(url)
        .map_err(|e| bad_url(&e))?
        .application_name("hostmatch")
        .statement_cache_capacity(STATEMENT_CACHE_SIZE)
        .options([
            ("TimeZone", "UTC".to_owned()),
            ("default_transaction_isolation", "read committed".to_owned()),
            ("lock_timeout", millis(config.statement_timeout)),
            ("statement_timeout", millis(purpose.statement_timeout(config).unwrap_or_default())),
            ("enable_seqscan", scan.to_owned()),
            ("jit", jit.to_owned()),
        ])
        .disable_statement_logging();
    if options.get_socket().is_none() && !options.get_host().starts_with('/') {
        check_reachable(options.get_host(), options.get_port(), config.acquire_timeout).await?;
    }
    let pool = pool::<sqlx::Postgres>(config).after_connect(move |connection, _| {
        Box::pin(async move {
            // This setting is not among the options above, so that the server's own default can still be
            // read.
            if purpose == Purpose::ReadOnly {
                connection.execute("SET default_transaction_read_only = on").await?;
            }
            Ok(())
        })
    });
    let pool = match pool.connect_with(options.clone()).await {
        Ok(pool) => pool,
        Err(error @ sqlx::Error::PoolTimedOut) => {
            // The pool tries again while the server has no free connection, and then does not say why.
            let alone = tokio::time::timeout(config.acquire_timeout, options.connect());
            let reason = alone.await.ok().and_then(Result::err);
            return Err(StoreError::cannot_connect(reason.unwrap_or(error)));
        }
        Err(error) => return Err(StoreError::cannot_connect(error)),
    };
    Ok(SqlxPostgresConnector::from_sqlx_postgres_pool(pool))
}

async fn sqlite(url: &str, config: &DatabaseConfig, purpose: Purpose) -> Result<DatabaseConnection> {
    if url.contains(":memory:") || url.contains("mode=memory") {
        let why = "database.url: an SQLite database in memory belongs to a single connection; use a file";
        return Err(StoreError::Schema(why.into()));
    }
    let options = SqliteConnectOptions::from_str(url)
        .map_err(|e| bad_url(&e))?
        .busy_timeout(config.statement_timeout)
        .foreign_keys(true)
        .disable_statement_logging();
    let options = match purpose {
        // SQLite's own read-only mode is not used, because it leaves WAL files behind, owned by our user.
        Purpose::ReadOnly => options.create_if_missing(false).pragma("query_only", "ON"),
        Purpose::Work | Purpose::Migrate => options
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full),
    };
    let file = options.get_filename().to_owned();
    if purpose == Purpose::ReadOnly && !file.exists() {
        return Err(StoreError::file_missing(&file));
    }
    if purpose != Purpose::ReadOnly {
        // If this fails, SQLite fails too, and its error is explained.
        let _ = private_file::create_private(&file);
    }
    let pool = pool::<sqlx::Sqlite>(config).before_acquire(|connection, _| {
        // The previous user may have left a transaction open after a disk error; writes inside it would never
        // be committed. Usually no transaction is open, and the resulting error is ignored.
        Box::pin(async move {
            let _none_open = connection.execute("ROLLBACK").await;
            Ok(true)
        })
    });
    let pool = pool.connect_with(options).await.map_err(|error| StoreError::cannot_open(&file, &error))?;
    Ok(SqlxSqliteConnector::from_sqlx_sqlite_pool(pool))
}

/// Opens a TCP connection and closes it again, to get the reason if the server cannot be reached: the pool
/// would retry, and finally report only a timeout.
async fn check_reachable(host: &str, port: u16, limit: Duration) -> Result<()> {
    let unreachable = |source: std::io::Error| StoreError::unreachable(host, port, source);
    let address = host.trim_start_matches('[').trim_end_matches(']');
    match tokio::time::timeout(limit, tokio::net::TcpStream::connect((address, port))).await {
        Ok(connected) => connected.map(drop).map_err(unreachable),
        Err(_) => Err(unreachable(std::io::ErrorKind::TimedOut.into())),
    }
}
