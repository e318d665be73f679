//! The errors of migrating.

use std::time::Duration;

use sea_orm_migration::sea_orm::sqlx::{mysql::MySqlDatabaseError, postgres::PgDatabaseError};
use sea_orm_migration::sea_orm::{DbErr, RuntimeErr};

use crate::examination::Examination;
use crate::names::BOOKKEEPING;
use crate::sequences::Lagging;

/// The activity that [`MigrateError::Database`] names if the catalogue cannot be read.
pub(crate) const READING_TABLES: &str = "reading its tables";

/// How long a statement waits for another session's lock.
pub(crate) const LOCK_WAIT: Duration = Duration::from_secs(3);
/// How many times the whole run is tried while another session holds a lock.
pub(crate) const TRIES: u32 = 4;

/// Why migrating was refused or failed.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the message of each says what it means")]
pub enum MigrateError {
    /// Something else created one of our tables, and the caller did not ask to adopt it. Nothing was changed.
    #[error(
        "nothing was changed: hostmatch's tables exist already, and hostmatch did not create them\n{}\n\
         To bring them to hostmatch's shape and keep every row: hostmatch migrate up --adopt \
         (hostmatch migrate sql --adopt shows the statements; hostmatch migrate down restores the original tables)",
        .0.render()
    )]
    NotAdopted(Box<Examination>),
    #[error("nothing was changed: there are obstacles\n{}", .0.render())]
    Obstacles(Box<Examination>),
    /// Like `Obstacles`, but the gateway wrote the rows after they were checked. On MySQL, where DDL cannot
    /// be rolled back, the migration is partly done.
    #[error(
        "the migration is only partly done: obstacles have appeared since it began\n{}\n\
         Fix these and run the same command again: it continues where it stopped. Or restore the original \
         tables: hostmatch migrate down --all",
        .0.render()
    )]
    Raced(Box<Examination>),
    #[error(
        "nothing was changed: the gateway's tables lack what hostmatch needs: {}. Is this the \
         gateway's database? (For a new installation without a gateway, run hostmatch migrate baseline.)",
        .0.join("; ")
    )]
    Gateway(Vec<String>),
    #[error("nothing was changed: this database already has tables of a gateway: {}", .0.join(", "))]
    NotEmpty(Vec<String>),
    #[error(
        "nothing was changed: this database does not accept writes: {0}; point database.url at one that does"
    )]
    ReadOnly(String),
    #[error(
        "nothing was changed: the database user lacks {}. `hostmatch gateway grants` prints what an administrator \
         has to grant, to migrate or only to read",
        .0.join("; ")
    )]
    MissingPrivileges(Vec<String>),
    /// The migrations are applied, but another user owns the sequences that lag behind, so they could not be
    /// set.
    #[error(
        "{}; the database user may not set the sequences that lag behind: {}. Have a user who may set them run \
         these statements, then run the same command again:\n{}",
        if made.is_empty() { "nothing was changed".to_owned() } else { format!("applied: {}", made.join(", ")) },
        join(lagging, "; ", Lagging::to_string),
        join(lagging, "\n", |one| one.reset() + ";")
    )]
    Sequences { made: Vec<String>, lagging: Vec<Lagging> },
    #[error(
        "nothing was changed: {BOOKKEEPING} lists migrations as applied whose tables or columns are missing: {}. \
         Can this user see them? MariaDB and MySQL hide a table on which a user has no privileges: `hostmatch gateway \
         grants` prints what to grant. If an administrator cannot see the table either, restore it from a \
         backup. Or create it again, empty: drop what is left of it, delete these rows from {BOOKKEEPING}, and \
         run `hostmatch migrate up`",
        .0.join("; ")
    )]
    Drift(Vec<String>),
    #[error("nothing was changed: an earlier `hostmatch migrate down` was interrupted; run it again first")]
    Interrupted,
    #[error(
        "nothing was changed: a build of hostmatch from before its first release has migrated this database \
         ({BOOKKEEPING} has {}), and its tables cannot be upgraded. What to do: with that build, export what you \
         want to keep (hostmatch mappings export) and remove its tables (hostmatch migrate down --all); with this \
         version, run hostmatch migrate up, and hostmatch mappings import",
        first_and_last(.0)
    )]
    BeforeBaseline(Vec<String>),
    #[error("nothing was changed: a newer hostmatch has migrated this database ({}): {why}", .names.join(", "))]
    Newer { names: Vec<String>, why: &'static str },
    #[error(
        "another session holds a lock that {doing} needs: gave up after {TRIES} tries of {} s, so that no other \
         session waits behind it. Find the long transaction (SHOW FULL PROCESSLIST; PostgreSQL: pg_stat_activity), \
         let it end, and run the same command again: it continues where it stopped",
        LOCK_WAIT.as_secs()
    )]
    Busy { doing: &'static str },
    #[error("the database returned an error while {doing}: {source}")]
    Database { doing: &'static str, source: DbErr },
}

/// Returns the first and the last of a list that is too long to read.
fn first_and_last(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [first, .., last] => format!("{first} to {last}"),
    }
}

fn join(lagging: &[Lagging], between: &str, words: impl Fn(&Lagging) -> String) -> String {
    lagging.iter().map(words).collect::<Vec<_>>().join(between)
}

impl MigrateError {
    /// Classifies an error of the database.
    pub(crate) fn of(doing: &'static str, source: DbErr) -> Self {
        if is_busy(&source) { Self::Busy { doing } } else { Self::Database { doing, source } }
    }
}

/// Returns whether the statement gave up waiting for another session's lock.
fn is_busy(error: &DbErr) -> bool {
    // SQLite's codes for busy and locked; extended codes use the higher bytes.
    let is_locked = |code: &str| code.parse::<u32>().is_ok_and(|code| [5, 6].contains(&(code & 0xff)));
    is_one_of(error, &[1205, 1213], &["55P03", "40P01"], is_locked)
}

/// Returns whether a value does not fit the new shape of its column.
pub(crate) fn is_misfit(error: &DbErr) -> bool {
    is_one_of(error, &[1265, 1406], &["22001", "22P02", "23514"], |_| false)
}

/// Returns whether the user may not execute the statement, or not see what it refers to.
pub(crate) fn is_denied(error: &DbErr) -> bool {
    is_one_of(error, &[1142, 1143], &["42501"], |_| false)
}

/// Returns whether the server returned one of these codes.
fn is_one_of(error: &DbErr, mysql: &[u16], postgres: &[&str], sqlite: impl Fn(&str) -> bool) -> bool {
    let (DbErr::Exec(RuntimeErr::SqlxError(error)) | DbErr::Query(RuntimeErr::SqlxError(error))) = error
    else {
        return false;
    };
    let Some(error) = error.as_database_error() else { return false };
    if let Some(error) = error.try_downcast_ref::<MySqlDatabaseError>() {
        return mysql.contains(&error.number());
    }
    if let Some(error) = error.try_downcast_ref::<PgDatabaseError>() {
        return postgres.contains(&error.code());
    }
    error.code().is_some_and(|code| sqlite(&code))
}
