//! Imports of mappings: who, when, from which file, and what came of it. `token` names the act by which
//! the audit rows of an import are found.

use crate::dialect::{Dialect, Table};
use crate::names;
use crate::op::Op;
use crate::step::Step;

const NAME: &str = names::IMPORTS;

pub(super) const STEP: Step = Step { name: "m0019_mapping_imports", makes: (NAME, None), ops };

fn ops(d: &Dialect) -> Vec<Op> {
    Table::new(NAME)
        .column("id", d.counting_key())
        .column("token", "VARCHAR(36) NOT NULL")
        .column("company_id", "BIGINT NULL")
        .column("file", "VARCHAR(255) NOT NULL")
        .column("line_count", "INT NOT NULL")
        .column("changed", "INT NOT NULL")
        .column("failed", "INT NOT NULL")
        .column("made_by", "VARCHAR(255) NOT NULL")
        .column("why", "TEXT NULL")
        .column("at_ms", "BIGINT NOT NULL")
        .column("ended_ms", "BIGINT NULL")
        .column("undone_by", "VARCHAR(255) NULL")
        .column("undone_why", "TEXT NULL")
        .column("undone_ms", "BIGINT NULL")
        .unique("unique_token", "token")
        .ops(d)
}
