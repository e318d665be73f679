//! The server: what it is, and how it is set up for others. Our own sessions set what they need.

use sea_orm::{DbBackend, FromQueryResult};
use serde::Serialize;

use super::{all, first};
use crate::config::GatewayConfig;
use crate::store::{Database, DbId, StoreError, postgres_zone};

/// The server, and how it is set up.
#[derive(Clone, Debug, Serialize)]
pub struct Server {
    /// MariaDB, MySQL, PostgreSQL or SQLite.
    pub product: &'static str,
    /// As it says itself.
    pub version: String,
    /// The database that we are connected to.
    pub database: String,
    /// As whom.
    pub user: Option<String>,
    /// The database's default character set.
    pub charset: Option<String>,
    /// The database's default collation.
    pub collation: Option<String>,
    /// MySQL's sql_mode, as other sessions get it.
    pub sql_mode: Option<String>,
    /// MySQL: values that do not fit are refused, also to others. (Ours always are.)
    pub strict: Option<bool>,
    /// The isolation of transactions that other sessions get, where it can be read.
    pub isolation: Option<String>,
    /// The time zone in which other sessions run.
    pub time_zone: String,
    /// How far that zone is from UTC now.
    pub utc_offset: Option<String>,
    /// The key `gateway.timezone` of the configuration.
    pub gateway_timezone: String,
    /// Why nothing can be written there; none when it can.
    pub read_only: Option<String>,
}

/// What MySQL and MariaDB say of themselves.
#[derive(FromQueryResult)]
struct MySql {
    version: String,
    db: String,
    who: String,
    charset: Option<String>,
    coll: Option<String>,
    mode: String,
    zone: String,
    seconds: Option<DbId>,
}

/// What PostgreSQL says of itself.
#[derive(FromQueryResult)]
struct Postgres {
    version: String,
    db: String,
    who: String,
    charset: Option<String>,
    coll: Option<String>,
    isolation: Option<String>,
    seconds: DbId,
}

/// Reads what the server says of itself.
pub(super) async fn inspect(database: &Database, config: &GatewayConfig) -> Result<Server, StoreError> {
    let mut server = match database.backend() {
        DbBackend::MySql => mysql(database).await?,
        DbBackend::Postgres => postgres(database).await?,
        _ => sqlite(database).await?,
    };
    server.gateway_timezone.clone_from(&config.timezone);
    if database.backend() != DbBackend::Sqlite {
        server.read_only = migration::read_only(database.connection()).await?;
    }
    Ok(server)
}

async fn mysql(database: &Database) -> Result<Server, StoreError> {
    let sql = "SELECT CAST(VERSION() AS CHAR) AS version, CAST(COALESCE(DATABASE(), '') AS CHAR) AS db, \
               CAST(CURRENT_USER() AS CHAR) AS who, CAST(@@character_set_database AS CHAR) AS charset, \
               CAST(@@collation_database AS CHAR) AS coll, CAST(@@global.sql_mode AS CHAR) AS mode, \
               CAST(CASE @@global.time_zone WHEN 'SYSTEM' THEN CONCAT('SYSTEM (', @@system_time_zone, ')') \
               ELSE @@global.time_zone END AS CHAR) AS zone, \
               CAST(TIMESTAMPDIFF(SECOND, UTC_TIMESTAMP(), \
               CONVERT_TZ(UTC_TIMESTAMP(), '+00:00', @@global.time_zone)) AS SIGNED) AS seconds";
    let Some(row) = first(database, sql).await? else { return Err(nothing()) };
    let MySql { version, db, who, charset, coll, mode, zone, seconds } = MySql::from_query_result(&row, "")?;
    // Two names for one variable: each server knows one of them, newer ones both.
    let sql = "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('tx_isolation', 'transaction_isolation')";
    let isolation = all(database, sql).await?.first().map(|row| row.try_get_by_index(1)).transpose()?;
    Ok(Server {
        product: if version.contains("MariaDB") { "MariaDB" } else { "MySQL" },
        version,
        database: db,
        user: Some(who),
        charset,
        collation: coll,
        strict: Some(mode.contains("STRICT_")),
        sql_mode: Some(mode),
        isolation,
        time_zone: zone,
        utc_offset: seconds.map(|seconds| offset(seconds.0)),
        gateway_timezone: String::new(),
        read_only: None,
    })
}

async fn postgres(database: &Database) -> Result<Server, StoreError> {
    let zone = postgres_zone(database).await?;
    let sql = format!(
        "SELECT current_setting('server_version') AS version, current_database()::text AS db, \
         current_user::text AS who, pg_encoding_to_char(d.encoding)::text AS charset, d.datcollate::text AS coll, \
         (SELECT split_part(setting, '=', 2) FROM pg_db_role_setting s, unnest(s.setconfig) AS setting \
         WHERE s.setrole = 0 AND s.setdatabase = d.oid \
         AND split_part(setting, '=', 1) = 'default_transaction_isolation' LIMIT 1) AS isolation, \
         EXTRACT(EPOCH FROM (now() AT TIME ZONE '{zone}') - (now() AT TIME ZONE 'UTC'))::bigint AS seconds \
         FROM pg_database d WHERE d.datname = current_database()"
    );
    let Some(row) = first(database, sql).await? else { return Err(nothing()) };
    let row = Postgres::from_query_result(&row, "")?;
    Ok(Server {
        product: "PostgreSQL",
        version: row.version,
        database: row.db,
        user: Some(row.who),
        charset: row.charset,
        collation: row.coll,
        sql_mode: None,
        strict: None,
        isolation: row.isolation,
        time_zone: zone,
        utc_offset: Some(offset(row.seconds.0)),
        gateway_timezone: String::new(),
        read_only: None,
    })
}

async fn sqlite(database: &Database) -> Result<Server, StoreError> {
    let sql = "SELECT sqlite_version() AS version, \
               (SELECT file FROM pragma_database_list WHERE name = 'main') AS db";
    let Some(row) = first(database, sql).await? else { return Err(nothing()) };
    Ok(Server {
        product: "SQLite",
        version: row.try_get_by_index(0)?,
        database: row.try_get_by_index(1)?,
        user: None,
        charset: None,
        collation: None,
        sql_mode: None,
        strict: None,
        isolation: None,
        time_zone: "UTC".into(),
        utc_offset: Some(offset(0)),
        gateway_timezone: String::new(),
        read_only: None,
    })
}

fn nothing() -> StoreError {
    StoreError::Rejected("the server says nothing about itself".into())
}

/// Seconds east of UTC as `+02:00`.
fn offset(seconds: i64) -> String {
    let sign = if seconds < 0 { '-' } else { '+' };
    // A second may have passed between the two readings of the clock.
    let minutes = (seconds.abs() + 30) / 60;
    format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
}
