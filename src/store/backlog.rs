//! How things stand now, as counts: bookings without staff that are about to start, hosts that need a
//! person, dead letters that are open. Read without locks, each by an index and not by the length of a table.

use std::collections::BTreeMap;

use sea_orm::sea_query::{Asterisk, CaseStatement, Expr, ExprTrait as _, Func, Query, SimpleExpr};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, EntityTrait as _, FromQueryResult, JoinType, QueryFilter as _,
    QuerySelect as _,
};
use strum::VariantArray as _;

use super::entity::{appointment, assignment, dead_letter, event, inbox};
use super::inbox::MAPPING;
use super::{DbId, InboxKind, LetterState, StoreError, rows};
use crate::event::CompanyId;
use crate::matching::{InboxState, Outcome, Review};

/// The name of the flag among the columns of [`open_inbox`].
const CONFLICTS: &str = "conflicts";

const HOUR_MS: i64 = 3_600_000;

/// Bookings that have not begun, are not cancelled, and have no staff, as far as events told of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromQueryResult)]
pub struct Unassigned {
    /// Of those, how many start within 24 hours.
    pub day: i64,
    /// Within 7 days.
    pub week: i64,
    /// At any time.
    pub all: i64,
    /// When the first of them starts, ms since 1970.
    pub next_ms: Option<i64>,
}

/// Counts bookings without staff; of one company, or of all.
///
/// Whether somebody has it is what the gateway's appointment says now, whoever wrote it. Cancelled is one
/// about which a cancellation was decided after the event that named its host, or with it (for as long as
/// `retention.events` keeps it). Nothing is known of appointments about which no event has come.
///
/// # Errors
/// [`StoreError`]
pub async fn unassigned(
    db: &impl ConnectionTrait,
    company: Option<CompanyId>,
    now_ms: i64,
) -> Result<Unassigned, StoreError> {
    use assignment::Column as A;
    use event::Column as E;
    let (a, ap, e) = ("a", "ap", "e");
    let recorded = Outcome::Recorded.as_str();
    // Single values, asked for each booking without staff, are never made a join of whole tables.
    let mut cancelled = Query::select();
    cancelled
        .expr(Expr::col((e, E::DecidedMs)).max())
        .from_as(event::Entity, e)
        .and_where(Expr::col((e, E::BookingRef)).equals((a, A::BookingRef)))
        .and_where(Expr::col((e, E::AppointmentId)).equals((a, A::AppointmentId)))
        .and_where(Expr::col((e, E::Outcome)).eq(recorded));
    let cancelled = Expr::expr(Func::coalesce([SimpleExpr::from(cancelled), Expr::val(-1_i64)]));
    let mut decided = Query::select();
    decided
        .column((e, E::DecidedMs))
        .from_as(event::Entity, e)
        .and_where(Expr::col((e, E::EventId)).equals((a, A::EventId)));
    let decided = Func::coalesce([SimpleExpr::from(decided), Expr::col((a, A::DecidedMs))]);
    let starts = || Expr::col((a, A::StartsMs));
    let within =
        |hours: i64| Expr::expr(CaseStatement::new().case(starts().lt(now_ms + hours * HOUR_MS), 1)).count();
    let mut select = Query::select();
    select
        .expr_as(within(24), "day")
        .expr_as(within(7 * 24), "week")
        .expr_as(Expr::col(Asterisk).count(), "all")
        .expr_as(starts().min(), "next_ms")
        .from_as(assignment::Entity, a)
        .join_as(
            JoinType::InnerJoin,
            appointment::Entity,
            ap,
            Expr::col((ap, appointment::Column::Id))
                .equals((a, A::AppointmentId))
                .and(Expr::col((ap, appointment::Column::CompanyId)).equals((a, A::CompanyId))),
        )
        .and_where(starts().gte(now_ms))
        .and_where(Expr::col((a, A::Outcome)).ne(recorded))
        .and_where(Expr::col((ap, appointment::Column::StaffId)).is_null())
        .and_where(cancelled.lt(decided));
    select.and_where_option(company.map(|company| Expr::col((a, A::CompanyId)).eq(company)));
    let Some(row) = db.query_one(&select).await? else { return Ok(Unassigned::default()) };
    Ok(Unassigned::from_query_result(&row, "")?)
}

/// Some of what waits for a person.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waits {
    /// How many.
    pub count: i64,
    /// Since when the oldest of them has waited, ms since 1970; none of nothing.
    pub oldest_ms: Option<i64>,
}

impl Waits {
    fn add(&mut self, other: Self) {
        self.count += other.count;
        self.oldest_ms = self.oldest_ms.into_iter().chain(other.oldest_ms).min();
    }
}

/// All of some that wait, together.
pub fn together<'a>(all: impl IntoIterator<Item = &'a Waits>) -> Waits {
    all.into_iter().fold(Waits::default(), |mut sum, one| {
        sum.add(*one);
        sum
    })
}

/// The hosts that need a person, by what is the matter; every kind is among them. The age of one counts
/// from when it came into the inbox, or since when it is no longer ignored.
///
/// # Errors
/// [`StoreError`]
pub async fn open_inbox(
    db: &impl ConnectionTrait,
    company: Option<CompanyId>,
    now_ms: i64,
) -> Result<BTreeMap<InboxKind, Waits>, StoreError> {
    use inbox::Column;
    let is_ignored = || Column::State.eq(InboxState::Ignored.as_str());
    let is_kind = |review| Column::Kind.eq(rows::kind(Some(review)));
    let several_mappings = Column::Suggestions.like(format!("%\"field\":\"{MAPPING}\"%"));
    let conflict = is_kind(Review::SwitchedOff).or(is_kind(Review::Ambiguous).and(several_mappings));
    let since = CaseStatement::new()
        .case(is_ignored(), Expr::col(Column::IgnoredUntilMs))
        .finally(Expr::col(Column::StateChangedMs));
    let mut select = inbox::Entity::find()
        .select_only()
        .column(Column::Kind)
        .column_as(Expr::expr(CaseStatement::new().case(conflict, 1).finally(0)), CONFLICTS)
        .column_as(Expr::col(Asterisk).count(), "hosts")
        .column_as(Expr::expr(since).min(), "oldest_ms")
        .filter(Column::State.is_in([InboxState::Open, InboxState::Ignored].map(InboxState::as_str)))
        .filter(is_ignored().not().or(Column::IgnoredUntilMs.lte(now_ms)))
        .group_by(Column::Kind)
        .group_by(Expr::col(CONFLICTS));
    if let Some(company) = company {
        select = select.filter(Column::CompanyId.eq(company));
    }
    let mut waits: BTreeMap<_, _> =
        InboxKind::VARIANTS.iter().map(|kind| (*kind, Waits::default())).collect();
    let rows: Vec<(String, DbId, i64, Option<i64>)> = select.into_tuple().all(db).await?;
    for (review, conflicts, count, oldest_ms) in rows {
        let kind = match (conflicts.0, review.parse()) {
            (1, _) => InboxKind::Conflict,
            (_, Ok(Review::BelowThreshold)) => InboxKind::Suggestion,
            (_, Ok(Review::Ambiguous)) => InboxKind::Ambiguous,
            (_, Ok(Review::SwitchedOff) | Err(_)) => InboxKind::Unknown,
        };
        waits.entry(kind).or_default().add(Waits { count, oldest_ms });
    }
    Ok(waits)
}

/// The dead letters that are open, by reason code; only reasons of which there are any. The age of one counts
/// from when it was first received.
///
/// # Errors
/// [`StoreError`]
pub async fn open_dead_letters(
    db: &impl ConnectionTrait,
    company: Option<CompanyId>,
) -> Result<BTreeMap<String, Waits>, StoreError> {
    use dead_letter::Column;
    let mut select = dead_letter::Entity::find()
        .select_only()
        .column(Column::Reason)
        .column_as(Expr::col(Asterisk).count(), "letters")
        .column_as(Column::FirstSeenMs.min(), "oldest_ms")
        .filter(Column::State.eq(LetterState::Open.as_str()))
        .group_by(Column::Reason);
    if let Some(company) = company {
        select = select.filter(Column::CompanyId.eq(company));
    }
    let rows: Vec<(String, i64, Option<i64>)> = select.into_tuple().all(db).await?;
    Ok(rows.into_iter().map(|(reason, count, oldest_ms)| (reason, Waits { count, oldest_ms })).collect())
}
