//! What people did with hosts that need a person, beside mapping them: who, when, why.

use sea_orm_migration::schema::{big_integer, big_integer_null, integer, string_len, text_null};

use crate::definition::{Definition, counting_key};
use crate::dialect::Dialect;
use crate::migration::Migration;
use crate::names;

pub(super) const MIGRATION: Migration =
    Migration::table("m1006_hostmatch_inbox_actions", names::INBOX_ACTIONS, define);

fn define(_: &Dialect) -> Definition {
    Definition::new(names::INBOX_ACTIONS)
        .column(counting_key("id"))
        .column(big_integer("company_id"))
        .column(integer("host_id"))
        .column(string_len("action", 16))
        .column(string_len("made_by", 255))
        .column(big_integer("at_ms"))
        .column(text_null("why"))
        .column(big_integer_null("until_ms"))
        .index("idx_host", &["company_id", "host_id", "id"])
}
