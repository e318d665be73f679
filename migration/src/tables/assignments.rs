//! Tables for decisions and for what people did about them. Times in `_ms` are ms since 1970 (UTC), compared
//! exactly.

use sea_orm_migration::schema::{
    big_integer, big_integer_null, boolean, integer, integer_null, small_integer_null, string_len,
    string_len_null, text_null,
};
use sea_orm_migration::sea_orm::sea_query::ForeignKeyAction;

use crate::definition::{Definition, counting_key, typed};
use crate::dialect::Dialect;

/// Defines the table of decisions, one row per appointment: the last assignment, the newest event with a
/// host, and the data needed to decide again.
pub(super) fn assignments(table: Definition, d: &Dialect) -> Definition {
    table
        .column(typed("appointment_id", &d.appointment).not_null())
        .column(big_integer("company_id"))
        .column(typed("staff_id", &d.staff).null())
        // The member of staff that the decision found, even if the appointment was not written.
        .column(typed("found_staff_id", &d.staff).null())
        // Set if a worker in observe mode decided and the appointment is still to be written.
        .column(string_len_null("observed", 16))
        .columns([big_integer_null("mapping_id"), string_len_null("strategy", 32)])
        .column(small_integer_null("confidence"))
        .column(typed("evidence", d.long_text()).null())
        .column(typed("event_id", &d.exact(255)).null())
        .column(big_integer_null("event_time_ms"))
        .column(boolean("event_stamped").default(false))
        .column(integer_null("host_id"))
        .columns([string_len_null("host_email", 255), string_len_null("host_source", 32)])
        .columns([string_len("outcome", 32), string_len_null("reason", 64)])
        .column(typed("booking_ref", &d.exact(255)).null())
        .column(big_integer_null("starts_ms"))
        .column(typed("payload", d.long_text()).null())
        .column(big_integer("decided_ms"))
        .primary_key(&["appointment_id"])
        .foreign_key("appointment_id", "appointments", ForeignKeyAction::Cascade)
        .index("idx_company_host", &["company_id", "host_id", "outcome"])
        .index("idx_starts", &["starts_ms"])
        .index("idx_decided", &["decided_ms"])
        // Without a worker in observe mode this index is empty, on engines with partial indexes.
        .index("idx_observed", &["observed", "appointment_id"])
        .only("observed IS NOT NULL")
}

/// Defines the table of references: every `uid` and `id` of a booking that led to an appointment, and the
/// booking that replaced it. The rows live as long as the assignment.
pub(super) fn booking_references(table: Definition, d: &Dialect) -> Definition {
    table
        .column(typed("reference", &d.exact(255)).not_null())
        .column(typed("appointment_id", &d.appointment).not_null())
        .column(typed("replaced_by", &d.exact(255)).null())
        .primary_key(&["reference", "appointment_id"])
        .foreign_key("appointment_id", "appointments", ForeignKeyAction::Cascade)
        .index("idx_appointment", &["appointment_id"])
}

/// Defines the table of hosts that need a person: one row per company and host.
pub(super) fn inbox(table: Definition, d: &Dialect) -> Definition {
    table
        .columns([big_integer("company_id"), integer("host_id")])
        .columns([string_len_null("name", 255), string_len_null("email", 255)])
        .columns([string_len_null("username", 255), string_len_null("time_zone", 64)])
        // The event that the columns above come from.
        .column(typed("event_id", &d.exact(255)).null())
        .column(big_integer_null("event_time_ms"))
        .column(boolean("event_stamped").default(false))
        .columns([big_integer("first_seen_ms"), big_integer("last_seen_ms"), string_len("kind", 32)])
        .column(typed("suggestions", d.long_text()).not_null())
        .column(string_len("state", 16).default("open"))
        .column(big_integer("state_changed_ms"))
        // When this time has passed, the row is open again. NULL: only a person reopens it.
        .column(big_integer_null("ignored_until_ms"))
        .primary_key(&["company_id", "host_id"])
        .index("idx_state", &["state", "last_seen_ms"])
}

/// Defines the table of people's actions on hosts in the inbox, except mapping them: who, when, why.
pub(super) fn inbox_actions(table: Definition, _: &Dialect) -> Definition {
    table
        .column(counting_key("id"))
        .columns([big_integer("company_id"), integer("host_id")])
        .columns([string_len("action", 16), string_len("made_by", 255)])
        .columns([big_integer("at_ms"), text_null("why"), big_integer_null("until_ms")])
        .index("idx_host", &["company_id", "host_id", "id"])
}

/// Defines the table of host locks. Its rows exist only to be locked: a worker locks a host's row while it
/// decides about a host without a valid mapping, so that two workers do not decide about the same host at
/// once.
pub(super) fn host_locks(table: Definition, _: &Dialect) -> Definition {
    table.column(big_integer("company_id")).column(integer("host_id")).primary_key(&["company_id", "host_id"])
}

/// Defines the table of events: one slim row each, with its outcome. The rows are kept for
/// `retention.events`.
pub(super) fn events(table: Definition, d: &Dialect) -> Definition {
    table
        .column(typed("event_id", &d.exact(255)).not_null())
        .columns([string_len("event_type", 64), string_len("shape", 16), string_len_null("publisher", 64)])
        .column(typed("booking_ref", &d.exact(255)).null())
        .columns([big_integer_null("company_id"), big_integer_null("appointment_id")])
        .columns([string_len("outcome", 32), string_len_null("reason", 64)])
        .columns([big_integer("received_ms"), big_integer("decided_ms")])
        .primary_key(&["event_id"])
        .index("idx_decided", &["decided_ms"])
        .index("idx_outcome", &["outcome", "decided_ms"])
        .index("idx_booking", &["booking_ref"])
}

/// Defines the table of repairs: after a person's decision, the waiting appointments of a host get their
/// member of staff. A repair can be undone. One row per repair.
pub(super) fn repairs(table: Definition, d: &Dialect) -> Definition {
    table
        .column(counting_key("id"))
        .token()
        .columns([big_integer("company_id"), integer("host_id")])
        .column(typed("staff_id", &d.staff).not_null())
        .columns([string_len("scope", 16), string_len("state", 16), integer("total")])
        .columns([string_len("made_by", 255), text_null("why")])
        .columns([big_integer("created_ms"), big_integer_null("ended_ms")])
        .undone()
        .index("idx_host", &["company_id", "host_id", "id"])
}

/// Defines the table of a repair's appointments, frozen: the result of each, and its values before.
pub(super) fn repair_items(table: Definition, d: &Dialect) -> Definition {
    table
        .columns([big_integer("repair_id"), big_integer("appointment_id"), big_integer_null("starts_ms")])
        .columns([string_len("state", 16), string_len_null("reason", 64)])
        .column(typed("prior", d.long_text()).null())
        .column(big_integer_null("decided_ms"))
        .primary_key(&["repair_id", "appointment_id"])
        .index("idx_state", &["repair_id", "state", "appointment_id"])
        .index("idx_appointment", &["appointment_id"])
}

/// Defines the table of mapping imports: who, when, from which file, with which result. `token` identifies
/// the action in the audit rows of the import.
pub(super) fn imports(table: Definition, _: &Dialect) -> Definition {
    table
        .column(counting_key("id"))
        .token()
        .columns([big_integer_null("company_id"), string_len("file", 255)])
        .columns([integer("line_count"), integer("changed"), integer("failed")])
        .columns([string_len("made_by", 255), text_null("why")])
        .columns([big_integer("at_ms"), big_integer_null("ended_ms")])
        .undone()
}

/// Defines the table of hand-overs: whose hosts and bookings went to whom, and which appointments these were.
/// `token` identifies the action in the audit rows of the mappings.
pub(super) fn hand_overs(table: Definition, d: &Dialect) -> Definition {
    table
        .column(counting_key("id"))
        .token()
        .column(big_integer("company_id"))
        .column(typed("from_staff_id", &d.staff).not_null())
        .column(typed("to_staff_id", &d.staff).not_null())
        .column(big_integer("from_ms"))
        .column(typed("appointments", d.long_text()).not_null())
        .columns([string_len("made_by", 255), text_null("why"), big_integer("at_ms")])
        .undone()
        .index("idx_company", &["company_id", "id"])
}

/// Defines the table of appointments whose member of staff a person chose, one row for each; rows of one command
/// share the batch.
pub(super) fn manual_assignments(table: Definition, d: &Dialect) -> Definition {
    table
        .column(counting_key("id"))
        .column(string_len("batch", 36))
        .columns([big_integer("company_id"), big_integer("appointment_id")])
        .column(typed("from_staff_id", &d.staff).null())
        .column(typed("to_staff_id", &d.staff).not_null())
        .columns([string_len("made_by", 255), text_null("why"), big_integer("at_ms")])
        .undone()
        .index("idx_batch", &["batch"])
        .index("idx_appointment", &["appointment_id", "id"])
}

/// Defines the table of running workers: one row per process, which it updates every few seconds and deletes
/// when it stops. Times come from the database, so the clocks of the machines do not matter.
pub(super) fn workers(table: Definition, _: &Dialect) -> Definition {
    table
        .columns([string_len("id", 36), string_len("host", 255), big_integer("pid"), string_len("role", 16)])
        .columns([string_len("version", 64), string_len_null("revision", 64)])
        .columns([string_len("mode", 16), integer("pipelines")])
        .columns([big_integer("started_ms"), big_integer("seen_ms"), big_integer_null("settled_ms")])
        .columns([big_integer("finished"), big_integer("retried"), big_integer("failed")])
        .primary_key(&["id"])
        .index("idx_seen", &["seen_ms"])
}
