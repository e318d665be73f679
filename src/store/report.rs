//! Reads what was decided in a period, to compare it with the appointments: page by page, without locks.

use std::collections::BTreeMap;

use sea_orm::JoinType;
use sea_orm::sea_query::{Asterisk, Func};

use super::entity::{appointment, assignment, dead_letter, mapping_audit};
use super::prelude::*;
use super::{GatewaySchema, Scope, rows};
use crate::event::{AppointmentId, BookingEvent, CompanyId, HostId, StaffId};
use crate::matching::{AuditAction, Confidence, Outcome};

/// The alias of the day in the query of [`new_mappings`].
const DAY: &str = "day";

/// A period in ms since 1970; its end is exclusive.
#[derive(Clone, Copy, Debug)]
pub struct Period {
    /// The start.
    pub since_ms: i64,
    /// The end, exclusive.
    pub until_ms: i64,
}

/// The last decision on one appointment, and the appointment's current values.
#[derive(Clone, Debug, PartialEq, Eq, DerivePartialModel)]
#[sea_orm(entity = "assignment::Entity")]
#[expect(missing_docs, reason = "most fields are columns")]
pub struct Decided {
    #[sea_orm(from_col = "appointment_id")]
    pub appointment: AppointmentId,
    #[sea_orm(from_col = "company_id")]
    pub company: CompanyId,
    /// The host in the newest event, if its id can be a Cal.com id.
    #[sea_orm(from_col = "host_id")]
    pub host: Option<HostId>,
    /// The member of staff that the decision found.
    #[sea_orm(from_col = "found_staff_id")]
    pub found: Option<StaffId>,
    /// The member of staff whom we last assigned.
    #[sea_orm(from_col = "staff_id")]
    pub ours: Option<StaffId>,
    /// The current value of `appointments.staff_id`.
    #[sea_orm(from_expr = "appointment::Column::StaffId.into_expr()")]
    pub now: Option<StaffId>,
    pub strategy: Option<String>,
    pub confidence: Option<Confidence>,
    /// The outcome, as stored.
    #[sea_orm(from_col = "outcome")]
    stored_outcome: String,
    /// Why a person is needed.
    #[sea_orm(from_col = "reason")]
    pub review: Option<String>,
    /// Set if the decision was only observed, and is still to be written.
    pub observed: Option<String>,
    /// When it was decided, in ms since 1970.
    pub decided_ms: i64,
}

impl Decided {
    /// Returns the outcome; `None` if this program does not know it.
    pub fn outcome(&self) -> Option<Outcome> {
        self.stored_outcome.parse().ok()
    }
}

/// Returns up to `limit` decisions of the period after `after` (time and appointment), oldest first.
pub async fn decided(
    db: &impl ConnectionTrait,
    scope: &Scope,
    period: Period,
    after: (i64, i64),
    limit: u64,
) -> Result<Vec<Decided>> {
    use assignment::Column::{AppointmentId, CompanyId, DecidedMs};
    let decided = assignment::Entity::find()
        .join(JoinType::InnerJoin, assignment::appointment_in_company())
        .filter(scope.condition(CompanyId))
        .filter(DecidedMs.gte(Ord::max(after.0, period.since_ms)))
        .filter(DecidedMs.lt(period.until_ms))
        .filter(DecidedMs.gt(after.0).or(DecidedMs.eq(after.0).and(AppointmentId.gt(after.1))))
        .order_by_asc(DecidedMs)
        .order_by_asc(AppointmentId)
        .limit(limit);
    let mut decided: Vec<Decided> = decided.into_partial_model().all(db).await?;
    for one in &mut decided {
        one.host = one.host.and_then(|host| HostId::new(host.0));
    }
    Ok(decided)
}

/// Returns the newest event with a host for each of these decisions. It leaves out decisions without such an
/// event, and those whose payload is no longer kept.
pub async fn newest_events(
    db: &impl ConnectionTrait,
    decisions: &[Decided],
) -> Result<BTreeMap<AppointmentId, BookingEvent>> {
    let ids: Vec<AppointmentId> = decisions.iter().map(|one| one.appointment).collect();
    let with_payload =
        rows::assignments_with_payload(db, &ids).await?.into_iter().filter(|it| it.payload.is_some());
    Ok(with_payload.filter_map(|it| Some((it.appointment, it.newest_event()?))).collect())
}

/// Counts new mappings by day (as in the audit trail) and action: `auto_matched` by matching, `created` by a
/// person. `first_day` and `last_day` have the form `2026-03-01`, and are inclusive.
pub async fn new_mappings(
    db: &impl ConnectionTrait,
    schema: &GatewaySchema,
    scope: &Scope,
    first_day: &str,
    last_day: &str,
) -> Result<Vec<(String, AuditAction, i64)>> {
    use mapping_audit::Column;
    let text = if schema.backend == DbBackend::MySql { "CHAR" } else { "TEXT" };
    let day = || Func::cust("SUBSTR").arg(Expr::col(Column::ChangedAt).cast_as(text)).arg(1).arg(10);
    let new = [AuditAction::AutoMatched, AuditAction::Created].map(AuditAction::as_str);
    let select = mapping_audit::Entity::find()
        .select_only()
        .column_as(Expr::expr(day()), DAY)
        .column(Column::Action)
        .column_as(Expr::col(Asterisk).count(), "mappings")
        .filter(scope.condition(Column::CompanyId))
        .filter(Column::Action.is_in(new))
        .filter(Expr::expr(day()).gte(first_day))
        .filter(Expr::expr(day()).lte(last_day))
        .group_by(Expr::col(DAY))
        .group_by(Column::Action);
    let rows: Vec<(String, String, i64)> = select.into_tuple().all(db).await?;
    let known = rows.into_iter().filter_map(|(day, action, count)| Some((day, action.parse().ok()?, count)));
    Ok(known.collect())
}

/// Counts the dead letters that last failed in the period, by reason.
pub async fn dead_letter_reasons(
    db: &impl ConnectionTrait,
    scope: &Scope,
    period: Period,
) -> Result<BTreeMap<String, i64>> {
    use dead_letter::Column;
    let select = dead_letter::Entity::find()
        .select_only()
        .column(Column::Reason)
        .column_as(Expr::col(Asterisk).count(), "letters")
        .filter(scope.condition(Column::CompanyId))
        .filter(Column::LastFailedMs.gte(period.since_ms))
        .filter(Column::LastFailedMs.lt(period.until_ms))
        .group_by(Column::Reason);
    Ok(select.into_tuple::<(String, i64)>().all(db).await?.into_iter().collect())
}
