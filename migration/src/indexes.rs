//! The indexes that the migrations make: so that one which somebody dropped is missed.

use sea_orm_migration::sea_orm::DbBackend;

use crate::dialect::Dialect;
use crate::gateway::Columns;
use crate::tables::MIGRATIONS;

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
