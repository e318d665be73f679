//! Counts recently decided events by outcome, and reads their ages, for `hostmatch status`. The queries use
//! an index, and read only as far back as requested.

use std::collections::BTreeMap;

use super::entity::event::{Column, Entity};
use super::prelude::*;
use super::{DbId, Scope};
use crate::matching::{DEAD_LETTER, recorded_outcomes};

/// Counts the events that were last decided at each of these times (ms since 1970) or later, by outcome
/// ([`DEAD_LETTER`] among them); only outcomes with any events are in the result.
pub async fn outcomes_since<const N: usize>(
    db: &impl ConnectionTrait,
    scope: &Scope,
    since_ms: [i64; N],
) -> Result<BTreeMap<String, [i64; N]>> {
    let alias = |number: usize| format!("n{number}");
    let mut select = Entity::find()
        .select_only()
        .column(Column::Outcome)
        // All outcomes are listed, so that the index that begins with the outcome is used, without reading
        // rows.
        .filter(Column::Outcome.is_in(recorded_outcomes()))
        .filter(Column::DecidedMs.gte(since_ms.into_iter().min().unwrap_or(i64::MAX)))
        .filter(scope.condition(Column::CompanyId))
        .group_by(Column::Outcome);
    for (number, since_ms) in since_ms.iter().enumerate() {
        let counted = CaseStatement::new().case(Column::DecidedMs.gte(*since_ms), 1);
        select = select.column_as(Expr::expr(counted).count(), alias(number));
    }
    let mut counts = BTreeMap::new();
    for row in db.query_all(&select.into_query()).await? {
        let mut of_outcome = [0; N];
        for (number, count) in of_outcome.iter_mut().enumerate() {
            *count = row.try_get::<DbId>("", &alias(number))?.0;
        }
        counts.insert(row.try_get("", Column::Outcome.as_str())?, of_outcome);
    }
    Ok(counts)
}

/// Returns the ages in ms that events had when they were decided: measured from when they were published if
/// that is known (`x-hostmatch-first-seen`), otherwise from when a worker first received them. Covers the
/// last `limit` events that were decided at `since_ms` or later, without dead letters.
pub async fn ages_since(
    db: &impl ConnectionTrait,
    scope: &Scope,
    since_ms: i64,
    limit: u64,
) -> Result<Vec<i64>> {
    let select = Entity::find()
        .select_only()
        .columns([Column::DecidedMs, Column::ReceivedMs])
        .filter(scope.condition(Column::CompanyId))
        .filter(Column::DecidedMs.gte(since_ms))
        .filter(Column::Outcome.ne(DEAD_LETTER))
        .order_by_desc(Column::DecidedMs)
        .limit(limit);
    let rows: Vec<(i64, i64)> = select.into_tuple().all(db).await?;
    Ok(rows.into_iter().map(|(decided_ms, received_ms)| Ord::max(decided_ms - received_ms, 0)).collect())
}

/// Returns the time at which an event of any company was last decided, in ms since 1970.
pub async fn last_decided_ms(db: &impl ConnectionTrait) -> Result<Option<i64>> {
    let last = Entity::find().select_only().column(Column::DecidedMs).order_by_desc(Column::DecidedMs);
    Ok(last.limit(1).into_tuple().one(db).await?)
}
