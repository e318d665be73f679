//! A plan to replay dead letters, and its replay: one row. `lease_until_ms` is in the future while
//! a process works on it.

use crate::dialect::{Dialect, Table};
use crate::names;
use crate::op::Op;
use crate::step::Step;

const NAME: &str = names::REPLAYS;

pub(super) const STEP: Step = Step { name: "m0010_dead_letter_replays", makes: (NAME, None), ops };

fn ops(d: &Dialect) -> Vec<Op> {
    let long = format!("{} NOT NULL", d.long_text());
    Table::new(NAME)
        .column("id", d.counting_key())
        .column("token", "VARCHAR(36) NOT NULL")
        .column("state", "VARCHAR(16) NOT NULL")
        .column("chosen", &long)
        .column("made_by", "VARCHAR(255) NOT NULL")
        .column("why", "TEXT NULL")
        .column("total", "INT NOT NULL")
        .column("rate", "VARCHAR(16) NULL")
        .column("canary", "INT NULL")
        .column("stop_percent", "INT NULL")
        .column("ended_because", "TEXT NULL")
        .column("lease", "VARCHAR(36) NULL")
        .column("lease_until_ms", "BIGINT NULL")
        .column("created_ms", "BIGINT NOT NULL")
        .column("expires_ms", "BIGINT NOT NULL")
        .column("started_ms", "BIGINT NULL")
        .column("ended_ms", "BIGINT NULL")
        .unique("unique_token", "token")
        .index("idx_state", "state, id")
        .index("idx_created", "created_ms")
        .ops(d)
}
