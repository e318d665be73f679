//! Whether the installation is set up right: the database's tables, rights and server, the broker's topology,
//! the configuration.
//!
//! It changes nothing, but for `topology::BrokerReader::make`.

pub(crate) mod health;
pub(crate) mod inspection;
pub(crate) mod privileges;
mod columns;
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

/// Names from our own lists, for an `IN (…)`.
fn quoted(names: impl IntoIterator<Item = &'static str>) -> String {
    names.into_iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ")
}
