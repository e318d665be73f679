//! The times of mappings and audits in ms since 1970, whatever their columns are.

use sea_orm::{FromQueryResult, Statement};

use crate::store::prelude::*;
use crate::store::{GatewaySchema, StoreError};

#[derive(FromQueryResult)]
struct Difference {
    ahead: i64,
}

/// An SQL expression for a column of times in ms since 1970, as the engine reads it in UTC.
pub(super) fn in_ms(backend: DbBackend, column: &str) -> String {
    match backend {
        DbBackend::MySql => format!("CAST(UNIX_TIMESTAMP({column}) * 1000 AS SIGNED)"),
        DbBackend::Postgres => format!("CAST(EXTRACT(EPOCH FROM {column}) * 1000 AS BIGINT)"),
        _ => format!("CAST(ROUND((julianday({column}) - 2440587.5) * 86400000) AS INTEGER)"),
    }
}

/// By how many ms the times of audits are ahead of UTC: 0, unless an adopted column holds the
/// gateway's local time.
pub(super) async fn ahead(db: &impl ConnectionTrait, schema: &GatewaySchema) -> Result<i64, StoreError> {
    let clock = schema.mapping_clocks.changed_at.as_str();
    if matches!(clock, "CURRENT_TIMESTAMP" | "now()") || schema.backend == DbBackend::Sqlite {
        return Ok(0);
    }
    let now = match schema.backend {
        DbBackend::MySql => "UTC_TIMESTAMP()",
        _ => "(now() AT TIME ZONE 'UTC')",
    };
    let sql = format!("SELECT {} - {} AS ahead", in_ms(schema.backend, clock), in_ms(schema.backend, now));
    let difference =
        Difference::find_by_statement(Statement::from_string(schema.backend, sql)).one(db).await?;
    Ok(difference.map_or(0, |it| it.ahead))
}
