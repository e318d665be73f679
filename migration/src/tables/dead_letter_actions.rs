//! What operators did with dead letters: who, when, why, on what.

use crate::dialect::{Dialect, Table};
use crate::names;
use crate::op::Op;
use crate::step::Step;

const NAME: &str = names::DEAD_LETTER_ACTIONS;

pub(super) const STEP: Step = Step { name: "m0012_dead_letter_actions", makes: (NAME, None), ops };

fn ops(d: &Dialect) -> Vec<Op> {
    Table::new(NAME)
        .column("id", d.counting_key())
        .column("token", "VARCHAR(36) NOT NULL")
        .column("action", "VARCHAR(16) NOT NULL")
        .column("made_by", "VARCHAR(255) NOT NULL")
        .column("at_ms", "BIGINT NOT NULL")
        .column("why", "TEXT NULL")
        .column("chosen", &format!("{} NULL", d.long_text()))
        .column("replay_id", "BIGINT NULL")
        .column("fingerprint", "VARCHAR(64) NULL")
        .column("letters", "INT NOT NULL")
        .unique("unique_token", "token")
        .index("idx_at", "at_ms")
        .index("idx_fingerprint", "fingerprint, id")
        .index("idx_replay", "replay_id")
        .ops(d)
}
