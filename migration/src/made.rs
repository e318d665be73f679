//! What the migrations make: is what the bookkeeping says still there, and which indexes there should be.

use sea_orm_migration::sea_orm::{DatabaseConnection, DbBackend};

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

/// An index that the migrations make.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MadeIndex {
    /// On this table.
    pub table: String,
    /// As the migration names it.
    pub name: String,
    /// Of these columns.
    pub columns: Vec<String>,
}

/// All of them, but for the one on `appointments.calcom_host_id`, which nothing of ours needs.
pub fn indexes(backend: DbBackend) -> Vec<MadeIndex> {
    let dialect = Dialect::of(&Columns::assumed(backend, Vec::new()));
    let mut all = Vec::new();
    for migration in &MIGRATIONS {
        let Some(definition) = migration.definition(&dialect) else { continue };
        all.extend(definition.indexes(backend).map(|(name, columns)| MadeIndex {
            table: migration.table_of().to_owned(),
            name,
            columns: columns.iter().map(|&column| column.to_owned()).collect(),
        }));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_engine_has_the_same_ones_but_for_how_one_active_mapping_is_held() {
        let of = |backend| {
            let all = indexes(backend).into_iter().map(|one| (one.table, one.columns));
            let mut all: Vec<_> = all.filter(|(_, columns)| columns[0] != "company_id").collect();
            all.sort();
            all
        };
        let mysql = of(DbBackend::MySql);
        assert!(mysql.len() > 30, "{mysql:?}");
        assert_eq!(mysql, of(DbBackend::Postgres));
        assert_eq!(mysql, of(DbBackend::Sqlite));
    }
}
