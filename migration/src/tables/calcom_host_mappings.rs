//! "In this company, this Cal.com host is this member of staff."

use sea_orm_migration::sea_orm::DbBackend;

use crate::dialect::{Dialect, Table};
use crate::names;
use crate::op::Op;
use crate::step::Step;

const NAME: &str = names::MAPPINGS;

pub(super) const STEP: Step = Step { name: "m0001_calcom_host_mappings", makes: (NAME, None), ops };

fn ops(d: &Dialect) -> Vec<Op> {
    let moment = d.moment();
    let mut table = Table::new(NAME)
        .folding()
        .column("id", d.counting_key())
        .column("company_id", &format!("{} NOT NULL", d.company))
        .column("staff_id", &format!("{} NOT NULL", d.staff))
        .column("calcom_host_id", "INT NOT NULL")
        .column("calcom_name", "VARCHAR(255) NOT NULL")
        .column("calcom_email", "VARCHAR(255) NOT NULL")
        .column("calcom_username", "VARCHAR(255) NULL")
        .column("calcom_timezone", "VARCHAR(50) NULL")
        .column("mapping_source", "VARCHAR(32) NOT NULL")
        .column("confidence_score", "SMALLINT NOT NULL DEFAULT 100")
        .column("last_synced_at", &format!("{moment} NULL"))
        .column("is_active", "BOOLEAN NOT NULL DEFAULT TRUE")
        .column("metadata", &format!("{} NULL", d.json()))
        .column("created_at", &format!("{moment} NOT NULL DEFAULT CURRENT_TIMESTAMP"))
        .column("updated_at", &format!("{moment} NOT NULL DEFAULT CURRENT_TIMESTAMP"));
    let mysql = d.backend == DbBackend::MySql;
    if mysql {
        // No partial indexes there: a column that is NULL, hence never equal, for inactive rows.
        let active = "INT GENERATED ALWAYS AS (IF(is_active, calcom_host_id, NULL)) STORED";
        table =
            table.column("active_host_id", active).unique("one_active_mapping", "company_id, active_host_id");
    }
    let mut ops = table
        .foreign_key("company_id", "companies", "CASCADE")
        .foreign_key("staff_id", "staff", "CASCADE")
        .unique("unique_host_staff", "calcom_host_id, staff_id")
        .index("idx_staff", "staff_id")
        .index("idx_email", "calcom_email")
        .index("idx_active", "is_active, calcom_host_id")
        .ops(d);
    if !mysql {
        ops.push(Op::rows(format!(
            "CREATE UNIQUE INDEX {NAME}_one_active_mapping ON {NAME} (company_id, calcom_host_id) WHERE is_active"
        )));
    }
    ops
}
