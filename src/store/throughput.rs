//! How many events were decided lately, by outcome, and how old they were: for people who look. Read by an
//! index, no further back than is asked for.

use std::collections::BTreeMap;

use super::entity::event::{Column, Entity};
use super::prelude::*;
use super::{DbId, Scope};
use crate::matching::{DEAD_LETTER, recorded_outcomes};

/// How many events were decided last at each of these moments (ms since 1970) or later, by outcome
/// ([`DEAD_LETTER`] among them); only outcomes of which there are any.
pub async fn outcomes_since<const N: usize>(
    db: &impl ConnectionTrait,
    scope: &Scope,
    since_ms: [i64; N],
) -> Result<BTreeMap<String, [i64; N]>> {
    let alias = |number: usize| format!("n{number}");
    let mut select = Entity::find()
        .select_only()
        .column(Column::Outcome)
        // All of them: for the index that has the outcome first, and nothing else to be read.
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

/// How old events were when they were decided, in ms, from when they were published as far as that is known
/// (`x-hostmatch-first-seen`), else from when a worker first had them: of the last `most` that were decided
/// at `since_ms` or later. Dead letters are left out.
pub async fn ages_since(
    db: &impl ConnectionTrait,
    scope: &Scope,
    since_ms: i64,
    most: u64,
) -> Result<Vec<i64>> {
    let select = Entity::find()
        .select_only()
        .columns([Column::DecidedMs, Column::ReceivedMs])
        .filter(scope.condition(Column::CompanyId))
        .filter(Column::DecidedMs.gte(since_ms))
        .filter(Column::Outcome.ne(DEAD_LETTER))
        .order_by_desc(Column::DecidedMs)
        .limit(most);
    let rows: Vec<(i64, i64)> = select.into_tuple().all(db).await?;
    Ok(rows.into_iter().map(|(decided_ms, received_ms)| Ord::max(decided_ms - received_ms, 0)).collect())
}

/// When an event was decided last, of whatever company, in ms since 1970.
pub async fn decided_last(db: &impl ConnectionTrait) -> Result<Option<i64>> {
    let last = Entity::find().select_only().column(Column::DecidedMs).order_by_desc(Column::DecidedMs);
    Ok(last.limit(1).into_tuple().one(db).await?)
}
