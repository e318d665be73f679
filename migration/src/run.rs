//! Running migrations: what is in the way is found, and named, before the first statement.

use sea_orm_migration::sea_orm::sea_query::{Alias, IntoIden as _};
use sea_orm_migration::sea_orm::{DatabaseConnection, DbBackend, DbErr, DynIden, Schema};
use sea_orm_migration::{MigrationTrait, MigratorTrait, seaql_migrations};

use crate::adopt::{self, Planned};
use crate::baseline;
use crate::dialect::Dialect;
use crate::error::MigrateError;
use crate::examination::{Examination, Obstacle};
use crate::gateway::Columns;
use crate::journal::{self, Entry, JOURNAL, State};
use crate::rights::{may_begin, may_run};
use crate::session::{PAUSE, Session, TRIES, is_busy, is_denied, is_misfit};
use crate::status::{newer, status};
use crate::tables::STEPS;
use crate::{back, forth};

pub(crate) const BOOKKEEPING: &str = "hostmatch_migrations";

/// The migrations as sea-orm-migration sees them. Prefer [`up`] and [`down`], which look first.
#[derive(Debug)]
pub struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        STEPS.iter().map(|step| Box::new(*step) as Box<dyn MigrationTrait>).collect()
    }

    fn migration_table_name() -> DynIden {
        Alias::new(BOOKKEEPING).into_iden()
    }
}

/// What to do, and what was found while planning it.
struct Plan {
    examination: Examination,
    planned: Vec<Planned>,
    /// Something is adopted.
    adopts: bool,
    /// What the gateway's tables lack.
    problems: Vec<String>,
}

fn failed(doing: &'static str) -> impl FnOnce(DbErr) -> MigrateError {
    move |source| MigrateError::of(doing, source)
}

/// Makes all that is missing; gives the names of the migrations that it ran. What an earlier run
/// left unfinished is finished first.
///
/// # Errors
/// [`MigrateError`]; everything but `Database` and `Busy` is found before anything is changed.
pub async fn up(connection: &DatabaseConnection) -> Result<Vec<String>, MigrateError> {
    patiently(async || go_up(connection, false).await).await
}

/// The same, and adopts what of our tables the gateway's own migrations made.
///
/// # Errors
/// As [`up`].
pub async fn adopt(connection: &DatabaseConnection) -> Result<Vec<String>, MigrateError> {
    patiently(async || go_up(connection, true).await).await
}

/// Takes back the last `steps` migrations, or all of them, with the rows in them; the gateway's
/// tables and rows are then as they were before, what was adopted too. Gives the names of the
/// migrations taken back. What was interrupted, up or down, is taken back in any case, and adopted
/// mappings along with their audits.
///
/// # Errors
/// [`MigrateError`]; everything but `Database` and `Busy` is found before anything is changed.
pub async fn down(connection: &DatabaseConnection, steps: Option<u32>) -> Result<Vec<String>, MigrateError> {
    only_ours(connection).await?;
    let present = present(connection).await?;
    if !present.is_empty() {
        may_begin(connection).await?;
        let journal = journal_of(connection).await?;
        let chosen = back::chosen(&present, steps, &journal);
        let is_all = chosen.len() == present.len();
        may_run(connection, &back::statements(connection, &chosen, &journal, is_all).await?).await?;
        if !back::is_half_way(&journal) {
            let obstacles = back::in_the_way(connection, &chosen, &journal).await;
            let obstacles = obstacles.map_err(failed("looking for rows that the old tables cannot hold"))?;
            if !obstacles.is_empty() {
                return Err(MigrateError::Obstacles(Examination::of_obstacles(obstacles)));
            }
        }
    }
    let done = patiently(async || {
        // After a pause the first to be taken back may be half gone: it still counts.
        back::down(connection, steps, &present).await
    })
    .await;
    match done {
        Err(MigrateError::Database { doing, source }) if is_misfit(&source) => {
            let rows = back::misfits(connection, steps, &present).await;
            Err(rows.unwrap_or(MigrateError::Database { doing, source }))
        }
        done => done,
    }
}

/// The names of the migrations that [`down`] would take back here, the first made first.
///
/// # Errors
/// [`MigrateError::Newer`] and [`MigrateError::Database`].
pub async fn going_down(
    connection: &DatabaseConnection,
    steps: Option<u32>,
) -> Result<Vec<String>, MigrateError> {
    only_ours(connection).await?;
    let present = present(connection).await?;
    let journal = journal_of(connection).await?;
    Ok(back::chosen(&present, steps, &journal))
}

/// The statements that [`up`] would run here, bookkeeping included, in order.
///
/// # Errors
/// As [`up`].
pub async fn sql(connection: &DatabaseConnection) -> Result<Vec<String>, MigrateError> {
    printed(connection, false).await
}

/// The statements that [`adopt()`] would run here.
///
/// # Errors
/// As [`up`].
pub async fn adopting_sql(connection: &DatabaseConnection) -> Result<Vec<String>, MigrateError> {
    printed(connection, true).await
}

/// What [`up`] would find and do. Changes nothing, and is no error where `up` would refuse. What the
/// gateway's own tables lack is not in it: see [`Columns::problems`].
///
/// # Errors
/// [`MigrateError::Database`].
pub async fn examine(connection: &DatabaseConnection) -> Result<Examination, MigrateError> {
    Ok(plan(connection).await?.examination)
}

/// The statements for a gateway as [`baseline()`](crate::baseline()) makes it, without a database.
pub fn sql_for(backend: DbBackend) -> Vec<String> {
    let dialect = Dialect::of(&baseline::assumed(backend));
    let planned: Vec<Planned> =
        STEPS.iter().map(|step| Planned { migration: step.name, ops: (step.ops)(&dialect) }).collect();
    statements(backend, &planned, false)
}

/// What is written down here. PostgreSQL shows that there is something to those, too, who may not read it.
async fn journal_of(connection: &DatabaseConnection) -> Result<Vec<Entry>, MigrateError> {
    journal::read(connection).await.map_err(|source| match is_denied(&source) {
        true => MigrateError::Rights(vec![format!("SELECT on {JOURNAL}")]),
        false => MigrateError::of("reading its journal", source),
    })
}

/// Only the program that made a migration knows how to take it back, and what came before it waits for that.
async fn only_ours(connection: &DatabaseConnection) -> Result<(), MigrateError> {
    let names = newer(connection).await?;
    if names.is_empty() {
        return Ok(());
    }
    Err(MigrateError::Newer { names, why: "take these back with that version; this one does not know how" })
}

/// The migrations of which there is anything: applied, or begun. Of those that this program knows.
pub(crate) async fn present(connection: &DatabaseConnection) -> Result<Vec<String>, MigrateError> {
    let status = status(connection).await?;
    let journal = journal_of(connection).await?;
    let begun = |name: &str| journal.iter().any(|entry| entry.migration == name);
    let ours = status.into_iter().filter(|one| one.known && (one.applied || begun(&one.name)));
    Ok(ours.map(|one| one.name).collect())
}

/// Where a migration stands among all.
pub(crate) fn place(name: &str) -> usize {
    STEPS.iter().position(|step| step.name == name).unwrap_or(STEPS.len())
}

pub(crate) async fn applied(connection: &DatabaseConnection) -> Result<Vec<String>, MigrateError> {
    Ok(status(connection).await?.into_iter().filter(|one| one.applied).map(|one| one.name).collect())
}

/// Tries again while somebody's lock is in the way.
async fn patiently(
    mut migrate: impl AsyncFnMut() -> Result<Vec<String>, MigrateError>,
) -> Result<Vec<String>, MigrateError> {
    let mut tries = 1;
    loop {
        match migrate().await {
            Err(MigrateError::Busy { .. }) if tries < TRIES => {
                tries += 1;
                tokio::time::sleep(PAUSE).await;
            }
            done => return done,
        }
    }
}

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
        let done = forth::finish(connection, &unfinished).await;
        named(connection, adopt, done).await?;
    }
    let plan = allowed(connection, adopt).await?;
    if !plan.planned.is_empty() {
        may_run(connection, &plan.examination.statements).await?;
        let done = forth::up(connection, &plan.planned, plan.adopts).await;
        named(connection, adopt, done).await?;
    }
    forth::clear(connection).await?;
    let after = applied(connection).await?;
    Ok(after.into_iter().filter(|name| !before.contains(name)).collect())
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
    match adopt::in_the_way(connection).await {
        Ok(obstacles) if !obstacles.is_empty() => {
            Err(MigrateError::Raced(Examination::of_obstacles(obstacles)))
        }
        // A server that is away has nothing to say; its first error tells more.
        _ => Err(error),
    }
}

async fn printed(connection: &DatabaseConnection, adopt: bool) -> Result<Vec<String>, MigrateError> {
    let plan = allowed(connection, adopt).await?;
    Ok(plan.examination.statements)
}

/// The plan, if nothing stands in its way.
async fn allowed(connection: &DatabaseConnection, adopt: bool) -> Result<Plan, MigrateError> {
    let plan = plan(connection).await?;
    if !plan.problems.is_empty() {
        return Err(MigrateError::Gateway(plan.problems));
    }
    if !plan.examination.obstacles.is_empty() {
        return Err(MigrateError::Obstacles(Box::new(plan.examination)));
    }
    if plan.adopts && !adopt {
        return Err(MigrateError::NotAdopted(Box::new(plan.examination)));
    }
    Ok(plan)
}

async fn plan(connection: &DatabaseConnection) -> Result<Plan, MigrateError> {
    let looking = "looking at its tables";
    let status = status(connection).await?;
    let newer: Vec<_> = status.iter().filter(|one| !one.known).collect();
    let columns = Columns::read(connection).await.map_err(failed(looking))?;
    let pending: Vec<_> =
        STEPS.iter().zip(&status).filter(|(_, one)| !one.applied).map(|(step, _)| *step).collect();
    let mut plan = Plan {
        examination: Examination {
            pending: pending.iter().map(|step| step.name.to_owned()).collect(),
            ..Examination::default()
        },
        planned: Vec::new(),
        adopts: false,
        problems: columns.problems(),
    };
    if !newer.is_empty() {
        let names: Vec<_> = newer.iter().map(|one| one.name.clone()).collect();
        if newer.iter().any(|one| one.is_in_the_way()) {
            return Err(MigrateError::Newer {
                names,
                why: "it took away what this version uses; use that one",
            });
        }
        if !pending.is_empty() {
            return Err(MigrateError::Newer {
                names,
                why: "but without what this version would migrate first",
            });
        }
        let note = format!(
            "a newer hostmatch has migrated this database ({}); this one leaves that alone",
            names.join(", ")
        );
        plan.examination.notes.push(note);
    }
    let journal = journal_of(connection).await?;
    if journal.iter().any(|entry| entry.state == State::Undoing) {
        plan.examination.obstacles.push(Obstacle {
            what: "a `hostmatch migrate down` was interrupted, and left tables half taken back".into(),
            rows: Vec::new(),
            remedy: "run hostmatch migrate down again".into(),
        });
        return Ok(plan);
    }
    let begun = |name: &str| journal.iter().any(|entry| entry.migration == name);
    let unfinished: Vec<&Entry> =
        journal.iter().filter(|entry| plan.examination.pending.contains(&entry.migration)).collect();
    if !unfinished.is_empty() {
        plan.examination
            .notes
            .push("an interrupted `hostmatch migrate up` is finished first, as it was begun".into());
        plan.examination.statements = unfinished
            .iter()
            .filter(|entry| entry.state == State::Planned)
            .filter_map(|entry| entry.op.make.clone())
            .collect();
    }
    if !plan.problems.is_empty() {
        return Ok(plan);
    }
    let rest: Vec<_> = pending.into_iter().filter(|step| !begun(step.name)).collect();
    (plan.planned, plan.adopts) =
        adopt::plan(connection, &rest, &columns, &mut plan.examination).await.map_err(failed(looking))?;
    if plan.examination.obstacles.is_empty() && !plan.planned.is_empty() {
        plan.examination.statements.extend(statements(columns.backend(), &plan.planned, plan.adopts));
    } else if plan.planned.is_empty() && unfinished.is_empty() {
        plan.examination.statements = statements(columns.backend(), &[], false);
    }
    Ok(plan)
}

/// The statement that makes the bookkeeping.
pub(crate) fn bookkeeping(backend: DbBackend) -> String {
    let mut table = Schema::new(backend).create_table_from_entity(seaql_migrations::Entity);
    table.table(Alias::new(BOOKKEEPING)).if_not_exists();
    backend.build(&table).sql
}

/// The statement that says that a migration is applied.
pub(crate) fn note(backend: DbBackend, migration: &str) -> String {
    let now = match backend {
        DbBackend::MySql => "UNIX_TIMESTAMP()",
        DbBackend::Postgres => "extract(epoch FROM now())::bigint",
        _ => "CAST(strftime('%s', 'now') AS INTEGER)",
    };
    format!("INSERT INTO {BOOKKEEPING} (version, applied_at) VALUES ('{migration}', {now})")
}

/// What is kept of a plan that adopts: the statements of the tables that were there.
pub(crate) fn kept(planned: &[Planned], adopts: bool) -> Vec<Entry> {
    let adoptable = if adopts { &planned[..planned.len().min(3)] } else { &[] };
    let adoptable: Vec<Planned> = adoptable.iter().filter(|one| place(one.migration) < 3).cloned().collect();
    journal::entries(&adoptable, State::Made, true, place)
}

fn statements(backend: DbBackend, planned: &[Planned], adopts: bool) -> Vec<String> {
    let mut sql = vec![bookkeeping(backend)];
    let kept = kept(planned, adopts);
    if !kept.is_empty() {
        sql.extend([journal::create(backend), journal::insert(backend, &kept).to_string()]);
    }
    for one in planned {
        sql.extend(one.ops.iter().filter_map(|op| op.make.clone()));
        sql.push(note(backend, one.migration));
    }
    sql
}

/// Removes our own two tables when nothing is in them.
pub(crate) async fn tidy(session: &Session, journal_left: bool, applied_left: bool) -> Result<(), DbErr> {
    if !journal_left {
        session.run(&format!("DROP TABLE IF EXISTS {JOURNAL}")).await?;
        if !applied_left {
            session.run(&format!("DROP TABLE IF EXISTS {BOOKKEEPING}")).await?;
        }
    }
    Ok(())
}

/// Sorts an error of the database.
impl MigrateError {
    pub(crate) fn of(doing: &'static str, source: DbErr) -> Self {
        if is_busy(&source) { Self::Busy { doing } } else { Self::Database { doing, source } }
    }
}
