//! Creates a minimal gateway, for demos, tests and new installations without one.

use sea_orm_migration::schema::{boolean, integer_null, string_len, string_len_null};
use sea_orm_migration::sea_orm::sea_query::{Expr, ForeignKeyAction};
use sea_orm_migration::sea_orm::{ConnectionTrait as _, DatabaseConnection, DbBackend, DbErr};

use crate::definition::{Definition, counting_key, typed};
use crate::dialect::big_key;
use crate::error::MigrateError;
use crate::gateway::{Column, Columns, GATEWAY_TABLES};

/// Creates a minimal set of the gateway's tables, with the key types of a Laravel application. Returns the
/// names of the tables.
///
/// # Errors
/// Returns [`MigrateError::NotEmpty`] if any of them exists (then nothing is changed), or
/// [`MigrateError::Database`].
pub async fn baseline(connection: &DatabaseConnection) -> Result<Vec<&'static str>, MigrateError> {
    let failed = |source: DbErr| MigrateError::of("creating the gateway's tables", source);
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

/// Returns the statements that [`baseline()`] runs.
pub fn baseline_sql(backend: DbBackend) -> Vec<String> {
    GATEWAY_TABLES.iter().flat_map(|name| table(name, backend).statements(backend)).collect()
}

/// Returns the key columns that [`Columns::read`] would find after [`baseline()`].
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

fn table(name: &'static str, backend: DbBackend) -> Definition {
    let refers = |name| typed(name, big_key(backend));
    // The type of Laravel's `dateTime()`.
    let local = |name| typed(name, if backend == DbBackend::Postgres { "TIMESTAMP(0)" } else { "DATETIME" });
    let key = match backend {
        DbBackend::MySql => typed("id", "BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY"),
        _ => counting_key("id"),
    };
    let table = Definition::new(name).gateway_collation().column(key);
    let of_company = |table: Definition| {
        let table = table.column(refers("company_id").not_null());
        table.foreign_key("company_id", "companies", ForeignKeyAction::Cascade)
    };
    let table = match name {
        "companies" => table.column(string_len("name", 255)),
        "users" => table
            .column(refers("company_id").null())
            .columns([string_len("name", 255), string_len("email", 255)]),
        "branches" => of_company(table).column(string_len("name", 255)),
        "services" => of_company(table).columns([string_len("name", 255), integer_null("duration_minutes")]),
        "staff" => of_company(table)
            .columns([
                string_len("first_name", 255),
                string_len("last_name", 255),
                string_len_null("email", 255),
            ])
            .column(boolean("is_active").default(true))
            .index("company_email_index", &["company_id", "email"]),
        "calls" => table
            .column(refers("company_id").null())
            .column(string_len_null("retell_call_id", 255))
            .unique("retell_call_id_unique", &["retell_call_id"]),
        _ => of_company(table)
            .column(refers("branch_id").null())
            .column(refers("service_id").null())
            .column(refers("staff_id").null())
            .column(refers("call_id").null())
            .column(string_len_null("calcom_v2_booking_id", 255))
            .column(local("starts_at").null())
            .column(local("ends_at").null())
            .column(string_len("status", 32).default("scheduled"))
            .foreign_key("staff_id", "staff", ForeignKeyAction::SetNull)
            .index("calcom_v2_booking_id_index", &["calcom_v2_booking_id"])
            .index("company_starts_index", &["company_id", "starts_at"]),
    };
    // The type of Laravel's `timestamp()`.
    let moment = if backend == DbBackend::Postgres { "TIMESTAMP(0)" } else { "TIMESTAMP" };
    ["created_at", "updated_at"].into_iter().fold(table, |table, name| {
        table.column(typed(name, moment).null().default(Expr::current_timestamp()))
    })
}
