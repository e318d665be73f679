//! One slim row per event: what came, and what became of it. Kept for `retention.events`.

use crate::dialect::{Dialect, Table};
use crate::names;
use crate::op::Op;
use crate::step::Step;

const NAME: &str = names::EVENTS;

pub(super) const STEP: Step = Step { name: "m0007_booking_events", makes: (NAME, None), ops };

fn ops(d: &Dialect) -> Vec<Op> {
    Table::new(NAME)
        .column("event_id", &format!("{} NOT NULL", d.exact()))
        .column("event_type", "VARCHAR(64) NOT NULL")
        .column("shape", "VARCHAR(16) NOT NULL")
        .column("booking_ref", &format!("{} NULL", d.exact()))
        .column("company_id", "BIGINT NULL")
        .column("appointment_id", "BIGINT NULL")
        .column("outcome", "VARCHAR(32) NOT NULL")
        .column("reason", "VARCHAR(64) NULL")
        .column("received_ms", "BIGINT NOT NULL")
        .column("decided_ms", "BIGINT NOT NULL")
        .primary_key("event_id")
        .index("idx_decided", "decided_ms")
        .index("idx_outcome", "outcome, decided_ms")
        .index("idx_booking", "booking_ref")
        .ops(d)
}
