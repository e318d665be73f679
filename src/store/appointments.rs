//! Writing the gateway's appointments.

use sea_orm::{DbBackend, DbErr, EntityName as _, IdenStatic as _, Statement};
use serde_json::json;

use super::entity::appointment::{Column, Entity};
use super::{GatewaySchema, KeyType, StoreError};
use crate::matching::AppointmentWrite;

/// One UPDATE for many appointments, joined with a list of their new values that is bound as one JSON
/// text: so one statement does for any number of rows, and each row is found by its key. `updated_at` is
/// set by the database's own clock, as the gateway's own code would.
///
/// # Errors
/// When a staff id does not fit `staff.id`.
pub(super) fn update(schema: &GatewaySchema, writes: &[AppointmentWrite]) -> Result<Statement, StoreError> {
    let rows: Vec<serde_json::Value> = writes
        .iter()
        .map(|write| {
            let staff = write.staff.as_ref().map(|staff| schema.staff_key.key(staff)).transpose()?;
            let host = write.host_id.and_then(|id| i32::try_from(id).ok());
            Ok(json!([write.id.0, staff, host]))
        })
        .collect::<Result<_, DbErr>>()?;
    let (integer, text) = match schema.backend {
        DbBackend::MySql => ("BIGINT", "VARCHAR(255)"),
        DbBackend::Postgres => ("bigint", "text"),
        _ => ("INTEGER", "TEXT"),
    };
    let staff = match schema.staff_key {
        KeyType::Integer => integer,
        KeyType::Text => text,
        KeyType::Uuid => "uuid",
    };
    let table = Entity.table_name();
    let [id, staff_id, host_id, updated_at] =
        [Column::Id, Column::StaffId, Column::CalcomHostId, Column::UpdatedAt].map(|column| column.as_str());
    let clock = |prefix: &str| {
        let clock = schema.updated_at.as_ref();
        clock.map(|clock| format!(", {prefix}{updated_at} = {clock}")).unwrap_or_default()
    };
    let sql = match schema.backend {
        // STRAIGHT_JOIN: the list first, in the order of keys.
        DbBackend::MySql => format!(
            "UPDATE JSON_TABLE(?, '$[*]' COLUMNS (id {integer} PATH '$[0]', staff {staff} PATH '$[1]', host INT \
             PATH '$[2]')) v STRAIGHT_JOIN {table} a ON a.{id} = v.id \
             SET a.{staff_id} = v.staff, a.{host_id} = v.host{}",
            clock("a.")
        ),
        DbBackend::Postgres => format!(
            "UPDATE {table} SET {staff_id} = v.staff, {host_id} = v.host{} \
             FROM (SELECT (one->>0)::bigint AS id, (one->>1)::{staff} AS staff, (one->>2)::int AS host \
             FROM json_array_elements($1::text::json) AS list(one)) AS v WHERE {table}.{id} = v.id",
            clock("")
        ),
        _ => format!(
            "UPDATE {table} SET {staff_id} = v.staff, {host_id} = v.host{} \
             FROM (SELECT value->>0 AS id, value->>1 AS staff, value->>2 AS host FROM json_each(?)) AS v \
             WHERE {table}.{id} = v.id",
            clock("")
        ),
    };
    let list = serde_json::Value::Array(rows).to_string();
    Ok(Statement::from_sql_and_values(schema.backend, sql, [list.into()]))
}
