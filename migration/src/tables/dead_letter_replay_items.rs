//! The dead letters of a plan, frozen: what each was then, what was foretold, what became of it.
//! `outstanding` is the letter's id while its copy is on the way, and unique: a letter is on the
//! way once.

use crate::dialect::{Dialect, Table};
use crate::names;
use crate::op::Op;
use crate::step::Step;

const NAME: &str = names::REPLAY_ITEMS;

pub(super) const STEP: Step = Step { name: "m0011_dead_letter_replay_items", makes: (NAME, None), ops };

fn ops(d: &Dialect) -> Vec<Op> {
    Table::new(NAME)
        .column("replay_id", "BIGINT NOT NULL")
        .column("letter_id", "BIGINT NOT NULL")
        .column("digest", "VARCHAR(64) NOT NULL")
        .column("seen_ms", "BIGINT NOT NULL")
        .column("lane", "BIGINT NULL")
        .column("state", "VARCHAR(16) NOT NULL")
        .column("predicted", "VARCHAR(32) NOT NULL")
        .column("predicted_reason", "VARCHAR(64) NULL")
        .column("strategy", "VARCHAR(32) NULL")
        .column("result", "VARCHAR(32) NULL")
        .column("result_reason", "VARCHAR(64) NULL")
        .column("outstanding", "BIGINT NULL")
        .column("sent_ms", "BIGINT NULL")
        .column("ended_ms", "BIGINT NULL")
        .primary_key("replay_id, letter_id")
        .unique("unique_outstanding", "outstanding")
        .index("idx_state", "replay_id, state, result, letter_id")
        .index("idx_letter", "letter_id")
        .ops(d)
}
