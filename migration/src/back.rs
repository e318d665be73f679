//! The way down: the opposite of each statement, in the opposite order, each forgotten when done.

use sea_orm_migration::sea_orm::{ConnectionTrait as _, DatabaseConnection, DbBackend, DbErr, Statement};

use crate::adopt::{GIVEN_BACK_TOGETHER, Planned};
use crate::dialect::Dialect;
use crate::error::MigrateError;
use crate::examination::{Examination, Obstacle};
use crate::forth::unnote;
use crate::found::relations;
use crate::gateway::Columns;
use crate::journal::{self, Entry, JOURNAL, State};
use crate::op::Op;
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
        tidy(&session, false, false).await.map_err(failed)?;
    }
    session.commit().await.map_err(failed)?;
    chosen.sort_by_key(|name| place(name));
    chosen.reverse();
    Ok(chosen)
}

/// The migrations to take back: the last of those that are there, whatever an interruption left unfinished,
/// and what can be given back only along with them.
pub(crate) fn chosen(present: &[String], steps: Option<u32>, journal: &[Entry]) -> Vec<String> {
    let count = steps.map_or(present.len(), |steps| present.len().min(steps as usize));
    let mut chosen: Vec<String> = present[present.len() - count..].to_vec();
    let [mappings, audits] = GIVEN_BACK_TOGETHER;
    let goes_along = chosen.iter().any(|name| name == audits);
    for entry in journal {
        let due = entry.state != State::Made || (goes_along && entry.migration == mappings);
        if due && !chosen.contains(&entry.migration) {
            chosen.push(entry.migration.clone());
        }
    }
    chosen.sort_by_key(|name| place(name));
    chosen
}

/// Half way up or down: not everything is there that a question may ask about.
pub(crate) fn is_half_way(journal: &[Entry]) -> bool {
    journal.iter().any(|entry| entry.state != State::Made)
}

/// Rows of the gateway's that the shapes to be given back cannot hold. Half-way all rows count: ask only
/// once a statement has failed on one, for by then those that leave are gone.
pub(crate) async fn in_the_way(
    connection: &DatabaseConnection,
    chosen: &[String],
    journal: &[Entry],
) -> Result<Vec<Obstacle>, DbErr> {
    let mut obstacles: Vec<Obstacle> = Vec::new();
    for entry in journal.iter().filter(|entry| chosen.contains(&entry.migration)) {
        let Op { make: None, undo: None, probe: Some(question) } = &entry.op else { continue };
        let rows = question.lines().next().filter(|_| is_half_way(journal)).unwrap_or(question);
        let query = Statement::from_string(connection.get_database_backend(), format!("{rows}\nORDER BY id"));
        for row in connection.query_all_raw(query).await? {
            let (id, what): (i64, String) = (row.try_get("", "id")?, row.try_get("", "what")?);
            let row = format!("id {id}");
            match obstacles.last_mut().filter(|obstacle| obstacle.what == what) {
                Some(same) => same.rows.push(row),
                None => obstacles.push(Obstacle { what, rows: vec![row], remedy: MISFIT.to_owned() }),
            }
        }
    }
    Ok(obstacles)
}

/// The rows that were too much for a statement of [`down`]: written since they were asked for.
pub(crate) async fn misfits(
    connection: &DatabaseConnection,
    steps: Option<u32>,
    first: &[String],
) -> Option<MigrateError> {
    // A server that is away has nothing to say; its first error tells more.
    let journal = journal::read(connection).await.ok()?;
    let obstacles = in_the_way(connection, &chosen(first, steps, &journal), &journal).await.ok()?;
    let found = (!obstacles.is_empty()).then(|| Examination::of_obstacles(obstacles))?;
    Some(if is_half_way(&journal) { MigrateError::Raced(found) } else { MigrateError::Obstacles(found) })
}

const MISFIT: &str =
    "give these rows a value that fits, or delete them; then run hostmatch migrate down again";

/// What [`down`] is going to run.
pub(crate) async fn statements(
    connection: &DatabaseConnection,
    last: &[String],
    journal: &[Entry],
    is_all: bool,
) -> Result<Vec<String>, MigrateError> {
    let failed = |source| MigrateError::of("looking at its tables", source);
    let columns = Columns::read(connection).await.map_err(failed)?;
    let written = journal.iter().filter(|entry| last.contains(&entry.migration));
    let mut statements: Vec<String> = written.filter_map(|entry| entry.op.undo.clone()).collect();
    let plain = STEPS.iter().filter(|step| {
        last.iter().any(|name| name == step.name) && !journal.iter().any(|entry| entry.migration == step.name)
    });
    statements.extend(
        plain.flat_map(|step| (step.ops)(&Dialect::of(&columns))).filter_map(|operation| operation.undo),
    );
    statements.push(format!("DELETE FROM {BOOKKEEPING}"));
    if is_all {
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
    let probe = |entry: &Entry| entry.op.undo.as_ref().and(entry.op.probe.clone());
    let first = planned.next().map(|entry| (entry.seq, probe(entry)));
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
