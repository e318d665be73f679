//! Rows that exist to be locked: a worker holds a host's row while it decides on a host without a
//! valid mapping, so that two workers do not decide on the same one at once.

use crate::dialect::{Dialect, Table};
use crate::names;
use crate::op::Op;
use crate::step::Step;

const NAME: &str = names::HOST_LOCKS;

pub(super) const STEP: Step = Step { name: "m0006_host_locks", makes: (NAME, None), ops };

fn ops(d: &Dialect) -> Vec<Op> {
    Table::new(NAME)
        .column("company_id", "BIGINT NOT NULL")
        .column("host_id", "INT NOT NULL")
        .primary_key("company_id, host_id")
        .ops(d)
}
