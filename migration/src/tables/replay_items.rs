//! The dead letters of a plan, frozen: what each was then, what was foretold, what became of it.
//! `outstanding` is the letter's id while its copy is on the way, and unique: a letter is on the
//! way once.

use sea_orm_migration::schema::{big_integer, big_integer_null, string_len, string_len_null};

use crate::definition::Definition;
use crate::dialect::Dialect;
use crate::migration::Migration;
use crate::names;

pub(super) const MIGRATION: Migration =
    Migration::table("m1013_hostmatch_replay_items", names::REPLAY_ITEMS, define);

fn define(_: &Dialect) -> Definition {
    Definition::new(names::REPLAY_ITEMS)
        .column(big_integer("replay_id"))
        .column(big_integer("letter_id"))
        .column(string_len("digest", 64))
        .column(big_integer("seen_ms"))
        .column(big_integer_null("lane"))
        .column(string_len("state", 16))
        .column(string_len("predicted", 32))
        .column(string_len_null("predicted_reason", 64))
        .column(string_len_null("strategy", 32))
        .column(string_len_null("result", 32))
        .column(string_len_null("result_reason", 64))
        .column(big_integer_null("outstanding"))
        .column(big_integer_null("sent_ms"))
        .column(big_integer_null("ended_ms"))
        .primary_key(&["replay_id", "letter_id"])
        .unique("unique_outstanding", &["outstanding"])
        .index("idx_state", &["replay_id", "state", "result", "letter_id"])
        .index("idx_letter", &["letter_id"])
}
