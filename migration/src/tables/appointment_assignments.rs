//! What was decided for each appointment: the last assignment, the newest event with a host, and
//! what is needed to decide again. Times in `_ms` are ms since 1970 (UTC), compared exactly.

use crate::dialect::{Dialect, Table};
use crate::names;
use crate::op::Op;
use crate::step::Step;

const NAME: &str = names::ASSIGNMENTS;

pub(super) const STEP: Step = Step { name: "m0004_appointment_assignments", makes: (NAME, None), ops };

fn ops(d: &Dialect) -> Vec<Op> {
    let exact = format!("{} NULL", d.exact());
    let long = format!("{} NULL", d.long_text());
    Table::new(NAME)
        .column("appointment_id", &format!("{} NOT NULL", d.appointment))
        .column("company_id", "BIGINT NOT NULL")
        .column("staff_id", &format!("{} NULL", d.staff))
        .column("mapping_id", "BIGINT NULL")
        .column("strategy", "VARCHAR(32) NULL")
        .column("confidence", "SMALLINT NULL")
        .column("evidence", &long)
        .column("event_id", &exact)
        .column("event_time_ms", "BIGINT NULL")
        .column("event_stamped", "BOOLEAN NOT NULL DEFAULT FALSE")
        .column("host_id", "INT NULL")
        .column("host_email", "VARCHAR(255) NULL")
        .column("host_source", "VARCHAR(32) NULL")
        .column("outcome", "VARCHAR(32) NOT NULL")
        .column("reason", "VARCHAR(64) NULL")
        .column("booking_ref", &exact)
        .column("starts_ms", "BIGINT NULL")
        .column("payload", &long)
        .column("decided_ms", "BIGINT NOT NULL")
        .primary_key("appointment_id")
        .foreign_key("appointment_id", "appointments", "CASCADE")
        .index("idx_company_host", "company_id, host_id, outcome")
        .index("idx_starts", "starts_ms")
        .index("idx_decided", "decided_ms")
        .ops(d)
}
