//! Is what the bookkeeping says has been made still there?

use crate::gateway::Columns;

/// What one applied migration made and is not there (any more), in words; none if all of it is.
/// The statements are the ones that made it: what they create has to exist.
pub(crate) fn gone(
    (table, column): (&str, Option<&str>),
    statements: &[String],
    columns: &Columns,
) -> Option<String> {
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
