//! Is what the bookkeeping says has been made still there?

use sea_orm_migration::sea_orm::DatabaseConnection;

use crate::dialect::Dialect;
use crate::error::MigrateError;
use crate::gateway::Columns;
use crate::migration::Migration;
use crate::status::applied;
use crate::tables::MIGRATIONS;

/// Migrations that are applied according to the bookkeeping while what they made is not there, or
/// not whole: a line each. Changes nothing.
///
/// # Errors
/// [`MigrateError::BeforeBaseline`] and [`MigrateError::Database`].
pub async fn drift(connection: &DatabaseConnection) -> Result<Vec<String>, MigrateError> {
    let applied = applied(connection).await?;
    let columns = Columns::read(connection)
        .await
        .map_err(|source| MigrateError::of("looking at its tables", source))?;
    let dialect = Dialect::of(&columns);
    let applied = MIGRATIONS.iter().filter(|migration| applied.iter().any(|name| name == migration.name));
    let lines = applied.filter_map(|migration| {
        let gone = gone(migration, &dialect, &columns)?;
        Some(format!("{} ({gone})", migration.name))
    });
    Ok(lines.collect())
}

/// What one applied migration made and is not there (any more), in words; none if all of it is.
fn gone(migration: &Migration, dialect: &Dialect, columns: &Columns) -> Option<String> {
    let table = migration.table_of();
    let Some(definition) = migration.definition(dialect) else {
        let column = migration.column_made()?;
        return (!columns.has(table, column)).then(|| format!("the column {table}.{column} is not there"));
    };
    if !columns.has_table(table) {
        return Some(format!("the table {table} is not there"));
    }
    let missing: Vec<String> =
        definition.columns().into_iter().filter(|column| !columns.has(table, column)).collect();
    (!missing.is_empty()).then(|| format!("the table {table} lacks {}", missing.join(", ")))
}
