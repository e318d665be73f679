//! Records which migrations are applied (`hostmatch_migrations`), and the statements of unfinished or adopted
//! ones ([`journal`]).

pub(crate) mod journal;

use sea_orm_migration::sea_orm::sea_query::Alias;
use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend, DbErr, Schema};
use sea_orm_migration::seaql_migrations;

use crate::catalog::{relations, rows};
use crate::dialect::by_engine;
use crate::names::{BOOKKEEPING, JOURNAL};
use crate::session::Session;

/// Returns the statement that creates the table.
pub(crate) fn create(backend: DbBackend) -> String {
    let mut table = Schema::new(backend).create_table_from_entity(seaql_migrations::Entity);
    table.table(Alias::new(BOOKKEEPING)).if_not_exists();
    backend.build(&table).sql
}

/// Returns the statement that records a migration as applied.
pub(crate) fn insert_applied(backend: DbBackend, migration: &str) -> String {
    let now =
        ["UNIX_TIMESTAMP()", "extract(epoch FROM now())::bigint", "CAST(strftime('%s', 'now') AS INTEGER)"];
    let now = by_engine(backend, now);
    format!("INSERT INTO {BOOKKEEPING} (version, applied_at) VALUES ('{migration}', {now})")
}

/// Returns the statement that removes the record of an applied migration.
pub(crate) fn delete_applied(migration: &str) -> String {
    format!("DELETE FROM {BOOKKEEPING} WHERE version = '{migration}'")
}

/// Returns the applied migrations, in order; none if the table does not exist.
pub(crate) async fn read_applied<C: ConnectionTrait>(connection: &C) -> Result<Vec<String>, DbErr> {
    if relations(connection, &[BOOKKEEPING]).await?.is_empty() {
        return Ok(Vec::new());
    }
    let query = format!("SELECT version FROM {BOOKKEEPING} ORDER BY version");
    rows(connection, query).await?.iter().map(|row| row.try_get("", "version")).collect()
}

/// Drops those of the two tables that are empty.
pub(crate) async fn drop_empty_tables(
    session: &Session,
    journal_left: bool,
    applied_left: bool,
) -> Result<(), DbErr> {
    if !journal_left {
        session.run(&format!("DROP TABLE IF EXISTS {JOURNAL}")).await?;
        if !applied_left {
            session.run(&format!("DROP TABLE IF EXISTS {BOOKKEEPING}")).await?;
        }
    }
    Ok(())
}
