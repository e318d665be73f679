//! The indexes that the migrations make, read out of their statements: so that one which somebody
//! dropped is missed.

use sea_orm_migration::sea_orm::DbBackend;

use crate::dialect::Dialect;
use crate::gateway::Columns;
use crate::tables::STEPS;

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
    let steps = STEPS.iter().filter(|step| step.makes.0 != "appointments");
    let statements = steps.flat_map(|step| (step.ops)(&dialect)).filter_map(|operation| operation.make);
    statements.flat_map(|statement| of(&statement)).collect()
}

/// The indexes of one statement: `KEY name (a, b)`, `INDEX name (a, b)` or `INDEX name ON table (a, b)`.
fn of(statement: &str) -> Vec<MadeIndex> {
    let after = |words: &str| statement.strip_prefix(words)?.split_whitespace().next();
    let altered = after("CREATE TABLE ").or_else(|| after("ALTER TABLE "));
    let places = statement.match_indices("KEY ").chain(statement.match_indices("INDEX "));
    let read = |(at, word): (usize, &str)| {
        // PRIMARY KEY and FOREIGN KEY have no name; DROP INDEX makes none.
        let (head, rest) = statement[at + word.len()..].split_once('(')?;
        let mut words = head.split_whitespace();
        let name = words.next()?;
        let table = match (words.next(), words.next()) {
            (None, None) => altered?,
            (Some("ON"), Some(table)) => table,
            _ => return None,
        };
        let (columns, _) = rest.split_once(')')?;
        let columns = columns.split(',').map(|column| column.trim().to_owned()).collect();
        Some(MadeIndex { table: table.to_owned(), name: name.to_owned(), columns })
    };
    places.filter_map(read).collect()
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
