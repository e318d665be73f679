//! Reads facts about the tables: their sizes, engines and triggers, and the columns that we use.

use std::collections::HashMap;

use migration::gateway::{Column, Columns, GATEWAY_TABLES};
use migration::names::quoted;
use migration::{Granted, TABLES, by_engine};
use sea_orm::{DbBackend, FromQueryResult};
use serde::Serialize;

use super::data::{Counted, count};
use super::query_all;
use crate::install::GATEWAY_COLUMNS;
use crate::store::{Database, DbId, StoreError};

/// Rows are counted up to this number; beyond it, the engine's estimate is used.
const MAX_COUNTED: i64 = 100_000;

/// The maximum number of indexes per table on MySQL.
const MYSQL_MAX_KEYS: i64 = 64;

#[derive(Clone, Debug, Serialize, FromQueryResult)]
pub(crate) struct Table {
    pub(crate) name: String,
    /// `gateway` or `hostmatch`.
    #[sea_orm(skip)]
    pub(crate) of: &'static str,
    /// The number of rows; `None` if this user may not read them.
    #[sea_orm(skip)]
    pub(crate) rows: Option<Rows>,
    pub(crate) engine: Option<String>,
    /// MySQL's default collation of the table.
    #[sea_orm(from_alias = "coll")]
    pub(crate) collation: Option<String>,
    /// Indexes, including the primary key.
    #[sea_orm(from_alias = "indexes")]
    pub(crate) keys: Option<i64>,
    /// The maximum number of indexes; `None` if there is no limit.
    #[sea_orm(skip)]
    pub(crate) key_limit: Option<i64>,
    /// The triggers on writes to the table; `None` if this user may not see them.
    #[sea_orm(skip)]
    pub(crate) triggers: Option<Vec<Trigger>>,
    /// The columns that we use or inspect; for our own tables, all columns.
    #[sea_orm(skip)]
    pub(crate) columns: Vec<ColumnFacts>,
    #[serde(skip)]
    estimate: i64,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Rows {
    pub(crate) count: i64,
    /// Whether the rows were counted; otherwise the number is the engine's estimate.
    pub(crate) exact: bool,
}

#[derive(Clone, Debug, Serialize, FromQueryResult)]
pub(crate) struct Trigger {
    #[serde(skip)]
    #[sea_orm(from_alias = "tab")]
    table: String,
    pub(crate) name: String,
    /// `INSERT`, `UPDATE`, `DELETE`, or several of these.
    pub(crate) event: String,
    pub(crate) timing: String,
    /// The user with whose privileges it runs: `definer`, or `writer`, the user that writes to the table.
    pub(crate) rights: String,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct ColumnFacts {
    #[serde(flatten)]
    pub(crate) column: Column,
    pub(crate) used_for: Option<&'static str>,
}

pub(super) async fn inspect(database: &Database, columns: &Columns) -> Result<Vec<Table>, StoreError> {
    let names = quoted(GATEWAY_TABLES.into_iter().chain(TABLES));
    let sql = by_engine(database.backend(), [MYSQL, POSTGRES, SQLITE]);
    let rows = query_all(database, sql.replace("{names}", &names)).await?;
    let mut triggers = triggers(database, &names).await?;
    let granted = match database.backend() {
        DbBackend::MySql => Some(Granted::read(database.connection()).await?),
        _ => None,
    };
    let indexes = indexes(database, &names).await?;
    let mut tables = Vec::new();
    for row in rows {
        let mut table = Table::from_query_result(&row, "")?;
        let name = &table.name;
        table.of = if TABLES.contains(&name.as_str()) { "hostmatch" } else { "gateway" };
        table.rows = count_rows(database, name, table.estimate).await?;
        if database.backend() == DbBackend::MySql {
            table.keys = Some(indexes.get(name).copied().unwrap_or(0));
            table.key_limit = Some(MYSQL_MAX_KEYS);
        }
        table.columns = columns.in_table(name).filter_map(column_facts).collect();
        // MySQL shows triggers only to users who may change them.
        let sees_triggers = granted.as_ref().is_none_or(|granted| granted.any(&["TRIGGER"], name));
        let own_triggers = triggers.extract_if(.., |trigger| trigger.table == *name).collect();
        table.triggers = sees_triggers.then_some(own_triggers);
        tables.push(table);
    }
    tables.sort_by_key(|table| GATEWAY_TABLES.iter().chain(&TABLES).position(|name| *name == table.name));
    Ok(tables)
}

fn column_facts(column: &Column) -> Option<ColumnFacts> {
    let mut known =
        GATEWAY_COLUMNS.iter().filter(|(table, name, ..)| *table == column.table && *name == column.name);
    let used_for = known.next().map(|known| known.2).filter(|used_for| !used_for.is_empty());
    if used_for.is_none() && !TABLES.contains(&column.table.as_str()) {
        return None;
    }
    Some(ColumnFacts { column: column.clone(), used_for })
}

/// Returns the number of rows. The table's name comes from our own list, so it needs no quoting.
async fn count_rows(database: &Database, table: &str, estimate: i64) -> Result<Option<Rows>, StoreError> {
    let limit = MAX_COUNTED + 1;
    let sql = format!("SELECT COUNT(*) AS n FROM (SELECT 1 AS one FROM {table} LIMIT {limit}) AS counted");
    Ok(match count(database, &sql).await? {
        Counted::Number(count) if count <= MAX_COUNTED => Some(Rows { count, exact: true }),
        // The estimate may be older than the last analysis of the table.
        Counted::Number(count) => Some(Rows { count: estimate.max(count), exact: false }),
        Counted::TooSlow => Some(Rows { count: estimate, exact: false }),
        Counted::NotAllowed => None,
    })
}

/// Returns the number of indexes of each table, on MySQL.
async fn indexes(database: &Database, names: &str) -> Result<HashMap<String, i64>, StoreError> {
    if database.backend() != DbBackend::MySql {
        return Ok(HashMap::new());
    }
    let rows = query_all(database, MYSQL_INDEXES.replace("{names}", names)).await?;
    rows.iter().map(|row| Ok((row.try_get_by_index(0)?, row.try_get_by_index::<DbId>(1)?.0))).collect()
}

async fn triggers(database: &Database, names: &str) -> Result<Vec<Trigger>, StoreError> {
    let sql = by_engine(database.backend(), [MYSQL_TRIGGERS, POSTGRES_TRIGGERS, SQLITE_TRIGGERS]);
    let mut triggers = Vec::new();
    for row in query_all(database, sql.replace("{names}", names)).await? {
        let mut trigger = Trigger::from_query_result(&row, "")?;
        if database.backend() == DbBackend::Sqlite {
            // SQLite keeps the statement that created the trigger; it begins with the timing and the event.
            let words: Vec<String> = trigger.event.split_whitespace().map(str::to_ascii_uppercase).collect();
            let of = |kinds: &[&str]| words.iter().find(|word| kinds.contains(&word.as_str())).cloned();
            trigger.timing = of(&["BEFORE", "AFTER", "INSTEAD"]).unwrap_or_else(|| "BEFORE".into());
            trigger.event = of(&["INSERT", "UPDATE", "DELETE"]).unwrap_or_default();
        }
        triggers.push(trigger);
    }
    Ok(triggers)
}

// Each query reads one catalogue table, with constant names to search for: a subquery on another catalogue
// table would make the server open every table of every database.
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
     CAST(action_timing AS CHAR) AS timing, 'definer' AS rights FROM information_schema.triggers \
     WHERE event_object_schema = DATABASE() AND event_object_table IN ({names}) ORDER BY 1, 2";

const POSTGRES_TRIGGERS: &str = "SELECT c.relname::text AS tab, t.tgname::text AS name, \
     concat_ws(' or ', CASE WHEN t.tgtype & 4 <> 0 THEN 'INSERT' END, CASE WHEN t.tgtype & 16 <> 0 THEN 'UPDATE' END, \
     CASE WHEN t.tgtype & 8 <> 0 THEN 'DELETE' END, CASE WHEN t.tgtype & 32 <> 0 THEN 'TRUNCATE' END) AS event, \
     CASE WHEN t.tgtype & 2 <> 0 THEN 'BEFORE' ELSE 'AFTER' END AS timing, \
     CASE WHEN p.prosecdef THEN 'definer' ELSE 'writer' END AS rights \
     FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_proc p ON p.oid = t.tgfoid \
     WHERE NOT t.tgisinternal AND pg_table_is_visible(c.oid) AND c.relname IN ({names}) ORDER BY 1, 2";

const SQLITE_TRIGGERS: &str = "SELECT tbl_name AS tab, name, substr(sql, instr(sql, name) + length(name)) AS event, \
     '' AS timing, 'definer' AS rights FROM sqlite_master WHERE type = 'trigger' AND tbl_name IN ({names}) ORDER BY 1, 2";
