//! One connection to migrate on, which never waits long for a lock.
//!
//! A DDL statement that waits for a long transaction makes everybody after it wait too: the
//! gateway would stand still. So it gives up soon, and comes again a little later.

use std::time::Duration;

use sea_orm_migration::sea_orm::sqlx::error::DatabaseError;
use sea_orm_migration::sea_orm::sqlx::{mysql::MySqlDatabaseError, postgres::PgDatabaseError};
use sea_orm_migration::sea_orm::{
    ConnectionTrait as _, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, RuntimeErr,
    SqliteTransactionMode, Statement, TransactionOptions, TransactionTrait as _,
};

/// How long a statement waits for somebody's lock.
pub(crate) const LOCK_WAIT: Duration = Duration::from_secs(3);
/// How often everything is tried.
pub(crate) const TRIES: u32 = 4;
/// And after what pause.
pub(crate) const PAUSE: Duration = Duration::from_secs(1);

/// A connection with a transaction open. On MySQL that means nothing to DDL, which commits.
pub(crate) struct Session {
    pub(crate) tx: DatabaseTransaction,
    pub(crate) backend: DbBackend,
}

impl Session {
    pub(crate) async fn open(connection: &DatabaseConnection) -> Result<Self, DbErr> {
        let backend = connection.get_database_backend();
        // SQLite: one that reads first and writes later fails when somebody else wrote in between.
        let options = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        let session = Self { tx: connection.begin_with_options(options).await?, backend };
        let seconds = LOCK_WAIT.as_secs();
        match backend {
            // Zero dates that are there, as values or defaults, are not ours to refuse.
            DbBackend::MySql => {
                session
                    .run(&format!(
                        "SET @hostmatch_sql_mode = @@SESSION.sql_mode, @hostmatch_waits = @@SESSION.lock_wait_timeout, \
                         @hostmatch_rows = @@SESSION.innodb_lock_wait_timeout, \
                         SESSION sql_mode = REPLACE(REPLACE(@@SESSION.sql_mode, 'NO_ZERO_DATE', ''), \
                         'NO_ZERO_IN_DATE', ''), SESSION lock_wait_timeout = {seconds}, \
                         SESSION innodb_lock_wait_timeout = {seconds}"
                    ))
                    .await?;
            }
            DbBackend::Postgres => session.run(&format!("SET LOCAL lock_timeout = '{seconds}s'")).await?,
            _ => {}
        }
        Ok(session)
    }

    /// From now on MySQL refuses what does not fit, however its server is set, instead of cutting it.
    pub(crate) async fn be_strict(&self) -> Result<(), DbErr> {
        if self.backend != DbBackend::MySql {
            return Ok(());
        }
        self.run("SET SESSION sql_mode = CONCAT(@@SESSION.sql_mode, ',STRICT_ALL_TABLES')").await
    }

    pub(crate) async fn run(&self, statement: &str) -> Result<(), DbErr> {
        self.tx.execute_unprepared(statement).await.map(drop)
    }

    /// Whether the change is there: what its probe answers; none means that running it again does
    /// no harm, and is taken for `otherwise`.
    pub(crate) async fn is_there(&self, probe: Option<&str>, otherwise: bool) -> Result<bool, DbErr> {
        let Some(probe) = probe else { return Ok(otherwise) };
        let row = self.tx.query_one_raw(Statement::from_string(self.backend, probe)).await?;
        Ok(row.map_or(Ok(0), |row| row.try_get_by_index::<i64>(0))? > 0)
    }

    /// MySQL's DDL has ended the transaction; rows that belong together want one of their own.
    pub(crate) async fn begin_rows(&self) -> Result<(), DbErr> {
        if self.backend == DbBackend::MySql { self.run("START TRANSACTION").await } else { Ok(()) }
    }

    pub(crate) async fn commit_rows(&self) -> Result<(), DbErr> {
        if self.backend == DbBackend::MySql { self.run("COMMIT").await } else { Ok(()) }
    }

    pub(crate) async fn commit(self) -> Result<(), DbErr> {
        if self.backend == DbBackend::MySql {
            self.run(
                "SET SESSION sql_mode = @hostmatch_sql_mode, SESSION lock_wait_timeout = @hostmatch_waits, \
                 SESSION innodb_lock_wait_timeout = @hostmatch_rows",
            )
            .await?;
        }
        self.tx.commit().await
    }
}

/// It gave up waiting for somebody's lock.
pub(crate) fn is_busy(error: &DbErr) -> bool {
    let Some(error) = of_database(error) else { return false };
    if let Some(error) = error.try_downcast_ref::<MySqlDatabaseError>() {
        return [1205, 1213].contains(&error.number());
    }
    if let Some(error) = error.try_downcast_ref::<PgDatabaseError>() {
        return ["55P03", "40P01"].contains(&error.code());
    }
    // SQLite's: busy, locked; with what says more in the higher bytes.
    let code = error.code().and_then(|code| code.parse::<u32>().ok()).unwrap_or_default();
    [5, 6].contains(&(code & 0xff))
}

/// A value does not fit into the shape that its column was to get.
pub(crate) fn is_misfit(error: &DbErr) -> bool {
    let Some(error) = of_database(error) else { return false };
    if let Some(error) = error.try_downcast_ref::<MySqlDatabaseError>() {
        return [1265, 1406].contains(&error.number());
    }
    error
        .try_downcast_ref::<PgDatabaseError>()
        .is_some_and(|error| ["22001", "22P02", "23514"].contains(&error.code()))
}

/// The user may not do that, or not see it.
pub(crate) fn is_denied(error: &DbErr) -> bool {
    let Some(error) = of_database(error) else { return false };
    if let Some(error) = error.try_downcast_ref::<MySqlDatabaseError>() {
        return [1142, 1143].contains(&error.number());
    }
    error.try_downcast_ref::<PgDatabaseError>().is_some_and(|error| error.code() == "42501")
}

/// What the server itself said, if it did.
fn of_database(error: &DbErr) -> Option<&dyn DatabaseError> {
    match error {
        DbErr::Exec(RuntimeErr::SqlxError(error)) | DbErr::Query(RuntimeErr::SqlxError(error)) => {
            error.as_database_error()
        }
        _ => None,
    }
}
