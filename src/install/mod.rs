//! Whether the installation is set up right: the database's tables, rights and server, the broker's topology,
//! the configuration.
//!
//! It changes nothing, but for `topology::BrokerReader::make`.

pub(crate) mod health;
pub(crate) mod inspection;
pub(crate) mod privileges;
mod finding;
mod server_checks;
pub(crate) mod topology;
pub mod doctor;

use sea_orm::{ConnectionTrait as _, QueryResult, Statement};

use crate::store::{Database, StoreError};

/// All rows of a query without values.
async fn all(database: &Database, sql: impl Into<String>) -> Result<Vec<QueryResult>, StoreError> {
    let query = Statement::from_string(database.backend(), sql.into());
    Ok(database.connection().query_all_raw(query).await?)
}

/// The first row.
async fn first(database: &Database, sql: impl Into<String>) -> Result<Option<QueryResult>, StoreError> {
    Ok(all(database, sql).await?.into_iter().next())
}

/// A column of the gateway's that matters: table and name; what for (empty: only how many rows have it is told);
/// whether it is read when deciding, and not only when looking around; whether the baseline makes it.
type Known = (&'static str, &'static str, &'static str, bool, bool);

/// All of them: the one list of what they are for and who reads them.
const KNOWN: [Known; 21] = [
    ("companies", "id", "the tenant", true, true),
    ("staff", "id", "who is assigned", true, true),
    ("staff", "company_id", "the tenant: nobody is matched across companies", true, true),
    ("staff", "name", "matching by name", true, false),
    ("staff", "first_name", "matching by name", true, true),
    ("staff", "last_name", "matching by name", true, true),
    ("staff", "email", "matching by e-mail", true, true),
    ("staff", "is_active", "who may be assigned", true, true),
    ("staff", "active", "who may be assigned, without is_active", true, false),
    ("staff", "deleted_at", "who may be assigned", true, false),
    ("staff", "calcom_user_id", "", false, false),
    ("appointments", "id", "what is assigned", true, true),
    ("appointments", "company_id", "the tenant", true, true),
    ("appointments", "staff_id", "read and written: who it is with", true, true),
    ("appointments", "calcom_host_id", "read and written: which Cal.com host it is with", true, true),
    ("appointments", "calcom_v2_booking_id", "finding the booking", true, true),
    ("appointments", "calcom_v2_booking_uid", "finding the booking", true, false),
    ("appointments", "calcom_booking_id", "finding the booking", true, false),
    ("appointments", "assignment_model_used", "", false, false),
    ("appointments", "updated_at", "written: when", false, true),
    ("users", "id", "who changed a mapping", false, true),
];
