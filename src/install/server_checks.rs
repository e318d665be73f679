//! Is the server fit for what we do with it? Its clock against ours, room for our connections, and
//! the indexes without which a batch takes seconds.

use std::collections::BTreeMap;

use migration::gateway::{Columns, KeyKind};
use migration::{TABLES, indexes};
use sea_orm::{DbBackend, FromQueryResult};

use super::{all, first, quoted};
use crate::runtime::clock::now_ms;
use crate::store::{Database, DbId, StoreError, now_in_ms};

/// How much room a server has for connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    /// How many it takes.
    pub(super) connections: i64,
    /// How many there are now, ours included.
    pub(super) connected: i64,
    /// MySQL and MariaDB: how many more prepared statements it keeps.
    pub(super) statements: Option<i64>,
}

/// An index that is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LackingIndex {
    /// On this table.
    pub(super) table: String,
    /// That begins with these columns.
    pub(super) columns: String,
    /// It is a table of ours.
    pub(super) ours: bool,
    /// What makes it.
    pub(super) statement: String,
}

/// How many ms the database's clock is ahead of ours; behind is negative. None on SQLite, which has ours.
///
/// # Errors
/// [`StoreError`]
pub(super) async fn clock_ahead(database: &Database) -> Result<Option<i64>, StoreError> {
    let backend = database.backend();
    if backend == DbBackend::Sqlite {
        return Ok(None);
    }
    let sql = format!("SELECT {} AS n", now_in_ms(backend));
    // The first question may wait for a connection; the second one measures.
    number(database, &sql).await?;
    let before = now_ms();
    let theirs = number(database, &sql).await?;
    let after = now_ms();
    Ok(theirs.map(|theirs| {
        // Somewhere between the two it was read: within that time nothing can be said.
        if theirs > after { theirs - after } else { (theirs - before).min(0) }
    }))
}

/// How much room there is; none on SQLite.
///
/// # Errors
/// [`StoreError`]
pub(super) async fn room(database: &Database) -> Result<Option<Room>, StoreError> {
    let backend = database.backend();
    if backend == DbBackend::Postgres {
        let limits = "SELECT current_setting('max_connections')::bigint \
                      - current_setting('superuser_reserved_connections')::bigint AS n";
        let used = "SELECT count(*) AS n FROM pg_stat_activity WHERE backend_type = 'client backend' \
                    OR backend_type IS NULL";
        let (connections, connected) = (number(database, limits).await?, number(database, used).await?);
        return Ok(connections.zip(connected).map(|(connections, connected)| Room {
            connections,
            connected,
            statements: None,
        }));
    }
    if backend != DbBackend::MySql {
        return Ok(None);
    }
    let sql = "SELECT CAST(@@max_connections AS SIGNED) AS n";
    let prepared = "SELECT CAST(@@max_prepared_stmt_count AS SIGNED) AS n";
    let (connections, most) = (number(database, sql).await?, number(database, prepared).await?);
    let mut now: BTreeMap<String, i64> = BTreeMap::new();
    let sql = "SHOW GLOBAL STATUS WHERE Variable_name IN ('Threads_connected', 'Prepared_stmt_count')";
    for row in all(database, sql).await? {
        let (name, value): (String, String) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
        now.insert(name, value.parse().unwrap_or_default());
    }
    let of = |name: &str| now.get(name).copied().unwrap_or_default();
    Ok(connections.map(|connections| Room {
        connections,
        connected: of("Threads_connected"),
        statements: most.map(|most| most - of("Prepared_stmt_count")),
    }))
}

/// The indexes that are missing: of the gateway's tables those by which bookings and staff are looked
/// up, of ours those that the migrations made.
///
/// # Errors
/// [`StoreError`]
pub(super) async fn lacking_indexes(database: &Database) -> Result<Vec<LackingIndex>, StoreError> {
    let backend = database.backend();
    let columns = Columns::read(database.connection()).await?;
    let names = quoted(["appointments", "staff"].into_iter().chain(TABLES));
    let sql = match backend {
        DbBackend::MySql => MYSQL,
        DbBackend::Postgres => POSTGRES,
        _ => SQLITE,
    };
    let mut found: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for row in all(database, sql.replace("{names}", &names)).await? {
        let one = IndexColumn::from_query_result(&row, "")?;
        found.entry((one.tab, one.name)).or_default().push(one.col);
    }
    let is_there = |table: &str, wanted: &[String]| {
        found.iter().any(|((of, _), columns)| of == table && columns.starts_with(wanted))
    };
    let mut lacking = Vec::new();
    let gateway = [
        ("appointments", "calcom_v2_booking_id"),
        ("appointments", "calcom_v2_booking_uid"),
        ("appointments", "calcom_booking_id"),
        ("staff", "company_id"),
    ];
    for (table, column) in gateway {
        let kind = columns.get(table, column).and_then(|column| column.key_kind(backend));
        let is_used = matches!(kind, Some(KeyKind::Integer | KeyKind::Text));
        if is_used && !is_there(table, &[column.to_owned()]) {
            let statement = format!("CREATE INDEX {table}_{column}_index ON {table} ({column})");
            lacking.push(LackingIndex {
                table: table.into(),
                columns: column.into(),
                ours: false,
                statement,
            });
        }
    }
    for one in indexes(backend).into_iter().filter(|one| columns.has_table(&one.table)) {
        if !is_there(&one.table, &one.columns) {
            let list = one.columns.join(", ");
            let statement = format!("CREATE INDEX {} ON {} ({list})", one.name, one.table);
            lacking.push(LackingIndex { table: one.table, columns: list, ours: true, statement });
        }
    }
    Ok(lacking)
}

/// One column of an index, in its place.
#[derive(FromQueryResult)]
struct IndexColumn {
    tab: String,
    name: String,
    col: String,
}

const MYSQL: &str = "SELECT CAST(table_name AS CHAR) AS tab, CAST(index_name AS CHAR) AS name, \
     CAST(COALESCE(column_name, '') AS CHAR) AS col FROM information_schema.statistics \
     WHERE table_schema = DATABASE() AND table_name IN ({names}) ORDER BY table_name, index_name, seq_in_index";

const POSTGRES: &str = "SELECT t.relname::text AS tab, i.indexrelid::text AS name, \
     COALESCE(a.attname::text, '') AS col FROM pg_index i JOIN pg_class t ON t.oid = i.indrelid \
     CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, n) \
     LEFT JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = k.attnum \
     WHERE pg_table_is_visible(t.oid) AND i.indisvalid AND t.relname IN ({names}) ORDER BY 1, 2, k.n";

const SQLITE: &str = "SELECT m.name AS tab, l.name AS name, COALESCE(c.name, '') AS col \
     FROM sqlite_master m, pragma_index_list(m.name) l, pragma_index_info(l.name) c \
     WHERE m.type = 'table' AND m.name IN ({names}) ORDER BY 1, 2, c.seqno";

async fn number(database: &Database, sql: &str) -> Result<Option<i64>, StoreError> {
    first(database, sql).await?.map(|row| Ok(row.try_get_by_index::<DbId>(0)?.0)).transpose()
}
