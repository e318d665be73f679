//! Adopts a `calcom_host_mappings` that the gateway created.

use super::alter::{Alter, update};
use super::existing::{ExistingTable, copy_of};
use super::{keys, obstacles};
use crate::dialect::Dialect;
use crate::gateway::{Column, Columns};
use crate::migration::Op;
use crate::names;

pub(super) const TABLE: &str = names::MAPPINGS;
/// The columns that this program may change, and must be able to restore.
const CHANGED: [&str; 5] = ["company_id", "is_active", "mapping_source", "confidence_score", "updated_at"];
/// Text columns that may be shorter than ours, or enumerations, and the length that we need.
const TEXTS: [(&str, u32); 5] = [
    ("mapping_source", 32),
    ("calcom_name", 255),
    ("calcom_email", 255),
    ("calcom_username", 255),
    ("calcom_timezone", 50),
];

/// Returns the changes that the table needs, and a description of each difference.
pub(super) fn plan(found: &ExistingTable, columns: &Columns, d: &Dialect) -> (Vec<Op>, Vec<String>) {
    let mut said = Vec::new();
    let mut ops = vec![found.keep(d, &CHANGED)];

    let mut alter = Alter::new(found, d.backend);
    said.extend(alter.add_missing(obstacles::MAPPINGS, d));
    for (name, wanted) in TEXTS {
        said.extend(alter.widen_text(name, wanted));
    }
    said.extend(alter.keep_on_update("created_at"));
    for (column, refers_to) in [("staff_id", &d.staff), ("company_id", &d.company)] {
        let Some(there) = found.column(column) else { continue };
        let is = columns.get(TABLE, column).map(Column::reference_type).unwrap_or_default();
        if found.foreign_keys_of(column).next().is_none() && is != *refers_to {
            alter.retype(there, refers_to, there.nullable);
            said.push(format!("{column} is {is}, without a foreign key: it becomes {refers_to}"));
        }
    }
    said.extend(alter.index_missing(&keys::MAPPINGS[..3]));
    if !found.has_unique(&["calcom_host_id", "staff_id"]) {
        alter.index(true, "unique_host_staff", "calcom_host_id, staff_id", "");
        said.push("(calcom_host_id, staff_id) is not unique: unique_host_staff will be added".into());
    }
    ops.extend(alter.ops());

    if found.column("company_id").is_none_or(|column| column.nullable) {
        ops.push(fill_company(found, d));
        let why = "company_id is filled from the staff where it is missing; the column stays nullable, so that the \
                   gateway's own INSERTs work";
        said.push(why.into());
    }
    let mut alter = Alter::new(found, d.backend);
    one_active(&mut alter, found, d, &mut said);
    if !found.has_index(&["company_id"]) {
        alter.index(false, "idx_company", "company_id", "");
    }
    for (column, refers_to) in [("company_id", "companies"), ("staff_id", "staff")] {
        if found.foreign_keys_of(column).next().is_none() {
            alter.foreign_key(column, refers_to, "CASCADE");
            said.push(format!("{column} has no foreign key: one to {refers_to} will be added"));
        }
    }
    ops.extend(alter.ops());
    (ops, said)
}

fn one_active(alter: &mut Alter<'_>, found: &ExistingTable, d: &Dialect, said: &mut Vec<String>) {
    const SAID: &str = "a host can have two active mappings in a company: one_active_mapping will be \
                        added, and applies to the gateway too";
    if d.is_mysql() {
        if !found.has("active_host_id") {
            let hosts = found.column("calcom_host_id");
            let is_big = hosts.is_some_and(|hosts| hosts.definition.starts_with("bigint"));
            let kind = if is_big { "BIGINT" } else { "INT" };
            let computed = format!("{kind} GENERATED ALWAYS AS (IF(is_active, calcom_host_id, NULL)) STORED");
            alter.add("active_host_id", &computed);
        }
        if !found.has_unique(&["company_id", "active_host_id"]) {
            // company_id must not come first: the server would use this index in place of the one that it
            // created for a foreign key on company_id.
            alter.index(true, "one_active_mapping", "active_host_id, company_id", "");
            said.push(SAID.into());
        }
        return;
    }
    let kept = found.indexes.iter().any(|index| {
        let mut columns = index.columns.clone();
        columns.sort_unstable();
        index.unique
            && columns == ["calcom_host_id", "company_id"]
            && index.condition.as_deref() == Some("is_active")
    });
    if !kept {
        alter.index(true, "one_active_mapping", "company_id, calcom_host_id", " WHERE is_active");
        said.push(SAID.into());
    }
}

fn fill_company(found: &ExistingTable, d: &Dialect) -> Op {
    let copy = copy_of(TABLE);
    let update = |other: &str, on, value: &str, which| {
        update((found, "m"), (other, on), &[("company_id", value.to_owned())], which, d)
    };
    let apply = update("staff s", "s.id = m.staff_id", "s.company_id", "m.company_id IS NULL");
    let undo = update(&format!("{copy} c"), "c.id = m.id", "NULL", "c.company_id IS NULL");
    // A column that we added is dropped with its values.
    Op { apply: Some(apply), undo: found.has("company_id").then_some(undo), probe: None }
}

/// Selects the mappings in our audits `a`; `ours` is the condition on those audits.
fn audited(ours: &str) -> String {
    let audits = super::audits::TABLE;
    format!("SELECT a.mapping_id FROM {audits} a WHERE a.mapping_id IS NOT NULL AND {ours}")
}

/// Returns a condition on mappings that this program created.
fn created_by_us(ours: &str) -> String {
    format!(
        "id NOT IN (SELECT id FROM {}) AND id IN ({} AND a.old_values IS NULL \
         AND a.action IN ('auto_matched', 'created', 'manual_override'))",
        copy_of(TABLE),
        audited(ours)
    )
}

/// Returns the prechecks for rows that the old shape cannot hold; they go after the copy.
pub(super) fn prechecks(found: &ExistingTable, d: &Dialect, ours: &str) -> Vec<Op> {
    let created = created_by_us(ours);
    obstacles::prechecks(found, d, &TEXTS.map(|(name, _)| name), |name| {
        let restored = format!("id IN (SELECT id FROM {}) AND id IN ({})", copy_of(TABLE), audited(ours));
        if CHANGED.contains(&name) { format!("{created} OR {restored}") } else { created.clone() }
    })
}

/// Restores the rows. This must run while the audits still record which changes are ours; `ours` is a
/// condition on audits `a`. The operations are listed in the order of `up`; `down` runs them in reverse.
pub(super) fn restore(found: &ExistingTable, d: &Dialect, ours: &str) -> [Op; 3] {
    let (audited, created) = (audited(ours), created_by_us(ours));
    // First all mappings are deactivated, so that they do not conflict with each other when their companies
    // are restored.
    let back = CHANGED.into_iter().filter_map(|column| match column {
        "is_active" => Some((column, "FALSE".to_owned())),
        // The column is dropped later.
        "company_id" if !found.has(column) => Some((column, "NULL".to_owned())),
        _ if !found.has(column) => None,
        // The adoption changed an enumeration to text.
        "mapping_source" if !d.is_mysql() => Some((column, format!("c.{column}::text"))),
        _ => Some((column, format!("c.{column}"))),
    });
    let back: Vec<_> = back.collect();
    // The mappings `m` that existed before, with their copies `c`.
    let copy = format!("{} c", copy_of(TABLE));
    let update = |on: &str, set: &[_], which: &str| update((found, "m"), (&copy, on), set, which, d);
    let all = update("c.id = m.id", &back, &format!("m.id IN ({audited})"));
    // Then activates those that were active, unless the gateway has activated another one since.
    let company = |m: &str| {
        format!("COALESCE({m}.company_id, (SELECT s.company_id FROM staff s WHERE s.id = {m}.staff_id))")
    };
    let others = format!(
        "SELECT DISTINCT x.id, x.calcom_host_id, {} AS company_id FROM {TABLE} x WHERE x.is_active",
        company("x")
    );
    let same =
        format!("o.company_id = {} AND o.calcom_host_id = m.calcom_host_id AND o.id <> m.id", company("m"));
    let on = [("is_active", "TRUE".to_owned())];
    let on = if d.is_mysql() {
        // MySQL reads the table that it updates only through a derived table.
        let join = format!("c.id = m.id LEFT JOIN ({others}) o ON {same}");
        update(&join, &on, &format!("c.is_active AND o.id IS NULL AND m.id IN ({audited})"))
    } else {
        let free = format!("NOT EXISTS (SELECT 1 FROM ({others}) o WHERE {same})");
        update("c.id = m.id", &on, &format!("c.is_active AND {free} AND m.id IN ({audited})"))
    };
    [on, all, format!("DELETE FROM {TABLE} WHERE {created}")].map(Op::only_undo)
}
