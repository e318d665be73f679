//! Why migrating was refused or failed.

use sea_orm_migration::sea_orm::DbErr;

use crate::examination::Examination;
use crate::run::BOOKKEEPING;
use crate::session::{LOCK_WAIT, TRIES};

/// Why migrating was refused or failed.
#[derive(Debug, thiserror::Error)]
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
    /// A person has to put something right first. Nothing was changed.
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
    /// The gateway's tables are not there, or not as we need them. Nothing was changed.
    #[error(
        "nothing was changed: the gateway's tables are not as hostmatch needs them: {}. Is this the \
         gateway's database? (For a new installation without one: hostmatch migrate baseline)",
        .0.join("; ")
    )]
    Gateway(Vec<String>),
    /// A baseline was asked for where there is a gateway. Nothing was changed.
    #[error("nothing was changed: this database has tables of a gateway already: {}", .0.join(", "))]
    NotEmpty(Vec<String>),
    /// The server takes no writes. Nothing was changed.
    #[error("nothing was changed: this database takes no writes: {0}; point database.url at one that does")]
    ReadOnly(String),
    /// The user has not the rights that it takes. Nothing was changed.
    #[error(
        "nothing was changed: the database user lacks {}. `hostmatch gateway grants` prints what an administrator \
         has to grant, to migrate or only to look",
        .0.join("; ")
    )]
    Rights(Vec<String>),
    /// The bookkeeping says more than there is. Nothing was changed.
    #[error(
        "nothing was changed: {BOOKKEEPING} says that migrations are applied whose work is not there: {}. \
         May this user see it? MariaDB and MySQL hide a table to which nothing is granted: `hostmatch gateway \
         grants` prints what is to be granted. Only when an administrator does not see it either: put it back from \
         a backup; or, to have it made anew and empty, drop what is left of that table, delete these rows from \
         {BOOKKEEPING}, and run `hostmatch migrate up`",
        .0.join("; ")
    )]
    Halfway(Vec<String>),
    /// An earlier `down` was interrupted. Nothing was changed.
    #[error("nothing was changed: an earlier `hostmatch migrate down` was interrupted; run that again first")]
    Interrupted,
    /// A newer hostmatch has migrated this database further than this one knows. Nothing was changed.
    #[error("nothing was changed: a newer hostmatch has migrated this database ({}): {why}", .names.join(", "))]
    Newer {
        /// Its migrations.
        names: Vec<String>,
        /// Why this one stops here, and what to do.
        why: &'static str,
    },
    /// Somebody holds a lock on a table for too long.
    #[error(
        "somebody holds a lock that {doing} needs: gave up after {TRIES} tries of {} s, so that nobody has to wait \
         behind it. Find the long transaction (SHOW FULL PROCESSLIST; PostgreSQL: pg_stat_activity), let it end, \
         and run the same command again: it goes on where it stopped",
        LOCK_WAIT.as_secs()
    )]
    Busy {
        /// What was being done.
        doing: &'static str,
    },
    /// The database refused or was away.
    #[error("the database refused while {doing}: {source}")]
    Database {
        /// What was being done.
        doing: &'static str,
        /// Its error.
        #[source]
        source: DbErr,
    },
}
