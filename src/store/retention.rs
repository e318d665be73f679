//! Deletes what was kept for its time, in small steps that lock few rows. It ends when a step removes nothing: what
//! something else keeps is not to be tried for ever.

use super::entity::{assignment, event};
use super::prelude::*;
use super::{Database, StoreError};
use crate::event::AppointmentId;

/// Rows in one step.
const STEP: u64 = 500;

/// Forgets the bookings kept with assignments that were decided before `before_ms`.
/// Gives how many. After an error what was purged before is purged.
pub async fn purge_payloads(database: &Database, before_ms: i64) -> Result<u64, StoreError> {
    use assignment::Column;
    let mut purged = 0;
    loop {
        let ids = assignment::Entity::find()
            .select_only()
            .column(Column::AppointmentId)
            .filter(Column::DecidedMs.lt(before_ms))
            .filter(Column::Payload.is_not_null())
            .order_by_asc(Column::DecidedMs)
            .limit(STEP)
            .into_tuple::<AppointmentId>()
            .all(database.connection());
        let ids = database.with_deadline(async { Ok(ids.await?) }).await?;
        if ids.is_empty() {
            return Ok(purged);
        }
        let update = assignment::Entity::update_many()
            .col_expr(Column::Payload, Expr::val(Option::<String>::None))
            .filter(Column::AppointmentId.is_in(ids))
            .filter(Column::DecidedMs.lt(before_ms))
            .filter(Column::Payload.is_not_null())
            .exec(database.connection());
        match database.with_deadline(async { Ok(update.await?) }).await?.rows_affected {
            0 => return Ok(purged),
            some => purged += some,
        }
    }
}

/// Deletes the rows of events that were decided before `before_ms`. Gives how many.
/// After an error what was deleted before is deleted.
pub async fn purge_events(database: &Database, before_ms: i64) -> Result<u64, StoreError> {
    use event::Column;
    let mut purged = 0;
    loop {
        let ids = event::Entity::find()
            .select_only()
            .column(Column::EventId)
            .filter(Column::DecidedMs.lt(before_ms))
            .order_by_asc(Column::DecidedMs)
            .limit(STEP)
            .into_tuple::<String>()
            .all(database.connection());
        let ids = database.with_deadline(async { Ok(ids.await?) }).await?;
        if ids.is_empty() {
            return Ok(purged);
        }
        let delete = event::Entity::delete_many()
            .filter(Column::EventId.is_in(ids))
            .filter(Column::DecidedMs.lt(before_ms))
            .exec(database.connection());
        match database.with_deadline(async { Ok(delete.await?) }).await?.rows_affected {
            0 => return Ok(purged),
            some => purged += some,
        }
    }
}
