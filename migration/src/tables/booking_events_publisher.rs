//! Who published an event, as far as is known.

use crate::dialect::Dialect;
use crate::names;
use crate::op::{Op, Probe};
use crate::step::Step;

const TABLE: &str = names::EVENTS;
const COLUMN: &str = "publisher";

pub(super) const STEP: Step =
    Step { name: "m0021_booking_events_publisher", makes: (TABLE, Some(COLUMN)), ops };

fn ops(d: &Dialect) -> Vec<Op> {
    vec![Op {
        make: Some(format!("ALTER TABLE {TABLE} ADD COLUMN {COLUMN} VARCHAR(64) NULL")),
        undo: Some(format!("ALTER TABLE {TABLE} DROP COLUMN {COLUMN}")),
        probe: Probe::on(d.backend).column(TABLE, COLUMN),
    }]
}
