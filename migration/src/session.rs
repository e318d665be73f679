//! Opens the connection for migrating, which never waits long for a lock.
//!
//! A DDL statement that waits for a long transaction blocks every later statement on that table: the gateway
//! would stop. So it gives up soon and tries again a little later.

use std::time::Duration;

use sea_orm_migration::sea_orm::{
    ConnectionTrait as _, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, SqliteTransactionMode,
    TransactionOptions, TransactionTrait as _,
};

use crate::catalog::number;
use crate::error::{LOCK_WAIT, MigrateError, TRIES};

/// How long to wait before the next try when another session held a lock.
const PAUSE: Duration = Duration::from_secs(1);

/// A connection with an open transaction. On MySQL the transaction does not cover DDL, which commits at once.
pub(crate) struct Session {
    pub(crate) tx: DatabaseTransaction,
    pub(crate) backend: DbBackend,
}

impl Session {
    /// Runs `work` in a session and commits it.
    pub(crate) async fn with<T>(
        connection: &DatabaseConnection,
        doing: &'static str,
        work: impl AsyncFnOnce(&Self) -> Result<T, DbErr>,
    ) -> Result<T, MigrateError> {
        let done = async {
            let session = Self::open(connection).await?;
            let done = work(&session).await?;
            session.commit().await.map(|()| done)
        };
        done.await.map_err(|source| MigrateError::of(doing, source))
    }

    pub(crate) async fn open(connection: &DatabaseConnection) -> Result<Self, DbErr> {
        let backend = connection.get_database_backend();
        // SQLite: a transaction that reads first fails on its write if another session wrote in between.
        let options = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        let session = Self { tx: connection.begin_with_options(options).await?, backend };
        let seconds = LOCK_WAIT.as_secs();
        // Existing zero dates, as values or defaults, must not make our statements fail.
        let mysql = format!(
            "SET @hostmatch_sql_mode = @@SESSION.sql_mode, @hostmatch_waits = @@SESSION.lock_wait_timeout, \
             @hostmatch_rows = @@SESSION.innodb_lock_wait_timeout, \
             SESSION sql_mode = REPLACE(REPLACE(@@SESSION.sql_mode, 'NO_ZERO_DATE', ''), 'NO_ZERO_IN_DATE', ''), \
             SESSION lock_wait_timeout = {seconds}, SESSION innodb_lock_wait_timeout = {seconds}"
        );
        session.on_mysql(&mysql).await?;
        if backend == DbBackend::Postgres {
            session.run(&format!("SET LOCAL lock_timeout = '{seconds}s'")).await?;
        }
        Ok(session)
    }

    /// Makes MySQL refuse values that do not fit from now on, whatever the server's settings, instead of
    /// truncating them.
    pub(crate) async fn be_strict(&self) -> Result<(), DbErr> {
        self.on_mysql("SET SESSION sql_mode = CONCAT(@@SESSION.sql_mode, ',STRICT_ALL_TABLES')").await
    }

    async fn on_mysql(&self, statement: &str) -> Result<(), DbErr> {
        if self.backend == DbBackend::MySql { self.run(statement).await } else { Ok(()) }
    }

    pub(crate) async fn run(&self, statement: &str) -> Result<(), DbErr> {
        self.tx.execute_unprepared(statement).await.map(drop)
    }

    /// Returns whether the change is in place, by its probe. Without a probe the statement can safely run
    /// again, and the result is `otherwise`.
    pub(crate) async fn is_in_place(&self, probe: Option<&str>, otherwise: bool) -> Result<bool, DbErr> {
        let Some(probe) = probe else { return Ok(otherwise) };
        Ok(number(&self.tx, probe).await? > 0)
    }

    /// Begins a transaction for rows that belong together: on MySQL the DDL has ended the session's
    /// transaction.
    pub(crate) async fn begin_rows(&self) -> Result<(), DbErr> {
        self.on_mysql("START TRANSACTION").await
    }

    pub(crate) async fn commit_rows(&self) -> Result<(), DbErr> {
        self.on_mysql("COMMIT").await
    }

    pub(crate) async fn commit(self) -> Result<(), DbErr> {
        self.on_mysql(
            "SET SESSION sql_mode = @hostmatch_sql_mode, SESSION lock_wait_timeout = @hostmatch_waits, \
             SESSION innodb_lock_wait_timeout = @hostmatch_rows",
        )
        .await?;
        self.tx.commit().await
    }
}

/// Retries while another session holds a lock that is needed.
pub(crate) async fn retry_while_busy<T>(
    mut migrate: impl AsyncFnMut() -> Result<T, MigrateError>,
) -> Result<T, MigrateError> {
    let mut tries = 1;
    loop {
        match migrate().await {
            Err(MigrateError::Busy { .. }) if tries < TRIES => {
                tries += 1;
                tokio::time::sleep(PAUSE).await;
            }
            done => return done,
        }
    }
}
