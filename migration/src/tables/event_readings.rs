//! The column that says how each event was read.

use crate::dialect::Dialect;
use crate::migration::{Op, Probe};
use crate::names::EVENTS;

pub(super) const COLUMN: &str = "reading";

/// Adds the column: a JSON document with the reference that led to the appointment, and notes about values in an
/// unusual form. NULL for an event that an older program has decided.
pub(super) fn reading(d: &Dialect) -> Vec<Op> {
    vec![Op {
        apply: Some(format!("ALTER TABLE {EVENTS} ADD COLUMN {COLUMN} TEXT NULL")),
        undo: Some(format!("ALTER TABLE {EVENTS} DROP COLUMN {COLUMN}")),
        probe: Probe::on(d.backend).column(EVENTS, COLUMN),
    }]
}
