//! Deletes rows at the end of their retention, in small steps that lock few rows. It stops when a step
//! removes nothing, so that rows that cannot be removed are not retried endlessly.

use sea_orm::{EntityTrait, Select, TryGetable};

use super::Database;
use super::entity::{assignment, event};
use super::prelude::*;
use super::statement::values_of;
use crate::event::AppointmentId;

/// The number of rows per step.
const STEP: u64 = 500;

/// Removes the bookings kept with assignments that were decided before `before_ms`, and returns how many.
/// After an error, the completed steps remain.
pub async fn purge_payloads(database: &Database, before_ms: i64) -> Result<u64> {
    use assignment::Column;
    let old = Column::DecidedMs.lt(before_ms).and(Column::Payload.is_not_null());
    let oldest = assignment::Entity::find().filter(old.clone()).order_by_asc(Column::DecidedMs).limit(STEP);
    let forget = |ids: Vec<AppointmentId>| {
        let update = assignment::Entity::update_many()
            .col_expr(Column::Payload, Expr::val(Option::<String>::None))
            .filter(Column::AppointmentId.is_in(ids))
            .filter(old.clone());
        database.with_deadline(async { Ok(update.exec(database.connection()).await?.rows_affected) })
    };
    in_steps(database, oldest, Column::AppointmentId, forget).await
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

/// Removes these rows step by step, until none is left or `remove`, which gets their keys, removes none of
/// them. `rows` selects one step. Returns the number of removed rows.
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

/// Deletes these rows and returns how many.
pub(super) async fn delete<E: EntityTrait>(database: &Database, these: Expr) -> Result<u64> {
    let delete = E::delete_many().filter(these);
    database.with_deadline(async { Ok(delete.exec(database.connection()).await?.rows_affected) }).await
}
