//! Rows that exist to be locked: a worker holds a host's row while it decides on a host without a
//! valid mapping, so that two workers do not decide on the same one at once.

use sea_orm_migration::schema::{big_integer, integer};

use crate::definition::Definition;
use crate::dialect::Dialect;
use crate::migration::Migration;
use crate::names;

pub(super) const MIGRATION: Migration =
    Migration::table("m1007_hostmatch_host_locks", names::HOST_LOCKS, define);

fn define(_: &Dialect) -> Definition {
    Definition::new(names::HOST_LOCKS)
        .column(big_integer("company_id"))
        .column(integer("host_id"))
        .primary_key(&["company_id", "host_id"])
}
