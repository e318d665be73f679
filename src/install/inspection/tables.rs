//! The tables: how large, of what kind, with which triggers and which of the columns that we use.

use std::collections::HashMap;

use migration::gateway::{Column, Columns, GATEWAY_TABLES};
use migration::{Granted, TABLES};
use sea_orm::{DbBackend, FromQueryResult, QueryResult};
use serde::Serialize;

use super::data::{Counted, count};
use super::{all, quoted};
use crate::install::columns::{KNOWN, Known};
use crate::store::{Database, DbId, StoreError};

/// Rows are counted up to here; for more, the engine is asked for its estimate.
const MOST_COUNTED: i64 = 100_000;

/// MySQL's limit of indexes of one table.
const MYSQL_KEYS: i64 = 64;

/// A table that is there.
#[derive(Clone, Debug, Serialize)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// `gateway` or `hostmatch`.
    pub of: &'static str,
    /// How many rows; none when this user may not read them.
    pub rows: Option<Rows>,
    /// MySQL's storage engine.
    pub engine: Option<String>,
    /// MySQL's default collation of the table.
    pub collation: Option<String>,
    /// Indexes, the primary key included.
    pub keys: Option<i64>,
    /// How many it may have; none without a limit.
    pub key_limit: Option<i64>,
    /// What else happens when it is written to; none when this user may not see that.
    pub triggers: Option<Vec<Trigger>>,
    /// The columns that we use or look at; of our own tables, all.
    pub columns: Vec<ColumnFacts>,
}

/// A number of rows.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Rows {
    /// How many.
    pub count: i64,
    /// Counted; else the engine's estimate.
    pub exact: bool,
}

/// A trigger.
#[derive(Clone, Debug, Serialize)]
pub struct Trigger {
    /// Its name.
    pub name: String,
    /// `INSERT`, `UPDATE`, `DELETE`, or several.
    pub event: String,
    /// `BEFORE` or `AFTER`.
    pub timing: String,
    /// With whose rights it runs: `definer`, or `writer`: whoever writes to the table.
    pub rights: &'static str,
}

/// A column.
#[derive(Clone, Debug, Serialize)]
pub struct ColumnFacts {
    /// Its name.
    pub name: String,
    /// Its type, in the engine's words.
    #[serde(rename = "type")]
    pub full_type: String,
    /// Its collation, of text.
    pub collation: Option<String>,
    /// It may be NULL.
    pub nullable: bool,
    /// What for; none of our own.
    pub used_for: Option<&'static str>,
}

/// What a catalogue says of a table.
#[derive(FromQueryResult)]
struct Listed {
    name: String,
    engine: Option<String>,
    coll: Option<String>,
    estimate: DbId,
    indexes: Option<DbId>,
}

/// Reads what there is to know of all of them.
pub(super) async fn inspect(database: &Database, columns: &Columns) -> Result<Vec<Table>, StoreError> {
    let names = quoted(GATEWAY_TABLES.into_iter().chain(TABLES));
    let sql = match database.backend() {
        DbBackend::MySql => MYSQL,
        DbBackend::Postgres => POSTGRES,
        _ => SQLITE,
    };
    let rows = all(database, sql.replace("{names}", &names)).await?;
    let mut triggers = triggers(database, &names).await?;
    let granted = match database.backend() {
        DbBackend::MySql => Some(Granted::read(database.connection()).await?),
        _ => None,
    };
    let indexes = indexes(database, &names).await?;
    let mut tables = Vec::new();
    for row in rows {
        let Listed { name, engine, coll: collation, estimate, indexes: keys } =
            Listed::from_query_result(&row, "")?;
        // MySQL shows triggers to whoever might change them.
        let sees_triggers = granted.as_ref().is_none_or(|granted| granted.any(&["TRIGGER"], &name));
        let here = triggers.extract_if(.., |(table, _)| *table == name).map(|(_, trigger)| trigger);
        let here: Vec<Trigger> = here.collect();
        tables.push(Table {
            of: if TABLES.contains(&name.as_str()) { "hostmatch" } else { "gateway" },
            rows: rows_of(database, &name, estimate.0).await?,
            engine,
            collation,
            keys: match database.backend() {
                DbBackend::MySql => Some(indexes.get(&name).copied().unwrap_or(0)),
                _ => keys.map(|keys| keys.0),
            },
            key_limit: (database.backend() == DbBackend::MySql).then_some(MYSQL_KEYS),
            triggers: sees_triggers.then_some(here),
            columns: columns.in_table(&name).filter_map(facts).collect(),
            name,
        });
    }
    let place = |table: &Table| {
        GATEWAY_TABLES.iter().chain(TABLES.iter()).position(|name| *name == table.name).unwrap_or_default()
    };
    tables.sort_by_key(place);
    Ok(tables)
}

fn facts(column: &Column) -> Option<ColumnFacts> {
    let is_it = |known: &&Known| known.0 == column.table && known.1 == column.name && !known.2.is_empty();
    let known = KNOWN.iter().find(is_it);
    if known.is_none() && !TABLES.contains(&column.table.as_str()) {
        return None;
    }
    Some(ColumnFacts {
        name: column.name.clone(),
        full_type: column.full_type.clone(),
        collation: column.collation.clone(),
        nullable: column.nullable,
        used_for: known.map(|known| known.2),
    })
}

/// The name comes from our own list.
async fn rows_of(database: &Database, table: &str, estimate: i64) -> Result<Option<Rows>, StoreError> {
    let sql = format!(
        "SELECT COUNT(*) AS n FROM (SELECT 1 AS one FROM {table} LIMIT {}) AS counted",
        MOST_COUNTED + 1
    );
    Ok(match count(database, &sql).await? {
        Counted::Number(count) if count <= MOST_COUNTED => Some(Rows { count, exact: true }),
        // The estimate may be older than the last analysis of the table.
        Counted::Number(count) => Some(Rows { count: estimate.max(count), exact: false }),
        Counted::TooSlow => Some(Rows { count: estimate, exact: false }),
        Counted::NotAllowed => None,
    })
}

/// On MySQL, how many indexes each table has.
async fn indexes(database: &Database, names: &str) -> Result<HashMap<String, i64>, StoreError> {
    if database.backend() != DbBackend::MySql {
        return Ok(HashMap::new());
    }
    let rows = all(database, MYSQL_INDEXES.replace("{names}", names)).await?;
    let pair = |row: &QueryResult| Ok((row.try_get_by_index(0)?, row.try_get_by_index::<DbId>(1)?.0));
    rows.iter().map(pair).collect()
}

async fn triggers(database: &Database, names: &str) -> Result<Vec<(String, Trigger)>, StoreError> {
    let sql = match database.backend() {
        DbBackend::MySql => MYSQL_TRIGGERS,
        DbBackend::Postgres => POSTGRES_TRIGGERS,
        _ => SQLITE_TRIGGERS,
    };
    let rows = all(database, sql.replace("{names}", names)).await?;
    rows.iter().map(|row| trigger(row, database.backend())).collect()
}

/// What a catalogue says of a trigger.
#[derive(FromQueryResult)]
struct ListedTrigger {
    tab: String,
    name: String,
    event: String,
    timing: String,
    writer: DbId,
}

fn trigger(row: &QueryResult, backend: DbBackend) -> Result<(String, Trigger), StoreError> {
    let ListedTrigger { tab, name, mut event, mut timing, writer } =
        ListedTrigger::from_query_result(row, "")?;
    if backend == DbBackend::Sqlite {
        // There it is the statement that made it; the first of these words tell.
        let words: Vec<String> = event.split_whitespace().map(str::to_ascii_uppercase).collect();
        let of = |kinds: &[&str]| words.iter().find(|word| kinds.contains(&word.as_str())).cloned();
        timing = of(&["BEFORE", "AFTER", "INSTEAD"]).unwrap_or_else(|| "BEFORE".into());
        event = of(&["INSERT", "UPDATE", "DELETE"]).unwrap_or_default();
    }
    let rights = if writer.0 == 1 { "writer" } else { "definer" };
    Ok((tab, Trigger { name, event, timing, rights }))
}

// One catalogue table at a time, each with a constant name to look for: a subquery of one in the other
// makes the server open every table of every database.
const MYSQL: &str = "SELECT CAST(table_name AS CHAR) AS name, CAST(engine AS CHAR) AS engine, \
     CAST(table_collation AS CHAR) AS coll, CAST(COALESCE(table_rows, 0) AS SIGNED) AS estimate, \
     NULL AS indexes FROM information_schema.tables \
     WHERE table_schema = DATABASE() AND table_name IN ({names})";

const MYSQL_INDEXES: &str = "SELECT CAST(table_name AS CHAR) AS name, \
     CAST(COUNT(DISTINCT index_name) AS SIGNED) AS indexes FROM information_schema.statistics \
     WHERE table_schema = DATABASE() AND table_name IN ({names}) GROUP BY table_name";

const POSTGRES: &str = "SELECT c.relname::text AS name, NULL::text AS engine, NULL::text AS coll, \
     GREATEST(c.reltuples, 0)::bigint AS estimate, \
     (SELECT count(*) FROM pg_index i WHERE i.indrelid = c.oid) AS indexes \
     FROM pg_class c WHERE pg_table_is_visible(c.oid) AND c.relkind IN ('r', 'p') AND c.relname IN ({names})";

const SQLITE: &str = "SELECT m.name AS name, NULL AS engine, NULL AS coll, 0 AS estimate, \
     (SELECT COUNT(*) FROM pragma_index_list(m.name)) AS indexes \
     FROM sqlite_master m WHERE m.type = 'table' AND m.name IN ({names})";

const MYSQL_TRIGGERS: &str = "SELECT CAST(event_object_table AS CHAR) AS tab, \
     CAST(trigger_name AS CHAR) AS name, CAST(event_manipulation AS CHAR) AS event, \
     CAST(action_timing AS CHAR) AS timing, 0 AS writer FROM information_schema.triggers \
     WHERE event_object_schema = DATABASE() AND event_object_table IN ({names}) ORDER BY 1, 2";

const POSTGRES_TRIGGERS: &str = "SELECT c.relname::text AS tab, t.tgname::text AS name, \
     concat_ws(' or ', CASE WHEN t.tgtype & 4 <> 0 THEN 'INSERT' END, CASE WHEN t.tgtype & 16 <> 0 THEN 'UPDATE' END, \
     CASE WHEN t.tgtype & 8 <> 0 THEN 'DELETE' END, CASE WHEN t.tgtype & 32 <> 0 THEN 'TRUNCATE' END) AS event, \
     CASE WHEN t.tgtype & 2 <> 0 THEN 'BEFORE' ELSE 'AFTER' END AS timing, \
     CASE WHEN p.prosecdef THEN 0 ELSE 1 END AS writer \
     FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_proc p ON p.oid = t.tgfoid \
     WHERE NOT t.tgisinternal AND pg_table_is_visible(c.oid) AND c.relname IN ({names}) ORDER BY 1, 2";

const SQLITE_TRIGGERS: &str = "SELECT tbl_name AS tab, name, substr(sql, instr(sql, name) + length(name)) AS event, \
     '' AS timing, 0 AS writer FROM sqlite_master WHERE type = 'trigger' AND tbl_name IN ({names}) ORDER BY 1, 2";
