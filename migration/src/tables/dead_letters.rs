//! Deliveries that could not be carried out, with their original bytes: open until a person
//! replays or discards them.

use crate::dialect::{Dialect, Table};
use crate::names;
use crate::op::Op;
use crate::step::Step;

const NAME: &str = names::DEAD_LETTERS;

pub(super) const STEP: Step = Step { name: "m0008_dead_letters", makes: (NAME, None), ops };

fn ops(d: &Dialect) -> Vec<Op> {
    let long = format!("{} NOT NULL", d.long_text());
    Table::new(NAME)
        .column("id", d.counting_key())
        .column("dead_id", "VARCHAR(64) NOT NULL")
        .column("event_id", &format!("{} NULL", d.exact()))
        .column("event_type", "VARCHAR(64) NULL")
        .column("booking_ref", &format!("{} NULL", d.exact()))
        .column("company_id", "BIGINT NULL")
        .column("reason", "VARCHAR(64) NOT NULL")
        .column("error", "TEXT NOT NULL")
        .column("fingerprint", "VARCHAR(64) NOT NULL")
        .column("attempts", "INT NOT NULL")
        .column("history", &long)
        .column("routing_key", "VARCHAR(255) NOT NULL")
        .column("headers", &long)
        .column("body", &format!("{} NOT NULL", d.bytes()))
        .column("first_seen_ms", "BIGINT NOT NULL")
        .column("last_failed_ms", "BIGINT NOT NULL")
        .column("recorded_ms", "BIGINT NOT NULL")
        .column("state", "VARCHAR(16) NOT NULL DEFAULT 'open'")
        .unique("unique_dead_id", "dead_id")
        .index("idx_state", "state, id")
        .index("idx_reason", "reason, id")
        .index("idx_fingerprint", "fingerprint, id")
        .ops(d)
}
