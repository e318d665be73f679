//! What operators did with dead letters: who, when, why, on what.

use sea_orm_migration::schema::{
    big_integer, big_integer_null, integer, string_len, string_len_null, text_null,
};

use crate::definition::{Definition, counting_key, typed};
use crate::dialect::Dialect;
use crate::migration::Migration;
use crate::names;

pub(super) const MIGRATION: Migration =
    Migration::table("m1010_hostmatch_dead_letter_actions", names::DEAD_LETTER_ACTIONS, define);

fn define(d: &Dialect) -> Definition {
    Definition::new(names::DEAD_LETTER_ACTIONS)
        .column(counting_key("id"))
        .column(string_len("token", 36))
        .column(string_len("action", 16))
        .column(string_len("made_by", 255))
        .column(big_integer("at_ms"))
        .column(text_null("why"))
        .column(typed("chosen", d.long_text()).null())
        .column(big_integer_null("replay_id"))
        .column(string_len_null("fingerprint", 64))
        .column(integer("letters"))
        .unique("unique_token", &["token"])
        .index("idx_at", &["at_ms"])
        .index("idx_fingerprint", &["fingerprint", "id"])
        .index("idx_replay", &["replay_id"])
}
