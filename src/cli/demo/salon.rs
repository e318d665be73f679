//! Creates the salon's database. Its rows are in `salon.sql`.

use sea_orm::ConnectionTrait as _;

use crate::cli::failure::Failure;
use crate::config::Config;
use crate::store::{Database, StoreError};

/// The id of the salon, the company of the demo.
pub(super) const SALON: i64 = 1;

/// Creates the gateway's tables, hostmatch's tables, and the rows of the salon.
///
/// # Errors
/// Fails if the database file cannot be used.
pub(super) async fn open(config: &Config) -> Result<Database, Failure> {
    let database = Database::connect(&config.database).await?;
    migration::baseline(database.connection()).await?;
    migration::up(database.connection()).await?;
    execute(&database, include_str!("salon.sql")).await?;
    Ok(database)
}

/// Inserts one more appointment of the salon, as the gateway does when its transaction commits late.
///
/// # Errors
/// Fails if the database refuses the row.
pub(super) async fn add_appointment(database: &Database, booking: &str) -> Result<(), Failure> {
    let sql = format!(
        "INSERT INTO appointments (company_id, calcom_v2_booking_id, starts_at) \
         VALUES ({SALON}, '{booking}', datetime('now', '+3 days', 'start of day', '+9 hours'))"
    );
    execute(database, &sql).await
}

async fn execute(database: &Database, sql: &str) -> Result<(), Failure> {
    database.connection().execute_unprepared(sql).await.map_err(StoreError::from)?;
    Ok(())
}
