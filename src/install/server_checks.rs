//! Checks the database server: whether its clock agrees with ours, whether it has room for our connections, and
//! whether the indexes exist without which a batch takes seconds.

use std::collections::BTreeMap;

use migration::gateway::{Columns, KeyKind};
use migration::names::quoted;
use migration::{TABLES, by_engine, indexes};
use sea_orm::DbBackend;

use super::finding::{Code, Finding};
use super::{query_all, query_first};
use crate::runtime::clock::now_ms;
use crate::store::{Database, DbId, StoreError, now_in_ms};

/// The largest difference between the clocks that is not reported, in ms.
const MAX_SKEW_MS: i64 = 2_000;
const MEBIBYTE: usize = 1 << 20;
/// The maximum number of prepared statements that a connection keeps on the server.
const MAX_STATEMENTS: i64 = 256;

/// Checks whether the database's clock is ahead of or behind our clock. SQLite uses our clock.
pub(super) async fn check_clock(database: &Database) -> Result<Option<Finding>, StoreError> {
    let backend = database.backend();
    if backend == DbBackend::Sqlite {
        return Ok(None);
    }
    let sql = format!("SELECT {} AS n", now_in_ms(backend));
    // The first query may have to wait for a connection, so only the second one is timed.
    number(database, &sql).await?;
    let before = now_ms();
    let Some(theirs) = number(database, &sql).await? else { return Ok(None) };
    let after = now_ms();
    // The clock was read between `before` and `after`, so a difference within that time is unknown.
    let ahead = if theirs > after { theirs - after } else { (theirs - before).min(0) };
    let direction = if ahead > 0 { "ahead of" } else { "behind" };
    let what = format!("its clock is {}.{} s {direction} ours", ahead.abs() / 1000, ahead.abs() % 1000 / 100);
    Ok((ahead.abs() > MAX_SKEW_MS).then(|| Finding::new(Code::ClockSkew, "the database's clock", what)))
}

/// Checks whether the server has room for this many connections and their prepared statements.
pub(super) async fn check_capacity(database: &Database, wanted: i64) -> Result<Vec<Finding>, StoreError> {
    let (max, connected, statements) = match database.backend() {
        DbBackend::Postgres => {
            let limit = "SELECT current_setting('max_connections')::bigint \
                         - current_setting('superuser_reserved_connections')::bigint AS n";
            let used = "SELECT count(*) AS n FROM pg_stat_activity WHERE backend_type = 'client backend' \
                        OR backend_type IS NULL";
            (number(database, limit).await?, number(database, used).await?, None)
        }
        DbBackend::MySql => {
            let max = number(database, "SELECT CAST(@@max_connections AS SIGNED) AS n").await?;
            let limit = number(database, "SELECT CAST(@@max_prepared_stmt_count AS SIGNED) AS n").await?;
            let sql =
                "SHOW GLOBAL STATUS WHERE Variable_name IN ('Threads_connected', 'Prepared_stmt_count')";
            let mut now: BTreeMap<String, i64> = BTreeMap::new();
            for row in query_all(database, sql).await? {
                let (name, value): (String, String) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
                now.insert(name, value.parse().unwrap_or_default());
            }
            let of = |name: &str| now.get(name).copied().unwrap_or_default();
            (max, Some(of("Threads_connected")), limit.map(|limit| limit - of("Prepared_stmt_count")))
        }
        _ => return Ok(Vec::new()),
    };
    let subject = format!("database.max_connections = {wanted}");
    let mut findings = Vec::new();
    if let Some((max, connected)) = max.zip(connected)
        && max - connected < wanted
    {
        let what = format!("{} of the server's {max} connections are free", max - connected);
        findings.push(Finding::new(Code::ConnectionsScarce, &subject, what));
    }
    if let Some(statements) = statements.filter(|statements| *statements < wanted * MAX_STATEMENTS) {
        let what = format!("the server has room for {statements} more prepared statements");
        findings.push(Finding::new(Code::StatementsScarce, subject, what));
    }
    Ok(findings)
}

/// Checks whether the server takes the largest statement that we send: a dead letter as large as
/// `edge.body_limit`, or 1 MiB of bookings, with everything else in the statement.
pub(super) async fn check_packet(
    database: &Database,
    body_limit: usize,
) -> Result<Option<Finding>, StoreError> {
    if database.backend() != DbBackend::MySql {
        return Ok(None);
    }
    let sql = "SELECT CAST(@@max_allowed_packet AS SIGNED) AS n";
    let Some(packet) = number(database, sql).await? else { return Ok(None) };
    let needed = body_limit.max(MEBIBYTE) + MEBIBYTE;
    let what = format!("the server accepts packets of {packet} bytes, and hostmatch may send {needed}");
    let is_small = usize::try_from(packet).unwrap_or_default() < needed;
    Ok(is_small.then(|| Finding::new(Code::PacketSmall, "max_allowed_packet", what)))
}

/// Reports missing indexes: on the gateway's tables the indexes for looking up bookings and staff, on our
/// tables those that the migrations create.
pub(super) async fn missing_indexes(database: &Database) -> Result<Vec<Finding>, StoreError> {
    let backend = database.backend();
    let columns = Columns::read(database.connection()).await?;
    let names = quoted(["appointments", "staff"].into_iter().chain(TABLES));
    let sql = by_engine(backend, [MYSQL, POSTGRES, SQLITE]);
    let mut found: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for row in query_all(database, sql.replace("{names}", &names)).await? {
        let index = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
        found.entry(index).or_default().push(row.try_get_by_index(2)?);
    }
    let gateway = [
        ("appointments", "calcom_v2_booking_id"),
        ("appointments", "calcom_v2_booking_uid"),
        ("appointments", "calcom_booking_id"),
        ("staff", "company_id"),
    ];
    let used = gateway.into_iter().filter(|(table, column)| {
        let kind = columns.get(table, column).and_then(|column| column.key_kind(backend));
        matches!(kind, Some(KeyKind::Integer | KeyKind::Text))
    });
    let used = used.map(|(table, column)| {
        (table, format!("{table}_{column}_index"), vec![column], "in a migration of the gateway")
    });
    let ours = indexes(backend).into_iter().filter(|(table, ..)| columns.has_table(table));
    let ours =
        ours.map(|(table, name, columns)| (table, name, columns.to_vec(), "as the owner of the table"));
    let missing = used.chain(ours).filter(|(table, _, wanted, _)| {
        let begins_with_wanted = |columns: &[String]| {
            columns.len() >= wanted.len() && columns.iter().zip(wanted).all(|(a, b)| a == b)
        };
        !found.iter().any(|((of, _), columns)| of == table && begins_with_wanted(columns))
    });
    let findings = missing.map(|(table, name, columns, how)| {
        let columns = columns.join(", ");
        let what = format!("there is no index that begins with {columns}");
        let remedy = format!("CREATE INDEX {name} ON {table} ({columns}), {how}");
        Finding::new(Code::IndexMissing, table, what).with_remedy(remedy)
    });
    Ok(findings.collect())
}

async fn number(database: &Database, sql: &str) -> Result<Option<i64>, StoreError> {
    query_first(database, sql).await?.map(|row| Ok(row.try_get_by_index::<DbId>(0)?.0)).transpose()
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
