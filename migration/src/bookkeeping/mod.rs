//! What is written down about migrations: which are applied (`hostmatch_migrations`), and, while something is
//! unfinished or adopted, their statements ([`journal`]).

pub(crate) mod journal;

use sea_orm_migration::sea_orm::sea_query::Alias;
use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend, DbErr, Schema};
use sea_orm_migration::seaql_migrations;

use crate::catalog::{relations, rows};
use crate::dialect::by_engine;
use crate::names::{BOOKKEEPING, JOURNAL};
use crate::session::Session;

/// The statement that makes the table.
pub(crate) fn create(backend: DbBackend) -> String {
    let mut table = Schema::new(backend).create_table_from_entity(seaql_migrations::Entity);
    table.table(Alias::new(BOOKKEEPING)).if_not_exists();
    backend.build(&table).sql
}

/// The statement that says that a migration is applied.
pub(crate) fn note(backend: DbBackend, migration: &str) -> String {
    let now =
        ["UNIX_TIMESTAMP()", "extract(epoch FROM now())::bigint", "CAST(strftime('%s', 'now') AS INTEGER)"];
    let now = by_engine(backend, now);
    format!("INSERT INTO {BOOKKEEPING} (version, applied_at) VALUES ('{migration}', {now})")
}

/// The statement after which it no longer is.
pub(crate) fn unnote(migration: &str) -> String {
    format!("DELETE FROM {BOOKKEEPING} WHERE version = '{migration}'")
}

/// The migrations that are applied, in order; nothing where there is no such table.
pub(crate) async fn noted<C: ConnectionTrait>(connection: &C) -> Result<Vec<String>, DbErr> {
    if relations(connection, &[BOOKKEEPING]).await?.is_empty() {
        return Ok(Vec::new());
    }
    let query = format!("SELECT version FROM {BOOKKEEPING} ORDER BY version");
    rows(connection, query).await?.iter().map(|row| row.try_get("", "version")).collect()
}

/// Removes the two tables when nothing is in them.
pub(crate) async fn tidy(session: &Session, journal_left: bool, applied_left: bool) -> Result<(), DbErr> {
    if !journal_left {
        session.run(&format!("DROP TABLE IF EXISTS {JOURNAL}")).await?;
        if !applied_left {
            session.run(&format!("DROP TABLE IF EXISTS {BOOKKEEPING}")).await?;
        }
    }
    Ok(())
}
