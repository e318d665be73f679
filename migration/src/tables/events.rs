//! One slim row per event: what came, and what became of it. Kept for `retention.events`.

use sea_orm_migration::schema::{big_integer, big_integer_null, string_len, string_len_null};

use crate::definition::{Definition, typed};
use crate::dialect::Dialect;
use crate::migration::Migration;
use crate::names;

pub(super) const MIGRATION: Migration = Migration::table("m1008_hostmatch_events", names::EVENTS, define);

fn define(d: &Dialect) -> Definition {
    Definition::new(names::EVENTS)
        .column(typed("event_id", &d.exact(255)).not_null())
        .column(string_len("event_type", 64))
        .column(string_len("shape", 16))
        .column(string_len_null("publisher", 64))
        .column(typed("booking_ref", &d.exact(255)).null())
        .column(big_integer_null("company_id"))
        .column(big_integer_null("appointment_id"))
        .column(string_len("outcome", 32))
        .column(string_len_null("reason", 64))
        .column(big_integer("received_ms"))
        .column(big_integer("decided_ms"))
        .primary_key(&["event_id"])
        .index("idx_decided", &["decided_ms"])
        .index("idx_outcome", &["outcome", "decided_ms"])
        .index("idx_booking", &["booking_ref"])
}
