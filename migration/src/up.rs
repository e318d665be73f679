//! Applies the migrations: runs their statements in order and records each one when it is done.

use sea_orm_migration::sea_orm::{ConnectionTrait as _, DatabaseConnection, DbBackend, DbErr};

use crate::adopt::{ADOPTABLE, find_late};
use crate::bookkeeping::journal::{self, Entry, State};
use crate::bookkeeping::{create, drop_empty_tables, insert_applied};
use crate::catalog::relations;
use crate::error::MigrateError;
use crate::examination::Examination;
use crate::migration::Planned;
use crate::names::JOURNAL;
use crate::plan::{allowed, kept};
use crate::privileges::{check_can_begin, check_can_run};
use crate::sequences;
use crate::session::{Session, retry_while_busy};
use crate::status::{applied, journal_of};

/// Applies all missing migrations and returns the names of those that it ran. Finishes first what an earlier
/// run left unfinished. Sets each of our sequences that lags behind the ids of its table.
///
/// # Errors
/// Returns [`MigrateError`]. All of its variants except `Database`, `Busy` and `Sequences` are detected
/// before anything is changed.
pub async fn up(connection: &DatabaseConnection) -> Result<Vec<String>, MigrateError> {
    retry_while_busy(async || apply_missing(connection, false).await).await
}

/// Does the same as [`up()`], but adopts those of our tables that the gateway's own migrations created.
/// Returns the same errors.
pub async fn adopt(connection: &DatabaseConnection) -> Result<Vec<String>, MigrateError> {
    retry_while_busy(async || apply_missing(connection, true).await).await
}

const DOING: &str = "migrating";

async fn apply_missing(connection: &DatabaseConnection, adopt: bool) -> Result<Vec<String>, MigrateError> {
    check_can_begin(connection).await?;
    let before = applied(connection).await?;
    let unfinished = journal_of(connection).await?;
    if unfinished.iter().any(|entry| entry.state == State::Undoing) {
        return Err(MigrateError::Interrupted);
    }
    let unfinished: Vec<Entry> =
        unfinished.into_iter().filter(|entry| !before.contains(&entry.migration)).collect();
    if !unfinished.is_empty() {
        let done =
            Session::with(connection, DOING, async |session| run_with_journal(session, &unfinished).await)
                .await;
        explain_failure(connection, adopt, done).await?;
    }
    let plan = allowed(connection, adopt).await?;
    if !plan.planned.is_empty() {
        check_can_run(connection, &plan.examination.statements).await?;
        let work = async |session: &Session| apply(session, &plan.planned, plan.adopts).await;
        let done = Session::with(connection, DOING, work).await;
        explain_failure(connection, adopt, done).await?;
    }
    drop_empty_journal(connection).await?;
    let after = applied(connection).await?;
    let made: Vec<String> = after.into_iter().filter(|name| !before.contains(name)).collect();
    sequences::reset(connection, &plan.examination.lagging, &made).await?;
    Ok(made)
}

/// Replaces the database's error with the obstacle that caused it, if there is one now.
async fn explain_failure(
    connection: &DatabaseConnection,
    adopt: bool,
    done: Result<(), MigrateError>,
) -> Result<(), MigrateError> {
    let Err(error @ MigrateError::Database { .. }) = done else { return done };
    if connection.get_database_backend() != DbBackend::MySql {
        // All of it was rolled back, so the first checks apply again.
        return Err(allowed(connection, adopt).await.err().unwrap_or(error));
    }
    match find_late(connection).await {
        Ok(obstacles) if !obstacles.is_empty() => {
            Err(MigrateError::Raced(Examination::with_obstacles(obstacles)))
        }
        // If the server is unreachable, the first error is the more useful one.
        _ => Err(error),
    }
}

/// Makes all changes: in one transaction where DDL can be rolled back, otherwise through the journal.
async fn apply(session: &Session, planned: &[Planned], adopts: bool) -> Result<(), DbErr> {
    if session.backend != DbBackend::MySql {
        return run_in_transaction(session, planned, adopts).await;
    }
    let mut entries = journal::entries(planned, State::Planned, false);
    entries.iter_mut().for_each(|entry| entry.keep = adopts && ADOPTABLE.contains(&entry.migration.as_str()));
    write_journal(session, &entries).await?;
    run_with_journal(session, &entries).await
}

/// Drops a journal without entries: an interrupted run left it.
async fn drop_empty_journal(connection: &DatabaseConnection) -> Result<(), MigrateError> {
    let is_empty = async {
        let there = relations(connection, &[JOURNAL]).await?;
        Ok(!there.is_empty() && journal::read(connection).await?.is_empty())
    };
    if !is_empty.await.map_err(|source| MigrateError::of(DOING, source))? {
        return Ok(());
    }
    Session::with(connection, DOING, async |session| drop_empty_tables(session, false, true).await).await
}

async fn run_in_transaction(session: &Session, planned: &[Planned], adopts: bool) -> Result<(), DbErr> {
    session.run(&create(session.backend)).await?;
    let kept = kept(planned, adopts);
    if !kept.is_empty() {
        session.run(&journal::create(session.backend)).await?;
        session.tx.execute_raw(journal::insert(session.backend, &kept)).await?;
    }
    for one in planned {
        for statement in one.ops.iter().filter_map(|op| op.apply.as_ref()) {
            session.run(statement).await?;
        }
        session.run(&insert_applied(session.backend, one.migration)).await?;
    }
    Ok(())
}

/// Writes the planned statements to the journal before any of them runs.
async fn write_journal(session: &Session, entries: &[Entry]) -> Result<(), DbErr> {
    session.run(&create(session.backend)).await?;
    session.run(&journal::create(session.backend)).await?;
    session.begin_rows().await?;
    session.tx.execute_raw(journal::insert(session.backend, entries)).await?;
    session.commit_rows().await
}

async fn run_with_journal(session: &Session, entries: &[Entry]) -> Result<(), DbErr> {
    let mut first = true;
    for (i, entry) in entries.iter().enumerate() {
        if entry.state == State::Planned {
            // Only the first planned statement can have been in flight.
            let probe = entry.op.probe.as_deref().filter(|_| first);
            first = false;
            if let Some(statement) = &entry.op.apply
                && !session.is_in_place(probe, false).await?
            {
                session.run(statement).await?;
            }
            journal::mark(session, entry.seq, State::Made).await?;
        }
        if entries.get(i + 1).is_none_or(|next| next.migration != entry.migration) {
            session.begin_rows().await?;
            session.run(&insert_applied(session.backend, &entry.migration)).await?;
            journal::delete_finished(session, &entry.migration).await?;
            session.commit_rows().await?;
        }
    }
    let left = !journal::read(&session.tx).await?.is_empty();
    drop_empty_tables(session, left, true).await
}
