//! The way down: the opposite of each statement, in the opposite order, each forgotten when done.

use sea_orm_migration::sea_orm::{ConnectionTrait as _, DatabaseConnection, DbBackend, DbErr};

use crate::adopt::Planned;
use crate::dialect::Dialect;
use crate::error::MigrateError;
use crate::forth::unnote;
use crate::found::relations;
use crate::gateway::Columns;
use crate::journal::{self, Entry, JOURNAL, State};
use crate::run::{BOOKKEEPING, place, present, tidy};
use crate::session::Session;
use crate::tables::STEPS;

/// Takes migrations back. `first` is what was there when this began.
pub(crate) async fn down(
    connection: &DatabaseConnection,
    steps: Option<u32>,
    first: &[String],
) -> Result<Vec<String>, MigrateError> {
    let failed = |source| MigrateError::of("taking migrations back", source);
    let session = Session::open(connection).await.map_err(failed)?;
    let most = steps.map_or(first.len(), |steps| first.len().min(steps as usize));
    let mut chosen: Vec<String> = first[first.len() - most..].to_vec();
    let journal = journal::read(&session.tx).await.map_err(failed)?;
    for entry in &journal {
        if entry.state != State::Made && !chosen.contains(&entry.migration) {
            chosen.push(entry.migration.clone());
        }
    }
    let now = present(connection).await?;
    chosen.retain(|name| now.contains(name));
    if !chosen.is_empty() {
        undo(&session, &chosen, journal).await.map_err(failed)?;
    }
    let there = relations(&session.tx, &[JOURNAL, BOOKKEEPING]).await.map_err(failed)?;
    if now.len() == chosen.len() && !there.is_empty() {
        tidy(&session, false, false).await.map_err(failed)?;
    }
    session.commit().await.map_err(failed)?;
    chosen.sort_by_key(|name| place(name));
    chosen.reverse();
    Ok(chosen)
}

/// What [`down`] is going to run.
pub(crate) async fn statements(
    connection: &DatabaseConnection,
    steps: Option<u32>,
    present: &[String],
) -> Result<Vec<String>, MigrateError> {
    let failed = |source| MigrateError::of("looking at its tables", source);
    let count = steps.map_or(present.len(), |steps| present.len().min(steps as usize));
    let last = &present[present.len() - count..];
    let columns = Columns::read(connection).await.map_err(failed)?;
    let journal = journal::read(connection).await.map_err(failed)?;
    let written = journal.iter().filter(|entry| last.contains(&entry.migration));
    let mut statements: Vec<String> = written.filter_map(|entry| entry.op.undo.clone()).collect();
    let plain = STEPS.iter().filter(|step| {
        last.iter().any(|name| name == step.name) && !journal.iter().any(|entry| entry.migration == step.name)
    });
    statements.extend(
        plain.flat_map(|step| (step.ops)(&Dialect::of(&columns))).filter_map(|operation| operation.undo),
    );
    statements.push(format!("DELETE FROM {BOOKKEEPING}"));
    if count == present.len() {
        statements.push(format!("DROP TABLE {BOOKKEEPING}"));
    }
    Ok(statements)
}

async fn undo(session: &Session, chosen: &[String], journal: Vec<Entry>) -> Result<(), DbErr> {
    let mysql = session.backend == DbBackend::MySql;
    let mut entries: Vec<Entry> =
        journal.into_iter().filter(|entry| chosen.contains(&entry.migration)).collect();
    let columns = Columns::read(&session.tx).await?;
    let dialect = Dialect::of(&columns);
    // What was made without adopting leaves no journal: its statements are known.
    let plain: Vec<Planned> = STEPS
        .iter()
        .filter(|step| chosen.iter().any(|name| name == step.name))
        .filter(|step| !entries.iter().any(|entry| entry.migration == step.name))
        .map(|step| Planned { migration: step.name, ops: (step.ops)(&dialect) })
        .collect();
    let plain = journal::entries(&plain, State::Undoing, false, place);
    begin(session, chosen, &mut entries, &plain).await?;
    entries.extend(plain);
    entries.sort_by_key(|entry| entry.seq);
    for entry in entries.iter().rev() {
        if let Some(undo) = &entry.op.undo
            && session.is_there(entry.op.probe.as_deref(), true).await?
        {
            session.run(undo).await?;
        }
        if mysql || entry.keep {
            journal::forget(&session.tx, entry.seq).await?;
        }
    }
    if mysql || entries.iter().any(|entry| entry.keep) {
        let left = !journal::read(&session.tx).await?.is_empty();
        tidy(session, left, true).await?;
    }
    Ok(())
}

/// Writes down what is going to be taken back, in one with the bookkeeping.
async fn begin(
    session: &Session,
    chosen: &[String],
    entries: &mut Vec<Entry>,
    plain: &[Entry],
) -> Result<(), DbErr> {
    let mysql = session.backend == DbBackend::MySql;
    // What was planned and never begun needs nothing; only the first can have been in flight.
    let mut planned = entries.iter().filter(|entry| entry.state == State::Planned);
    let first = planned.next().map(|entry| (entry.seq, entry.op.probe.clone()));
    let in_flight = match &first {
        Some((_, probe)) => session.is_there(probe.as_deref(), true).await?,
        None => false,
    };
    let never = |entry: &Entry| {
        let is_first = first.as_ref().is_some_and(|(seq, _)| *seq == entry.seq);
        entry.state == State::Planned && !(is_first && in_flight)
    };
    if mysql {
        session.run(&journal::create(session.backend)).await?;
    }
    session.begin_rows().await?;
    for name in chosen {
        session.run(&unnote(name)).await?;
    }
    for entry in entries.iter().filter(|entry| entry.state != State::Undoing) {
        if never(entry) {
            journal::forget(&session.tx, entry.seq).await?;
        } else {
            journal::mark(&session.tx, entry.seq, State::Undoing).await?;
        }
    }
    if mysql && !plain.is_empty() {
        session.tx.execute_raw(journal::insert(session.backend, plain)).await?;
    }
    session.commit_rows().await?;
    entries.retain(|entry| !never(entry));
    Ok(())
}
