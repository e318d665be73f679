//! Every real change of a mapping. The rows outlive the mapping, and carry copies of its ids.

use sea_orm_migration::schema::{big_integer_null, char_len_null, integer_null, string_len, text_null};
use sea_orm_migration::sea_orm::sea_query::ForeignKeyAction;

use crate::definition::{Definition, counting_key, typed};
use crate::dialect::Dialect;
use crate::migration::Migration;
use crate::names;

pub(crate) const MIGRATION: Migration =
    Migration::table("m1002_calcom_host_mapping_audits", names::AUDITS, define);

fn define(d: &Dialect) -> Definition {
    let changed_by = d.user.as_deref().unwrap_or("BIGINT");
    let table = Definition::folding(names::AUDITS)
        .column(counting_key("id"))
        .column(typed("mapping_id", &d.mapping).null())
        .column(big_integer_null("company_id"))
        .column(integer_null("calcom_host_id"))
        .column(typed("staff_id", &d.staff).null())
        .column(string_len("action", 32))
        .column(typed("old_values", d.json()).null())
        .column(typed("new_values", d.json()).null())
        .column(typed("changed_by", changed_by).null())
        .column(string_len("actor", 255))
        .column(typed("changed_at", d.fine_moment_now()))
        .column(text_null("reason"))
        .column(char_len_null("change_key", 36))
        .foreign_key("mapping_id", names::MAPPINGS, ForeignKeyAction::SetNull)
        .unique("unique_change_key", &["change_key"])
        .index("idx_mapping", &["mapping_id"])
        .index("idx_changed_at", &["changed_at"])
        .index("idx_company_host", &["company_id", "calcom_host_id"]);
    if d.user.is_some() { table.foreign_key("changed_by", "users", ForeignKeyAction::SetNull) } else { table }
}
