//! What was decided for each appointment: the last assignment, the newest event with a host, and
//! what is needed to decide again. Times in `_ms` are ms since 1970 (UTC), compared exactly.

use sea_orm_migration::schema::{
    big_integer, big_integer_null, boolean, integer_null, small_integer_null, string_len, string_len_null,
};
use sea_orm_migration::sea_orm::sea_query::ForeignKeyAction;

use crate::definition::{Definition, typed};
use crate::dialect::Dialect;
use crate::migration::Migration;
use crate::names;

pub(super) const MIGRATION: Migration =
    Migration::table("m1004_hostmatch_assignments", names::ASSIGNMENTS, define);

const OBSERVED: &[&str] = &["observed", "appointment_id"];

fn define(d: &Dialect) -> Definition {
    let table = Definition::new(names::ASSIGNMENTS)
        .column(typed("appointment_id", &d.appointment).not_null())
        .column(big_integer("company_id"))
        .column(typed("staff_id", &d.staff).null())
        // Whom the decision found, written or not.
        .column(typed("found_staff_id", &d.staff).null())
        // It was made by a worker that only observed, and is still to be written.
        .column(string_len_null("observed", 16))
        .column(big_integer_null("mapping_id"))
        .column(string_len_null("strategy", 32))
        .column(small_integer_null("confidence"))
        .column(typed("evidence", d.long_text()).null())
        .column(typed("event_id", &d.exact(255)).null())
        .column(big_integer_null("event_time_ms"))
        .column(boolean("event_stamped").default(false))
        .column(integer_null("host_id"))
        .column(string_len_null("host_email", 255))
        .column(string_len_null("host_source", 32))
        .column(string_len("outcome", 32))
        .column(string_len_null("reason", 64))
        .column(typed("booking_ref", &d.exact(255)).null())
        .column(big_integer_null("starts_ms"))
        .column(typed("payload", d.long_text()).null())
        .column(big_integer("decided_ms"))
        .primary_key(&["appointment_id"])
        .foreign_key("appointment_id", "appointments", ForeignKeyAction::Cascade)
        .index("idx_company_host", &["company_id", "host_id", "outcome"])
        .index("idx_starts", &["starts_ms"])
        .index("idx_decided", &["decided_ms"]);
    // While nobody observes it is empty, where an index can be.
    if d.is_mysql() {
        table.index("idx_observed", OBSERVED)
    } else {
        table.index_where("idx_observed", OBSERVED, "observed IS NOT NULL")
    }
}
