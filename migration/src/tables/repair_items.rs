//! The appointments of a repair, frozen: what became of each, and what there was before.

use crate::dialect::{Dialect, Table};
use crate::names;
use crate::op::Op;
use crate::step::Step;

const NAME: &str = names::REPAIR_ITEMS;

pub(super) const STEP: Step = Step { name: "m0017_repair_items", makes: (NAME, None), ops };

fn ops(d: &Dialect) -> Vec<Op> {
    Table::new(NAME)
        .column("repair_id", "BIGINT NOT NULL")
        .column("appointment_id", "BIGINT NOT NULL")
        .column("starts_ms", "BIGINT NULL")
        .column("state", "VARCHAR(16) NOT NULL")
        .column("reason", "VARCHAR(64) NULL")
        .column("prior", &format!("{} NULL", d.long_text()))
        .column("decided_ms", "BIGINT NULL")
        .primary_key("repair_id, appointment_id")
        .index("idx_state", "repair_id, state, appointment_id")
        .index("idx_appointment", "appointment_id")
        .ops(d)
}
