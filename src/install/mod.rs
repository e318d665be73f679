//! Checks whether the installation is set up correctly: the database's tables, privileges and server, the
//! broker's topology, the configuration.
//!
//! Only `topology::BrokerReader::create_missing` changes anything.

pub(crate) mod health;
pub(crate) mod inspection;
pub(crate) mod privileges;
mod finding;
mod server_checks;
pub(crate) mod topology;
pub mod doctor;

use sea_orm::{ConnectionTrait as _, QueryResult, Statement};

use crate::store::{Database, StoreError};

/// Returns all rows of a query without parameters.
async fn query_all(database: &Database, sql: impl Into<String>) -> Result<Vec<QueryResult>, StoreError> {
    let query = Statement::from_string(database.backend(), sql.into());
    Ok(database.connection().query_all_raw(query).await?)
}

/// Returns the first row.
async fn query_first(database: &Database, sql: impl Into<String>) -> Result<Option<QueryResult>, StoreError> {
    Ok(query_all(database, sql).await?.into_iter().next())
}

/// A column of the gateway that hostmatch reads or writes: its table; its name; its purpose (empty if only the
/// number of rows with a value is reported); whether a worker reads it, and not only an inspection; whether the
/// baseline creates it.
type GatewayColumn = (&'static str, &'static str, &'static str, bool, bool);

/// All these columns.
const GATEWAY_COLUMNS: [GatewayColumn; 21] = [
    ("companies", "id", "the tenant", true, true),
    ("staff", "id", "the member of staff to assign", true, true),
    ("staff", "company_id", "the tenant: matching never crosses companies", true, true),
    ("staff", "name", "matching by name", true, false),
    ("staff", "first_name", "matching by name", true, true),
    ("staff", "last_name", "matching by name", true, true),
    ("staff", "email", "matching by e-mail", true, true),
    ("staff", "is_active", "who may be assigned", true, true),
    ("staff", "active", "who may be assigned, without is_active", true, false),
    ("staff", "deleted_at", "who may be assigned", true, false),
    ("staff", "calcom_user_id", "", false, false),
    ("appointments", "id", "the appointment to assign", true, true),
    ("appointments", "company_id", "the tenant", true, true),
    ("appointments", "staff_id", "read and written: the assigned member of staff", true, true),
    ("appointments", "calcom_host_id", "read and written: the primary Cal.com host", true, true),
    ("appointments", "calcom_v2_booking_id", "finding the booking", true, true),
    ("appointments", "calcom_v2_booking_uid", "finding the booking", true, false),
    ("appointments", "calcom_booking_id", "finding the booking", true, false),
    ("appointments", "assignment_model_used", "", false, false),
    ("appointments", "updated_at", "written: the time of the change", false, true),
    ("users", "id", "who changed a mapping", false, true),
];
