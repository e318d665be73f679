//! A repair: after a person's decision, the waiting appointments of a host get their member of staff,
//! and may be given back. One row for each.

use crate::dialect::{Dialect, Table};
use crate::names;
use crate::op::Op;
use crate::step::Step;

const NAME: &str = names::REPAIRS;

pub(super) const STEP: Step = Step { name: "m0016_repairs", makes: (NAME, None), ops };

fn ops(d: &Dialect) -> Vec<Op> {
    Table::new(NAME)
        .column("id", d.counting_key())
        .column("token", "VARCHAR(36) NOT NULL")
        .column("company_id", "BIGINT NOT NULL")
        .column("host_id", "INT NOT NULL")
        .column("staff_id", &format!("{} NOT NULL", d.staff))
        .column("scope", "VARCHAR(16) NOT NULL")
        .column("state", "VARCHAR(16) NOT NULL")
        .column("total", "INT NOT NULL")
        .column("made_by", "VARCHAR(255) NOT NULL")
        .column("why", "TEXT NULL")
        .column("created_ms", "BIGINT NOT NULL")
        .column("ended_ms", "BIGINT NULL")
        .column("undone_by", "VARCHAR(255) NULL")
        .column("undone_why", "TEXT NULL")
        .column("undone_ms", "BIGINT NULL")
        .unique("unique_token", "token")
        .index("idx_host", "company_id, host_id, id")
        .ops(d)
}
