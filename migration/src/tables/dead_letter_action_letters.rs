//! The dead letters that an operator's act was done on. (Those of a replay are its items.)

use sea_orm_migration::schema::big_integer;

use crate::definition::Definition;
use crate::dialect::Dialect;
use crate::migration::Migration;
use crate::names;

pub(super) const MIGRATION: Migration =
    Migration::table("m1011_hostmatch_dead_letter_action_letters", names::DEAD_LETTER_ACTION_LETTERS, define);

fn define(_: &Dialect) -> Definition {
    Definition::new(names::DEAD_LETTER_ACTION_LETTERS)
        .column(big_integer("action_id"))
        .column(big_integer("letter_id"))
        .primary_key(&["action_id", "letter_id"])
        .index("idx_letter", &["letter_id"])
}
