//! Whom a decision found, written or not, and whether it was made by a worker that only observed.

use crate::dialect::Dialect;
use crate::names;
use crate::op::{Op, Probe};
use crate::step::Step;

const TABLE: &str = names::ASSIGNMENTS;

pub(super) const STEP: Step =
    Step { name: "m0018_appointment_assignments_observed", makes: (TABLE, Some("found_staff_id")), ops };

fn ops(d: &Dialect) -> Vec<Op> {
    let columns =
        [("found_staff_id", format!("{} NULL", d.staff)), ("observed", "VARCHAR(16) NULL".to_owned())];
    let index = ("idx_observed", "observed, appointment_id");
    if d.is_mysql() {
        let add = columns.iter().map(|(name, definition)| format!("ADD COLUMN {name} {definition}, "));
        let drop = columns.iter().map(|(name, _)| format!(", DROP COLUMN {name}"));
        return vec![Op {
            make: Some(format!(
                "ALTER TABLE {TABLE} {}ADD INDEX {} ({})",
                add.collect::<String>(),
                index.0,
                index.1
            )),
            undo: Some(format!("ALTER TABLE {TABLE} DROP INDEX {}{}", index.0, drop.collect::<String>())),
            probe: Probe::on(d.backend).column(TABLE, "found_staff_id"),
        }];
    }
    let columns = columns.into_iter().map(|(name, definition)| Op {
        make: Some(format!("ALTER TABLE {TABLE} ADD COLUMN {name} {definition}")),
        undo: Some(format!("ALTER TABLE {TABLE} DROP COLUMN {name}")),
        probe: None,
    });
    // While nobody observes it is empty.
    let index = Op {
        make: Some(format!(
            "CREATE INDEX {TABLE}_{} ON {TABLE} ({}) WHERE observed IS NOT NULL",
            index.0, index.1
        )),
        undo: Some(format!("DROP INDEX {TABLE}_{}", index.0)),
        probe: None,
    };
    columns.chain([index]).collect()
}
