//! Counts the current backlog: upcoming bookings without staff, hosts that need a person, open dead letters.
//! Reads without locks and by an index, so the cost does not grow with the tables.

use std::collections::BTreeMap;

use sea_orm::FromQueryResult;
use sea_orm::sea_query::Asterisk;
use serde::Serialize;
use strum::VariantArray as _;

use super::bookings::{of_scope, unstaffed};
use super::entity::{assignment, dead_letter, inbox};
use super::prelude::*;
use super::{InboxKind, LetterState, Scope};
use crate::matching::InboxState;
use crate::runtime::clock::as_rfc3339;

/// The alias of the kind in the query of [`open_inbox`].
const KIND_ALIAS: &str = "inbox_kind";

const HOUR_MS: i64 = 3_600_000;

/// Upcoming bookings that are not cancelled and have no staff, according to their events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromQueryResult, Serialize)]
pub struct Unassigned {
    /// The number that start within 24 hours.
    #[serde(rename = "within_24_hours")]
    pub day: i64,
    /// The number that start within 7 days.
    #[serde(rename = "within_7_days")]
    pub week: i64,
    /// The total number.
    pub all: i64,
    /// When the first of them starts, in ms since 1970.
    #[serde(rename = "next", serialize_with = "as_rfc3339")]
    pub next_ms: Option<i64>,
}

/// Counts bookings without staff, as `hostmatch bookings list --unstaffed` lists them. Appointments without any event are not counted.
pub async fn unassigned(db: &impl ConnectionTrait, scope: &Scope, now_ms: i64) -> Result<Unassigned> {
    use assignment::Column as A;
    let starting_within = |hours: i64| {
        Expr::expr(CaseStatement::new().case(A::StartsMs.lt(now_ms + hours * HOUR_MS), 1)).count()
    };
    let counts = unstaffed(of_scope(scope).filter(A::StartsMs.gte(now_ms)))
        .column_as(starting_within(24), "day")
        .column_as(starting_within(7 * 24), "week")
        .column_as(Expr::col(Asterisk).count(), "all")
        .column_as(A::StartsMs.min(), "next_ms");
    Ok(counts.into_model().one(db).await?.unwrap_or_default())
}

/// The number of items that wait for a person, and their age.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WaitingCount {
    /// The number of items.
    pub count: i64,
    /// The time since which the oldest of them has been waiting, in ms since 1970; `None` if the count is 0.
    pub oldest_ms: Option<i64>,
}

/// Adds up the counts, and keeps the oldest time.
pub fn sum_waiting<'a>(all: impl IntoIterator<Item = &'a WaitingCount>) -> WaitingCount {
    all.into_iter().fold(WaitingCount::default(), |sum, one| WaitingCount {
        count: sum.count + one.count,
        oldest_ms: sum.oldest_ms.into_iter().chain(one.oldest_ms).min(),
    })
}

/// Counts the hosts that need a person, by kind; every kind is in the result. A host has been waiting since
/// it entered the inbox, or since it ceased to be ignored.
pub async fn open_inbox(
    db: &impl ConnectionTrait,
    scope: &Scope,
    now_ms: i64,
) -> Result<BTreeMap<InboxKind, WaitingCount>> {
    use inbox::Column;
    let is_ignored = || Column::State.eq(InboxState::Ignored.as_str());
    let kinds = InboxKind::VARIANTS.iter().filter(|kind| **kind != InboxKind::Unknown);
    let kind_of_row = kinds
        .fold(CaseStatement::new(), |case, kind| case.case(kind.condition(inbox::Entity), kind.as_str()));
    let since = CaseStatement::new()
        .case(is_ignored(), Expr::col(Column::IgnoredUntilMs))
        .finally(Expr::col(Column::StateChangedMs));
    let rows: Vec<(String, i64, Option<i64>)> = inbox::Entity::find()
        .select_only()
        .column_as(Expr::expr(kind_of_row.finally(InboxKind::Unknown.as_str())), KIND_ALIAS)
        .column_as(Expr::col(Asterisk).count(), "hosts")
        .column_as(Expr::expr(since).min(), "oldest_ms")
        .filter(scope.condition(Column::CompanyId))
        .filter(Column::State.is_in([InboxState::Open, InboxState::Ignored].map(InboxState::as_str)))
        .filter(is_ignored().not().or(Column::IgnoredUntilMs.lte(now_ms)))
        .group_by(Expr::col(KIND_ALIAS))
        .into_tuple()
        .all(db)
        .await?;
    let found = rows
        .into_iter()
        .filter_map(|(kind, count, oldest_ms)| Some((kind.parse().ok()?, WaitingCount { count, oldest_ms })));
    Ok(InboxKind::VARIANTS.iter().map(|kind| (*kind, WaitingCount::default())).chain(found).collect())
}

/// Counts the open dead letters by reason code; only reasons with open letters are in the result. A letter
/// has been waiting since it was first received.
pub async fn open_dead_letters(
    db: &impl ConnectionTrait,
    scope: &Scope,
) -> Result<BTreeMap<String, WaitingCount>> {
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
    Ok(rows
        .into_iter()
        .map(|(reason, count, oldest_ms)| (reason, WaitingCount { count, oldest_ms }))
        .collect())
}
