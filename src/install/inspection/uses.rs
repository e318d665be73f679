//! Finds the gateway's columns that hostmatch will use, and the missing columns that it will do without.

use migration::by_engine;
use migration::gateway::{Columns, KeyKind};
use serde::Serialize;

use super::data::{Counted, count};
use super::query_first;
use crate::config::GatewayConfig;
use crate::store::{Database, GatewaySchema, NameColumns, RefColumn, StoreError};

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Uses {
    /// The type of `staff.id`: `integer`, `text` or `uuid`.
    pub(crate) staff_id: &'static str,
    /// The columns with the name of a member of staff.
    pub(crate) staff_name: Vec<&'static str>,
    pub(crate) staff_email: Option<&'static str>,
    /// The flag for active staff.
    pub(crate) staff_active: Option<&'static str>,
    pub(crate) staff_deleted: Option<&'static str>,
    /// The columns that are searched for a booking's reference, in this order.
    pub(crate) booking_references: Vec<RefColumn>,
    /// How `appointments.updated_at` is written; `None` if there is no such column.
    pub(crate) updated_at: Option<UpdatedAt>,
}

/// How the current time is written into `appointments.updated_at`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct UpdatedAt {
    #[serde(rename = "type")]
    pub(crate) full_type: String,
    /// Whether the column holds the gateway's local time, so that `gateway.timezone` matters.
    pub(crate) local: bool,
    pub(crate) expression: String,
    /// The current value of the expression, as it would be stored.
    pub(crate) now: String,
    /// The number of minutes by which the newest appointments are ahead of that value; above 0 the time zone
    /// is wrong. `None` if it is unknown.
    pub(crate) ahead_minutes: Option<i64>,
}

/// A missing column.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Missing {
    pub(crate) what: String,
    /// Whether hostmatch cannot work without the column.
    pub(crate) required: bool,
    pub(crate) loss: &'static str,
}

/// Returns the columns that will be used; `None` if a required column is missing.
pub(super) async fn inspect(
    database: &Database,
    columns: &Columns,
    config: &GatewayConfig,
) -> Result<Option<Uses>, StoreError> {
    if !columns.problems().is_empty() {
        return Ok(None);
    }
    let schema = GatewaySchema::of(database, columns, config).await?;
    Ok(Some(Uses {
        staff_id: match schema.staff_key {
            KeyKind::Integer => "integer",
            KeyKind::Text => "text",
            KeyKind::Uuid => "uuid",
        },
        staff_name: match schema.staff_name {
            NameColumns::Full => vec!["name"],
            NameColumns::FirstLast => vec!["first_name", "last_name"],
        },
        staff_email: schema.staff_email.then_some("email"),
        staff_active: schema.staff_active,
        staff_deleted: schema.staff_deleted_at.then_some("deleted_at"),
        updated_at: updated_at(database, columns, schema.updated_at).await?,
        booking_references: schema.booking_refs,
    }))
}

/// The number of newest appointments that are examined.
const NEWEST: u32 = 1000;

async fn updated_at(
    database: &Database,
    columns: &Columns,
    expression: Option<String>,
) -> Result<Option<UpdatedAt>, StoreError> {
    let Some((column, expression)) = columns.get("appointments", "updated_at").zip(expression) else {
        return Ok(None);
    };
    let local = expression.contains("CONVERT_TZ") || expression.contains("AT TIME ZONE");
    let minutes = [
        format!("TIMESTAMPDIFF(MINUTE, {expression}, MAX(updated_at))"),
        format!("(EXTRACT(EPOCH FROM MAX(updated_at) - {expression}) / 60)::bigint"),
        format!("CAST((julianday(MAX(updated_at)) - julianday({expression})) * 1440 AS INTEGER)"),
    ];
    let minutes = by_engine(database.backend(), minutes);
    let text = by_engine(database.backend(), ["CHAR", "TEXT", "TEXT"]);
    let row = query_first(database, format!("SELECT CAST({expression} AS {text}) AS now")).await?;
    let now = row.map(|row| row.try_get_by_index(0)).transpose()?.unwrap_or_default();
    let sql = format!(
        "SELECT {minutes} AS n FROM \
         (SELECT updated_at FROM appointments ORDER BY id DESC LIMIT {NEWEST}) AS newest"
    );
    let ahead_minutes = match count(database, &sql).await? {
        Counted::Number(minutes) => Some(minutes),
        Counted::TooSlow | Counted::NotAllowed => None,
    };
    Ok(Some(UpdatedAt { full_type: column.full_type.clone(), local, expression, now, ahead_minutes }))
}

/// The columns that hostmatch can do without, and the consequence if one is missing.
const OPTIONAL: [(&str, &str, &str); 7] = [
    ("staff", "email", "hosts cannot be matched by e-mail, only by name, which gives only suggestions"),
    ("staff", "is_active", WITHOUT_IS_ACTIVE),
    ("staff", "deleted_at", "deleted staff cannot be distinguished from others, if the gateway keeps them"),
    ("appointments", "calcom_v2_booking_uid", "bookings are looked up only in the other columns"),
    ("appointments", "calcom_booking_id", "bookings are looked up only in the other columns"),
    ("appointments", "updated_at", "the time of a change of staff_id is not written"),
    ("users", "id", "the author of a change to a mapping is stored as an id, without a foreign key"),
];

const WITHOUT_IS_ACTIVE: &str =
    "staff.active is used instead; without both columns, all staff who are not deleted count as active";

pub(super) fn missing_columns(columns: &Columns) -> Vec<Missing> {
    let required = |what| Missing { what, required: true, loss: "nothing can be decided" };
    let mut missing: Vec<Missing> = columns.problems().into_iter().map(required).collect();
    for (table, column, loss) in OPTIONAL {
        if !columns.has(table, column) && (columns.has_table(table) || table == "users") {
            missing.push(Missing { what: format!("{table}.{column}"), required: false, loss });
        }
    }
    missing
}
