//! The one column that the gateway's own table gets: which Cal.com host a booking is with.

use crate::dialect::Dialect;
use crate::migration::Migration;
use crate::op::{Op, Probe};

const TABLE: &str = "appointments";
const COLUMN: &str = "calcom_host_id";

pub(crate) const MIGRATION: Migration =
    Migration::column("m1003_appointments_calcom_host_id", TABLE, COLUMN, ops);

// Two statements: a server that can add a column without touching the rows, or make an index while
// others write, does so by itself, but not when both are asked for at once.
fn ops(d: &Dialect) -> Vec<Op> {
    let place = if d.is_mysql() { " AFTER calcom_v2_booking_id" } else { "" };
    let column = Op {
        make: Some(format!("ALTER TABLE {TABLE} ADD COLUMN {COLUMN} INT NULL{place}")),
        undo: Some(format!("ALTER TABLE {TABLE} DROP COLUMN {COLUMN}")),
        probe: Probe::on(d.backend).column(TABLE, COLUMN),
    };
    std::iter::once(column).chain(index(d)).collect()
}

/// The index on the column. Nothing in this program looks appointments up by their host; it is for
/// the gateway and for people, and is left out where the table can take no more.
pub(crate) fn index(d: &Dialect) -> Option<Op> {
    let (name, drop) = if d.is_mysql() {
        ("idx_calcom_host", format!("DROP INDEX idx_calcom_host ON {TABLE}"))
    } else {
        ("appointments_idx_calcom_host", "DROP INDEX appointments_idx_calcom_host".to_owned())
    };
    d.room_for_index.then(|| Op {
        make: Some(format!("CREATE INDEX {name} ON {TABLE} ({COLUMN})")),
        undo: Some(drop),
        probe: Probe::on(d.backend).index(TABLE, name),
    })
}
