//! The workers that run: one row per process, which it brings up to date every few seconds and removes when
//! it stops. Times are the database's own, so that the clocks of the machines do not matter.

use crate::dialect::{Dialect, Table};
use crate::names;
use crate::op::Op;
use crate::step::Step;

const NAME: &str = names::WORKERS;

pub(super) const STEP: Step = Step { name: "m0022_hostmatch_workers", makes: (NAME, None), ops };

fn ops(d: &Dialect) -> Vec<Op> {
    Table::new(NAME)
        .column("id", "VARCHAR(36) NOT NULL")
        .column("host", "VARCHAR(255) NOT NULL")
        .column("pid", "BIGINT NOT NULL")
        .column("role", "VARCHAR(16) NOT NULL")
        .column("version", "VARCHAR(64) NOT NULL")
        .column("revision", "VARCHAR(64) NULL")
        .column("mode", "VARCHAR(16) NOT NULL")
        .column("pipelines", "INT NOT NULL")
        .column("started_ms", "BIGINT NOT NULL")
        .column("seen_ms", "BIGINT NOT NULL")
        .column("settled_ms", "BIGINT NULL")
        .column("finished", "BIGINT NOT NULL")
        .column("retried", "BIGINT NOT NULL")
        .column("failed", "BIGINT NOT NULL")
        .primary_key("id")
        .index("idx_seen", "seen_ms")
        .ops(d)
}
