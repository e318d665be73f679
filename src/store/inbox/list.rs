//! Lists the hosts that need a person, page by page, with their waiting bookings.

use sea_orm::sea_query::{Func, JoinType, NullOrdering};
use sea_orm::{DeriveIden, FromQueryResult, QueryResult};
use serde::Serialize;

use super::{InboxFilter, InboxHost, InboxKind};
use crate::matching::{InboxState, Outcome};
use crate::runtime::clock::{as_rfc3339, now_ms};
use crate::store::entity::inbox::{Column, Entity, Model};
use crate::store::entity::{appointment, assignment};
use crate::store::prelude::*;
use crate::store::{Scope, rows};

/// The alias of a host's counted bookings in the statement for a page.
const W: &str = "w";

/// The number of a host's bookings, as read and shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, FromQueryResult)]
pub struct Bookings {
    pub(crate) waiting: i64,
    pub(crate) bookings: i64,
    /// The start of the next booking, in ms since 1970.
    #[serde(serialize_with = "as_rfc3339")]
    pub(crate) next_booking: Option<i64>,
    /// The start of the last booking that has already begun, in ms since 1970.
    #[serde(serialize_with = "as_rfc3339")]
    pub(crate) last_booking: Option<i64>,
}

#[derive(Clone, Copy, DeriveIden)]
enum Counted {
    Waiting,
    Bookings,
    NextBooking,
    LastBooking,
}

/// Returns hosts, those with the soonest booking first, then the most recently seen ones; at most `limit`,
/// after the first `skip`.
pub async fn inbox_hosts(
    db: &impl ConnectionTrait,
    scope: &Scope,
    filter: &InboxFilter,
    (skip, limit): (u64, u64),
) -> Result<Vec<InboxHost>> {
    let u = "u";
    let same_host = Expr::col((W, Column::CompanyId))
        .equals((u, Column::CompanyId))
        .and(Expr::col((W, Column::HostId)).equals((u, Column::HostId)));
    let now_ms = now_ms();
    // The join finds no row for a host without bookings.
    let count = |counted| Func::coalesce([Expr::col((W, counted)), Expr::val(0_i64)]);
    let mut select = Query::select();
    select
        .expr_as(count(Counted::Waiting), Counted::Waiting)
        .expr_as(count(Counted::Bookings), Counted::Bookings)
        .columns([(W, Counted::NextBooking), (W, Counted::LastBooking)])
        .columns(Column::iter().map(|column| (u, column)))
        .from_as(Entity, u)
        .join_subquery(JoinType::LeftJoin, bookings(scope, filter, now_ms), W, same_host)
        .cond_where(condition(scope, filter, u, now_ms))
        .order_by_with_nulls((W, Counted::NextBooking), Order::Asc, NullOrdering::Last)
        .order_by((u, Column::LastSeenMs), Order::Desc)
        .order_by((u, Column::CompanyId), Order::Asc)
        .order_by((u, Column::HostId), Order::Asc)
        .limit(limit)
        .offset(skip);
    db.query_all(&select).await?.iter().map(read_host).collect()
}

/// Counts the bookings of each host that the filter selects.
fn bookings(scope: &Scope, filter: &InboxFilter, now_ms: i64) -> SelectStatement {
    let (v, a, ap) = ("v", "a", "ap");
    let column = |column: assignment::Column| Expr::col((a, column));
    let starts = || column(assignment::Column::StartsMs);
    let is_in_company =
        Expr::col((ap, appointment::Column::CompanyId)).equals((a, assignment::Column::CompanyId));
    let waits = column(assignment::Column::Outcome)
        .is_in(Outcome::waiting().map(Outcome::as_str))
        .and(column(assignment::Column::StaffId).is_null())
        .and(Expr::col((ap, appointment::Column::StaffId)).is_null())
        .and(is_in_company);
    let of_host = column(assignment::Column::CompanyId)
        .equals((v, Column::CompanyId))
        .and(column(assignment::Column::HostId).equals((v, Column::HostId)));
    let appointment = Expr::col((ap, appointment::Column::Id)).equals((a, assignment::Column::AppointmentId));
    let starts_if = |condition: Expr| Expr::expr(CaseStatement::new().case(condition, starts()));
    let host = [(v, Column::CompanyId), (v, Column::HostId)];
    let mut select = Query::select();
    select
        .columns(host)
        .expr_as(Expr::expr(CaseStatement::new().case(waits, 1)).count(), Counted::Waiting)
        .expr_as(column(assignment::Column::AppointmentId).count(), Counted::Bookings)
        .expr_as(starts_if(starts().lt(now_ms)).max(), Counted::LastBooking)
        .expr_as(starts_if(starts().gte(now_ms)).min(), Counted::NextBooking)
        .from_as(Entity, v)
        .join_as(JoinType::InnerJoin, assignment::Entity, a, of_host)
        .join_as(JoinType::InnerJoin, appointment::Entity, ap, appointment)
        .cond_where(condition(scope, filter, v, now_ms))
        .group_by_columns(host);
    select
}

fn condition(scope: &Scope, filter: &InboxFilter, table: &'static str, now_ms: i64) -> Cond {
    let col = |column: Column| Expr::col((table, column));
    let state = |state: InboxState| col(Column::State).eq(state.as_str());
    // A row whose `ignored_until_ms` has passed counts as open; its state is updated only with the next
    // write.
    let ignore_has_ended =
        || col(Column::IgnoredUntilMs).is_not_null().and(col(Column::IgnoredUntilMs).lte(now_ms));
    let all = Cond::all()
        .add(scope.condition_of(col(Column::CompanyId)))
        .add_option(filter.host.map(|host| col(Column::HostId).eq(host)))
        .add_option(filter.state.map(|wanted| match wanted {
            InboxState::Open => state(wanted).or(state(InboxState::Ignored).and(ignore_has_ended())),
            InboxState::Ignored => state(wanted).and(ignore_has_ended().not()),
            InboxState::Resolved => state(wanted),
        }));
    all.add_option(filter.kind.map(|wanted| wanted.condition(table)))
}

fn read_host(row: &QueryResult) -> Result<InboxHost> {
    let bookings = Bookings::from_query_result(row, "")?;
    let row = Model::from_query_result(row, "")?;
    let ignored_until_ms = row.ignored_until_ms;
    let row = rows::inbox_row(row);
    Ok(InboxHost {
        kind: InboxKind::of(&row),
        ignored_until_ms: ignored_until_ms.filter(|_| row.state == InboxState::Ignored),
        row,
        bookings,
    })
}
