//! The gateway's database, for commands that look into it and end.

use super::failure::Failure;
use crate::config::Config;
use crate::store::{Database, GatewaySchema};

/// Connects once, without waiting for a server that is away, and looks at the tables.
///
/// # Errors
/// When the database cannot be reached, or its tables are not as they must be.
pub(super) async fn open(config: &Config) -> Result<(Database, GatewaySchema), Failure> {
    let database = Database::connect(&config.database).await?;
    match database.in_time(GatewaySchema::read(&database, &config.gateway)).await {
        Ok(schema) => Ok((database, schema)),
        Err(error) => {
            database.close().await;
            Err(error.into())
        }
    }
}
