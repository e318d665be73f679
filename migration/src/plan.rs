//! Plans a run: finds what has to be done, and every obstacle, before the first statement.

use sea_orm_migration::sea_orm::{DatabaseConnection, DbBackend, DbErr};

use crate::adopt;
use crate::baseline;
use crate::bookkeeping::journal::{self, Entry, State};
use crate::bookkeeping::{create, insert_applied};
use crate::dialect::Dialect;
use crate::error::{MigrateError, READING_TABLES};
use crate::examination::{Examination, Obstacle};
use crate::gateway::Columns;
use crate::migration::{Migration, Planned};
use crate::sequences::{self, Lagging};
use crate::status::{Status, journal_of, status};
use crate::tables::MIGRATIONS;

/// What to do, and what planning found.
pub(crate) struct Plan {
    pub(crate) examination: Examination,
    pub(crate) planned: Vec<Planned>,
    /// Whether anything is adopted.
    pub(crate) adopts: bool,
    /// What the gateway's tables lack.
    problems: Vec<String>,
}

/// Returns the statements that [`up`](crate::up()), or [`adopt`](crate::adopt()), would run here, in order,
/// including the bookkeeping. Returns the same errors as these functions.
pub async fn sql(connection: &DatabaseConnection, adopt: bool) -> Result<Vec<String>, MigrateError> {
    Ok(allowed(connection, adopt).await?.examination.statements)
}

/// Returns what [`up`](crate::up()) would find and do, without changing anything. Obstacles for which `up`
/// would refuse are part of the result, not an error. For what the gateway's own tables lack, see
/// [`Columns::problems`].
///
/// # Errors
/// [`MigrateError::BeforeBaseline`], [`MigrateError::Newer`] and [`MigrateError::Database`].
pub async fn examine(connection: &DatabaseConnection) -> Result<Examination, MigrateError> {
    Ok(plan(connection).await?.examination)
}

/// Returns the statements for a gateway that [`baseline()`](crate::baseline()) created, without a database.
pub fn sql_for(backend: DbBackend) -> Vec<String> {
    let dialect = Dialect::of(&baseline::assumed(backend));
    let planned = MIGRATIONS.iter().map(|one| Planned { migration: one.name, ops: one.ops(&dialect) });
    statements(backend, &planned.collect::<Vec<_>>(), false)
}

/// Returns the plan if no obstacle was found.
pub(crate) async fn allowed(connection: &DatabaseConnection, adopt: bool) -> Result<Plan, MigrateError> {
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
    let failed = |source: DbErr| MigrateError::of(READING_TABLES, source);
    let status = status(connection).await?;
    let columns = Columns::read(connection).await.map_err(failed)?;
    let pending: Vec<Migration> =
        MIGRATIONS.iter().zip(&status).filter(|(_, one)| !one.applied).map(|(one, _)| *one).collect();
    let mut plan = Plan {
        examination: Examination {
            pending: pending.iter().map(|one| one.name.to_owned()).collect(),
            lagging: sequences::lagging(connection).await.map_err(failed)?,
            ..Examination::default()
        },
        planned: Vec::new(),
        adopts: false,
        problems: columns.problems(),
    };
    plan.examination.notes.extend(of_a_newer_program(&status)?);
    let journal = journal_of(connection).await?;
    if journal.iter().any(|entry| entry.state == State::Undoing) {
        let what = "an earlier `hostmatch migrate down` was interrupted";
        plan.examination.obstacles.push(Obstacle::new(what, "run hostmatch migrate down again"));
        return Ok(plan);
    }
    let begun = |name: &str| journal.iter().any(|entry| entry.migration == name);
    let unfinished: Vec<&Entry> =
        journal.iter().filter(|entry| plan.examination.pending.contains(&entry.migration)).collect();
    if !unfinished.is_empty() {
        let note = "an interrupted `hostmatch migrate up` is finished first, with its original statements";
        plan.examination.notes.push(note.into());
        let planned = unfinished.iter().filter(|entry| entry.state == State::Planned);
        plan.examination.statements = planned.filter_map(|entry| entry.op.apply.clone()).collect();
    }
    if !plan.problems.is_empty() {
        return Ok(plan);
    }
    let rest: Vec<_> = pending.into_iter().filter(|one| !begun(one.name)).collect();
    (plan.planned, plan.adopts) =
        adopt::plan(connection, &rest, &columns, &mut plan.examination).await.map_err(failed)?;
    if plan.examination.obstacles.is_empty() && !plan.planned.is_empty() {
        plan.examination.statements.extend(statements(columns.backend(), &plan.planned, plan.adopts));
    } else if plan.planned.is_empty() && unfinished.is_empty() {
        plan.examination.statements = statements(columns.backend(), &[], false);
    }
    plan.examination.statements.extend(plan.examination.lagging.iter().map(Lagging::reset));
    Ok(plan)
}

/// Describes the migrations of a newer program; an error if this program cannot work with them.
fn of_a_newer_program(status: &[Status]) -> Result<Option<String>, MigrateError> {
    let names: Vec<String> = status.iter().filter(|one| !one.known).map(|one| one.name.clone()).collect();
    if names.is_empty() {
        return Ok(None);
    }
    let why = if status.iter().any(Status::is_incompatible) {
        "it removed tables or columns that this version uses; use the newer version"
    } else if status.iter().any(|one| !one.applied) {
        "this version has migrations that the database lacks, and cannot apply them after newer ones; use the newer version"
    } else {
        let names = names.join(", ");
        return Ok(Some(format!(
            "a newer hostmatch has migrated this database ({names}); this version does not change those migrations"
        )));
    };
    Err(MigrateError::Newer { names, why })
}

/// Returns the journal entries that an adoption keeps: the statements of the adoptable tables.
pub(crate) fn kept(planned: &[Planned], adopts: bool) -> Vec<Entry> {
    let adoptable = planned.iter().filter(|one| adopts && adopt::ADOPTABLE.contains(&one.migration));
    journal::entries(&adoptable.cloned().collect::<Vec<_>>(), State::Made, true)
}

fn statements(backend: DbBackend, planned: &[Planned], adopts: bool) -> Vec<String> {
    let mut sql = vec![create(backend)];
    let kept = kept(planned, adopts);
    if !kept.is_empty() {
        sql.extend([journal::create(backend), journal::insert(backend, &kept).to_string()]);
    }
    for one in planned {
        sql.extend(one.ops.iter().filter_map(|op| op.apply.clone()));
        sql.push(insert_applied(backend, one.migration));
    }
    sql
}
