//! Why migrating was refused or failed.

use std::time::Duration;

use sea_orm_migration::sea_orm::sqlx::{mysql::MySqlDatabaseError, postgres::PgDatabaseError};
use sea_orm_migration::sea_orm::{DbErr, RuntimeErr};

use crate::examination::Examination;
use crate::names::BOOKKEEPING;
use crate::sequences::Lagging;

/// What [`MigrateError::Database`] says of reading the catalogue.
pub(crate) const LOOKING: &str = "looking at its tables";

/// How long a statement waits for somebody's lock.
pub(crate) const LOCK_WAIT: Duration = Duration::from_secs(3);
/// How often everything is tried while one is in the way.
pub(crate) const TRIES: u32 = 4;

/// Why migrating was refused or failed.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the message of each says what it means")]
pub enum MigrateError {
    /// Something of ours was made by somebody else, and nobody has said that it may be adopted.
    /// Nothing was changed.
    #[error(
        "nothing was changed: tables of hostmatch are there already, and hostmatch did not make them\n{}\n\
         To bring them to hostmatch's shape and keep every row: hostmatch migrate up --adopt \
         (hostmatch migrate sql --adopt shows the statements; hostmatch migrate down gives back what was found)",
        .0.in_words()
    )]
    NotAdopted(Box<Examination>),
    #[error("nothing was changed: something stands in the way\n{}", .0.in_words())]
    Obstacles(Box<Examination>),
    /// The same, but the gateway wrote it after that was looked for: it is half done (on MySQL, where
    /// nothing can be rolled back).
    #[error(
        "migrating stopped half-way: something has come to stand in the way since it began\n{}\n\
         Put that right and run the same command again: it goes on where it stopped. Or give back what was \
         found: hostmatch migrate down --all",
        .0.in_words()
    )]
    Raced(Box<Examination>),
    #[error(
        "nothing was changed: the gateway's tables are not as hostmatch needs them: {}. Is this the \
         gateway's database? (For a new installation without one: hostmatch migrate baseline)",
        .0.join("; ")
    )]
    Gateway(Vec<String>),
    #[error("nothing was changed: this database has tables of a gateway already: {}", .0.join(", "))]
    NotEmpty(Vec<String>),
    #[error("nothing was changed: this database takes no writes: {0}; point database.url at one that does")]
    ReadOnly(String),
    #[error(
        "nothing was changed: the database user lacks {}. `hostmatch gateway grants` prints what an administrator \
         has to grant, to migrate or only to look",
        .0.join("; ")
    )]
    Rights(Vec<String>),
    /// The migrations are made; sequences that lag behind could not be set, for they are somebody else's.
    #[error(
        "{}; the database user may not set what lags behind: {}. Have somebody who may run this, and run the same \
         command again:\n{}",
        if made.is_empty() { "nothing was changed".to_owned() } else { format!("applied: {}", made.join(", ")) },
        in_words(lagging, "; ", Lagging::to_string),
        in_words(lagging, "\n", |one| one.reset() + ";")
    )]
    Sequences { made: Vec<String>, lagging: Vec<Lagging> },
    #[error(
        "nothing was changed: {BOOKKEEPING} says that migrations are applied whose work is not there: {}. \
         May this user see it? MariaDB and MySQL hide a table to which nothing is granted: `hostmatch gateway \
         grants` prints what is to be granted. Only when an administrator does not see it either: put it back from \
         a backup; or, to have it made anew and empty, drop what is left of that table, delete these rows from \
         {BOOKKEEPING}, and run `hostmatch migrate up`",
        .0.join("; ")
    )]
    Drift(Vec<String>),
    #[error("nothing was changed: an earlier `hostmatch migrate down` was interrupted; run that again first")]
    Interrupted,
    #[error(
        "nothing was changed: a build of hostmatch from before its first release has migrated this database \
         ({BOOKKEEPING} has {}), and no upgrade leads from its tables to these. What to do: with that build, save \
         what is to be kept (hostmatch mappings export) and take its tables back (hostmatch migrate down --all); \
         with this one, hostmatch migrate up, and hostmatch mappings import",
        first_and_last(.0)
    )]
    BeforeBaseline(Vec<String>),
    #[error("nothing was changed: a newer hostmatch has migrated this database ({}): {why}", .names.join(", "))]
    Newer { names: Vec<String>, why: &'static str },
    #[error(
        "somebody holds a lock that {doing} needs: gave up after {TRIES} tries of {} s, so that nobody has to wait \
         behind it. Find the long transaction (SHOW FULL PROCESSLIST; PostgreSQL: pg_stat_activity), let it end, \
         and run the same command again: it goes on where it stopped",
        LOCK_WAIT.as_secs()
    )]
    Busy { doing: &'static str },
    #[error("the database refused while {doing}: {source}")]
    Database { doing: &'static str, source: DbErr },
}

/// The ends of a list that is too long to be read.
fn first_and_last(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [first, .., last] => format!("{first} to {last}"),
    }
}

fn in_words(lagging: &[Lagging], between: &str, words: impl Fn(&Lagging) -> String) -> String {
    lagging.iter().map(words).collect::<Vec<_>>().join(between)
}

impl MigrateError {
    /// Sorts an error of the database.
    pub(crate) fn of(doing: &'static str, source: DbErr) -> Self {
        if is_busy(&source) { Self::Busy { doing } } else { Self::Database { doing, source } }
    }
}

/// It gave up waiting for somebody's lock.
fn is_busy(error: &DbErr) -> bool {
    // SQLite's: busy, locked; with what says more in the higher bytes.
    let is_locked = |code: &str| code.parse::<u32>().is_ok_and(|code| [5, 6].contains(&(code & 0xff)));
    is_one_of(error, &[1205, 1213], &["55P03", "40P01"], is_locked)
}

/// A value does not fit into the shape that its column was to get.
pub(crate) fn is_misfit(error: &DbErr) -> bool {
    is_one_of(error, &[1265, 1406], &["22001", "22P02", "23514"], |_| false)
}

/// The user may not do that, or not see it.
pub(crate) fn is_denied(error: &DbErr) -> bool {
    is_one_of(error, &[1142, 1143], &["42501"], |_| false)
}

/// Whether the server itself said one of these.
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
