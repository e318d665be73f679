//! Shapes of gateways: a new one as the baseline creates it, a live one, and one with every peculiarity of
//! a production gateway.

use super::Backend;

/// The shape of the gateway's tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GatewayShape {
    /// No tables at all.
    Empty,
    /// Tables as the baseline creates them: integer keys, first and last name.
    Roadmap,
    /// UUID keys of staff in another collation than the database's, one name column, soft deletes, more
    /// columns for the booking's reference.
    Live,
    /// Tables as in a production gateway: see [`super::production`]. Not on SQLite.
    Production(UpdatedAt),
}

/// The type of `appointments.updated_at`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UpdatedAt {
    /// TIMESTAMP; on PostgreSQL with a time zone.
    Instant,
    /// DATETIME, in the gateway's time zone; on PostgreSQL without a time zone.
    Local,
    /// The column is missing, and so is every other optional column.
    Missing,
}

impl GatewayShape {
    /// Returns whether staff have UUIDs, and their name in one column.
    pub(crate) fn has_uuids(self) -> bool {
        !matches!(self, Self::Empty | Self::Roadmap)
    }
}

/// Returns the shapes with gateway tables.
pub(crate) fn shapes() -> [GatewayShape; 2] {
    [GatewayShape::Roadmap, GatewayShape::Live]
}

/// Returns the statements that create the live gateway.
pub(super) fn live(backend: Backend) -> Vec<String> {
    let (key, uuid, moment, long, tail) = match backend {
        Backend::Sqlite => ("INTEGER PRIMARY KEY AUTOINCREMENT", "varchar(36)", "datetime", "text", ""),
        Backend::MariaDb => (
            "BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY",
            "CHAR(36) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci",
            "TIMESTAMP",
            "LONGTEXT",
            " ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci",
        ),
        Backend::Postgres => ("BIGSERIAL PRIMARY KEY", "uuid", "timestamp(0)", "text", ""),
    };
    let reference = match backend {
        Backend::Sqlite => "integer",
        Backend::MariaDb => "BIGINT UNSIGNED",
        Backend::Postgres => "bigint",
    };
    let folding = if backend == Backend::MariaDb { " COLLATE utf8mb4_unicode_ci" } else { "" };
    let stamps = format!("created_at {moment} NULL, updated_at {moment} NULL, deleted_at {moment} NULL");
    vec![
        format!("CREATE TABLE companies (id {key}, name VARCHAR(255) NOT NULL, {stamps}){tail}"),
        format!("CREATE TABLE users (id {key}, name VARCHAR(255) NOT NULL, {stamps}){tail}"),
        format!(
            "CREATE TABLE branches (id {uuid} NOT NULL PRIMARY KEY, company_id {reference} NOT NULL, \
             name VARCHAR(255) NOT NULL, {stamps}){tail}"
        ),
        format!(
            "CREATE TABLE staff (id {uuid} NOT NULL PRIMARY KEY, company_id {reference} NOT NULL, \
             branch_id {uuid} NULL, name VARCHAR(255) NOT NULL, email VARCHAR(255){folding} NULL, \
             calcom_user_id VARCHAR(255) NULL, active BOOLEAN NOT NULL DEFAULT TRUE, \
             is_active BOOLEAN NOT NULL DEFAULT TRUE, is_bookable BOOLEAN NOT NULL DEFAULT TRUE, {stamps}, \
             FOREIGN KEY (company_id) REFERENCES companies (id) ON DELETE CASCADE){tail}"
        ),
        format!(
            "CREATE TABLE appointments (id {key}, company_id {reference} NOT NULL, branch_id {uuid} NULL, \
             staff_id {uuid} NULL, calcom_v2_booking_id VARCHAR(255){folding} NULL, \
             calcom_v2_booking_uid VARCHAR(50){folding} NULL, calcom_booking_id BIGINT NULL, \
             starts_at {moment} NULL, status VARCHAR(32) NOT NULL DEFAULT 'confirmed', \
             assignment_model_used VARCHAR(32) NULL, metadata {long} NULL, {stamps}, \
             FOREIGN KEY (staff_id) REFERENCES staff (id) ON DELETE SET NULL){tail}"
        ),
        "CREATE INDEX appointments_booking_uid_index ON appointments (calcom_v2_booking_uid)".into(),
    ]
}
