//! The appointments of a repair, frozen: what became of each, and what there was before.

use sea_orm_migration::schema::{big_integer, big_integer_null, string_len, string_len_null};

use crate::definition::{Definition, typed};
use crate::dialect::Dialect;
use crate::migration::Migration;
use crate::names;

pub(super) const MIGRATION: Migration =
    Migration::table("m1015_hostmatch_repair_items", names::REPAIR_ITEMS, define);

fn define(d: &Dialect) -> Definition {
    Definition::new(names::REPAIR_ITEMS)
        .column(big_integer("repair_id"))
        .column(big_integer("appointment_id"))
        .column(big_integer_null("starts_ms"))
        .column(string_len("state", 16))
        .column(string_len_null("reason", 64))
        .column(typed("prior", d.long_text()).null())
        .column(big_integer_null("decided_ms"))
        .primary_key(&["repair_id", "appointment_id"])
        .index("idx_state", &["repair_id", "state", "appointment_id"])
        .index("idx_appointment", &["appointment_id"])
}
