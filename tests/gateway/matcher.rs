//! The gateway's own matcher: it maps the hosts of the appointments that it assigns, in the tables of its own
//! migrations.

use sea_orm::{ConnectionTrait, DbErr, Statement};

/// A host and the member of staff to map it to.
pub(crate) struct Mapping {
    /// Cal.com's id of the host.
    pub(crate) host: i64,
    /// The member of staff.
    pub(crate) staff: String,
}

impl Mapping {
    /// Works like Laravel's `firstOrCreate`: reads without a lock and inserts the row if it is missing.
    /// Returns whether it inserted it.
    ///
    /// # Errors
    /// Returns the database's error, for example that another session has inserted the same unique
    /// key in the meantime.
    pub(crate) async fn first_or_create(&self, tx: &impl ConnectionTrait) -> Result<bool, DbErr> {
        let Self { host, staff } = self;
        let condition = format!("calcom_host_id = {host} AND staff_id = '{staff}'");
        let query = format!("SELECT id FROM calcom_host_mappings WHERE {condition}");
        if tx.query_one_raw(Statement::from_string(tx.get_database_backend(), query)).await?.is_some() {
            return Ok(false);
        }
        tx.execute_unprepared(&format!(
            "INSERT INTO calcom_host_mappings (staff_id, calcom_host_id, calcom_name, calcom_email, mapping_source, \
             confidence_score, is_active, created_at, updated_at) VALUES ('{staff}', {host}, 'H.', '', 'auto_email', \
             95, TRUE, CURRENT_TIMESTAMP, CURRENT_TIMESTAMP)"
        ))
        .await?;
        tx.execute_unprepared(&format!(
            "INSERT INTO calcom_host_mapping_audits (mapping_id, action, changed_at, reason) \
             SELECT id, 'auto_matched', CURRENT_TIMESTAMP, 'the gateway''s own' FROM calcom_host_mappings WHERE {condition}"
        ))
        .await?;
        Ok(true)
    }
}
