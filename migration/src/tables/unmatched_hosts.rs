//! The hosts that need a person: one row per company and host.

use crate::dialect::{Dialect, Table};
use crate::names;
use crate::op::Op;
use crate::step::Step;

const NAME: &str = names::INBOX;

pub(super) const STEP: Step = Step { name: "m0005_unmatched_hosts", makes: (NAME, None), ops };

fn ops(d: &Dialect) -> Vec<Op> {
    Table::new(NAME)
        .column("company_id", "BIGINT NOT NULL")
        .column("host_id", "INT NOT NULL")
        .column("name", "VARCHAR(255) NULL")
        .column("email", "VARCHAR(255) NULL")
        .column("username", "VARCHAR(255) NULL")
        .column("time_zone", "VARCHAR(64) NULL")
        // The event from which the snapshot above was taken.
        .column("event_id", &format!("{} NULL", d.exact()))
        .column("event_time_ms", "BIGINT NULL")
        .column("event_stamped", "BOOLEAN NOT NULL DEFAULT FALSE")
        .column("first_seen_ms", "BIGINT NOT NULL")
        .column("last_seen_ms", "BIGINT NOT NULL")
        .column("kind", "VARCHAR(32) NOT NULL")
        .column("suggestions", &format!("{} NOT NULL", d.long_text()))
        .column("state", "VARCHAR(16) NOT NULL DEFAULT 'open'")
        .column("state_changed_ms", "BIGINT NOT NULL")
        .primary_key("company_id, host_id")
        .index("idx_state", "state, last_seen_ms")
        .ops(d)
}
