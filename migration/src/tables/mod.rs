//! The list of migrations, one per table, in the order in which they run.

mod mappings;
mod assignments;
mod dead_letters;
mod event_readings;

use sea_orm_migration::sea_orm::DbBackend;

use crate::dialect::Dialect;
use crate::gateway::Columns;
use crate::migration::{Change, Migration};
use crate::names::EVENTS;
use mappings::{COLUMN, TABLE};

pub(crate) use mappings::calcom_host_id_index;

pub(crate) const MAPPINGS: Migration = Migration::table("m1001_calcom_host_mappings", mappings::mappings);
pub(crate) const AUDITS: Migration = Migration::table("m1002_calcom_host_mapping_audits", mappings::audits);
pub(crate) const CALCOM_HOST_ID: Migration = Migration {
    name: "m1003_appointments_calcom_host_id",
    change: Change::Column(TABLE, COLUMN, mappings::calcom_host_id),
};

/// All migrations. New ones are added at the end.
pub(crate) const MIGRATIONS: [Migration; 21] = [
    MAPPINGS,
    AUDITS,
    CALCOM_HOST_ID,
    Migration::table("m1004_hostmatch_assignments", assignments::assignments),
    Migration::table("m1005_hostmatch_inbox", assignments::inbox),
    Migration::table("m1006_hostmatch_inbox_actions", assignments::inbox_actions),
    Migration::table("m1007_hostmatch_host_locks", assignments::host_locks),
    Migration::table("m1008_hostmatch_events", assignments::events),
    Migration::table("m1009_hostmatch_dead_letters", dead_letters::dead_letters),
    Migration::table("m1010_hostmatch_dead_letter_actions", dead_letters::dead_letter_actions),
    Migration::table("m1011_hostmatch_dead_letter_action_letters", dead_letters::dead_letter_action_letters),
    Migration::table("m1012_hostmatch_replays", dead_letters::replays),
    Migration::table("m1013_hostmatch_replay_items", dead_letters::replay_items),
    Migration::table("m1014_hostmatch_repairs", assignments::repairs),
    Migration::table("m1015_hostmatch_repair_items", assignments::repair_items),
    Migration::table("m1016_hostmatch_imports", assignments::imports),
    Migration::table("m1017_hostmatch_hand_overs", assignments::hand_overs),
    Migration::table("m1018_hostmatch_workers", assignments::workers),
    Migration::table("m1019_hostmatch_booking_references", assignments::booking_references),
    Migration {
        name: "m1020_hostmatch_events_reading",
        change: Change::Column(EVENTS, event_readings::COLUMN, event_readings::reading),
    },
    Migration::table("m1021_hostmatch_manual_assignments", assignments::manual_assignments),
];

/// Returns the position of a migration in the order; unknown ones come last.
pub(crate) fn position(name: &str) -> usize {
    MIGRATIONS.iter().position(|migration| migration.name == name).unwrap_or(MIGRATIONS.len())
}

/// Returns whether a migration belongs to a build from before the first release. Those had 22, `m0001_…` to
/// `m0022_…`, and other table names.
pub(crate) fn is_before_baseline(name: &str) -> bool {
    name.starts_with("m0")
}

/// Returns the indexes that the migrations create, each with its table, its name and its columns, except the
/// one on `appointments.calcom_host_id`, which hostmatch does not need.
pub fn indexes(backend: DbBackend) -> Vec<(&'static str, String, &'static [&'static str])> {
    let dialect = Dialect::of(&Columns::assumed(backend, Vec::new()));
    let tables = MIGRATIONS.iter().filter_map(|one| Some((one.table_of(), one.definition(&dialect)?)));
    let indexes = tables.flat_map(|(table, definition)| {
        definition.indexes(backend).into_iter().map(move |(name, columns)| (table, name, columns))
    });
    indexes.collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::names::TABLES;

    #[test]
    fn names_are_in_order_and_differ_from_those_before_the_baseline() {
        let names = MIGRATIONS.map(|migration| migration.name);
        assert!(names.is_sorted(), "{names:?}");
        assert!(!names.iter().any(|name| is_before_baseline(name)), "{names:?}");
        assert!(is_before_baseline("m0001_calcom_host_mappings"));
    }

    #[test]
    fn each_table_of_ours_has_its_migration() {
        let whole = MIGRATIONS.iter().filter(|migration| migration.added_column().is_none());
        let made: BTreeSet<_> = whole.map(Migration::table_of).collect();
        assert_eq!(made, TABLES.into());
    }

    #[test]
    fn every_engine_has_the_same_indexes_except_that_of_one_active_mapping() {
        let of = |backend| {
            let all = indexes(backend).into_iter().map(|(table, _, columns)| (table, columns));
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
