//! How things stand now, as counts: bookings without staff that are about to start, hosts that need a
//! person, dead letters that are open. Read without locks, each by an index and not by the length of a table.

use std::collections::BTreeMap;

use sea_orm::sea_query::{Asterisk, Func, SimpleExpr};
use sea_orm::{FromQueryResult, JoinType};
use serde::Serialize;
use strum::VariantArray as _;

use super::entity::{appointment, assignment, dead_letter, event, inbox};
use super::prelude::*;
use super::{InboxKind, LetterState, Scope};
use crate::matching::{InboxState, Outcome};
use crate::runtime::clock::as_rfc3339;

/// The name of what is the matter among the columns of [`open_inbox`].
const MATTER: &str = "matter";

const HOUR_MS: i64 = 3_600_000;

/// Bookings that have not begun, are not cancelled, and have no staff, as far as events told of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromQueryResult, Serialize)]
pub struct Unassigned {
    /// Of those, how many start within 24 hours.
    #[serde(rename = "within_24_hours")]
    pub day: i64,
    /// Within 7 days.
    #[serde(rename = "within_7_days")]
    pub week: i64,
    /// At any time.
    pub all: i64,
    /// When the first of them starts, ms since 1970.
    #[serde(rename = "next", serialize_with = "as_rfc3339")]
    pub next_ms: Option<i64>,
}

/// Counts bookings without staff.
///
/// Whether somebody has it is what the gateway's appointment says now, whoever wrote it. Cancelled is one
/// about which a cancellation was decided after the event that named its host, or with it (for as long as
/// `retention.events` keeps it). Nothing is known of appointments about which no event has come.
pub async fn unassigned(db: &impl ConnectionTrait, scope: &Scope, now_ms: i64) -> Result<Unassigned> {
    use assignment::Column as A;
    use event::Column as E;
    // Single values, asked for each booking without staff, are never made a join of whole tables.
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
    let within = |hours: i64| {
        Expr::expr(CaseStatement::new().case(A::StartsMs.lt(now_ms + hours * HOUR_MS), 1)).count()
    };
    let counts = assignment::Entity::find()
        .select_only()
        .column_as(within(24), "day")
        .column_as(within(7 * 24), "week")
        .column_as(Expr::col(Asterisk).count(), "all")
        .column_as(A::StartsMs.min(), "next_ms")
        .join(JoinType::InnerJoin, assignment::appointment_in_company())
        .filter(scope.condition(A::CompanyId))
        .filter(A::StartsMs.gte(now_ms))
        .filter(A::Outcome.ne(Outcome::Recorded.as_str()))
        .filter(appointment::Column::StaffId.is_null())
        .filter(Expr::expr(cancelled).lt(decided));
    Ok(counts.into_model().one(db).await?.unwrap_or_default())
}

/// Some of what waits for a person.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waits {
    /// How many.
    pub count: i64,
    /// Since when the oldest of them has waited, ms since 1970; none of nothing.
    pub oldest_ms: Option<i64>,
}

/// All of some that wait, together.
pub fn together<'a>(all: impl IntoIterator<Item = &'a Waits>) -> Waits {
    all.into_iter().fold(Waits::default(), |sum, one| Waits {
        count: sum.count + one.count,
        oldest_ms: sum.oldest_ms.into_iter().chain(one.oldest_ms).min(),
    })
}

/// The hosts that need a person, by what is the matter; every kind is among them. The age of one counts
/// from when it came into the inbox, or since when it is no longer ignored.
pub async fn open_inbox(
    db: &impl ConnectionTrait,
    scope: &Scope,
    now_ms: i64,
) -> Result<BTreeMap<InboxKind, Waits>> {
    use inbox::Column;
    let is_ignored = || Column::State.eq(InboxState::Ignored.as_str());
    let kinds = InboxKind::VARIANTS.iter().filter(|kind| **kind != InboxKind::Unknown);
    let matter = kinds
        .fold(CaseStatement::new(), |case, kind| case.case(kind.condition(inbox::Entity), kind.as_str()));
    let since = CaseStatement::new()
        .case(is_ignored(), Expr::col(Column::IgnoredUntilMs))
        .finally(Expr::col(Column::StateChangedMs));
    let rows: Vec<(String, i64, Option<i64>)> = inbox::Entity::find()
        .select_only()
        .column_as(Expr::expr(matter.finally(InboxKind::Unknown.as_str())), MATTER)
        .column_as(Expr::col(Asterisk).count(), "hosts")
        .column_as(Expr::expr(since).min(), "oldest_ms")
        .filter(scope.condition(Column::CompanyId))
        .filter(Column::State.is_in([InboxState::Open, InboxState::Ignored].map(InboxState::as_str)))
        .filter(is_ignored().not().or(Column::IgnoredUntilMs.lte(now_ms)))
        .group_by(Expr::col(MATTER))
        .into_tuple()
        .all(db)
        .await?;
    let found = rows
        .into_iter()
        .filter_map(|(kind, count, oldest_ms)| Some((kind.parse().ok()?, Waits { count, oldest_ms })));
    Ok(InboxKind::VARIANTS.iter().map(|kind| (*kind, Waits::default())).chain(found).collect())
}

/// The dead letters that are open, by reason code; only reasons of which there are any. The age of one counts
/// from when it was first received.
pub async fn open_dead_letters(db: &impl ConnectionTrait, scope: &Scope) -> Result<BTreeMap<String, Waits>> {
    use dead_letter::Column;
    let select = dead_letter::Entity::find()
        .select_only()
        .column(Column::Reason)
        .column_as(Expr::col(Asterisk).count(), "letters")
        .column_as(Column::FirstSeenMs.min(), "oldest_ms")
        .filter(scope.condition(Column::CompanyId))
        .filter(Column::State.eq(LetterState::Open.as_str()))
        .group_by(Column::Reason);
    let rows: Vec<(String, i64, Option<i64>)> = select.into_tuple().all(db).await?;
    Ok(rows.into_iter().map(|(reason, count, oldest_ms)| (reason, Waits { count, oldest_ms })).collect())
}
