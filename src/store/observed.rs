//! What was decided while workers only observed, and is still to be written.

use migration::names;
use sea_orm::ConnectionTrait;
use sea_orm::sea_query::{Expr, ExprTrait as _, Order, Query};

use super::{StoreError, rows};
use crate::event::AppointmentId;
use crate::matching::Assignment;

/// Up to `limit` such decisions about appointments behind `after`, by appointment, with their bookings
/// while those are kept.
///
/// # Errors
/// [`StoreError`]
pub async fn observed(
    db: &impl ConnectionTrait,
    after: AppointmentId,
    limit: u64,
) -> Result<Vec<Assignment>, StoreError> {
    let mut select = Query::select();
    select
        .column("appointment_id")
        .from(names::ASSIGNMENTS)
        .and_where(Expr::col("observed").is_not_null())
        .and_where(Expr::col("appointment_id").gt(after.0))
        .order_by("appointment_id", Order::Asc)
        .limit(limit);
    let rows = db.query_all(&select).await?;
    let ids = rows.iter().map(|row| Ok(row.try_get::<AppointmentId>("", "appointment_id")?.0));
    let ids = ids.collect::<Result<Vec<i64>, StoreError>>()?;
    let mut found = rows::with_bookings(db, &ids).await?;
    found.sort_unstable_by_key(|assignment| assignment.appointment);
    Ok(found)
}
