//! Running migrations: what is in the way is found, and named, before the first statement.

use sea_orm_migration::sea_orm::sea_query::{Alias, IntoIden as _};
use sea_orm_migration::sea_orm::{DatabaseConnection, DbBackend, DbErr, DynIden, Schema};
use sea_orm_migration::{MigrationStatus, MigrationTrait, MigratorTrait, seaql_migrations};

use crate::baseline;
use crate::dialect::Dialect;
use crate::examination::Examination;
use crate::gateway::Columns;
use crate::halfway::gone;
use crate::rights;
use crate::step::Step;
use crate::tables::STEPS;

const BOOKKEEPING: &str = "hostmatch_migrations";

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

/// One migration, and whether this database has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Its name.
    pub name: String,
    /// It has been applied.
    pub applied: bool,
}

/// Why migrating was refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// Tables of ours that somebody else made. Nothing was changed.
    #[error(
        "nothing was changed: {} already, and {BOOKKEEPING} does not say that hostmatch made it; \
         move it away, or keep what made it from making it",
        there(.0)
    )]
    AlreadyThere(Vec<String>),
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
        "nothing was changed: the database user lacks {}. `hostmatch gateway grants --role migrate` prints \
         what an administrator has to grant",
        .0.join("; ")
    )]
    Rights(Vec<String>),
    /// The bookkeeping says more than there is. Nothing was changed.
    #[error(
        "nothing was changed: {BOOKKEEPING} says that migrations are applied whose work is not there: {}. \
         Put it back from a backup; or, to have it made anew and empty, drop what is left of that table, \
         delete these rows from {BOOKKEEPING}, and run `hostmatch migrate up`",
        .0.join("; ")
    )]
    Halfway(Vec<String>),
    /// The database was migrated by a newer hostmatch.
    #[error("this database was migrated by another version of hostmatch, which knows more migrations: {0}")]
    Unknown(String),
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

fn there(what: &[String]) -> String {
    format!("{} {} there", what.join(" and "), if what.len() == 1 { "is" } else { "are" })
}

fn failed(doing: &'static str) -> impl FnOnce(DbErr) -> MigrateError {
    move |source| MigrateError::Database { doing, source }
}

/// All migrations in order, and which are applied. Changes nothing, and needs no right to.
///
/// # Errors
/// [`MigrateError::Unknown`] and [`MigrateError::Database`].
pub async fn status(connection: &DatabaseConnection) -> Result<Vec<Status>, MigrateError> {
    let all =
        Migrator::get_migration_with_status_read_only(connection).await.map_err(|error| match error {
            DbErr::Custom(unknown) => MigrateError::Unknown(unknown),
            other => failed("reading which migrations are applied")(other),
        })?;
    let status = |one: sea_orm_migration::Migration| Status {
        name: one.name().to_owned(),
        applied: one.status() == MigrationStatus::Applied,
    };
    Ok(all.into_iter().map(status).collect())
}

/// Makes all that is missing; gives the names of the migrations that it ran.
///
/// # Errors
/// [`MigrateError`]; everything but `Database` is found before anything is changed.
pub async fn up(connection: &DatabaseConnection) -> Result<Vec<String>, MigrateError> {
    may_begin(connection).await?;
    let (pending, columns) = ready(connection).await?;
    if pending.is_empty() {
        return Ok(Vec::new());
    }
    may_run(connection, &statements(&Dialect::of(&columns), &pending)).await?;
    Migrator::up(connection, None).await.map_err(failed("migrating"))?;
    Ok(pending.iter().map(|step| step.name.to_owned()).collect())
}

/// Takes back the last `steps` migrations, or all of them, with the rows in them; the gateway's
/// tables and rows are then as they were before. Gives the names of the migrations taken back.
///
/// # Errors
/// [`MigrateError::Unknown`] and [`MigrateError::Database`].
pub async fn down(connection: &DatabaseConnection, steps: Option<u32>) -> Result<Vec<String>, MigrateError> {
    let before = applied(connection).await?;
    if !before.is_empty() {
        may_begin(connection).await?;
        let columns = Columns::read(connection).await.map_err(failed("looking at its tables"))?;
        let count = steps.map_or(before.len(), |steps| before.len().min(steps as usize));
        let last =
            STEPS.iter().filter(|step| before[before.len() - count..].iter().any(|name| name == step.name));
        let mut statements: Vec<String> = last.flat_map(|step| (step.down)(&Dialect::of(&columns))).collect();
        statements.push(format!("DELETE FROM {BOOKKEEPING}"));
        if count == before.len() {
            statements.push(format!("DROP TABLE {BOOKKEEPING}"));
        }
        may_run(connection, &statements).await?;
        Migrator::down(connection, steps).await.map_err(failed("taking migrations back"))?;
    }
    let after = applied(connection).await?;
    if after.is_empty() {
        Migrator::uninstall(connection).await.map_err(failed("removing the bookkeeping"))?;
    }
    Ok(before.into_iter().filter(|name| !after.contains(name)).rev().collect())
}

/// The server takes writes, this user sees the gateway's tables, and what has been migrated is there.
async fn may_begin(connection: &DatabaseConnection) -> Result<(), MigrateError> {
    let asking = "looking at what this user may do";
    if let Some(why) = rights::read_only(connection).await.map_err(failed(asking))? {
        return Err(MigrateError::ReadOnly(why));
    }
    let hidden = rights::hidden(connection).await.map_err(failed(asking))?;
    if !hidden.is_empty() {
        return Err(MigrateError::Rights(hidden));
    }
    let halfway = halfway(connection).await?;
    if halfway.is_empty() { Ok(()) } else { Err(MigrateError::Halfway(halfway)) }
}

/// This user may run all of these statements.
async fn may_run(connection: &DatabaseConnection, statements: &[String]) -> Result<(), MigrateError> {
    let missing = rights::missing(connection, statements).await;
    let missing = missing.map_err(failed("looking at what this user may do"))?;
    if missing.is_empty() { Ok(()) } else { Err(MigrateError::Rights(missing)) }
}

/// Migrations that are applied according to the bookkeeping while what they made is not there, or
/// not whole: a line each. Changes nothing.
///
/// # Errors
/// [`MigrateError::Unknown`] and [`MigrateError::Database`].
pub async fn halfway(connection: &DatabaseConnection) -> Result<Vec<String>, MigrateError> {
    let applied = applied(connection).await?;
    let columns = Columns::read(connection).await.map_err(failed("looking at its tables"))?;
    let dialect = Dialect::of(&columns);
    let applied = STEPS.iter().filter(|step| applied.iter().any(|name| name == step.name));
    let lines = applied.filter_map(|step| {
        let gone = gone(step.makes, &(step.up)(&dialect), &columns)?;
        Some(format!("{} ({gone})", step.name))
    });
    Ok(lines.collect())
}

/// The statements that [`up`] would run here, bookkeeping included, in order.
///
/// # Errors
/// As [`up`].
pub async fn sql(connection: &DatabaseConnection) -> Result<Vec<String>, MigrateError> {
    let (pending, columns) = ready(connection).await?;
    Ok(statements(&Dialect::of(&columns), &pending))
}

/// What [`up`] would find and do. Changes nothing.
///
/// # Errors
/// [`MigrateError`]
pub async fn examine(connection: &DatabaseConnection) -> Result<Examination, MigrateError> {
    let (pending, columns) = ready(connection).await?;
    Ok(Examination {
        pending: pending.iter().map(|step| step.name.to_owned()).collect(),
        statements: statements(&Dialect::of(&columns), &pending),
        ..Examination::default()
    })
}

/// The statements for a gateway as [`baseline()`](crate::baseline()) makes it, without a database.
pub fn sql_for(backend: DbBackend) -> Vec<String> {
    statements(&Dialect::of(&baseline::assumed(backend)), &STEPS)
}

async fn applied(connection: &DatabaseConnection) -> Result<Vec<String>, MigrateError> {
    Ok(status(connection).await?.into_iter().filter(|one| one.applied).map(|one| one.name).collect())
}

/// What is pending, and that nothing stands in its way.
async fn ready(connection: &DatabaseConnection) -> Result<(Vec<Step>, Columns), MigrateError> {
    let status = status(connection).await?;
    let columns = Columns::read(connection).await.map_err(failed("looking at its tables"))?;
    let problems = columns.problems();
    if !problems.is_empty() {
        return Err(MigrateError::Gateway(problems));
    }
    let pending = STEPS.iter().zip(&status).filter(|(_, status)| !status.applied).map(|(step, _)| *step);
    let pending: Vec<Step> = pending.collect();
    let there: Vec<String> = pending.iter().filter(|step| step.is_there(&columns)).map(Step::made).collect();
    if there.is_empty() { Ok((pending, columns)) } else { Err(MigrateError::AlreadyThere(there)) }
}

fn statements(dialect: &Dialect, pending: &[Step]) -> Vec<String> {
    let backend = dialect.backend;
    let mut bookkeeping = Schema::new(backend).create_table_from_entity(seaql_migrations::Entity);
    bookkeeping.table(Alias::new(BOOKKEEPING)).if_not_exists();
    let now = match backend {
        DbBackend::MySql => "UNIX_TIMESTAMP()",
        DbBackend::Postgres => "extract(epoch FROM now())::bigint",
        _ => "CAST(strftime('%s', 'now') AS INTEGER)",
    };
    let mut sql = vec![backend.build(&bookkeeping).sql];
    for step in pending {
        sql.extend((step.up)(dialect));
        sql.push(format!("INSERT INTO {BOOKKEEPING} (version, applied_at) VALUES ('{}', {now})", step.name));
    }
    sql
}
