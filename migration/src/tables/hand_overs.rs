//! Hand-overs: whose hosts and bookings went to whom, and which appointments that were. `token` names
//! the act by which the audit rows of the mappings are found.

use crate::dialect::{Dialect, Table};
use crate::names;
use crate::op::Op;
use crate::step::Step;

const NAME: &str = names::HAND_OVERS;

pub(super) const STEP: Step = Step { name: "m0020_hand_overs", makes: (NAME, None), ops };

fn ops(d: &Dialect) -> Vec<Op> {
    Table::new(NAME)
        .column("id", d.counting_key())
        .column("token", "VARCHAR(36) NOT NULL")
        .column("company_id", "BIGINT NOT NULL")
        .column("from_staff_id", &format!("{} NOT NULL", d.staff))
        .column("to_staff_id", &format!("{} NOT NULL", d.staff))
        .column("from_ms", "BIGINT NOT NULL")
        .column("appointments", &format!("{} NOT NULL", d.long_text()))
        .column("made_by", "VARCHAR(255) NOT NULL")
        .column("why", "TEXT NULL")
        .column("at_ms", "BIGINT NOT NULL")
        .column("undone_by", "VARCHAR(255) NULL")
        .column("undone_why", "TEXT NULL")
        .column("undone_ms", "BIGINT NULL")
        .unique("unique_token", "token")
        .index("idx_company", "company_id, id")
        .ops(d)
}
