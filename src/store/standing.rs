//! How things stand now, as counts: bookings without staff that are about to start, hosts that need a
//! person, dead letters that are open. Read without locks, each by an index and not by the length of a table.

use migration::names;
use std::collections::BTreeMap;

use sea_orm::ConnectionTrait;
use sea_orm::sea_query::{Asterisk, CaseStatement, Expr, ExprTrait as _, Func, Query, SimpleExpr, TableRef};
use strum::VariantArray as _;

use super::inbox::MAPPING;
use super::{DbId, InboxKind, LetterState, StoreError, rows};
use crate::event::CompanyId;
use crate::matching::{InboxState, Review};

const HOUR_MS: i64 = 3_600_000;

/// Bookings that have not begun, are not cancelled, and have no staff, as far as events told of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
    let (a, ap, e) = ("a", "ap", "e");
    // Single values, asked for each booking without staff, are never made a join of whole tables.
    let mut cancelled = Query::select();
    cancelled
        .expr(Expr::col((e, "decided_ms")).max())
        .from_as(names::EVENTS, e)
        .and_where(Expr::col((e, "booking_ref")).equals((a, "booking_ref")))
        .and_where(Expr::col((e, "appointment_id")).equals((a, "appointment_id")))
        .and_where(Expr::col((e, "outcome")).eq("recorded"));
    let cancelled = Expr::expr(Func::coalesce([SimpleExpr::from(cancelled), Expr::val(-1_i64)]));
    let mut decided = Query::select();
    decided
        .column((e, "decided_ms"))
        .from_as(names::EVENTS, e)
        .and_where(Expr::col((e, "event_id")).equals((a, "event_id")));
    let decided = Func::coalesce([SimpleExpr::from(decided), Expr::col((a, "decided_ms"))]);
    let starts = || Expr::col((a, "starts_ms"));
    let within =
        |hours: i64| Expr::expr(CaseStatement::new().case(starts().lt(now_ms + hours * HOUR_MS), 1)).count();
    let mut select = Query::select();
    select
        .expr_as(within(24), "day")
        .expr_as(within(7 * 24), "week")
        .expr_as(Expr::col(Asterisk).count(), "bookings")
        .expr_as(starts().min(), "next_ms")
        .from_as(names::ASSIGNMENTS, a)
        .inner_join(
            TableRef::Table("appointments".into(), Some(ap.into())),
            Expr::col((ap, "id"))
                .equals((a, "appointment_id"))
                .and(Expr::col((ap, "company_id")).equals((a, "company_id"))),
        )
        .and_where(starts().gte(now_ms))
        .and_where(Expr::col((a, "outcome")).ne("recorded"))
        .and_where(Expr::col((ap, "staff_id")).is_null())
        .and_where(cancelled.lt(decided));
    select.and_where_option(company.map(|company| Expr::col((a, "company_id")).eq(company.0)));
    let Some(row) = db.query_one(&select).await? else { return Ok(Unassigned::default()) };
    let count = |column: &str| row.try_get::<DbId>("", column).map(|count| count.0);
    Ok(Unassigned {
        day: count("day")?,
        week: count("week")?,
        all: count("bookings")?,
        next_ms: row.try_get::<Option<DbId>>("", "next_ms")?.map(|ms| ms.0),
    })
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
    let col = |name: &'static str| Expr::col(name);
    let is_ignored = || col("state").eq(InboxState::Ignored.as_str());
    let is_kind = |review| col("kind").eq(rows::kind(Some(review)));
    let conflict = is_kind(Review::SwitchedOff)
        .or(is_kind(Review::Ambiguous).and(col("suggestions").like(format!("%\"field\":\"{MAPPING}\"%"))));
    let since =
        CaseStatement::new().case(is_ignored(), col("ignored_until_ms")).finally(col("state_changed_ms"));
    let mut select = Query::select();
    select
        .column("kind")
        .expr_as(CaseStatement::new().case(conflict, 1).finally(0), "conflicts")
        .expr_as(Expr::col(Asterisk).count(), "hosts")
        .expr_as(Expr::expr(since).min(), "oldest_ms")
        .from(names::INBOX)
        .and_where(col("state").is_in([InboxState::Open, InboxState::Ignored].map(InboxState::as_str)))
        .and_where(is_ignored().not().or(col("ignored_until_ms").lte(now_ms)))
        .group_by_columns(["kind", "conflicts"]);
    select.and_where_option(company.map(|company| col("company_id").eq(company.0)));
    let mut waits: BTreeMap<_, _> =
        InboxKind::VARIANTS.iter().map(|kind| (*kind, Waits::default())).collect();
    for row in db.query_all(&select).await? {
        let kind = match (row.try_get::<DbId>("", "conflicts")?.0, row.try_get::<String>("", "kind")?.parse())
        {
            (1, _) => InboxKind::Conflict,
            (_, Ok(Review::BelowThreshold)) => InboxKind::Suggestion,
            (_, Ok(Review::Ambiguous)) => InboxKind::Ambiguous,
            (_, Ok(Review::SwitchedOff) | Err(_)) => InboxKind::Unknown,
        };
        waits.entry(kind).or_default().add(Waits {
            count: row.try_get::<DbId>("", "hosts")?.0,
            oldest_ms: row.try_get::<Option<DbId>>("", "oldest_ms")?.map(|ms| ms.0),
        });
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
    let mut select = Query::select();
    select
        .column("reason")
        .expr_as(Expr::col(Asterisk).count(), "letters")
        .expr_as(Expr::col("first_seen_ms").min(), "oldest_ms")
        .from(names::DEAD_LETTERS)
        .and_where(Expr::col("state").eq(LetterState::Open.as_str()))
        .group_by_col("reason");
    select.and_where_option(company.map(|company| Expr::col("company_id").eq(company.0)));
    let rows = db.query_all(&select).await?;
    rows.iter()
        .map(|row| {
            let count = row.try_get::<DbId>("", "letters")?.0;
            let oldest_ms = row.try_get::<Option<DbId>>("", "oldest_ms")?.map(|ms| ms.0);
            Ok((row.try_get("", "reason")?, Waits { count, oldest_ms }))
        })
        .collect()
}
