//! Finds and sets PostgreSQL sequences that lag behind the ids of their tables. An import that inserts rows
//! with their ids does not move the sequence, so the next id is already in use. The other engines take the
//! next id from the rows themselves.

use sea_orm_migration::sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, DbErr};

use crate::catalog::rows;
use crate::error::{MigrateError, is_denied};
use crate::names::{TABLES, quoted};
use crate::session::Session;

/// A PostgreSQL sequence whose next ids are already in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lagging {
    /// The table that it numbers.
    pub table: String,
    /// Its name.
    pub sequence: String,
    /// The last id that it returned.
    pub last: i64,
    /// The highest id in the table.
    pub newest: i64,
}

impl Lagging {
    /// Returns the statement that sets it. It locks the table against inserts, so the sequence never moves
    /// back.
    pub(crate) fn reset(&self) -> String {
        let Self { table, sequence, .. } = self;
        let literal = sequence.replace('\'', "''");
        format!(
            "DO $$ BEGIN LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE; PERFORM setval('{literal}', \
             GREATEST((SELECT max(id) FROM {table})::bigint, (SELECT last_value FROM {sequence}))); END $$"
        )
    }
}

impl std::fmt::Display for Lagging {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { table, sequence, last, newest } = self;
        write!(
            f,
            "the sequence {sequence} is at {last}, and {table} has an id {newest}: the next rows are refused"
        )
    }
}

/// Returns the sequences of our tables that lag behind their ids, as far as this user may see them.
pub async fn lagging<C: ConnectionTrait>(connection: &C) -> Result<Vec<Lagging>, DbErr> {
    if connection.get_database_backend() != DbBackend::Postgres {
        return Ok(Vec::new());
    }
    let mut lagging = Vec::new();
    for row in rows(connection, SEQUENCES.replace("{names}", &quoted(TABLES))).await? {
        let (table, sequence): (String, String) = (row.try_get("", "tab")?, row.try_get("", "seq")?);
        // A user who may use the sequence but not read it sees the last value only after a first use.
        let last = if row.try_get("", "is_readable")? {
            let sql = format!("SELECT last_value - (NOT is_called)::int AS last FROM {sequence}");
            rows(connection, sql).await?.first().map(|row| row.try_get("", "last")).transpose()?
        } else {
            row.try_get::<Option<i64>>("", "last")?
        };
        let newest = rows(connection, format!("SELECT max(id)::bigint AS newest FROM {table}")).await?;
        let newest: Option<i64> = newest.first().map_or(Ok(None), |row| row.try_get("", "newest"))?;
        if let (Some(last), Some(newest)) = (last, newest)
            && last < newest
        {
            lagging.push(Lagging { table, sequence, last, newest });
        }
    }
    Ok(lagging)
}

/// Sets these sequences to the highest ids, after a run that applied the migrations `made`.
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

/// Finds the sequence of an identity column, of a `serial`, or one that only the default names.
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
