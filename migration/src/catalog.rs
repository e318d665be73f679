//! What stands in the database's catalogue under the names that we want.

use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};

/// What stands under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Relation {
    /// A table that can be referred to and rolled back.
    Table,
    /// A view, a sequence, a table of an engine without transactions.
    Other,
}
/// What stands under these names, of those that are there.
pub(crate) async fn relations<C: ConnectionTrait>(
    connection: &C,
    names: &[impl AsRef<str>],
) -> Result<Vec<(String, Relation)>, DbErr> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let backend = connection.get_database_backend();
    let sql = match backend {
        DbBackend::MySql => MYSQL_RELATIONS,
        DbBackend::Postgres => POSTGRES_RELATIONS,
        _ => SQLITE_RELATIONS,
    };
    let names = names.iter().map(|name| format!("'{}'", name.as_ref())).collect::<Vec<_>>().join(", ");
    let query = Statement::from_string(backend, sql.replace("{names}", &names));
    let mut relations = Vec::new();
    for row in connection.query_all_raw(query).await? {
        let is_table = row.try_get::<i64>("", "is_table")? != 0;
        relations.push((row.try_get("", "name")?, if is_table { Relation::Table } else { Relation::Other }));
    }
    Ok(relations)
}

const MYSQL_RELATIONS: &str = "SELECT CAST(table_name AS CHAR) AS name, \
     CAST(table_type = 'BASE TABLE' AND COALESCE(engine, '') = 'InnoDB' AS SIGNED) AS is_table \
     FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name IN ({names}) ORDER BY 1";

const POSTGRES_RELATIONS: &str = "SELECT c.relname::text AS name, \
     (c.relkind IN ('r', 'p'))::int::bigint AS is_table FROM pg_class c \
     WHERE pg_table_is_visible(c.oid) AND c.relname IN ({names}) ORDER BY 1";

const SQLITE_RELATIONS: &str = "SELECT name, type = 'table' AS is_table FROM sqlite_master \
     WHERE name IN ({names}) ORDER BY 1";
