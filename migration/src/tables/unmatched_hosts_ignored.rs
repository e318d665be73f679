//! Until when a person ignores a host: after that it is open again. NULL: until it is reopened.

use crate::dialect::Dialect;
use crate::names;
use crate::op::{Op, Probe};
use crate::step::Step;

const TABLE: &str = names::INBOX;
const COLUMN: &str = "ignored_until_ms";

pub(super) const STEP: Step =
    Step { name: "m0014_unmatched_hosts_ignored", makes: (TABLE, Some(COLUMN)), ops };

fn ops(d: &Dialect) -> Vec<Op> {
    vec![Op {
        make: Some(format!("ALTER TABLE {TABLE} ADD COLUMN {COLUMN} BIGINT NULL")),
        undo: Some(format!("ALTER TABLE {TABLE} DROP COLUMN {COLUMN}")),
        probe: Probe::on(d.backend).column(TABLE, COLUMN),
    }]
}
