//! The workers that run: one row per process, which it brings up to date every few seconds and removes when
//! it stops. Times are the database's own, so that the clocks of the machines do not matter.

use sea_orm_migration::schema::{big_integer, big_integer_null, integer, string_len, string_len_null};

use crate::definition::Definition;
use crate::dialect::Dialect;
use crate::migration::Migration;
use crate::names;

pub(super) const MIGRATION: Migration = Migration::table("m1018_hostmatch_workers", names::WORKERS, define);

fn define(_: &Dialect) -> Definition {
    Definition::new(names::WORKERS)
        .column(string_len("id", 36))
        .column(string_len("host", 255))
        .column(big_integer("pid"))
        .column(string_len("role", 16))
        .column(string_len("version", 64))
        .column(string_len_null("revision", 64))
        .column(string_len("mode", 16))
        .column(integer("pipelines"))
        .column(big_integer("started_ms"))
        .column(big_integer("seen_ms"))
        .column(big_integer_null("settled_ms"))
        .column(big_integer("finished"))
        .column(big_integer("retried"))
        .column(big_integer("failed"))
        .primary_key(&["id"])
        .index("idx_seen", &["seen_ms"])
}
