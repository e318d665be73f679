//! Undoes the migrations: runs the undo statements in reverse order and removes each from the journal when it
//! is done.

use sea_orm_migration::sea_orm::{ConnectionTrait as _, DatabaseConnection, DbBackend, DbErr};

use crate::adopt::UNDONE_AS_A_PAIR;
use crate::bookkeeping::journal::{self, Entry, State};
use crate::bookkeeping::{delete_applied, drop_empty_tables};
use crate::catalog::{self, relations};
use crate::dialect::Dialect;
use crate::error::{MigrateError, READING_TABLES, is_misfit};
use crate::examination::{Examination, Obstacle};
use crate::gateway::Columns;
use crate::migration::{Op, Planned};
use crate::names::{BOOKKEEPING, JOURNAL};
use crate::privileges::{check_can_begin, check_can_run};
use crate::session::{Session, retry_while_busy};
use crate::status::{journal_of, present, status};
use crate::tables::{MIGRATIONS, position};

/// Undoes the last `steps` migrations, or all of them, and deletes the rows in them. The gateway's tables and
/// rows are then as they were before, including adopted ones. Returns the names of the migrations undone. An
/// interrupted `up` or `down` is always undone, and adopted mappings are undone together with their audits.
///
/// # Errors
/// Returns [`MigrateError`]. All of its variants except `Database` and `Busy` are detected before anything is
/// changed.
pub async fn down(connection: &DatabaseConnection, steps: Option<u32>) -> Result<Vec<String>, MigrateError> {
    check_all_known(connection).await?;
    let present = present(connection).await?;
    if !present.is_empty() {
        check_can_begin(connection).await?;
        let journal = journal_of(connection).await?;
        let chosen = chosen(&present, steps, &journal);
        let is_all = chosen.len() == present.len();
        check_can_run(connection, &statements(connection, &chosen, &journal, is_all).await?).await?;
        if !is_interrupted(&journal) {
            let failed =
                |source| MigrateError::of("checking for rows that the old tables cannot hold", source);
            let obstacles = find_misfits(connection, &chosen, &journal).await.map_err(failed)?;
            if !obstacles.is_empty() {
                return Err(MigrateError::Obstacles(Examination::with_obstacles(obstacles)));
            }
        }
    }
    // On a retry the first migration may already be partly undone: it still counts.
    let done = retry_while_busy(async || undo_last(connection, steps, &present).await).await;
    match done {
        Err(MigrateError::Database { doing, source }) if is_misfit(&source) => {
            let rows = explain_misfit(connection, steps, &present).await;
            Err(rows.unwrap_or(MigrateError::Database { doing, source }))
        }
        done => done,
    }
}

/// Returns the names of the migrations that [`down()`] would undo here, in the order in which they were
/// applied.
///
/// # Errors
/// [`MigrateError::Newer`] and [`MigrateError::Database`].
pub async fn migrations_to_undo(
    connection: &DatabaseConnection,
    steps: Option<u32>,
) -> Result<Vec<String>, MigrateError> {
    check_all_known(connection).await?;
    let present = present(connection).await?;
    let journal = journal_of(connection).await?;
    Ok(chosen(&present, steps, &journal))
}

/// Checks that this program knows every applied migration. Only the program that applied a migration can undo
/// it, and older migrations cannot be undone before newer ones.
async fn check_all_known(connection: &DatabaseConnection) -> Result<(), MigrateError> {
    let newer = status(connection).await?.into_iter().filter(|one| !one.known);
    let names: Vec<String> = newer.map(|one| one.name).collect();
    if names.is_empty() {
        return Ok(());
    }
    Err(MigrateError::Newer { names, why: "undo these migrations with that version; this version cannot" })
}

/// Undoes migrations. `first` lists the migrations that were present when the run began.
async fn undo_last(
    connection: &DatabaseConnection,
    steps: Option<u32>,
    first: &[String],
) -> Result<Vec<String>, MigrateError> {
    let failed = |source| MigrateError::of("undoing migrations", source);
    let session = Session::open(connection).await.map_err(failed)?;
    session.be_strict().await.map_err(failed)?;
    let journal = journal::read(&session.tx).await.map_err(failed)?;
    let mut chosen = chosen(first, steps, &journal);
    let now = present(connection).await?;
    chosen.retain(|name| now.contains(name));
    if !chosen.is_empty() {
        undo(&session, &chosen, journal).await.map_err(failed)?;
    }
    let there = relations(&session.tx, &[JOURNAL, BOOKKEEPING]).await.map_err(failed)?;
    if now.len() == chosen.len() && !there.is_empty() {
        drop_empty_tables(&session, false, false).await.map_err(failed)?;
    }
    session.commit().await.map_err(failed)?;
    chosen.sort_by_key(|name| position(name));
    chosen.reverse();
    Ok(chosen)
}

/// Returns the migrations to undo: the last of those present, those that an interruption left unfinished, and
/// those that can only be undone together with them.
fn chosen(present: &[String], steps: Option<u32>, journal: &[Entry]) -> Vec<String> {
    let count = steps.map_or(present.len(), |steps| present.len().min(steps as usize));
    let mut chosen: Vec<String> = present[present.len() - count..].to_vec();
    let [mappings, audits] = UNDONE_AS_A_PAIR;
    let with_audits = chosen.iter().any(|name| name == audits);
    for entry in journal {
        let due = entry.state != State::Made || (with_audits && entry.migration == mappings);
        if due && !chosen.contains(&entry.migration) {
            chosen.push(entry.migration.clone());
        }
    }
    chosen.sort_by_key(|name| position(name));
    chosen
}

/// Returns whether an `up` or `down` was interrupted: then tables that a precheck reads may be missing.
fn is_interrupted(journal: &[Entry]) -> bool {
    journal.iter().any(|entry| entry.state != State::Made)
}

/// Finds rows of the gateway that the restored shape cannot hold. After an interruption the exclusions are
/// dropped: call this only after a statement has failed on such a row, because by then the excluded rows no
/// longer exist.
async fn find_misfits(
    connection: &DatabaseConnection,
    chosen: &[String],
    journal: &[Entry],
) -> Result<Vec<Obstacle>, DbErr> {
    let mut obstacles: Vec<Obstacle> = Vec::new();
    for entry in journal.iter().filter(|entry| chosen.contains(&entry.migration)) {
        let Op { apply: None, undo: None, probe: Some(precheck) } = &entry.op else { continue };
        let rows = precheck.lines().next().filter(|_| is_interrupted(journal)).unwrap_or(precheck);
        for row in catalog::rows(connection, format!("{rows}\nORDER BY id")).await? {
            let (id, what): (i64, String) = (row.try_get("", "id")?, row.try_get("", "what")?);
            let row = format!("id {id}");
            match obstacles.last_mut().filter(|obstacle| obstacle.what == what) {
                Some(same) => same.rows.push(row),
                None => obstacles.push(Obstacle { rows: vec![row], ..Obstacle::new(what, MISFIT_REMEDY) }),
            }
        }
    }
    Ok(obstacles)
}

/// Returns the rows on which a statement of [`down()`] failed: they were written after the check.
async fn explain_misfit(
    connection: &DatabaseConnection,
    steps: Option<u32>,
    first: &[String],
) -> Option<MigrateError> {
    // If the server is unreachable, the first error is the more useful one.
    let journal = journal::read(connection).await.ok()?;
    let obstacles = find_misfits(connection, &chosen(first, steps, &journal), &journal).await.ok()?;
    let found = (!obstacles.is_empty()).then(|| Examination::with_obstacles(obstacles))?;
    Some(if is_interrupted(&journal) { MigrateError::Raced(found) } else { MigrateError::Obstacles(found) })
}

const MISFIT_REMEDY: &str =
    "give these rows a value that fits, or delete them; then run hostmatch migrate down again";

/// Returns the statements that [`down()`] is going to run.
async fn statements(
    connection: &DatabaseConnection,
    last: &[String],
    journal: &[Entry],
    is_all: bool,
) -> Result<Vec<String>, MigrateError> {
    let failed = |source| MigrateError::of(READING_TABLES, source);
    let columns = Columns::read(connection).await.map_err(failed)?;
    let written = journal.iter().filter(|entry| last.contains(&entry.migration));
    let mut statements: Vec<String> = written.filter_map(|entry| entry.op.undo.clone()).collect();
    let plain = plan_unjournalled(last, journal, &Dialect::of(&columns));
    statements.extend(plain.into_iter().flat_map(|one| one.ops).filter_map(|op| op.undo));
    statements.push(format!("DELETE FROM {BOOKKEEPING}"));
    if is_all {
        statements.push(format!("DROP TABLE {BOOKKEEPING}"));
    }
    Ok(statements)
}

/// Returns the changes of migrations without a journal: their statements follow from their definitions.
fn plan_unjournalled(chosen: &[String], journal: &[Entry], dialect: &Dialect) -> Vec<Planned> {
    let is_written = |name: &str| journal.iter().any(|entry| entry.migration == name);
    let of =
        MIGRATIONS.iter().filter(|one| chosen.iter().any(|name| name == one.name) && !is_written(one.name));
    of.map(|one| Planned { migration: one.name, ops: one.ops(dialect) }).collect()
}

async fn undo(session: &Session, chosen: &[String], journal: Vec<Entry>) -> Result<(), DbErr> {
    let mysql = session.backend == DbBackend::MySql;
    let columns = Columns::read(&session.tx).await?;
    let plain = plan_unjournalled(chosen, &journal, &Dialect::of(&columns));
    let plain = journal::entries(&plain, State::Undoing, false);
    let mut entries: Vec<Entry> =
        journal.into_iter().filter(|entry| chosen.contains(&entry.migration)).collect();
    begin(session, chosen, &mut entries, &plain).await?;
    entries.extend(plain);
    entries.sort_by_key(|entry| entry.seq);
    for entry in entries.iter().rev() {
        if let Some(undo) = &entry.op.undo
            && session.is_in_place(entry.op.probe.as_deref(), true).await?
        {
            session.run(undo).await?;
        }
        if mysql || entry.keep {
            journal::delete(session, entry.seq).await?;
        }
    }
    if mysql || entries.iter().any(|entry| entry.keep) {
        let left = !journal::read(&session.tx).await?.is_empty();
        drop_empty_tables(session, left, true).await?;
    }
    Ok(())
}

/// Marks in the journal what is going to be undone, and removes it from the bookkeeping in the same
/// transaction.
async fn begin(
    session: &Session,
    chosen: &[String],
    entries: &mut Vec<Entry>,
    plain: &[Entry],
) -> Result<(), DbErr> {
    let mysql = session.backend == DbBackend::MySql;
    // Statements that never began do not need to be undone; only the first can have been in flight.
    let mut planned = entries.iter().filter(|entry| entry.state == State::Planned);
    let probe = |entry: &Entry| entry.op.undo.as_ref().and(entry.op.probe.clone());
    let first = planned.next().map(|entry| (entry.seq, probe(entry)));
    let in_flight = match &first {
        Some((_, probe)) => session.is_in_place(probe.as_deref(), true).await?,
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
        session.run(&delete_applied(name)).await?;
    }
    for entry in entries.iter().filter(|entry| entry.state != State::Undoing) {
        if never(entry) {
            journal::delete(session, entry.seq).await?;
        } else {
            journal::mark(session, entry.seq, State::Undoing).await?;
        }
    }
    if mysql && !plain.is_empty() {
        session.tx.execute_raw(journal::insert(session.backend, plain)).await?;
    }
    session.commit_rows().await?;
    entries.retain(|entry| !never(entry));
    Ok(())
}
