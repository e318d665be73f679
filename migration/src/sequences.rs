//! PostgreSQL counts ids by a sequence beside the table. Rows that are inserted with their ids, as by an import,
//! do not move it: the next id is then one that is taken. The other engines look at the rows themselves.

use sea_orm_migration::sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, DbErr, Statement};

use crate::error::{MigrateError, is_denied};
use crate::examination::Lagging;
use crate::names::TABLES;
use crate::session::Session;

/// The sequences of our tables that lag behind the ids that are there, as far as this user may see it.
///
/// # Errors
/// The database's own.
pub async fn lagging<C: ConnectionTrait>(connection: &C) -> Result<Vec<Lagging>, DbErr> {
    let backend = connection.get_database_backend();
    if backend != DbBackend::Postgres {
        return Ok(Vec::new());
    }
    let rows = |sql: String| connection.query_all_raw(Statement::from_string(backend, sql));
    let mut lagging = Vec::new();
    let names = TABLES.map(|table| format!("'{table}'")).join(", ");
    for row in rows(SEQUENCES.replace("{names}", &names)).await? {
        let (table, sequence): (String, String) = (row.try_get("", "tab")?, row.try_get("", "seq")?);
        // Who may use it but not read it is told only of one that has been used.
        let last = if row.try_get("", "is_readable")? {
            let sql = format!("SELECT last_value - (NOT is_called)::int AS last FROM {sequence}");
            rows(sql).await?.first().map(|row| row.try_get("", "last")).transpose()?
        } else {
            row.try_get::<Option<i64>>("", "last")?
        };
        let newest = rows(format!("SELECT max(id)::bigint AS newest FROM {table}")).await?;
        let newest: Option<i64> = newest.first().map_or(Ok(None), |row| row.try_get("", "newest"))?;
        if let (Some(last), Some(newest)) = (last, newest)
            && last < newest
        {
            lagging.push(Lagging { table, sequence, last, newest });
        }
    }
    Ok(lagging)
}

/// Sets these sequences to the newest ids, after a run that has `made` these migrations.
pub(crate) async fn reset(
    connection: &DatabaseConnection,
    lagging: &[Lagging],
    made: &[String],
) -> Result<(), MigrateError> {
    if lagging.is_empty() {
        return Ok(());
    }
    let failed = |source| MigrateError::of("setting a sequence", source);
    let session = Session::open(connection).await.map_err(failed)?;
    for one in lagging {
        session.run(&one.reset()).await.map_err(|source| match is_denied(&source) {
            true => MigrateError::Sequences { made: made.to_vec(), lagging: lagging.to_vec() },
            false => failed(source),
        })?;
    }
    session.commit().await.map_err(failed)
}

/// Of an identity, of a `serial`, or named in the default alone.
const SEQUENCES: &str = "SELECT c.oid::regclass::text AS tab, s.oid::regclass::text AS seq, \
     has_sequence_privilege(s.oid, 'SELECT') AS is_readable, q.last_value AS last \
     FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'id' AND NOT a.attisdropped \
     LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum \
     JOIN pg_class s ON s.relkind = 'S' AND s.oid = COALESCE(\
     pg_get_serial_sequence(c.oid::regclass::text, 'id'), \
     substring(pg_get_expr(d.adbin, d.adrelid) FROM 'nextval\\(''(.+)''::regclass\\)'))::regclass \
     JOIN pg_namespace n ON n.oid = s.relnamespace \
     LEFT JOIN pg_sequences q ON q.schemaname = n.nspname AND q.sequencename = s.relname \
     WHERE pg_table_is_visible(c.oid) AND c.relkind IN ('r', 'p') AND c.relname IN ({names}) \
     AND has_column_privilege(c.oid, a.attnum, 'SELECT') ORDER BY 1";
