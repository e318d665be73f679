//! Reads facts about the database server, and its defaults for other sessions (our own sessions set what they
//! need).

use sea_orm::{DbBackend, FromQueryResult};
use serde::Serialize;

use super::{query_all, query_first};
use crate::config::GatewayConfig;
use crate::store::{Database, DbId, StoreError, postgres_zone};

/// The server and its settings.
#[derive(Clone, Debug, Serialize, FromQueryResult)]
pub(crate) struct Server {
    /// MariaDB, MySQL, PostgreSQL or SQLite.
    pub(crate) product: String,
    pub(crate) version: String,
    #[sea_orm(from_alias = "db")]
    pub(crate) database: String,
    /// The connected user.
    #[sea_orm(from_alias = "who")]
    pub(crate) user: Option<String>,
    pub(crate) charset: Option<String>,
    #[sea_orm(from_alias = "coll")]
    pub(crate) collation: Option<String>,
    /// MySQL's sql_mode for other sessions.
    pub(crate) sql_mode: Option<String>,
    /// MySQL: whether values that do not fit are refused in other sessions too. (In our sessions they always
    /// are.)
    #[sea_orm(skip)]
    pub(crate) strict: Option<bool>,
    /// The transaction isolation of other sessions, if it can be read.
    pub(crate) isolation: Option<String>,
    /// The time zone of other sessions.
    #[sea_orm(from_alias = "zone")]
    pub(crate) time_zone: String,
    /// The current offset of that zone from UTC.
    #[sea_orm(skip)]
    pub(crate) utc_offset: Option<String>,
    /// The value of `gateway.timezone` in the configuration.
    #[sea_orm(skip)]
    pub(crate) gateway_timezone: String,
    /// Why the server accepts no writes; `None` if it accepts them.
    #[sea_orm(skip)]
    pub(crate) read_only: Option<String>,
    #[serde(skip)]
    seconds: Option<DbId>,
}

/// Reads the server's settings.
pub(super) async fn inspect(database: &Database, config: &GatewayConfig) -> Result<Server, StoreError> {
    let sql = match database.backend() {
        DbBackend::MySql => MYSQL.to_owned(),
        DbBackend::Postgres => POSTGRES.replace("{zone}", &postgres_zone(database).await?),
        _ => SQLITE.to_owned(),
    };
    let Some(row) = query_first(database, sql).await? else {
        return Err(StoreError::Rejected("the server does not report its settings".into()));
    };
    let mut server = Server::from_query_result(&row, "")?;
    if database.backend() == DbBackend::MySql {
        // The variable has two names: each server knows one of them, newer servers know both.
        let sql = "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('tx_isolation', 'transaction_isolation')";
        server.isolation =
            query_all(database, sql).await?.first().map(|row| row.try_get_by_index(1)).transpose()?;
    }
    server.strict = server.sql_mode.as_ref().map(|mode| mode.contains("STRICT_"));
    server.utc_offset = server.seconds.map(|seconds| format_offset(seconds.0));
    server.gateway_timezone.clone_from(&config.timezone);
    if database.backend() != DbBackend::Sqlite {
        server.read_only = migration::read_only(database.connection()).await?;
    }
    Ok(server)
}

const MYSQL: &str = "SELECT CAST(IF(VERSION() LIKE '%MariaDB%', 'MariaDB', 'MySQL') AS CHAR) AS product, \
     CAST(VERSION() AS CHAR) AS version, CAST(COALESCE(DATABASE(), '') AS CHAR) AS db, \
     CAST(CURRENT_USER() AS CHAR) AS who, CAST(@@character_set_database AS CHAR) AS charset, \
     CAST(@@collation_database AS CHAR) AS coll, CAST(@@global.sql_mode AS CHAR) AS sql_mode, NULL AS isolation, \
     CAST(CASE @@global.time_zone WHEN 'SYSTEM' THEN CONCAT('SYSTEM (', @@system_time_zone, ')') \
     ELSE @@global.time_zone END AS CHAR) AS zone, CAST(TIMESTAMPDIFF(SECOND, UTC_TIMESTAMP(), \
     CONVERT_TZ(UTC_TIMESTAMP(), '+00:00', @@global.time_zone)) AS SIGNED) AS seconds";

const POSTGRES: &str = "SELECT 'PostgreSQL' AS product, current_setting('server_version') AS version, \
     current_database()::text AS db, current_user::text AS who, pg_encoding_to_char(d.encoding)::text AS charset, \
     d.datcollate::text AS coll, NULL::text AS sql_mode, \
     (SELECT split_part(setting, '=', 2) FROM pg_db_role_setting s, unnest(s.setconfig) AS setting \
     WHERE s.setrole = 0 AND s.setdatabase = d.oid \
     AND split_part(setting, '=', 1) = 'default_transaction_isolation' LIMIT 1) AS isolation, '{zone}' AS zone, \
     EXTRACT(EPOCH FROM (now() AT TIME ZONE '{zone}') - (now() AT TIME ZONE 'UTC'))::bigint AS seconds \
     FROM pg_database d WHERE d.datname = current_database()";

const SQLITE: &str = "SELECT 'SQLite' AS product, sqlite_version() AS version, \
     (SELECT file FROM pragma_database_list WHERE name = 'main') AS db, NULL AS who, NULL AS charset, NULL AS coll, \
     NULL AS sql_mode, NULL AS isolation, 'UTC' AS zone, 0 AS seconds";

/// Formats seconds east of UTC as `+02:00`.
fn format_offset(seconds: i64) -> String {
    let sign = if seconds < 0 { '-' } else { '+' };
    // A second may have passed between the two reads of the clock.
    let minutes = (seconds.abs() + 30) / 60;
    format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
}
