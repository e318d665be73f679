//! The way up: statements in order, each noted when it is made.

use sea_orm_migration::sea_orm::{ConnectionTrait as _, DatabaseConnection, DbBackend, DbErr};

use crate::adopt::{ADOPTABLE, in_the_way};
use crate::bookkeeping::journal::{self, Entry, State};
use crate::bookkeeping::{create, note, tidy};
use crate::catalog::relations;
use crate::error::MigrateError;
use crate::examination::Examination;
use crate::migration::Planned;
use crate::names::JOURNAL;
use crate::plan::{allowed, kept};
use crate::rights::{may_begin, may_run};
use crate::sequences;
use crate::session::{Session, retry_while_busy};
use crate::status::{applied, journal_of};

/// Makes all that is missing; gives the names of the migrations that it ran. What an earlier run
/// left unfinished is finished first. A sequence of ours that lags behind the ids of its table is set.
///
/// # Errors
/// [`MigrateError`]; everything but `Database`, `Busy` and `Sequences` is found before anything is changed.
pub async fn up(connection: &DatabaseConnection) -> Result<Vec<String>, MigrateError> {
    retry_while_busy(async || go_up(connection, false).await).await
}

/// The same, and adopts what of our tables the gateway's own migrations made. Its errors are those of [`up()`].
pub async fn adopt(connection: &DatabaseConnection) -> Result<Vec<String>, MigrateError> {
    retry_while_busy(async || go_up(connection, true).await).await
}

const DOING: &str = "migrating";

async fn go_up(connection: &DatabaseConnection, adopt: bool) -> Result<Vec<String>, MigrateError> {
    may_begin(connection).await?;
    let before = applied(connection).await?;
    let unfinished = journal_of(connection).await?;
    if unfinished.iter().any(|entry| entry.state == State::Undoing) {
        return Err(MigrateError::Interrupted);
    }
    let unfinished: Vec<Entry> =
        unfinished.into_iter().filter(|entry| !before.contains(&entry.migration)).collect();
    if !unfinished.is_empty() {
        let done =
            Session::with(connection, DOING, async |session| by_journal(session, &unfinished).await).await;
        named(connection, adopt, done).await?;
    }
    let plan = allowed(connection, adopt).await?;
    if !plan.planned.is_empty() {
        may_run(connection, &plan.examination.statements).await?;
        let work = async |session: &Session| make(session, &plan.planned, plan.adopts).await;
        let done = Session::with(connection, DOING, work).await;
        named(connection, adopt, done).await?;
    }
    clear(connection).await?;
    let after = applied(connection).await?;
    let made: Vec<String> = after.into_iter().filter(|name| !before.contains(name)).collect();
    sequences::reset(connection, &plan.examination.lagging, &made).await?;
    Ok(made)
}

/// What stands in the way now instead of what the server said, where that is the reason.
async fn named(
    connection: &DatabaseConnection,
    adopt: bool,
    done: Result<(), MigrateError>,
) -> Result<(), MigrateError> {
    let Err(error @ MigrateError::Database { .. }) = done else { return done };
    if connection.get_database_backend() != DbBackend::MySql {
        // All of it was rolled back: as if it were run for the first time.
        return Err(allowed(connection, adopt).await.err().unwrap_or(error));
    }
    match in_the_way(connection).await {
        Ok(obstacles) if !obstacles.is_empty() => {
            Err(MigrateError::Raced(Examination::of_obstacles(obstacles)))
        }
        // A server that is away has nothing to say; its first error tells more.
        _ => Err(error),
    }
}

/// Makes all of it: in one transaction where DDL can be rolled back, else by the journal.
async fn make(session: &Session, planned: &[Planned], adopts: bool) -> Result<(), DbErr> {
    if session.backend != DbBackend::MySql {
        return at_once(session, planned, adopts).await;
    }
    let mut entries = journal::entries(planned, State::Planned, false);
    entries.iter_mut().for_each(|entry| entry.keep = adopts && ADOPTABLE.contains(&entry.migration.as_str()));
    intend(session, &entries).await?;
    by_journal(session, &entries).await
}

/// Removes a journal in which nothing is left: whoever was to do it was interrupted.
async fn clear(connection: &DatabaseConnection) -> Result<(), MigrateError> {
    let is_empty = async {
        let there = relations(connection, &[JOURNAL]).await?;
        Ok(!there.is_empty() && journal::read(connection).await?.is_empty())
    };
    if !is_empty.await.map_err(|source| MigrateError::of(DOING, source))? {
        return Ok(());
    }
    Session::with(connection, DOING, async |session| tidy(session, false, true).await).await
}

async fn at_once(session: &Session, planned: &[Planned], adopts: bool) -> Result<(), DbErr> {
    session.run(&create(session.backend)).await?;
    let kept = kept(planned, adopts);
    if !kept.is_empty() {
        session.run(&journal::create(session.backend)).await?;
        session.tx.execute_raw(journal::insert(session.backend, &kept)).await?;
    }
    for one in planned {
        for make in one.ops.iter().filter_map(|op| op.make.as_ref()) {
            session.run(make).await?;
        }
        session.run(&note(session.backend, one.migration)).await?;
    }
    Ok(())
}

/// Writes down what is going to be done, before any of it.
async fn intend(session: &Session, entries: &[Entry]) -> Result<(), DbErr> {
    session.run(&create(session.backend)).await?;
    session.run(&journal::create(session.backend)).await?;
    session.begin_rows().await?;
    session.tx.execute_raw(journal::insert(session.backend, entries)).await?;
    session.commit_rows().await
}

async fn by_journal(session: &Session, entries: &[Entry]) -> Result<(), DbErr> {
    let mut first = true;
    for (i, entry) in entries.iter().enumerate() {
        if entry.state == State::Planned {
            // Only the first can have been in flight.
            let probe = entry.op.probe.as_deref().filter(|_| first);
            first = false;
            if let Some(make) = &entry.op.make
                && !session.is_there(probe, false).await?
            {
                session.run(make).await?;
            }
            journal::mark(session, entry.seq, State::Made).await?;
        }
        if entries.get(i + 1).is_none_or(|next| next.migration != entry.migration) {
            session.begin_rows().await?;
            session.run(&note(session.backend, &entry.migration)).await?;
            journal::finished(session, &entry.migration).await?;
            session.commit_rows().await?;
        }
    }
    let left = !journal::read(&session.tx).await?.is_empty();
    tidy(session, left, true).await
}
