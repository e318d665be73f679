//! The way up: statements in order, each noted when it is made.

use sea_orm_migration::sea_orm::{ConnectionTrait as _, DatabaseConnection, DbBackend, DbErr};

use crate::adopt::Planned;
use crate::error::MigrateError;
use crate::found::relations;
use crate::journal::{self, Entry, JOURNAL, State};
use crate::run::{BOOKKEEPING, bookkeeping, kept, note, place, tidy};
use crate::session::Session;

const DOING: &str = "migrating";

/// Makes all of it: in one transaction where DDL can be rolled back, else by the journal.
pub(crate) async fn up(
    connection: &DatabaseConnection,
    planned: &[Planned],
    adopts: bool,
) -> Result<(), MigrateError> {
    let failed = |source| MigrateError::of(DOING, source);
    let session = Session::open(connection).await.map_err(failed)?;
    if session.backend == DbBackend::MySql {
        let kept = kept(planned, adopts).len();
        let mut entries = journal::entries(planned, State::Planned, false, place);
        for (i, entry) in entries.iter_mut().enumerate() {
            entry.keep = i < kept;
        }
        intend(&session, &entries).await.map_err(failed)?;
        by_journal(&session, &entries).await.map_err(failed)?;
    } else {
        at_once(&session, planned, adopts).await.map_err(failed)?;
    }
    session.commit().await.map_err(failed)
}

/// Goes on where an earlier run was interrupted.
pub(crate) async fn finish(connection: &DatabaseConnection, entries: &[Entry]) -> Result<(), MigrateError> {
    let failed = |source| MigrateError::of(DOING, source);
    let session = Session::open(connection).await.map_err(failed)?;
    by_journal(&session, entries).await.map_err(failed)?;
    session.commit().await.map_err(failed)
}

/// Removes a journal in which nothing is left: whoever was to do it was interrupted.
pub(crate) async fn clear(connection: &DatabaseConnection) -> Result<(), MigrateError> {
    let failed = |source| MigrateError::of(DOING, source);
    let there = relations(connection, &[JOURNAL]).await.map_err(failed)?;
    if there.is_empty() || !journal::read(connection).await.map_err(failed)?.is_empty() {
        return Ok(());
    }
    let session = Session::open(connection).await.map_err(failed)?;
    tidy(&session, false, true).await.map_err(failed)?;
    session.commit().await.map_err(failed)
}

async fn at_once(session: &Session, planned: &[Planned], adopts: bool) -> Result<(), DbErr> {
    session.run(&bookkeeping(session.backend)).await?;
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
    session.run(&bookkeeping(session.backend)).await?;
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
            journal::mark(&session.tx, entry.seq, State::Made).await?;
        }
        if entries.get(i + 1).is_none_or(|next| next.migration != entry.migration) {
            session.begin_rows().await?;
            session.run(&note(session.backend, &entry.migration)).await?;
            journal::finished(&session.tx, &entry.migration).await?;
            session.commit_rows().await?;
        }
    }
    let left = !journal::read(&session.tx).await?.is_empty();
    tidy(session, left, true).await
}

/// The bookkeeping no longer says that this migration is applied.
pub(crate) fn unnote(migration: &str) -> String {
    format!("DELETE FROM {BOOKKEEPING} WHERE version = '{migration}'")
}
