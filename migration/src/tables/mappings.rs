//! The tables and the column that are agreed with the gateway: mappings, their audits, and the Cal.com host
//! of an appointment.

use sea_orm_migration::schema::{
    big_integer_null, boolean, char_len_null, integer, integer_null, small_integer, string_len,
    string_len_null, text_null,
};
use sea_orm_migration::sea_orm::sea_query::{Expr, ForeignKeyAction};

use crate::definition::{Definition, counting_key, typed};
use crate::dialect::Dialect;
use crate::migration::{Op, Probe};
use crate::names;

/// Defines the table of mappings: "In this company, this Cal.com host is this member of staff."
pub(super) fn mappings(table: Definition, d: &Dialect) -> Definition {
    let table = table
        .gateway_collation()
        .column(counting_key("id"))
        .column(typed("company_id", &d.company).not_null())
        .column(typed("staff_id", &d.staff).not_null())
        .columns([integer("calcom_host_id"), string_len("calcom_name", 255), string_len("calcom_email", 255)])
        .columns([string_len_null("calcom_username", 255), string_len_null("calcom_timezone", 50)])
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
        // MySQL has no partial indexes: this column is NULL for inactive rows, and NULLs never conflict.
        let active = "INT GENERATED ALWAYS AS (IF(is_active, calcom_host_id, NULL)) STORED";
        table
            .column(typed("active_host_id", active))
            .unique("one_active_mapping", &["company_id", "active_host_id"])
    } else {
        table.unique("one_active_mapping", &["company_id", "calcom_host_id"]).only("is_active")
    }
}

/// Defines the table of audits: every actual change to a mapping. The rows outlive the mapping, and contain
/// copies of its ids.
pub(super) fn audits(table: Definition, d: &Dialect) -> Definition {
    let changed_by = d.user.as_deref().unwrap_or("BIGINT");
    let table = table
        .gateway_collation()
        .column(counting_key("id"))
        .column(typed("mapping_id", &d.mapping).null())
        .columns([big_integer_null("company_id"), integer_null("calcom_host_id")])
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

pub(super) const TABLE: &str = "appointments";
pub(super) const COLUMN: &str = "calcom_host_id";

/// Adds the one column that the gateway's own table gets: which Cal.com host a booking is with.
///
/// Two statements: a server that can add a column without rewriting the rows, or create an index while other
/// sessions write, does so for each alone, but not for both in one statement.
pub(super) fn calcom_host_id(d: &Dialect) -> Vec<Op> {
    let place = if d.is_mysql() { " AFTER calcom_v2_booking_id" } else { "" };
    let column = Op {
        apply: Some(format!("ALTER TABLE {TABLE} ADD COLUMN {COLUMN} INT NULL{place}")),
        undo: Some(format!("ALTER TABLE {TABLE} DROP COLUMN {COLUMN}")),
        probe: Probe::on(d.backend).column(TABLE, COLUMN),
    };
    std::iter::once(column).chain(calcom_host_id_index(d)).collect()
}

/// Adds the index on the column. hostmatch never queries appointments by their host: the index is for the
/// gateway and for people. It is left out if the table cannot take another one.
pub(crate) fn calcom_host_id_index(d: &Dialect) -> Option<Op> {
    let (name, drop) = if d.is_mysql() {
        ("idx_calcom_host", format!("DROP INDEX idx_calcom_host ON {TABLE}"))
    } else {
        ("appointments_idx_calcom_host", "DROP INDEX appointments_idx_calcom_host".to_owned())
    };
    d.room_for_index.then(|| Op {
        apply: Some(format!("CREATE INDEX {name} ON {TABLE} ({COLUMN})")),
        undo: Some(drop),
        probe: Probe::on(d.backend).index(TABLE, name),
    })
}
