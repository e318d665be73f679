//! Deletes rows at the end of their retention, in small steps that lock few rows. A purge ends when a step
//! removes nothing: otherwise it would retry rows that cannot be removed without end.

use sea_orm::sea_query::IntoCondition;
use sea_orm::{EntityTrait, Select, TryGetable};

use super::Database;
use super::entity::{assignment, event};
use super::prelude::*;
use super::statement::values_of;
use crate::event::AppointmentId;

/// The number of rows per statement.
const STEP: u64 = 500;

/// Removes the payloads of assignments that were decided before `before_ms`, and returns how many.
/// After an error, the completed steps remain.
pub async fn purge_payloads(database: &Database, before_ms: i64) -> Result<u64> {
    use assignment::Column;
    let old = Column::DecidedMs.lt(before_ms).and(Column::Payload.is_not_null());
    let oldest = assignment::Entity::find().filter(old.clone()).order_by_asc(Column::DecidedMs).limit(STEP);
    let clear = |ids: Vec<AppointmentId>| {
        let update = assignment::Entity::update_many()
            .col_expr(Column::Payload, Expr::val(Option::<String>::None))
            .filter(Column::AppointmentId.is_in(ids))
            .filter(old.clone());
        database.with_deadline(async { Ok(update.exec(database.connection()).await?.rows_affected) })
    };
    in_steps(database, oldest, Column::AppointmentId, clear).await
}

/// Deletes the rows of events that were decided before `before_ms`, and returns how many. After an error, the
/// completed steps remain.
pub async fn purge_events(database: &Database, before_ms: i64) -> Result<u64> {
    use event::Column;
    let old = Column::DecidedMs.lt(before_ms);
    let oldest = event::Entity::find().filter(old.clone()).order_by_asc(Column::DecidedMs).limit(STEP);
    in_steps(database, oldest, Column::EventId, |ids: Vec<String>| {
        delete::<event::Entity>(database, Column::EventId.is_in(ids).and(old.clone()))
    })
    .await
}

/// Removes rows step by step: `rows` selects the rows of one step, and `remove` gets their keys and returns
/// how many it removed. Ends when no row is left, or a step removes none. Returns the number of removed rows.
pub(super) async fn in_steps<E: EntityTrait, K: TryGetable, R: Future<Output = Result<u64>>>(
    database: &Database,
    rows: Select<E>,
    key: E::Column,
    remove: impl Fn(Vec<K>) -> R,
) -> Result<u64> {
    let mut removed = 0;
    loop {
        let keys: Vec<K> =
            database.with_deadline(values_of(database.connection(), rows.clone(), key)).await?;
        if keys.is_empty() {
            return Ok(removed);
        }
        match remove(keys).await? {
            0 => return Ok(removed),
            some => removed += some,
        }
    }
}

/// Deletes the rows that meet this condition, and returns how many.
pub(super) async fn delete<E: EntityTrait>(
    database: &Database,
    condition: impl IntoCondition,
) -> Result<u64> {
    let delete = E::delete_many().filter(condition.into_condition());
    database.with_deadline(async { Ok(delete.exec(database.connection()).await?.rows_affected) }).await
}
