//! What was decided while workers only observed, and is still to be written.

use super::entity::assignment::{Column, Entity};
use super::prelude::*;
use super::{StoreError, rows};
use crate::event::AppointmentId;
use crate::matching::Assignment;

/// Up to `limit` such decisions about appointments behind `after`, by appointment, with their bookings
/// while those are kept.
pub async fn observed(
    db: &impl ConnectionTrait,
    after: AppointmentId,
    limit: u64,
) -> Result<Vec<Assignment>, StoreError> {
    let ids: Vec<AppointmentId> = Entity::find()
        .select_only()
        .column(Column::AppointmentId)
        .filter(Column::Observed.is_not_null())
        .filter(Column::AppointmentId.gt(after))
        .order_by_asc(Column::AppointmentId)
        .limit(limit)
        .into_tuple()
        .all(db)
        .await?;
    let mut found = rows::with_bookings(db, &ids).await?;
    found.sort_unstable_by_key(|assignment| assignment.appointment);
    Ok(found)
}
