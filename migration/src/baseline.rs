//! A minimal gateway: for demos, tests, and new installations without one.

use sea_orm_migration::sea_orm::{ConnectionTrait as _, DatabaseConnection, DbBackend, DbErr};

use crate::dialect::{Dialect, Table, big_key};
use crate::error::MigrateError;
use crate::gateway::{Column, Columns, GATEWAY_TABLES};

/// Makes a minimal set of the gateway's tables, with the key types of a Laravel application.
/// Gives the names of the tables.
///
/// # Errors
/// [`MigrateError::NotEmpty`] when any of them exists (nothing is changed then), and
/// [`MigrateError::Database`].
pub async fn baseline(connection: &DatabaseConnection) -> Result<Vec<&'static str>, MigrateError> {
    let failed = |source: DbErr| MigrateError::of("making the gateway's tables", source);
    let columns = Columns::read(connection).await.map_err(failed)?;
    let there: Vec<String> =
        GATEWAY_TABLES.iter().filter(|t| columns.has_table(t)).map(|&table| table.to_owned()).collect();
    if !there.is_empty() {
        return Err(MigrateError::NotEmpty(there));
    }
    for statement in baseline_sql(connection.get_database_backend()) {
        connection.execute_unprepared(&statement).await.map_err(failed)?;
    }
    Ok(GATEWAY_TABLES.to_vec())
}

/// The statements that [`baseline()`] runs.
pub fn baseline_sql(backend: DbBackend) -> Vec<String> {
    let dialect = Dialect::of(&Columns::assumed(backend, Vec::new()));
    GATEWAY_TABLES.iter().flat_map(|&name| table(name, &dialect).sql(&dialect)).collect()
}

/// What [`Columns::read`] would find of the keys after [`baseline()`].
pub(crate) fn assumed(backend: DbBackend) -> Columns {
    let key = |table: &&str| Column {
        table: (*table).to_owned(),
        name: "id".into(),
        data_type: big_key(backend).split(' ').next().unwrap_or_default().to_lowercase(),
        full_type: big_key(backend).into(),
        charset: None,
        collation: None,
        nullable: false,
    };
    Columns::assumed(backend, GATEWAY_TABLES.iter().map(key).collect())
}

fn table(name: &'static str, d: &Dialect) -> Table {
    let key = match d.backend {
        DbBackend::MySql => "BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY",
        _ => d.counting_key(),
    };
    let refers = |null: &str| format!("{} {null}", big_key(d.backend));
    let (required, optional) = (refers("NOT NULL"), refers("NULL"));
    let table = Table::new(name).folding().column("id", key);
    let table = match name {
        "companies" => table.column("name", "VARCHAR(255) NOT NULL"),
        "users" => table
            .column("company_id", &optional)
            .column("name", "VARCHAR(255) NOT NULL")
            .column("email", "VARCHAR(255) NOT NULL"),
        "branches" => table.column("company_id", &required).column("name", "VARCHAR(255) NOT NULL"),
        "services" => table
            .column("company_id", &required)
            .column("name", "VARCHAR(255) NOT NULL")
            .column("duration_minutes", "INT NULL"),
        "staff" => table
            .column("company_id", &required)
            .column("first_name", "VARCHAR(255) NOT NULL")
            .column("last_name", "VARCHAR(255) NOT NULL")
            .column("email", "VARCHAR(255) NULL")
            .column("is_active", "BOOLEAN NOT NULL DEFAULT TRUE"),
        "calls" => table.column("company_id", &optional).column("retell_call_id", "VARCHAR(255) NULL"),
        _ => table
            .column("company_id", &required)
            .column("branch_id", &optional)
            .column("service_id", &optional)
            .column("staff_id", &optional)
            .column("call_id", &optional)
            .column("calcom_v2_booking_id", "VARCHAR(255) NULL")
            .column("starts_at", &format!("{} NULL", local_moment(d.backend)))
            .column("ends_at", &format!("{} NULL", local_moment(d.backend)))
            .column("status", "VARCHAR(32) NOT NULL DEFAULT 'scheduled'"),
    };
    let moment = format!("{} NULL DEFAULT CURRENT_TIMESTAMP", laravel_moment(d.backend));
    let table = table.column("created_at", &moment).column("updated_at", &moment);
    match name {
        "branches" | "services" => table.foreign_key("company_id", "companies", "CASCADE"),
        "staff" => table
            .foreign_key("company_id", "companies", "CASCADE")
            .index("company_email_index", "company_id, email"),
        "calls" => table.unique("retell_call_id_unique", "retell_call_id"),
        "appointments" => table
            .foreign_key("company_id", "companies", "CASCADE")
            .foreign_key("staff_id", "staff", "SET NULL")
            .index("calcom_v2_booking_id_index", "calcom_v2_booking_id")
            .index("company_starts_index", "company_id, starts_at"),
        _ => table,
    }
}

/// What Laravel's `timestamp()` makes.
fn laravel_moment(backend: DbBackend) -> &'static str {
    if backend == DbBackend::Postgres { "TIMESTAMP(0)" } else { "TIMESTAMP" }
}

/// What Laravel's `dateTime()` makes.
fn local_moment(backend: DbBackend) -> &'static str {
    if backend == DbBackend::Postgres { "TIMESTAMP(0)" } else { "DATETIME" }
}
