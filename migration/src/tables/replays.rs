//! A plan to replay dead letters, and its replay: one row. `lease_until_ms` is in the future while
//! a process works on it.

use sea_orm_migration::schema::{
    big_integer, big_integer_null, integer, integer_null, string_len, string_len_null, text_null,
};

use crate::definition::{Definition, counting_key, typed};
use crate::dialect::Dialect;
use crate::migration::Migration;
use crate::names;

pub(super) const MIGRATION: Migration = Migration::table("m1012_hostmatch_replays", names::REPLAYS, define);

fn define(d: &Dialect) -> Definition {
    Definition::new(names::REPLAYS)
        .column(counting_key("id"))
        .column(string_len("token", 36))
        .column(string_len("state", 16))
        .column(typed("chosen", d.long_text()).not_null())
        .column(string_len("made_by", 255))
        .column(text_null("why"))
        .column(integer("total"))
        .column(string_len_null("rate", 16))
        .column(integer_null("canary"))
        .column(integer_null("stop_percent"))
        .column(text_null("ended_because"))
        .column(string_len_null("lease", 36))
        .column(big_integer_null("lease_until_ms"))
        .column(big_integer("created_ms"))
        .column(big_integer("expires_ms"))
        .column(big_integer_null("started_ms"))
        .column(big_integer_null("ended_ms"))
        .unique("unique_token", &["token"])
        .index("idx_state", &["state", "id"])
        .index("idx_created", &["created_ms"])
}
