//! The hosts that need a person: one row per company and host.

use sea_orm_migration::schema::{
    big_integer, big_integer_null, boolean, integer, string_len, string_len_null,
};

use crate::definition::{Definition, typed};
use crate::dialect::Dialect;
use crate::migration::Migration;
use crate::names;

pub(super) const MIGRATION: Migration = Migration::table("m1005_hostmatch_inbox", names::INBOX, define);

fn define(d: &Dialect) -> Definition {
    Definition::new(names::INBOX)
        .column(big_integer("company_id"))
        .column(integer("host_id"))
        .column(string_len_null("name", 255))
        .column(string_len_null("email", 255))
        .column(string_len_null("username", 255))
        .column(string_len_null("time_zone", 64))
        // The event from which the snapshot above was taken.
        .column(typed("event_id", &d.exact(255)).null())
        .column(big_integer_null("event_time_ms"))
        .column(boolean("event_stamped").default(false))
        .column(big_integer("first_seen_ms"))
        .column(big_integer("last_seen_ms"))
        .column(string_len("kind", 32))
        .column(typed("suggestions", d.long_text()).not_null())
        .column(string_len("state", 16).default("open"))
        .column(big_integer("state_changed_ms"))
        // After that it is open again. NULL: a person reopens it.
        .column(big_integer_null("ignored_until_ms"))
        .primary_key(&["company_id", "host_id"])
        .index("idx_state", &["state", "last_seen_ms"])
}
