//! What people did with hosts that need a person, beside mapping them: who, when, why.

use crate::dialect::{Dialect, Table};
use crate::names;
use crate::op::Op;
use crate::step::Step;

const NAME: &str = names::INBOX_ACTIONS;

pub(super) const STEP: Step = Step { name: "m0015_unmatched_host_actions", makes: (NAME, None), ops };

fn ops(d: &Dialect) -> Vec<Op> {
    Table::new(NAME)
        .column("id", d.counting_key())
        .column("company_id", "BIGINT NOT NULL")
        .column("host_id", "INT NOT NULL")
        .column("action", "VARCHAR(16) NOT NULL")
        .column("made_by", "VARCHAR(255) NOT NULL")
        .column("at_ms", "BIGINT NOT NULL")
        .column("why", "TEXT NULL")
        .column("until_ms", "BIGINT NULL")
        .index("idx_host", "company_id, host_id, id")
        .ops(d)
}
