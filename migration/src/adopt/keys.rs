//! Finds keys and checks of an existing table that would refuse our rows, or whose names we need. They are
//! found before the first statement, because MySQL could not roll back the earlier ones.

use super::existing::{ExistingIndex, ExistingTable};
use super::mappings;
use crate::examination::Obstacle;

/// The indexes that adoption adds where they are missing: name, columns, unique.
pub(super) const MAPPINGS: [(&str, &[&str], bool); 6] = [
    ("idx_staff", &["staff_id"], false),
    ("idx_email", &["calcom_email"], false),
    ("idx_active", &["is_active", "calcom_host_id"], false),
    ("idx_company", &["company_id"], false),
    ("unique_host_staff", &["calcom_host_id", "staff_id"], true),
    ("one_active_mapping", &["active_host_id", "company_id"], true),
];

pub(super) const AUDITS: [(&str, &[&str], bool); 4] = [
    ("unique_change_key", &["change_key"], true),
    ("idx_mapping", &["mapping_id"], false),
    ("idx_changed_at", &["changed_at"], false),
    ("idx_company_host", &["company_id", "calcom_host_id"], false),
];

/// Columns for which a check may refuse what we write. Known checks on `mapping_source` and `action` are
/// dropped and restored, on engines where that is possible.
const CHECKED: [&str; 10] = [
    "mapping_source",
    "action",
    "actor",
    "calcom_name",
    "calcom_email",
    "is_active",
    "company_id",
    "staff_id",
    "calcom_host_id",
    "mapping_id",
];

/// Returns the keys and checks of a table that are obstacles.
pub(super) fn of(found: &ExistingTable) -> Vec<Obstacle> {
    let mut obstacles = Vec::new();
    let mut add = |what: String, remedy: &str| obstacles.push(Obstacle::new(what, remedy));
    let table = &found.table;
    let (ours, fits): (&[_], fn(&ExistingIndex) -> bool) = if table == mappings::TABLE {
        (&MAPPINGS, allows_our_mappings)
    } else {
        (&AUDITS, allows_our_audits)
    };
    for index in found.indexes.iter().filter(|index| index.unique && !fits(index)) {
        let (name, columns) = (&index.name, index.columns.join(", "));
        add(
            format!("{table} has the unique key {name} ({columns}): it would refuse rows of hostmatch"),
            "drop it, or make it a plain index; another key ensures one active mapping per host and company",
        );
    }
    for (name, columns, unique) in ours {
        let exists = if *unique { found.has_unique(columns) } else { found.has_index(columns) };
        // PostgreSQL's index names begin with the table's.
        let names = [(*name).to_owned(), format!("{table}_{name}")];
        let same_name = found.indexes.iter().find(|index| names.contains(&index.name) && !exists);
        if let Some(index) = same_name.filter(|index| !is_one_active(index)) {
            let (name, columns) = (&index.name, index.columns.join(", "));
            add(
                format!("{table} has an index {name} on other columns ({columns})"),
                "rename it: hostmatch needs an index of that name",
            );
        }
    }
    for check in &found.stray_checks {
        add(
            format!("{table} has a CHECK that hostmatch cannot restore: {check}"),
            "drop it first, and create it again after `migrate down` if necessary",
        );
    }
    for check in &found.checks {
        let limits = check.columns.iter().any(|column| CHECKED.contains(&column.as_str()));
        let is_known =
            matches!(check.columns.as_slice(), [one] if one == "mapping_source" || one == "action");
        if limits && !is_known {
            add(
                format!("{table} has the check {} on {}", check.name, check.columns.join(", ")),
                "drop it if it would refuse what hostmatch writes: every mapping, and every change to a mapping",
            );
        }
    }
    obstacles
}

fn has(index: &ExistingIndex, column: &str) -> bool {
    index.columns.iter().any(|one| one == column)
}

fn is_one_active(index: &ExistingIndex) -> bool {
    has(index, "active_host_id") || index.condition.as_deref() == Some("is_active")
}

/// Returns whether a unique key allows our rows: they are unique by host and member of staff; active ones by
/// host and company.
fn allows_our_mappings(index: &ExistingIndex) -> bool {
    has(index, "id")
        || has(index, "calcom_host_id") && has(index, "staff_id")
        || has(index, "company_id") && is_one_active(index)
}

fn allows_our_audits(index: &ExistingIndex) -> bool {
    has(index, "id") || index.columns == ["change_key"]
}

#[cfg(test)]
mod tests {
    use super::super::existing::ExistingTable;
    use super::of;

    fn found(lines: &str) -> ExistingTable {
        ExistingTable::parse(
            super::mappings::TABLE,
            &format!("CREATE TABLE `calcom_host_mappings` (\n{lines}\n)"),
        )
    }

    fn obstacles(lines: &str) -> Vec<String> {
        of(&found(lines)).into_iter().map(|one| one.what).collect()
    }

    #[test]
    fn only_what_refuses_our_rows_is_an_obstacle() {
        let fine = "  `id` bigint(20) NOT NULL AUTO_INCREMENT,\n  `metadata` longtext DEFAULT NULL CHECK (json_valid(`metadata`)),\n  \
                    PRIMARY KEY (`id`),\n  UNIQUE KEY `unique_host_staff` (`calcom_host_id`,`staff_id`),\n  \
                    UNIQUE KEY `three` (`company_id`,`calcom_host_id`,`staff_id`),\n  KEY `idx_staff` (`staff_id`)";
        assert_eq!(obstacles(fine), Vec::<String>::new());
        for (line, word) in [
            ("  UNIQUE KEY `one_host` (`company_id`,`calcom_host_id`)", "one_host"),
            ("  UNIQUE KEY `mail` (`calcom_email`)", "mail"),
            ("  KEY `idx_active` (`is_active`)", "idx_active on other columns"),
            (
                "  UNIQUE KEY `unique_host_staff` (`company_id`,`calcom_host_id`,`staff_id`)",
                "unique_host_staff",
            ),
            ("  CONSTRAINT `known` CHECK (`mapping_source` in ('auto_email'))", "known"),
            (
                "  `mapping_source` varchar(20) NOT NULL CHECK (`mapping_source` in ('manual'))",
                "mapping_source",
            ),
        ] {
            let found = obstacles(line);
            assert!(found.len() == 1 && found[0].contains(word), "{line}: {found:?}");
        }
    }
}
