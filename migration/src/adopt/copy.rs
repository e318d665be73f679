//! The rows of an adopted table as they were, kept until `down`: which were there before, and what
//! of them this program may have changed since.

use super::existing::ExistingTable;
use crate::dialect::Dialect;
use crate::names::ADOPTED;
use crate::op::{Op, Probe};

/// Where the rows of this table are kept.
pub(super) fn name(table: &str) -> String {
    format!("{ADOPTED}{table}")
}

/// Keeps the ids, and of these columns those that are there.
pub(super) fn table(found: &ExistingTable, d: &Dialect, columns: &[&str]) -> Op {
    let (table, copy) = (&found.table, name(&found.table));
    let columns: Vec<&str> =
        std::iter::once("id").chain(columns.iter().copied().filter(|column| found.has(column))).collect();
    let key = if d.is_mysql() { " (PRIMARY KEY (id)) ENGINE=InnoDB" } else { "" };
    Op {
        make: Some(format!("CREATE TABLE {copy}{key} AS SELECT {} FROM {table}", columns.join(", "))),
        undo: Some(format!("DROP TABLE {copy}")),
        probe: Probe::on(d.backend).table(&copy),
    }
}
