//! The migrations, one per table, in the order in which they run.

mod mappings;
mod audits;
mod calcom_host_id;
mod assignments;
mod inbox;
mod inbox_actions;
mod host_locks;
mod events;
mod dead_letters;
mod dead_letter_actions;
mod dead_letter_action_letters;
mod replays;
mod replay_items;
mod repairs;
mod repair_items;
mod imports;
mod hand_overs;
mod workers;

use crate::migration::Migration;

pub(crate) use audits::MIGRATION as AUDITS;
pub(crate) use calcom_host_id::{MIGRATION as CALCOM_HOST_ID, index as calcom_host_id_index};
pub(crate) use mappings::MIGRATION as MAPPINGS;

/// All of them. New ones go to the end.
pub(crate) const MIGRATIONS: [Migration; 18] = [
    MAPPINGS,
    AUDITS,
    CALCOM_HOST_ID,
    assignments::MIGRATION,
    inbox::MIGRATION,
    inbox_actions::MIGRATION,
    host_locks::MIGRATION,
    events::MIGRATION,
    dead_letters::MIGRATION,
    dead_letter_actions::MIGRATION,
    dead_letter_action_letters::MIGRATION,
    replays::MIGRATION,
    replay_items::MIGRATION,
    repairs::MIGRATION,
    repair_items::MIGRATION,
    imports::MIGRATION,
    hand_overs::MIGRATION,
    workers::MIGRATION,
];

/// Where a migration stands among all; those that are not known come last.
pub(crate) fn place(name: &str) -> usize {
    MIGRATIONS.iter().position(|migration| migration.name == name).unwrap_or(MIGRATIONS.len())
}

/// Whether a migration is of the builds before the first release. They had 22, `m0001_…` to `m0022_…`, and
/// tables of other names.
pub(crate) fn is_before_baseline(name: &str) -> bool {
    name.starts_with("m0")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{MIGRATIONS, is_before_baseline};
    use crate::names::TABLES;

    #[test]
    fn names_are_in_order_and_told_from_those_before_the_baseline() {
        let names = MIGRATIONS.map(|migration| migration.name);
        assert!(names.is_sorted(), "{names:?}");
        assert!(!names.iter().any(|name| is_before_baseline(name)), "{names:?}");
        assert!(is_before_baseline("m0001_calcom_host_mappings"));
    }

    #[test]
    fn each_table_of_ours_has_its_migration() {
        let whole = MIGRATIONS.iter().filter(|migration| migration.column_made().is_none());
        let made: BTreeSet<_> = whole.map(super::Migration::table_of).collect();
        assert_eq!(made, TABLES.into());
    }
}
