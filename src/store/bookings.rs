//! Lists the bookings that events were about, with their decision and the appointment's current member of staff.

use std::collections::BTreeMap;

use sea_orm::sea_query::{Func, JoinType, SimpleExpr};

use super::entity::{appointment, assignment, event, inbox, mapping, service};
use super::prelude::*;
use super::statement::pad_in_list;
use super::{GatewaySchema, Scope};
use crate::event::{AppointmentId, BookingRef, CompanyId, HostId, StaffId};
use crate::matching::{Confidence, Outcome};

/// A filter for bookings. A row must meet every condition that is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BookingFilter {
    /// Only those whose appointment has no member of staff, and that are not cancelled.
    pub(crate) is_unstaffed: bool,
    /// Starting at this time or later, in ms since 1970.
    pub(crate) from_ms: Option<i64>,
    /// Starting before this time, in ms since 1970.
    pub(crate) until_ms: Option<i64>,
    pub(crate) host: Option<HostId>,
    /// The address of the host, in any case.
    pub(crate) email: Option<String>,
    /// The appointment's current member of staff.
    pub(crate) staff: Option<StaffId>,
    pub(crate) appointment: Option<AppointmentId>,
    /// Only bookings after this one in the list: when it starts, and its appointment.
    pub(crate) after: Option<(i64, i64)>,
}

/// A booking with its last decision.
#[derive(Clone, Debug, PartialEq, Eq, DerivePartialModel)]
#[sea_orm(entity = "assignment::Entity")]
pub(crate) struct BookingRow {
    #[sea_orm(from_col = "appointment_id")]
    pub(crate) appointment: AppointmentId,
    #[sea_orm(from_col = "company_id")]
    pub(crate) company: CompanyId,
    #[sea_orm(from_col = "booking_ref")]
    pub(crate) booking: Option<BookingRef>,
    pub(crate) starts_ms: Option<i64>,
    #[sea_orm(from_col = "host_id")]
    pub(crate) host: Option<HostId>,
    pub(crate) host_email: Option<String>,
    pub(crate) outcome: String,
    #[sea_orm(from_col = "reason")]
    pub(crate) review: Option<String>,
    /// The member of staff whom we assigned last.
    #[sea_orm(from_col = "staff_id")]
    pub(crate) ours: Option<StaffId>,
    /// The appointment's current member of staff.
    #[sea_orm(from_expr = "appointment::Column::StaffId.into_expr()")]
    pub(crate) now: Option<StaffId>,
    pub(crate) strategy: Option<String>,
    pub(crate) confidence: Option<Confidence>,
    pub(crate) evidence: Option<String>,
    pub(crate) event_id: Option<String>,
    pub(crate) decided_ms: i64,
}

/// Selects the bookings whose appointment has no member of staff, and that are not cancelled.
///
/// A booking has staff if the gateway's appointment has a member of staff now, whoever set it. It is cancelled if a
/// cancellation was decided together with or after the event that contains its host (as long as `retention.events`
/// keeps that cancellation).
pub(super) fn unstaffed(bookings: Select<assignment::Entity>) -> Select<assignment::Entity> {
    use assignment::Column as A;
    use event::Column as E;
    // Scalar subqueries per booking without staff: the engine never turns these into a join of whole tables.
    let cancelled = event::Entity::find()
        .select_only()
        .expr(E::DecidedMs.max())
        .filter(E::BookingRef.into_expr().equals(A::BookingRef.as_column_ref()))
        .filter(E::AppointmentId.into_expr().equals(A::AppointmentId.as_column_ref()))
        .filter(E::Outcome.eq(Outcome::Recorded.as_str()));
    let cancelled = Func::coalesce([SimpleExpr::from(cancelled.into_query()), Expr::val(-1_i64)]);
    let decided = event::Entity::find()
        .select_only()
        .column(E::DecidedMs)
        .filter(E::EventId.into_expr().equals(A::EventId.as_column_ref()));
    let decided = Func::coalesce([SimpleExpr::from(decided.into_query()), A::DecidedMs.into_expr()]);
    bookings
        .filter(A::Outcome.ne(Outcome::Recorded.as_str()))
        .filter(appointment::Column::StaffId.is_null())
        .filter(Expr::expr(cancelled).lt(decided))
}

/// Selects the bookings of a scope, joined with their appointments.
pub(super) fn of_scope(scope: &Scope) -> Select<assignment::Entity> {
    assignment::Entity::find()
        .select_only()
        .join(JoinType::InnerJoin, assignment::appointment_in_company())
        .filter(scope.condition(assignment::Column::CompanyId))
}

/// Returns bookings, those that start soonest first, at most `limit`. Those without a known start come first.
pub(crate) async fn bookings(
    db: &impl ConnectionTrait,
    schema: &GatewaySchema,
    scope: &Scope,
    filter: &BookingFilter,
    limit: u64,
) -> Result<Vec<BookingRow>> {
    use assignment::Column as A;
    // Without a start from which to list, bookings whose start is unknown come first.
    let starts: Expr = match filter.from_ms {
        Some(_) => A::StartsMs.into_expr(),
        None => Func::coalesce([A::StartsMs.into_expr(), Expr::val(0_i64)]).into(),
    };
    let mut all = of_scope(scope)
        .apply_if(filter.from_ms, |all, from| all.filter(A::StartsMs.gte(from)))
        .apply_if(filter.until_ms, |all, until| all.filter(A::StartsMs.lt(until)))
        .apply_if(filter.host, |all, host| all.filter(A::HostId.eq(host)))
        .apply_if(filter.appointment, |all, id| all.filter(A::AppointmentId.eq(id)))
        .apply_if(filter.email.as_deref(), |all, email| all.filter(has_email(scope, email)));
    if filter.is_unstaffed {
        all = unstaffed(all);
    }
    if let Some(staff) = &filter.staff {
        // An id of the wrong kind belongs to no staff.
        let Ok(staff) = staff.of_kind(schema.staff_key) else { return Ok(Vec::new()) };
        all = all.filter(appointment::Column::StaffId.eq(staff));
    }
    if let Some((ms, id)) = filter.after {
        all = all.filter(starts.clone().gt(ms).or(starts.clone().eq(ms).and(A::AppointmentId.gt(id))));
    }
    let all = all.order_by_asc(starts).order_by_asc(A::AppointmentId).limit(limit);
    Ok(all.into_partial_model().all(db).await?)
}

/// Returns the condition that the host of a booking has this address, in any case: in its newest event, in the
/// inbox or in a mapping.
fn has_email(scope: &Scope, email: &str) -> Cond {
    let email = email.trim().to_lowercase();
    let is_email = |column: Expr| Expr::expr(Func::lower(column)).eq(email.as_str());
    let hosts_of_inbox = inbox::Entity::find()
        .select_only()
        .column(inbox::Column::HostId)
        .filter(scope.condition(inbox::Column::CompanyId))
        .filter(is_email(inbox::Column::Email.into_expr()));
    let mapped_hosts = mapping::Entity::find()
        .select_only()
        .column(mapping::Column::CalcomHostId)
        .filter(scope.condition(mapping::Column::CompanyId))
        .filter(is_email(mapping::Column::CalcomEmail.into_expr()));
    Cond::any()
        .add(is_email(assignment::Column::HostEmail.into_expr()))
        .add(assignment::Column::HostId.in_subquery(hosts_of_inbox.into_query()))
        .add(assignment::Column::HostId.in_subquery(mapped_hosts.into_query()))
}

/// Returns the names of the services of these appointments. It is empty if the gateway has no such columns.
pub(crate) async fn service_names(
    db: &impl ConnectionTrait,
    schema: &GatewaySchema,
    ids: impl IntoIterator<Item = AppointmentId>,
) -> Result<BTreeMap<AppointmentId, String>> {
    let has_service = schema.columns.has(appointment::Column::ServiceId);
    if !(has_service && schema.columns.has(service::Column::Id) && schema.columns.has(service::Column::Name))
    {
        return Ok(BTreeMap::new());
    }
    let names: Vec<(AppointmentId, Option<String>)> = appointment::Entity::find()
        .select_only()
        .column(appointment::Column::Id)
        .column(service::Column::Name)
        .inner_join(service::Entity)
        .filter(appointment::Column::Id.is_in(pad_in_list(ids)))
        .into_tuple()
        .all(db)
        .await?;
    Ok(names.into_iter().filter_map(|(id, name)| Some((id, name?))).collect())
}
