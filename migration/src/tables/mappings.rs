//! "In this company, this Cal.com host is this member of staff."

use sea_orm_migration::schema::{boolean, integer, small_integer, string_len, string_len_null};
use sea_orm_migration::sea_orm::sea_query::{Expr, ForeignKeyAction};

use crate::definition::{Definition, counting_key, typed};
use crate::dialect::Dialect;
use crate::migration::Migration;
use crate::names;

pub(crate) const MIGRATION: Migration =
    Migration::table("m1001_calcom_host_mappings", names::MAPPINGS, define);

fn define(d: &Dialect) -> Definition {
    let table = Definition::folding(names::MAPPINGS)
        .column(counting_key("id"))
        .column(typed("company_id", &d.company).not_null())
        .column(typed("staff_id", &d.staff).not_null())
        .column(integer("calcom_host_id"))
        .column(string_len("calcom_name", 255))
        .column(string_len("calcom_email", 255))
        .column(string_len_null("calcom_username", 255))
        .column(string_len_null("calcom_timezone", 50))
        .column(string_len("mapping_source", 32))
        .column(small_integer("confidence_score").default(100))
        .column(typed("last_synced_at", d.moment()).null())
        .column(boolean("is_active").default(true))
        .column(typed("metadata", d.json()).null())
        .column(typed("created_at", d.moment()).not_null().default(Expr::current_timestamp()))
        .column(typed("updated_at", d.moment()).not_null().default(Expr::current_timestamp()))
        .foreign_key("company_id", "companies", ForeignKeyAction::Cascade)
        .foreign_key("staff_id", "staff", ForeignKeyAction::Cascade)
        .unique("unique_host_staff", &["calcom_host_id", "staff_id"])
        .index("idx_staff", &["staff_id"])
        .index("idx_email", &["calcom_email"])
        .index("idx_active", &["is_active", "calcom_host_id"]);
    if d.is_mysql() {
        // No partial indexes there: a column that is NULL, hence never equal, for inactive rows.
        let active = "INT GENERATED ALWAYS AS (IF(is_active, calcom_host_id, NULL)) STORED";
        table
            .column(typed("active_host_id", active))
            .unique("one_active_mapping", &["company_id", "active_host_id"])
    } else {
        table.unique_where("one_active_mapping", &["company_id", "calcom_host_id"], "is_active")
    }
}
