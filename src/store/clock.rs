//! Provides "now" for columns that the gateway created, and converts such columns to ms since 1970.
//!
//! For a column with a time zone, "now" is the database's clock. A column without one (MySQL DATETIME,
//! PostgreSQL `timestamp`) holds the gateway's local time, while our sessions run in UTC: the configured zone
//! gives the difference.

use migration::by_engine;
use migration::gateway::{Column, Columns};
use sea_orm::ColumnTrait;

use super::entity::{mapping, mapping_audit};
use super::prelude::*;
use super::statement::first_value;
use super::{Database, DbId, GatewaySchema, StoreError, gateway};
use crate::event::LocalZone;

/// Returns the SQL expression for "now" that fits the column; `None` for a column that does not hold a time.
pub(super) async fn now_expression(
    database: &Database,
    column: &Column,
    timezone: &str,
) -> Result<Option<String>> {
    let zone = Zone::parse(timezone)?;
    let expression = match (database.backend(), column.data_type.as_str()) {
        (DbBackend::MySql, "timestamp") => return Ok(Some("CURRENT_TIMESTAMP".into())),
        (DbBackend::MySql, "datetime") => mysql(&zone),
        (DbBackend::Postgres, "timestamptz") => return Ok(Some("now()".into())),
        (DbBackend::Postgres, "timestamp") => postgres(database, &zone).await?,
        (DbBackend::Sqlite, kind) if !kind.contains("int") => sqlite(&zone)?,
        _ => return Ok(None),
    };
    if is_known(database, &expression).await? { Ok(Some(expression)) } else { Err(unknown_zone(timezone)) }
}

/// Returns the SQL expression for the database's clock, in ms since 1970.
pub(crate) fn now_in_ms(backend: DbBackend) -> &'static str {
    let clocks = [
        "CAST(UNIX_TIMESTAMP(NOW(6)) * 1000 AS SIGNED)",
        "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS bigint)",
        "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)",
    ];
    by_engine(backend, clocks)
}

/// SQL expressions for "now" in the mappings and their audits: in adopted tables the times may be in the
/// gateway's local time.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are columns of these tables")]
pub struct MappingClocks {
    pub created_at: String,
    pub updated_at: String,
    pub last_synced_at: String,
    pub changed_at: String,
}

impl MappingClocks {
    /// Builds the expressions for these columns.
    pub(super) async fn of(database: &Database, columns: &Columns, timezone: &str) -> Result<Self> {
        Ok(Self {
            created_at: now_in_our_column(database, columns, timezone, mapping::Column::CreatedAt).await?,
            updated_at: now_in_our_column(database, columns, timezone, mapping::Column::UpdatedAt).await?,
            last_synced_at: now_in_our_column(database, columns, timezone, mapping::Column::LastSyncedAt)
                .await?,
            changed_at: now_in_our_column(database, columns, timezone, mapping_audit::Column::ChangedAt)
                .await?,
        })
    }
}

/// Returns the SQL expression for "now" in one of our columns.
async fn now_in_our_column(
    database: &Database,
    columns: &Columns,
    timezone: &str,
    column: impl ColumnTrait,
) -> Result<String> {
    // On SQLite nothing is adopted, and our own columns are in UTC.
    let adoptable = database.backend() != DbBackend::Sqlite;
    let clock = match gateway::find(columns, column).filter(|_| adoptable) {
        Some(column) => now_expression(database, column, timezone).await?,
        None => None,
    };
    Ok(clock.unwrap_or_else(|| "CURRENT_TIMESTAMP".into()))
}

/// Returns an SQL expression that converts a time column to ms since 1970, reading it as UTC.
pub(super) fn in_ms(backend: DbBackend, column: &str) -> String {
    match backend {
        DbBackend::MySql => format!("CAST(UNIX_TIMESTAMP({column}) * 1000 AS SIGNED)"),
        DbBackend::Postgres => format!("CAST(EXTRACT(EPOCH FROM {column}) * 1000 AS BIGINT)"),
        _ => format!("CAST(ROUND((julianday({column}) - 2440587.5) * 86400000) AS INTEGER)"),
    }
}

/// Returns the number of ms by which the times of audits are ahead of UTC: 0, unless an adopted column holds
/// the gateway's local time.
pub(super) async fn audit_clock_offset(db: &impl ConnectionTrait, schema: &GatewaySchema) -> Result<i64> {
    let clock = schema.mapping_clocks.changed_at.as_str();
    if matches!(clock, "CURRENT_TIMESTAMP" | "now()") || schema.backend == DbBackend::Sqlite {
        return Ok(0);
    }
    let now = match schema.backend {
        DbBackend::MySql => "UTC_TIMESTAMP()",
        _ => "(now() AT TIME ZONE 'UTC')",
    };
    let sql = format!("SELECT {} - {}", in_ms(schema.backend, clock), in_ms(schema.backend, now));
    Ok(first_value(db, sql).await?.unwrap_or(0))
}

/// A time zone whose name is safe to use in SQL.
#[derive(Debug, PartialEq, Eq)]
enum Zone {
    Server,
    /// `+02:00`: sign, hours and minutes.
    Offset(String),
    Named(String),
}

impl Zone {
    fn parse(text: &str) -> Result<Self> {
        let is_safe = |c: char| c.is_ascii_alphanumeric() || "_+-/:".contains(c);
        if text.is_empty() || text.len() > 64 || !text.chars().all(is_safe) {
            return Err(StoreError::Schema(
                "gateway.timezone must be \"server\", an offset such as \"+02:00\" or a name such as \
                 \"Europe/Berlin\""
                    .into(),
            ));
        }
        Ok(match text {
            "server" => Self::Server,
            "UTC" | "Z" => Self::Offset("+00:00".into()),
            _ if text.starts_with(['+', '-']) => {
                Self::Offset(parse_offset(text).ok_or_else(|| unknown_zone(text))?)
            }
            _ => Self::Named(text.to_owned()),
        })
    }
}

/// Returns the zone of `gateway.timezone`, to read times of events. For `server` it is the zone that the server
/// names, or, where it names none (MySQL's `SYSTEM`), its present offset.
pub(super) async fn local_zone(database: &Database, timezone: &str) -> Result<LocalZone> {
    let name = match (Zone::parse(timezone)?, database.backend()) {
        (Zone::Offset(name) | Zone::Named(name), _) => Some(name),
        (Zone::Server, DbBackend::Postgres) => postgres_zone(database).await.ok(),
        (Zone::Server, DbBackend::MySql) => {
            first_value(database.connection(), "SELECT CAST(@@global.time_zone AS CHAR)").await?
        }
        (Zone::Server, _) => None,
    };
    if let Some(zone) = name.as_deref().and_then(LocalZone::parse) {
        return Ok(zone);
    }
    let DbBackend::MySql = database.backend() else { return Ok(LocalZone::UTC) };
    let there = mysql(&Zone::Server);
    let offset = format!("SELECT CAST(TIMESTAMPDIFF(SECOND, UTC_TIMESTAMP(), {there}) AS SIGNED)");
    let seconds: Option<i64> = first_value(database.connection(), offset).await?;
    Ok(seconds.and_then(|seconds| LocalZone::from_offset(seconds.try_into().ok()?)).unwrap_or(LocalZone::UTC))
}

fn parse_offset(text: &str) -> Option<String> {
    let (hours, minutes) = text.get(1..)?.split_once(':')?;
    let fits = hours.len() == 2 && minutes.len() == 2;
    let in_range = hours.parse::<u8>().ok()? <= 14 && minutes.parse::<u8>().ok()? < 60;
    (fits && in_range).then(|| text.to_owned())
}

fn unknown_zone(timezone: &str) -> StoreError {
    StoreError::Schema(format!(
        "gateway.timezone: the database does not know the zone {timezone:?}. Set an offset such as \
         \"+02:00\"; MySQL and MariaDB know names only when their time zone tables are loaded \
         (mysql_tzinfo_to_sql), SQLite knows none"
    ))
}

fn mysql(zone: &Zone) -> String {
    let to = match zone {
        Zone::Server => "@@global.time_zone".to_owned(),
        Zone::Offset(zone) | Zone::Named(zone) => format!("'{zone}'"),
    };
    format!("CONVERT_TZ(UTC_TIMESTAMP(), '+00:00', {to})")
}

async fn postgres(database: &Database, zone: &Zone) -> Result<String> {
    Ok(match zone {
        // As a plain string, the offset would have the opposite sign (POSIX).
        Zone::Offset(zone) => format!("(now() AT TIME ZONE INTERVAL '{zone}')"),
        Zone::Named(zone) => format!("(now() AT TIME ZONE '{zone}')"),
        Zone::Server => format!("(now() AT TIME ZONE '{}')", postgres_zone(database).await?),
    })
}

/// Returns the time zone in which other sessions of this database run. Our own session does not show it,
/// because the driver sets its zone, and the session's default, to UTC. A zone that is set for the
/// database can be read. The server's zone cannot, but initdb configures the same zone for the server's log,
/// and the log's zone can be read.
pub(crate) async fn postgres_zone(database: &Database) -> Result<String> {
    let sql = "SELECT COALESCE((SELECT split_part(setting, '=', 2) \
               FROM pg_db_role_setting s, unnest(s.setconfig) AS setting \
               WHERE s.setrole = 0 AND lower(split_part(setting, '=', 1)) = 'timezone' \
               AND s.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database()) LIMIT 1), \
               current_setting('log_timezone'))";
    let zone: String = first_value(database.connection(), sql).await?.unwrap_or_default();
    match Zone::parse(&zone) {
        Ok(Zone::Named(_) | Zone::Offset(_)) => Ok(zone),
        Ok(Zone::Server) | Err(_) => Err(StoreError::Schema(
            "gateway.timezone: the database server's own time zone cannot be used; set the time zone explicitly".into(),
        )),
    }
}

fn sqlite(zone: &Zone) -> Result<String> {
    match zone {
        Zone::Server => Ok("CURRENT_TIMESTAMP".into()),
        Zone::Offset(zone) => Ok(format!("datetime('now', '{zone}')")),
        Zone::Named(name) => Err(unknown_zone(name)),
    }
}

/// Returns whether the expression has a value: for an unknown zone MySQL returns NULL, PostgreSQL an error.
async fn is_known(database: &Database, expression: &str) -> Result<bool> {
    let sql = format!("SELECT CASE WHEN {expression} IS NULL THEN 0 ELSE 1 END");
    match first_value::<DbId>(database.connection(), sql).await {
        Ok(known) => Ok(known == Some(DbId(1))),
        Err(StoreError::Rejected(_)) => Ok(false),
        Err(error) => Err(error),
    }
}
