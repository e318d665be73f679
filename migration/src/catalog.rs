//! Queries the database's catalogue, and finds which of our names are taken.

use sea_orm_migration::sea_orm::{ConnectionTrait, DbErr, QueryResult, Statement};

use crate::dialect::by_engine;
use crate::names::quoted;

/// Returns all rows of a query without parameters.
pub(crate) async fn rows<C: ConnectionTrait>(
    connection: &C,
    sql: impl Into<String>,
) -> Result<Vec<QueryResult>, DbErr> {
    connection.query_all_raw(Statement::from_string(connection.get_database_backend(), sql)).await
}

/// Returns the number that a query selects.
pub(crate) async fn number<C: ConnectionTrait>(connection: &C, sql: &str) -> Result<i64, DbErr> {
    rows(connection, sql).await?.first().map_or(Ok(0), |row| row.try_get_by_index(0))
}

/// Returns those of these names that exist, and whether each is a transactional table that a foreign key can
/// reference (not a view, a sequence or a table of an engine without transactions).
pub(crate) async fn relations<C: ConnectionTrait>(
    connection: &C,
    names: &[impl AsRef<str>],
) -> Result<Vec<(String, bool)>, DbErr> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let sql = by_engine(connection.get_database_backend(), [MYSQL, POSTGRES, SQLITE]);
    let found = rows(connection, sql.replace("{names}", &quoted(names.iter().map(AsRef::as_ref)))).await?;
    found.iter().map(|row| Ok((row.try_get_by_index(0)?, row.try_get_by_index::<i64>(1)? != 0))).collect()
}

const MYSQL: &str = "SELECT CAST(table_name AS CHAR) AS name, \
     CAST(table_type = 'BASE TABLE' AND COALESCE(engine, '') = 'InnoDB' AS SIGNED) AS is_table \
     FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name IN ({names}) ORDER BY 1";

const POSTGRES: &str = "SELECT c.relname::text AS name, \
     (c.relkind IN ('r', 'p'))::int::bigint AS is_table FROM pg_class c \
     WHERE pg_table_is_visible(c.oid) AND c.relname IN ({names}) ORDER BY 1";

const SQLITE: &str = "SELECT name, type = 'table' AS is_table FROM sqlite_master \
     WHERE name IN ({names}) ORDER BY 1";
