//! What has come to stand in the way while it was being adopted: the gateway goes on writing between
//! the check and the statement that makes its rows impossible.

use sea_orm_migration::sea_orm::{ConnectionTrait, DbErr};

use super::existing::ExistingTable;
use super::obstacles::{of_audits, of_mappings};
use super::{audits, mappings};
use crate::dialect::Dialect;
use crate::examination::Obstacle;
use crate::gateway::Columns;

/// The rows that our constraints cannot take, in tables that may be half adopted.
///
/// # Errors
/// The database's own.
pub(crate) async fn in_the_way<C: ConnectionTrait>(connection: &C) -> Result<Vec<Obstacle>, DbErr> {
    let columns = Columns::read(connection).await?;
    let d = Dialect::of(&columns);
    let mut obstacles = Vec::new();
    if columns.has_table(mappings::TABLE) {
        let found = ExistingTable::read(connection, mappings::TABLE).await?;
        obstacles.extend(of_mappings(connection, &found, &columns, &d).await?);
    }
    if columns.has_table(audits::TABLE) {
        obstacles.extend(of_audits(connection, columns.has_table(mappings::TABLE), &d).await?);
    }
    Ok(obstacles)
}
