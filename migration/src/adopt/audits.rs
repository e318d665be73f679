//! Adopts a `calcom_host_mapping_audits` that the gateway created.

use super::alter::{Alter, keep_times, update};
use super::existing::{ExistingTable, copy_of};
use super::{keys, mappings, obstacles};
use crate::dialect::Dialect;
use crate::gateway::{Column, Columns};
use crate::migration::{Op, Probe};
use crate::names;

pub(super) const TABLE: &str = names::AUDITS;

/// The key of the one row that records the adoption.
const RECORD: &str = "a0d0b7ed-0000-4000-8000-000000000001";

/// Returns the changes that the table needs, and a description of each difference.
pub(super) fn plan(found: &ExistingTable, columns: &Columns, d: &Dialect) -> (Vec<Op>, Vec<String>) {
    let mut said = Vec::new();
    let mut ops = vec![found.keep(d, &["mapping_id"])];
    ops.extend(obstacles::prechecks(found, d, &["action", "actor", "reason"], |_| deleted_on_restore(found)));
    let right = found.foreign_keys_of("mapping_id").any(|key| sets_null(&key.definition));
    for key in found.foreign_keys_of("mapping_id").filter(|key| !sets_null(&key.definition)) {
        let (name, definition) = (&key.name, &key.definition);
        let (quote, what) = if d.is_mysql() { ('`', "FOREIGN KEY") } else { ('"', "CONSTRAINT") };
        ops.push(Op {
            apply: Some(format!("ALTER TABLE {TABLE} DROP {what} {quote}{name}{quote}")),
            undo: Some(format!("ALTER TABLE {TABLE} ADD CONSTRAINT {quote}{name}{quote} {definition}")),
            probe: Probe::on(d.backend).no_constraint(TABLE, name),
        });
        said.push(format!(
            "audits are deleted with their mapping ({name}): they will stay, and lose only mapping_id"
        ));
    }

    let mut alter = Alter::new(found, d.backend);
    said.extend(alter.add_missing(obstacles::AUDITS, d));
    let mapping = found.column("mapping_id");
    let is = columns.get(TABLE, "mapping_id").map(Column::reference_type).unwrap_or_default();
    match mapping.filter(|_| found.foreign_keys_of("mapping_id").next().is_none() && is != d.mapping) {
        Some(column) => {
            alter.retype(column, &d.mapping, true);
            said.push(format!("mapping_id is {is}, without a foreign key: it becomes {}", d.mapping));
        }
        None => said.extend(alter.make_nullable("mapping_id")),
    }
    said.extend(alter.widen_text("action", 32));
    said.extend(alter.widen_text("actor", 255));
    said.extend(alter.lengthen_to_text("reason"));
    said.extend(alter.keep_on_update("changed_at"));
    if !found.has_unique(&["change_key"]) {
        alter.index(true, "unique_change_key", "change_key", "");
    }
    said.extend(alter.index_missing(&keys::AUDITS[1..]));
    ops.extend(alter.ops());
    ops.extend(fill(found, d).map(Op::rows));
    if !right {
        // Without a foreign key, the gateway may have deleted a mapping and left its audits.
        let keep = keep_times(found, "");
        ops.push(Op::rows(format!(
            "UPDATE {TABLE} SET mapping_id = NULL{keep} WHERE mapping_id IS NOT NULL \
             AND mapping_id NOT IN (SELECT id FROM {})",
            mappings::TABLE
        )));
        let mut alter = Alter::new(found, d.backend);
        alter.foreign_key("mapping_id", mappings::TABLE, "SET NULL");
        ops.extend(alter.ops());
    }
    ops.extend(restore(found));
    (ops, said)
}

fn sets_null(definition: &str) -> bool {
    definition.contains("ON DELETE SET NULL")
}

/// Copies the mapping's ids into the columns that we added for them.
fn fill(found: &ExistingTable, d: &Dialect) -> Option<String> {
    let mut added = vec!["company_id", "calcom_host_id", "staff_id"];
    added.retain(|column| !found.has(column));
    let which = format!("a.{} IS NULL", added.first()?);
    let set: Vec<_> = added.iter().map(|column| (*column, format!("m.{column}"))).collect();
    let maps = format!("{} m", mappings::TABLE);
    Some(update((found, "a"), (&maps, "m.id = a.mapping_id"), &set, &which, d))
}

/// Returns a condition on the rows that are deleted when the table is restored.
fn deleted_on_restore(found: &ExistingTable) -> String {
    let copy = copy_of(TABLE);
    format!("id NOT IN (SELECT id FROM {copy}) AND {}", written_by_us(Some(found)).replace("a.", ""))
}

/// Deletes our rows from the restored table. The operations are listed in the order of `up`; `down` runs them
/// in reverse.
fn restore(found: &ExistingTable) -> impl Iterator<Item = Op> {
    let copy = copy_of(TABLE);
    let mut undo = vec![format!("DELETE FROM {TABLE} WHERE {}", deleted_on_restore(found))];
    let cascades =
        found.foreign_keys_of("mapping_id").any(|key| key.definition.contains("ON DELETE CASCADE"));
    if found.column("mapping_id").is_some_and(|column| !column.nullable) {
        // Their mapping was deleted in the meantime: in the old shape this would have deleted the audits,
        // too.
        undo.push(format!("DELETE FROM {TABLE} WHERE mapping_id IS NULL"));
    } else if cascades {
        undo.push(format!(
            "DELETE FROM {TABLE} WHERE mapping_id IS NULL \
             AND id IN (SELECT id FROM {copy} WHERE mapping_id IS NOT NULL)"
        ));
    }
    undo.into_iter().rev().map(Op::only_undo)
}

/// Returns a condition on audits `a` that this program wrote.
pub(super) fn written_by_us(found: Option<&ExistingTable>) -> String {
    match found {
        // The table is ours: the gateway does not write to it.
        None => "TRUE".into(),
        Some(found) if !found.has("actor") => "a.actor <> 'gateway'".into(),
        // It already had an actor column: these are the values that this program writes.
        Some(_) => "(a.actor IN ('worker', 'migration') OR a.actor LIKE 'cli:%')".into(),
    }
}

/// Records in the audits what was adopted. The row refers to no mapping, so that no change is attributed to
/// the wrong actor.
pub(super) fn record(d: &Dialect, what: &str) -> Op {
    let from = if d.is_mysql() { " FROM DUAL" } else { "" };
    Op::rows(format!(
        "INSERT INTO {TABLE} (action, actor, changed_at, reason, change_key) \
         SELECT 'updated', 'migration', CURRENT_TIMESTAMP, '{}', '{RECORD}'{from} \
         WHERE NOT EXISTS (SELECT 1 FROM {TABLE} WHERE change_key = '{RECORD}')",
        what.replace('\'', "''")
    ))
}
