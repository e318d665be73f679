//! The dead letters that an operator's act was done on. (Those of a replay are its items.)

use crate::dialect::{Dialect, Table};
use crate::names;
use crate::op::Op;
use crate::step::Step;

const NAME: &str = names::DEAD_LETTER_ACTION_LETTERS;

pub(super) const STEP: Step = Step { name: "m0013_dead_letter_action_letters", makes: (NAME, None), ops };

fn ops(d: &Dialect) -> Vec<Op> {
    Table::new(NAME)
        .column("action_id", "BIGINT NOT NULL")
        .column("letter_id", "BIGINT NOT NULL")
        .primary_key("action_id, letter_id")
        .index("idx_letter", "letter_id")
        .ops(d)
}
