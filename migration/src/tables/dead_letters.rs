//! Deliveries that could not be carried out, with their original bytes: open until a person
//! replays or discards them.

use sea_orm_migration::schema::{big_integer, big_integer_null, integer, string_len, string_len_null, text};

use crate::definition::{Definition, counting_key, typed};
use crate::dialect::Dialect;
use crate::migration::Migration;
use crate::names;

pub(super) const MIGRATION: Migration =
    Migration::table("m1009_hostmatch_dead_letters", names::DEAD_LETTERS, define);

fn define(d: &Dialect) -> Definition {
    Definition::new(names::DEAD_LETTERS)
        .column(counting_key("id"))
        .column(string_len("dead_id", 64))
        .column(typed("event_id", &d.exact(255)).null())
        .column(string_len_null("event_type", 64))
        .column(typed("booking_ref", &d.exact(255)).null())
        .column(big_integer_null("company_id"))
        .column(big_integer_null("host_id"))
        .column(big_integer_null("starts_ms"))
        .column(string_len("reason", 64))
        .column(text("error"))
        // Groups are found by how their fingerprint begins: it is compared by its bytes.
        .column(typed("fingerprint", &d.exact(64)).not_null())
        .column(integer("attempts"))
        .column(integer("replays").default(0))
        .column(typed("history", d.long_text()).not_null())
        .column(string_len("routing_key", 255))
        .column(typed("headers", d.long_text()).not_null())
        .column(typed("body", d.bytes()).not_null())
        .column(big_integer("first_seen_ms"))
        .column(big_integer("last_failed_ms"))
        .column(big_integer("recorded_ms"))
        .column(string_len("state", 16).default("open"))
        // Since when it is resolved, skipped or discarded.
        .column(big_integer_null("closed_ms"))
        .unique("unique_dead_id", &["dead_id"])
        .index("idx_state", &["state", "id"])
        .index("idx_reason", &["reason", "id"])
        .index("idx_fingerprint", &["fingerprint", "id"])
        .index("idx_company", &["company_id", "state", "id"])
        .index("idx_event_type", &["event_type", "id"])
        .index("idx_booking", &["booking_ref", "id"])
        .index("idx_host", &["host_id", "id"])
        .index("idx_last_failed", &["last_failed_ms", "id"])
        .index("idx_attempts", &["attempts", "id"])
        .index("idx_closed", &["closed_ms", "id"])
        // Holds everything that a list of groups is made of.
        .index(
            "idx_groups",
            &[
                "state",
                "fingerprint",
                "reason",
                "company_id",
                "starts_ms",
                "first_seen_ms",
                "last_failed_ms",
                "id",
            ],
        )
}
