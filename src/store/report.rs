//! What was decided in a period, for comparing it with what the appointments have: read page by page,
//! without locks.

use migration::names;
use std::collections::BTreeMap;

use sea_orm::sea_query::{
    Alias, Asterisk, Expr, ExprTrait as _, Func, Order, Query, SelectStatement, TableRef,
};
use sea_orm::{ConnectionTrait, DbBackend, QueryResult};

use super::{DbId, GatewaySchema, StoreError, rows};
use crate::event::{AppointmentId, BookingEvent, CompanyId, HostId, StaffId};
use crate::matching::{AuditAction, Confidence, Outcome};

/// From when until when, in ms since 1970 (until is exclusive), and of which company (`None`: all).
#[derive(Clone, Copy, Debug)]
pub struct Period {
    /// From here on.
    pub since_ms: i64,
    /// Before this.
    pub until_ms: i64,
    /// Only of this one.
    pub company: Option<CompanyId>,
}

/// The last decision on one appointment, and what that has now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// Which.
    pub appointment: AppointmentId,
    /// Its company.
    pub company: CompanyId,
    /// Its newest host, if that has an id.
    pub host: Option<HostId>,
    /// Whom the decision found.
    pub found: Option<StaffId>,
    /// Whom we assigned last.
    pub ours: Option<StaffId>,
    /// `appointments.staff_id` now.
    pub now: Option<StaffId>,
    /// The strategy that found somebody.
    pub strategy: Option<String>,
    /// Its confidence.
    pub confidence: Option<Confidence>,
    /// What was decided; `None`: a name that this program does not know.
    pub outcome: Option<Outcome>,
    /// What kept the machine from deciding.
    pub review: Option<String>,
    /// It was only observed.
    pub observed: bool,
    /// When, ms since 1970.
    pub decided_ms: i64,
}

/// Up to `limit` decisions of the period behind `after` (time and appointment), oldest first.
///
/// # Errors
/// [`StoreError`]
pub async fn decided(
    db: &impl ConnectionTrait,
    period: Period,
    after: (i64, i64),
    limit: u64,
) -> Result<Vec<Decided>, StoreError> {
    let at = || Expr::col(("d", "decided_ms"));
    let behind = at().gt(after.0).or(at().eq(after.0).and(Expr::col(("d", "appointment_id")).gt(after.1)));
    let mut select = Query::select();
    for column in [
        "appointment_id",
        "company_id",
        "host_id",
        "found_staff_id",
        "staff_id",
        "strategy",
        "confidence",
        "outcome",
        "reason",
        "observed",
        "decided_ms",
    ] {
        select.column(("d", column));
    }
    select
        .expr_as(Expr::col(("a", "staff_id")), Alias::new("staff_now"))
        .from_as(names::ASSIGNMENTS, "d")
        .inner_join(
            TableRef::Table("appointments".into(), Some("a".into())),
            // One that has moved to another company is no longer what was decided on.
            Expr::col(("a", "id"))
                .equals(("d", "appointment_id"))
                .and(Expr::col(("a", "company_id")).equals(("d", "company_id"))),
        )
        .and_where(at().gte(Ord::max(after.0, period.since_ms)))
        .and_where(at().lt(period.until_ms))
        .and_where(behind)
        .order_by(("d", "decided_ms"), Order::Asc)
        .order_by(("d", "appointment_id"), Order::Asc)
        .limit(limit);
    if let Some(company) = period.company {
        select.and_where(Expr::col(("d", "company_id")).eq(company.0));
    }
    db.query_all(&select).await?.iter().map(read).collect()
}

/// The same, each with the newest event that named a host; those without one left out, and those whose
/// booking is not kept any more.
///
/// # Errors
/// [`StoreError`]
pub async fn recorded(
    db: &impl ConnectionTrait,
    decisions: &[Decided],
) -> Result<BTreeMap<AppointmentId, BookingEvent>, StoreError> {
    let ids: Vec<AppointmentId> = decisions.iter().map(|one| one.appointment).collect();
    let kept = rows::with_bookings(db, &ids).await?.into_iter().filter(|it| it.payload.is_some());
    Ok(kept.filter_map(|it| Some((it.appointment, it.newest_event()?))).collect())
}

fn read(row: &QueryResult) -> Result<Decided, StoreError> {
    let id = |column: &str| row.try_get::<Option<DbId>>("", column).map(|id| id.map(|id| id.0));
    let text = |column: &str| row.try_get::<Option<String>>("", column);
    Ok(Decided {
        appointment: row.try_get("", "appointment_id")?,
        company: row.try_get("", "company_id")?,
        host: id("host_id")?.and_then(HostId::new),
        found: row.try_get("", "found_staff_id")?,
        ours: row.try_get("", "staff_id")?,
        now: row.try_get("", "staff_now")?,
        strategy: text("strategy")?,
        confidence: id("confidence")?.and_then(|score| u8::try_from(score).ok()).map(Confidence),
        outcome: text("outcome")?.and_then(|outcome| outcome.parse().ok()),
        review: text("reason")?,
        observed: text("observed")?.is_some(),
        decided_ms: row.try_get::<DbId>("", "decided_ms")?.0,
    })
}

/// New mappings by day (as the audit trail has it) and action: `auto_matched` by matching, `created` by
/// a person. `first_day`, `last_day`: as `2026-03-01`, both inclusive.
///
/// # Errors
/// [`StoreError`]
pub async fn new_mappings(
    db: &impl ConnectionTrait,
    schema: &GatewaySchema,
    company: Option<CompanyId>,
    first_day: &str,
    last_day: &str,
) -> Result<Vec<(String, AuditAction, i64)>, StoreError> {
    let text = if schema.backend == DbBackend::MySql { "CHAR" } else { "TEXT" };
    let day = || Func::cust("SUBSTR").arg(Expr::col("changed_at").cast_as(text)).arg(1).arg(10);
    let mut select = Query::select();
    select
        .expr_as(day(), Alias::new("day"))
        .column("action")
        .expr_as(Expr::col(Asterisk).count(), Alias::new("mappings"))
        .from(names::AUDITS)
        .and_where(
            Expr::col("action")
                .is_in([AuditAction::AutoMatched, AuditAction::Created].map(AuditAction::as_str)),
        )
        .and_where(Expr::expr(day()).gte(first_day))
        .and_where(Expr::expr(day()).lte(last_day))
        .group_by_columns(["day", "action"]);
    of_company(&mut select, company);
    let mut new = Vec::new();
    for row in db.query_all(&select).await? {
        let Ok(action) = row.try_get::<String>("", "action")?.parse() else { continue };
        new.push((row.try_get("", "day")?, action, row.try_get::<DbId>("", "mappings")?.0));
    }
    Ok(new)
}

/// How many dead letters failed last in the period, by reason.
///
/// # Errors
/// [`StoreError`]
pub async fn dead_letter_reasons(
    db: &impl ConnectionTrait,
    period: Period,
) -> Result<BTreeMap<String, i64>, StoreError> {
    let mut select = Query::select();
    select
        .column("reason")
        .expr_as(Expr::col(Asterisk).count(), Alias::new("letters"))
        .from(names::DEAD_LETTERS)
        .and_where(Expr::col("last_failed_ms").gte(period.since_ms))
        .and_where(Expr::col("last_failed_ms").lt(period.until_ms))
        .group_by_col("reason");
    of_company(&mut select, period.company);
    let rows = db.query_all(&select).await?;
    rows.iter().map(|row| Ok((row.try_get("", "reason")?, row.try_get::<DbId>("", "letters")?.0))).collect()
}

fn of_company(select: &mut SelectStatement, company: Option<CompanyId>) {
    if let Some(company) = company {
        select.and_where(Expr::col("company_id").eq(company.0));
    }
}
