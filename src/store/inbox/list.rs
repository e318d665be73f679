//! Pages of hosts that need a person, with what waits for them.

use migration::names;
use sea_orm::sea_query::{
    CaseStatement, Cond, Expr, ExprTrait as _, JoinType, NullOrdering, Order, Query, SelectStatement,
    TableRef,
};
use sea_orm::{ConnectionTrait, FromQueryResult as _, Iterable as _, QueryResult};

use super::{InboxEntry, InboxFilter, InboxKind, MAPPING, TABLE};
use crate::matching::{InboxState, Outcome, Review};
use crate::store::entity::inbox;
use crate::store::{DbId, StoreError, rows};

/// Hosts, those with the soonest booking first, then those seen last; at most `limit`, after the first
/// `skip`.
///
/// # Errors
/// [`StoreError`]
pub async fn inbox_entries(
    db: &impl ConnectionTrait,
    filter: &InboxFilter,
    now_ms: i64,
    skip: u64,
    limit: u64,
) -> Result<Vec<InboxEntry>, StoreError> {
    let mut select = Query::select();
    select
        .columns(inbox::Column::iter().map(|column| ("u", column)))
        .columns(["waiting", "bookings", "last_booking_ms", "next_booking_ms"].map(|column| ("w", column)));
    let same_host = Expr::col(("w", "company_id"))
        .equals(("u", "company_id"))
        .and(Expr::col(("w", "host_id")).equals(("u", "host_id")));
    select
        .from_as(TABLE, "u")
        .join_subquery(JoinType::LeftJoin, bookings(filter, now_ms), "w", same_host)
        .cond_where(condition(filter, "u", now_ms))
        .order_by_with_nulls(("w", "next_booking_ms"), Order::Asc, NullOrdering::Last)
        .order_by(("u", "last_seen_ms"), Order::Desc)
        .order_by(("u", "company_id"), Order::Asc)
        .order_by(("u", "host_id"), Order::Asc)
        .limit(limit)
        .offset(skip);
    db.query_all(&select).await?.iter().map(entry).collect()
}

/// The bookings of each host that is asked for.
fn bookings(filter: &InboxFilter, now_ms: i64) -> SelectStatement {
    let (v, a, ap) = ("v", "a", "ap");
    let starts = || Expr::col((a, "starts_ms"));
    let waits = Expr::col((a, "outcome"))
        .is_in(Outcome::waiting().map(Outcome::as_str))
        .and(Expr::col((a, "staff_id")).is_null())
        .and(Expr::col((ap, "staff_id")).is_null())
        .and(Expr::col((ap, "company_id")).equals((a, "company_id")));
    let mut select = Query::select();
    select
        .columns([(v, "company_id"), (v, "host_id")])
        .expr_as(Expr::expr(CaseStatement::new().case(waits, 1)).count(), "waiting")
        .expr_as(Expr::col((a, "appointment_id")).count(), "bookings")
        .expr_as(
            Expr::expr(CaseStatement::new().case(starts().lt(now_ms), starts())).max(),
            "last_booking_ms",
        )
        .expr_as(
            Expr::expr(CaseStatement::new().case(starts().gte(now_ms), starts())).min(),
            "next_booking_ms",
        )
        .from_as(TABLE, v)
        .inner_join(
            TableRef::Table(names::ASSIGNMENTS.into(), Some(a.into())),
            Expr::col((a, "company_id"))
                .equals((v, "company_id"))
                .and(Expr::col((a, "host_id")).equals((v, "host_id"))),
        )
        .inner_join(
            TableRef::Table("appointments".into(), Some(ap.into())),
            Expr::col((ap, "id")).equals((a, "appointment_id")),
        )
        .cond_where(condition(filter, v, now_ms))
        .group_by_columns([(v, "company_id"), (v, "host_id")]);
    select
}

fn condition(filter: &InboxFilter, table: &'static str, now_ms: i64) -> Cond {
    let col = |name: &'static str| Expr::col((table, name));
    let state = |state: InboxState| col("state").eq(state.as_str());
    // One whose time is over is open, although the row says otherwise until somebody writes it.
    let over = || col("ignored_until_ms").is_not_null().and(col("ignored_until_ms").lte(now_ms));
    let mut all = Cond::all();
    if let Some(company) = filter.company {
        all = all.add(col("company_id").eq(company.0));
    }
    if let Some(host) = filter.host {
        all = all.add(col("host_id").eq(host.0));
    }
    match filter.state {
        None => {}
        Some(InboxState::Open) => {
            all = all.add(state(InboxState::Open).or(state(InboxState::Ignored).and(over())));
        }
        Some(InboxState::Ignored) => all = all.add(state(InboxState::Ignored).and(over().not())),
        Some(InboxState::Resolved) => all = all.add(state(InboxState::Resolved)),
    }
    let kind = |review| col("kind").eq(rows::kind(review));
    let by_mapping = || col("suggestions").like(format!("%\"field\":\"{MAPPING}\"%"));
    match filter.kind {
        None => all,
        Some(InboxKind::Suggestion) => all.add(kind(Some(Review::BelowThreshold))),
        Some(InboxKind::Unknown) => all.add(kind(None)),
        Some(InboxKind::Ambiguous) => all.add(kind(Some(Review::Ambiguous)).and(by_mapping().not())),
        Some(InboxKind::Conflict) => {
            all.add(kind(Some(Review::SwitchedOff)).or(kind(Some(Review::Ambiguous)).and(by_mapping())))
        }
    }
}

fn entry(row: &QueryResult) -> Result<InboxEntry, StoreError> {
    let number = |column: &str| row.try_get::<Option<DbId>>("", column).map(|id| id.map(|id| id.0));
    let host = rows::inbox_row(inbox::Model::from_query_result(row, "")?);
    Ok(InboxEntry {
        kind: InboxKind::of(&host),
        ignored_until_ms: number("ignored_until_ms")?.filter(|_| host.state == InboxState::Ignored),
        row: host,
        waiting: number("waiting")?.unwrap_or(0),
        bookings: number("bookings")?.unwrap_or(0),
        last_booking_ms: number("last_booking_ms")?,
        next_booking_ms: number("next_booking_ms")?,
    })
}
