//! Reads which migrations a database has, those of a newer program included, and checks whether what they
//! created still exists.
//!
//! During a rolling upgrade, old and new programs work on the same tables. A migration therefore only adds
//! what an older program can do without (it *expands*). What no program uses any longer is removed by a
//! migration of a later release, whose name says so (it *contracts*). A program that finds a newer program's
//! migration therefore keeps working, unless that migration contracts.

use sea_orm_migration::sea_orm::DatabaseConnection;

use crate::bookkeeping::journal::{self, Entry};
use crate::bookkeeping::read_applied;
use crate::dialect::Dialect;
use crate::error::{MigrateError, READING_TABLES, is_denied};
use crate::gateway::Columns;
use crate::migration::Migration;
use crate::names::JOURNAL;
use crate::tables::{MIGRATIONS, is_before_baseline};

/// Part of the name of a migration that removes or changes what older programs use.
pub(crate) const CONTRACTS: &str = "_contract_";

/// One migration, and whether this database has it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Status {
    /// Its name.
    pub name: String,
    /// Whether it has been applied.
    pub applied: bool,
    /// Whether this program knows it; otherwise it is a newer program's.
    pub known: bool,
}

impl Status {
    /// Returns whether this migration of a newer program removed what this program uses.
    pub fn is_incompatible(&self) -> bool {
        !self.known && self.name.contains(CONTRACTS)
    }
}

/// Returns all migrations in order, those of a newer program last, and whether each is applied. Changes
/// nothing and needs no write privilege.
///
/// # Errors
/// [`MigrateError::BeforeBaseline`] and [`MigrateError::Database`].
pub async fn status(connection: &DatabaseConnection) -> Result<Vec<Status>, MigrateError> {
    let failed = |source| MigrateError::of("reading which migrations are applied", source);
    let applied = read_applied(connection).await.map_err(failed)?;
    after_baseline(applied.iter())?;
    let known = MIGRATIONS.iter().map(|migration| Status {
        name: migration.name.to_owned(),
        applied: applied.iter().any(|name| name == migration.name),
        known: true,
    });
    let newer = applied.iter().filter(|name| MIGRATIONS.iter().all(|migration| migration.name != **name));
    let newer = newer.map(|name| Status { name: name.clone(), applied: true, known: false });
    Ok(known.chain(newer).collect())
}

/// Returns the names of the applied migrations.
pub(crate) async fn applied(connection: &DatabaseConnection) -> Result<Vec<String>, MigrateError> {
    Ok(status(connection).await?.into_iter().filter(|one| one.applied).map(|one| one.name).collect())
}

/// Returns the migrations known to this program that are applied or begun.
pub(crate) async fn present(connection: &DatabaseConnection) -> Result<Vec<String>, MigrateError> {
    let status = status(connection).await?;
    let journal = journal_of(connection).await?;
    let begun = |name: &str| journal.iter().any(|entry| entry.migration == name);
    let ours = status.into_iter().filter(|one| one.known && (one.applied || begun(&one.name)));
    Ok(ours.map(|one| one.name).collect())
}

/// Reads the journal. PostgreSQL shows that the table exists even to a user who may not read it.
pub(crate) async fn journal_of(connection: &DatabaseConnection) -> Result<Vec<Entry>, MigrateError> {
    let journal = journal::read(connection).await.map_err(|source| match is_denied(&source) {
        true => MigrateError::MissingPrivileges(vec![format!("SELECT on {JOURNAL}")]),
        false => MigrateError::of("reading its journal", source),
    })?;
    after_baseline(journal.iter().map(|entry| &entry.migration))?;
    Ok(journal)
}

/// Refuses migrations of a build from before the first release.
fn after_baseline<'a>(names: impl Iterator<Item = &'a String>) -> Result<(), MigrateError> {
    let mut before: Vec<String> = names.filter(|name| is_before_baseline(name)).cloned().collect();
    before.dedup();
    if before.is_empty() { Ok(()) } else { Err(MigrateError::BeforeBaseline(before)) }
}

/// Returns one line for each migration that the bookkeeping lists as applied although what it created is
/// missing or incomplete. Changes nothing.
///
/// # Errors
/// [`MigrateError::BeforeBaseline`] and [`MigrateError::Database`].
pub async fn drift(connection: &DatabaseConnection) -> Result<Vec<String>, MigrateError> {
    let applied = applied(connection).await?;
    let columns =
        Columns::read(connection).await.map_err(|source| MigrateError::of(READING_TABLES, source))?;
    let dialect = Dialect::of(&columns);
    let applied = MIGRATIONS.iter().filter(|one| applied.iter().any(|name| name == one.name));
    let gone = applied.filter_map(|one| Some((one.name, describe_missing(one, &dialect, &columns)?)));
    Ok(gone.map(|(name, gone)| format!("{name} ({gone})")).collect())
}

/// Describes what an applied migration has created and is now missing; `None` if everything exists.
fn describe_missing(migration: &Migration, dialect: &Dialect, columns: &Columns) -> Option<String> {
    let table = migration.table_of();
    let Some(definition) = migration.definition(dialect) else {
        let column = migration.added_column()?;
        return (!columns.has(table, column)).then(|| format!("the column {table}.{column} is missing"));
    };
    if !columns.has_table(table) {
        return Some(format!("the table {table} is missing"));
    }
    let missing: Vec<String> =
        definition.column_names().into_iter().filter(|column| !columns.has(table, column)).collect();
    (!missing.is_empty()).then(|| format!("the table {table} lacks {}", missing.join(", ")))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use sea_orm_migration::sea_orm::DbBackend;

    use super::CONTRACTS;
    use crate::baseline;
    use crate::dialect::Dialect;
    use crate::tables::MIGRATIONS;

    /// Removes the quotes from a name.
    fn bare(name: &str) -> String {
        name.trim_matches(['`', '"']).to_owned()
    }

    /// Returns the reason why an older program might fail after this statement; `None` if the statement only
    /// adds.
    fn harm(statement: &str, made_here: &BTreeSet<String>) -> Option<String> {
        let words: Vec<&str> = statement.split_whitespace().collect();
        let table = |n: usize| bare(words.get(n).unwrap_or(&""));
        match words[..] {
            ["CREATE", "TABLE", ..] | ["CREATE", "INDEX", ..] => None,
            ["CREATE", "UNIQUE", "INDEX", ..] => (!made_here.contains(&table(5)))
                .then(|| "older programs may write duplicate values".to_owned()),
            ["ALTER", "TABLE", ..] => {
                let body = words[3..].join(" ");
                // Commas within parentheses do not separate parts.
                let mut depth = 0;
                let parts = body.split(|c: char| {
                    depth += i32::from(c == '(') - i32::from(c == ')');
                    c == ',' && depth == 0
                });
                parts.map(str::trim).find_map(|part| {
                    let adds = part.starts_with("ADD COLUMN ") || part.starts_with("ADD INDEX ");
                    let demands = part.contains(" NOT NULL") && !part.contains(" DEFAULT ");
                    match (adds, demands) {
                        (false, _) => Some(format!("`{part}` does not only add")),
                        (_, true) => Some(format!(
                            "`{part}` must be NULL or have a default: older programs leave it out"
                        )),
                        _ => None,
                    }
                })
            }
            _ => Some("the statement does not only add".to_owned()),
        }
    }

    #[test]
    fn a_migration_only_adds_unless_its_name_says_that_it_contracts() {
        let mut found = Vec::new();
        for backend in [DbBackend::MySql, DbBackend::Postgres, DbBackend::Sqlite] {
            let dialect = Dialect::of(&baseline::assumed(backend));
            for migration in MIGRATIONS.iter().filter(|one| !one.name.contains(CONTRACTS)) {
                let ops = migration.ops(&dialect);
                let statements: Vec<&str> = ops.iter().filter_map(|op| op.apply.as_deref()).collect();
                let made_here = statements
                    .iter()
                    .filter_map(|sql| sql.strip_prefix("CREATE TABLE "))
                    .filter_map(|rest| rest.split_whitespace().next())
                    .map(bare)
                    .collect();
                for statement in statements {
                    if let Some(harm) = harm(statement, &made_here) {
                        found.push(format!("{} on {backend:?}: {harm}: {statement}", migration.name));
                    }
                }
            }
        }
        assert!(found.is_empty(), "expand now, contract in a later release:\n{}", found.join("\n"));
    }

    #[test]
    fn what_would_break_an_older_program_is_recognised() {
        let here = BTreeSet::from(["t".to_owned()]);
        for fine in [
            "CREATE TABLE t (\n a INT NOT NULL\n)",
            "CREATE UNIQUE INDEX u ON t (a)",
            "CREATE INDEX i ON old (a, b)",
            "ALTER TABLE old ADD COLUMN a INT NULL, ADD COLUMN b DECIMAL(4, 2) NOT NULL DEFAULT 0, ADD INDEX i (a, b)",
        ] {
            assert_eq!(harm(fine, &here), None, "{fine}");
        }
        for harmful in [
            "CREATE UNIQUE INDEX u ON old (a)",
            "ALTER TABLE old ADD COLUMN a INT NOT NULL",
            "ALTER TABLE old ADD COLUMN a INT NULL, DROP COLUMN b",
            "ALTER TABLE old RENAME COLUMN a TO b",
            "ALTER TABLE old MODIFY a VARCHAR(10) NULL",
            "ALTER TABLE old ADD UNIQUE INDEX u (a)",
            "ALTER TABLE old ADD CONSTRAINT c CHECK (a > 0)",
            "DROP TABLE old",
            "UPDATE old SET a = 1",
        ] {
            assert!(harm(harmful, &here).is_some(), "{harmful}");
        }
    }
}
