//! Is what the bookkeeping says has been made still there?

use sea_orm_migration::sea_orm::DatabaseConnection;

use crate::dialect::Dialect;
use crate::error::MigrateError;
use crate::gateway::Columns;
use crate::run::applied;
use crate::tables::STEPS;

/// Migrations that are applied according to the bookkeeping while what they made is not there, or
/// not whole: a line each. Changes nothing.
///
/// # Errors
/// [`MigrateError::Database`].
pub async fn halfway(connection: &DatabaseConnection) -> Result<Vec<String>, MigrateError> {
    let applied = applied(connection).await?;
    let columns = Columns::read(connection)
        .await
        .map_err(|source| MigrateError::of("looking at its tables", source))?;
    let dialect = Dialect::of(&columns);
    let applied = STEPS.iter().filter(|step| applied.iter().any(|name| name == step.name));
    let lines = applied.filter_map(|step| {
        let made: Vec<String> =
            (step.ops)(&dialect).into_iter().filter_map(|operation| operation.make).collect();
        let gone = gone(step.makes, &made, &columns)?;
        Some(format!("{} ({gone})", step.name))
    });
    Ok(lines.collect())
}

/// What one applied migration made and is not there (any more), in words; none if all of it is.
/// The statements are the ones that made it: what they create has to exist.
fn gone((table, column): (&str, Option<&str>), statements: &[String], columns: &Columns) -> Option<String> {
    if let Some(column) = column {
        return (!columns.has(table, column)).then(|| format!("the column {table}.{column} is not there"));
    }
    if !columns.has_table(table) {
        return Some(format!("the table {table} is not there"));
    }
    let made = statements.iter().find(|statement| statement.starts_with("CREATE TABLE "))?;
    let missing: Vec<&str> = named(made).filter(|name| !columns.has(table, name)).collect();
    (!missing.is_empty()).then(|| format!("the table {table} lacks {}", missing.join(", ")))
}

/// The columns of a CREATE TABLE as [`crate::dialect::Table`] writes it: one a line.
fn named(create: &str) -> impl Iterator<Item = &str> {
    let lines = create.lines().filter_map(|line| line.strip_prefix("    "));
    lines
        .filter_map(|line| line.split_whitespace().next())
        .filter(|word| !matches!(*word, "PRIMARY" | "CONSTRAINT" | "UNIQUE" | "KEY"))
}

#[cfg(test)]
mod tests {
    use super::named;
    use crate::dialect::{Dialect, Table};
    use crate::gateway::Columns;
    use sea_orm_migration::sea_orm::DbBackend;

    #[test]
    fn columns_are_told_from_keys() {
        for backend in [DbBackend::MySql, DbBackend::Postgres, DbBackend::Sqlite] {
            let dialect = Dialect::of(&Columns::assumed(backend, Vec::new()));
            let table = Table::new("x")
                .column("a", "INT NOT NULL")
                .column("b", "VARCHAR(9) COLLATE \"C\"")
                .primary_key("a")
                .foreign_key("b", "staff", "CASCADE")
                .unique("u", "b")
                .index("i", "a");
            assert_eq!(named(&table.sql(&dialect)[0]).collect::<Vec<_>>(), ["a", "b"]);
        }
    }
}
