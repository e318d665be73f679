//! Looking at what waits, and at repairs.

use migration::names;
use sea_orm::sea_query::{Expr, ExprTrait as _, Order, Query, TableRef};
use sea_orm::{ConnectionTrait, QueryResult};

use super::{ITEMS, ItemState, REPAIRS, RepairItem, RepairRow, RepairState};
use crate::event::{AppointmentId, CompanyId, HostId};
use crate::matching::{HostKey, Outcome};
use crate::store::{DbId, StoreError};

/// An appointment that waits for its host to become known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Which.
    pub appointment: AppointmentId,
    /// When it starts, ms since 1970, where that is known.
    pub starts_ms: Option<i64>,
    /// The booking's reference.
    pub booking: Option<String>,
}

/// The appointments that wait for this host: its newest event names it, nobody was found, and nobody
/// has assigned them since. Counted from what was decided, never from a counter.
///
/// # Errors
/// [`StoreError`]
pub async fn waiting_of(db: &impl ConnectionTrait, key: HostKey) -> Result<Vec<Waiting>, StoreError> {
    let (a, ap) = ("a", "ap");
    let mut select = Query::select();
    select
        .columns([(a, "appointment_id"), (a, "starts_ms"), (a, "booking_ref")])
        .from_as(names::ASSIGNMENTS, a)
        .inner_join(
            TableRef::Table("appointments".into(), Some(ap.into())),
            Expr::col((ap, "id"))
                .equals((a, "appointment_id"))
                .and(Expr::col((ap, "company_id")).equals((a, "company_id"))),
        )
        .and_where(Expr::col((a, "company_id")).eq(key.company.0))
        .and_where(Expr::col((a, "host_id")).eq(key.host.0))
        .and_where(Expr::col((a, "outcome")).is_in(Outcome::waiting().map(Outcome::as_str)))
        .and_where(Expr::col((a, "staff_id")).is_null())
        .and_where(Expr::col((ap, "staff_id")).is_null())
        .order_by((a, "appointment_id"), Order::Asc);
    let waiting = |row: &QueryResult| {
        Ok(Waiting {
            appointment: row.try_get("", "appointment_id")?,
            starts_ms: row.try_get::<Option<DbId>>("", "starts_ms")?.map(|ms| ms.0),
            booking: row.try_get("", "booking_ref")?,
        })
    };
    db.query_all(&select).await?.iter().map(waiting).collect()
}

/// Which repairs; what is given must all be true.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RepairFilter {
    /// Of this company.
    pub company: Option<CompanyId>,
    /// Of this Cal.com user.
    pub host: Option<HostId>,
    /// Only older ones than this.
    pub before: Option<i64>,
}

/// Repairs, newest first, at most `limit`.
///
/// # Errors
/// [`StoreError`]
pub async fn repairs(
    db: &impl ConnectionTrait,
    filter: &RepairFilter,
    limit: u64,
) -> Result<Vec<RepairRow>, StoreError> {
    let mut select = Query::select();
    select.columns(COLUMNS).from(REPAIRS).order_by("id", Order::Desc).limit(limit);
    select.and_where_option(filter.company.map(|company| Expr::col("company_id").eq(company.0)));
    select.and_where_option(filter.host.map(|host| Expr::col("host_id").eq(host.0)));
    select.and_where_option(filter.before.map(|before| Expr::col("id").lt(before)));
    db.query_all(&select).await?.iter().map(read).collect()
}

/// The repair with this id; with a `company`, only if it is that one's.
///
/// # Errors
/// [`StoreError`]
pub async fn repair(
    db: &impl ConnectionTrait,
    id: i64,
    company: Option<CompanyId>,
) -> Result<Option<RepairRow>, StoreError> {
    let mut select = Query::select();
    select.columns(COLUMNS).from(REPAIRS).and_where(Expr::col("id").eq(id));
    select.and_where_option(company.map(|company| Expr::col("company_id").eq(company.0)));
    db.query_one(&select).await?.as_ref().map(read).transpose()
}

/// How many appointments of a repair are in which state, for which reason.
///
/// # Errors
/// [`StoreError`]
pub async fn repair_standings(
    db: &impl ConnectionTrait,
    repair: i64,
) -> Result<Vec<(ItemState, Option<String>, i64)>, StoreError> {
    let mut select = Query::select();
    select
        .columns(["state", "reason"])
        .expr_as(Expr::col("appointment_id").count(), "appointments")
        .from(ITEMS)
        .and_where(Expr::col("repair_id").eq(repair))
        .group_by_columns(["state", "reason"]);
    let standing = |row: &QueryResult| {
        let state = ItemState::read(&row.try_get::<String>("", "state")?);
        Ok((state, row.try_get("", "reason")?, row.try_get::<DbId>("", "appointments")?.0))
    };
    db.query_all(&select).await?.iter().map(standing).collect()
}

/// The appointments of a repair behind `after`, in order, at most `limit`.
///
/// # Errors
/// [`StoreError`]
pub async fn repair_items(
    db: &impl ConnectionTrait,
    repair: i64,
    after: i64,
    limit: u64,
) -> Result<Vec<RepairItem>, StoreError> {
    let mut select = Query::select();
    select
        .columns(ITEM)
        .from(ITEMS)
        .and_where(Expr::col("repair_id").eq(repair))
        .and_where(Expr::col("appointment_id").gt(after))
        .order_by("appointment_id", Order::Asc)
        .limit(limit);
    db.query_all(&select).await?.iter().map(read_item).collect()
}

fn read(row: &QueryResult) -> Result<RepairRow, StoreError> {
    let ms = |column: &str| row.try_get::<Option<DbId>>("", column).map(|ms| ms.map(|ms| ms.0));
    let host = HostId(row.try_get::<DbId>("", "host_id")?.0);
    Ok(RepairRow {
        id: row.try_get::<DbId>("", "id")?.0,
        key: HostKey::new(row.try_get("", "company_id")?, host),
        staff: row.try_get("", "staff_id")?,
        scope: row.try_get("", "scope")?,
        state: RepairState::read(&row.try_get::<String>("", "state")?),
        total: row.try_get::<DbId>("", "total")?.0,
        made_by: row.try_get("", "made_by")?,
        why: row.try_get("", "why")?,
        created_ms: row.try_get::<DbId>("", "created_ms")?.0,
        ended_ms: ms("ended_ms")?,
        undone_by: row.try_get("", "undone_by")?,
        undone_why: row.try_get("", "undone_why")?,
        undone_ms: ms("undone_ms")?,
    })
}

pub(super) fn read_item(row: &QueryResult) -> Result<RepairItem, StoreError> {
    let ms = |column: &str| row.try_get::<Option<DbId>>("", column).map(|ms| ms.map(|ms| ms.0));
    let prior = row.try_get::<Option<String>>("", "prior")?;
    Ok(RepairItem {
        appointment: row.try_get("", "appointment_id")?,
        starts_ms: ms("starts_ms")?,
        state: ItemState::read(&row.try_get::<String>("", "state")?),
        reason: row.try_get("", "reason")?,
        prior: prior.and_then(|prior| serde_json::from_str(&prior).ok()),
        decided_ms: ms("decided_ms")?,
    })
}

const COLUMNS: [&str; 14] = [
    "id",
    "company_id",
    "host_id",
    "staff_id",
    "scope",
    "state",
    "total",
    "made_by",
    "why",
    "created_ms",
    "ended_ms",
    "undone_by",
    "undone_why",
    "undone_ms",
];

pub(super) const ITEM: [&str; 6] = ["appointment_id", "starts_ms", "state", "reason", "prior", "decided_ms"];
