//! Every real change of a mapping. The rows outlive the mapping, and carry copies of its ids.

use crate::dialect::{Dialect, Table};
use crate::names;
use crate::op::Op;
use crate::step::Step;

const NAME: &str = names::AUDITS;

pub(super) const STEP: Step = Step { name: "m0002_calcom_host_mapping_audits", makes: (NAME, None), ops };

fn ops(d: &Dialect) -> Vec<Op> {
    let json = format!("{} NULL", d.json());
    let changed_by = d.user.as_deref().unwrap_or("BIGINT");
    let mut table = Table::new(NAME)
        .folding()
        .column("id", d.counting_key())
        .column("mapping_id", &format!("{} NULL", d.mapping))
        .column("company_id", "BIGINT NULL")
        .column("calcom_host_id", "INT NULL")
        .column("staff_id", &format!("{} NULL", d.staff))
        .column("action", "VARCHAR(32) NOT NULL")
        .column("old_values", &json)
        .column("new_values", &json)
        .column("changed_by", &format!("{changed_by} NULL"))
        .column("actor", "VARCHAR(255) NOT NULL")
        .column("changed_at", d.fine_moment_now())
        .column("reason", "TEXT NULL")
        .column("change_key", "CHAR(36) NULL")
        .foreign_key("mapping_id", "calcom_host_mappings", "SET NULL");
    if d.user.is_some() {
        table = table.foreign_key("changed_by", "users", "SET NULL");
    }
    table
        .unique("unique_change_key", "change_key")
        .index("idx_mapping", "mapping_id")
        .index("idx_changed_at", "changed_at")
        .index("idx_company_host", "company_id, calcom_host_id")
        .ops(d)
}
