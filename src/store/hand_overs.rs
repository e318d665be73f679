//! Whose appointments go to whom when a member of staff leaves, and the record of it.

use migration::names;
use sea_orm::sea_query::{Alias, Expr, ExprTrait as _, Order, Query, TableRef};
use sea_orm::{ConnectionTrait, QueryResult};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::dead_letters::id_of;
use super::{DbId, GatewaySchema, Prior, StoreError, bind_staff};
use crate::event::{AppointmentId, CompanyId, StaffId};

const TABLE: &str = names::HAND_OVERS;

/// An appointment that a member of staff has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Which.
    pub appointment: AppointmentId,
    /// When it starts, ms since 1970.
    pub starts_ms: i64,
    /// We gave it to them; else somebody else did.
    pub is_ours: bool,
}

/// An appointment that was handed over, and what our row said of it before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Given {
    /// Which.
    pub appointment: AppointmentId,
    /// Before.
    pub prior: Prior,
}

/// A hand-over.
#[derive(Clone, Debug, PartialEq)]
pub struct HandOverRow {
    /// Its number; 0 of one that is to be noted.
    pub id: i64,
    /// The act of its decisions about mappings.
    pub act: Uuid,
    /// The company.
    pub company: CompanyId,
    /// From whom.
    pub from: StaffId,
    /// To whom.
    pub to: StaffId,
    /// Appointments that start then or later, ms since 1970.
    pub from_ms: i64,
    /// The appointments.
    pub given: Vec<Given>,
    /// Who did it.
    pub made_by: String,
    /// Why.
    pub why: Option<String>,
    /// When, ms since 1970.
    pub at_ms: i64,
    /// When it was taken back, ms since 1970.
    pub undone_ms: Option<i64>,
}

/// The appointments of this member of staff that start at `from_ms` or later, as far as hostmatch knows
/// when they start, by id.
///
/// # Errors
/// [`StoreError`]
pub async fn held_by(
    db: &impl ConnectionTrait,
    schema: &GatewaySchema,
    company: CompanyId,
    staff: &StaffId,
    from_ms: i64,
) -> Result<Vec<Held>, StoreError> {
    let staff = bind_staff(staff, schema.staff_key)?;
    let (a, d) = ("a", "d");
    let mut select = Query::select();
    select
        .column((a, "id"))
        .column((d, "starts_ms"))
        .expr_as(Expr::col((d, "staff_id")), Alias::new("ours"))
        .expr_as(Expr::col((a, "staff_id")), Alias::new("now"))
        .from_as("appointments", a)
        .inner_join(
            TableRef::Table(names::ASSIGNMENTS.into(), Some(d.into())),
            Expr::col((d, "appointment_id"))
                .equals((a, "id"))
                .and(Expr::col((d, "company_id")).equals((a, "company_id"))),
        )
        .and_where(Expr::col((a, "company_id")).eq(company.0))
        .and_where(Expr::col((a, "staff_id")).eq(staff))
        .and_where(Expr::col((d, "starts_ms")).gte(from_ms))
        .order_by((a, "id"), Order::Asc);
    let held = |row: &QueryResult| {
        let [ours, now] = ["ours", "now"].map(|column| row.try_get::<Option<StaffId>>("", column));
        Ok(Held {
            appointment: row.try_get("", "id")?,
            starts_ms: row.try_get::<DbId>("", "starts_ms")?.0,
            is_ours: ours? == now?,
        })
    };
    db.query_all(&select).await?.iter().map(held).collect()
}

/// How many appointments of this member of staff there are of which hostmatch does not know when they
/// start: no event about them has been decided.
///
/// # Errors
/// [`StoreError`]
pub async fn held_at_unknown_times(
    db: &impl ConnectionTrait,
    schema: &GatewaySchema,
    company: CompanyId,
    staff: &StaffId,
) -> Result<i64, StoreError> {
    let (a, d) = ("a", "d");
    let mut select = Query::select();
    select
        .expr_as(Expr::col((a, "id")).count(), Alias::new("appointments"))
        .from_as("appointments", a)
        .left_join(
            TableRef::Table(names::ASSIGNMENTS.into(), Some(d.into())),
            Expr::col((d, "appointment_id")).equals((a, "id")),
        )
        .and_where(Expr::col((a, "company_id")).eq(company.0))
        .and_where(Expr::col((a, "staff_id")).eq(bind_staff(staff, schema.staff_key)?))
        .and_where(Expr::col((d, "starts_ms")).is_null());
    let row = db.query_one(&select).await?;
    Ok(row.map(|row| row.try_get::<DbId>("", "appointments")).transpose()?.map_or(0, |count| count.0))
}

/// Notes a hand-over; gives its number.
///
/// # Errors
/// [`StoreError`]
pub async fn insert_hand_over(
    tx: &impl ConnectionTrait,
    schema: &GatewaySchema,
    row: &HandOverRow,
) -> Result<i64, StoreError> {
    let token = row.act.to_string();
    let given = serde_json::to_string(&row.given).unwrap_or_else(|_| "[]".to_owned());
    let mut insert = Query::insert();
    insert
        .into_table(TABLE)
        .columns([
            "token",
            "company_id",
            "from_staff_id",
            "to_staff_id",
            "from_ms",
            "appointments",
            "made_by",
            "why",
            "at_ms",
        ])
        .values_panic([
            token.as_str().into(),
            row.company.0.into(),
            bind_staff(&row.from, schema.staff_key)?.into(),
            bind_staff(&row.to, schema.staff_key)?.into(),
            row.from_ms.into(),
            given.into(),
            row.made_by.as_str().into(),
            row.why.clone().into(),
            row.at_ms.into(),
        ]);
    tx.execute(&insert).await?;
    id_of(tx, TABLE, &token).await
}

/// The hand-over of this company with this number.
///
/// # Errors
/// [`StoreError`]
pub async fn hand_over(
    db: &impl ConnectionTrait,
    id: i64,
    company: CompanyId,
) -> Result<Option<HandOverRow>, StoreError> {
    let mut select = Query::select();
    select
        .columns(["token", "appointments", "from_staff_id", "to_staff_id", "from_ms"])
        .columns(["made_by", "why", "at_ms", "undone_ms"])
        .from(TABLE)
        .and_where(Expr::col("id").eq(id))
        .and_where(Expr::col("company_id").eq(company.0));
    let Some(row) = db.query_one(&select).await? else { return Ok(None) };
    let given = row.try_get::<String>("", "appointments")?;
    Ok(Some(HandOverRow {
        id,
        act: Uuid::parse_str(&row.try_get::<String>("", "token")?).unwrap_or_default(),
        company,
        from: row.try_get("", "from_staff_id")?,
        to: row.try_get("", "to_staff_id")?,
        from_ms: row.try_get::<DbId>("", "from_ms")?.0,
        given: serde_json::from_str(&given).map_err(|error| {
            StoreError::Schema(format!("hostmatch_hand_overs.appointments of {id}: {error}"))
        })?,
        made_by: row.try_get("", "made_by")?,
        why: row.try_get("", "why")?,
        at_ms: row.try_get::<DbId>("", "at_ms")?.0,
        undone_ms: row.try_get::<Option<DbId>>("", "undone_ms")?.map(|ms| ms.0),
    }))
}

/// Notes that a hand-over was taken back. False: it was, before.
///
/// # Errors
/// [`StoreError`]
pub async fn note_hand_over_undone(
    tx: &impl ConnectionTrait,
    id: i64,
    by: &str,
    why: Option<&str>,
    at_ms: i64,
) -> Result<bool, StoreError> {
    let mut update = Query::update();
    update
        .table(TABLE)
        .value("undone_by", by)
        .value("undone_why", why.map(str::to_owned))
        .value("undone_ms", at_ms)
        .and_where(Expr::col("id").eq(id))
        .and_where(Expr::col("undone_ms").is_null());
    Ok(tx.execute(&update).await?.rows_affected() > 0)
}
