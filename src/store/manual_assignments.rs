//! Records the appointments whose member of staff a person chose.

use sea_orm::prelude::TextUuid;

use super::entity::manual_assignment::{ActiveModel, Column, Entity, Model};
use super::prelude::*;
use super::statement::{chunk_rows, insert};
use super::{GatewaySchema, Scope, bind_staff};
use crate::event::{AppointmentId, CompanyId, StaffId};
use crate::matching::Actor;

/// An appointment that a person gives a member of staff.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManualAssignment {
    /// The appointment.
    pub appointment: AppointmentId,
    /// Its member of staff before.
    pub from: Option<StaffId>,
}

/// Records these appointments of one company, which one command gives to `to`. Returns the id of the first.
pub(crate) async fn insert_manual_assignments(
    tx: &impl ConnectionTrait,
    schema: &GatewaySchema,
    (batch, company, to): (TextUuid, CompanyId, &StaffId),
    appointments: &[ManualAssignment],
    (made_by, why, at_ms): (&Actor, Option<&str>, i64),
) -> Result<i64> {
    let to = to.of_kind(schema.staff_key)?;
    for some in chunk_rows(appointments) {
        let mut rows = Vec::new();
        for one in some {
            rows.push([
                (Column::Batch, batch.into()),
                (Column::CompanyId, company.into()),
                (Column::AppointmentId, one.appointment.into()),
                (Column::FromStaffId, Expr::val(bind_staff(one.from.as_ref(), schema.staff_key)?)),
                (Column::ToStaffId, to.clone().into()),
                (Column::MadeBy, made_by.as_str().into()),
                (Column::Why, why.into()),
                (Column::AtMs, at_ms.into()),
            ]);
        }
        tx.execute(&insert::<Entity, 8>(rows)).await?;
    }
    let ids = Entity::find().select_only().expr(Column::Id.min()).filter(Column::Batch.eq(batch));
    Ok(ids.into_tuple().one(tx).await?.unwrap_or(0))
}

/// Returns the rows of the command to which the row with this id belongs, by id.
pub(crate) async fn manual_batch(db: &impl ConnectionTrait, scope: &Scope, id: i64) -> Result<Vec<Model>> {
    let row = Entity::find_by_id(id).filter(scope.condition(Column::CompanyId)).one(db).await?;
    let Some(row) = row else { return Ok(Vec::new()) };
    let batch = Entity::find()
        .filter(scope.condition(Column::CompanyId))
        .filter(Column::Batch.eq(row.batch))
        .order_by_asc(Column::Id);
    Ok(batch.all(db).await?)
}

/// Returns what people chose for this appointment, oldest first, at most `limit`.
pub(crate) async fn manual_assignments_of(
    db: &impl ConnectionTrait,
    scope: &Scope,
    appointment: AppointmentId,
    limit: u64,
) -> Result<Vec<Model>> {
    let rows = Entity::find()
        .filter(scope.condition(Column::CompanyId))
        .filter(Column::AppointmentId.eq(appointment))
        .order_by_asc(Column::Id)
        .limit(limit);
    Ok(rows.all(db).await?)
}

/// Records that the rows of this command were undone, except those that were undone before. Returns how many.
pub(crate) async fn record_manual_undone(
    tx: &impl ConnectionTrait,
    batch: TextUuid,
    (by, why): (&Actor, Option<&str>),
    at_ms: i64,
) -> Result<u64> {
    let undone = ActiveModel {
        undone_by: Set(Some(by.clone())),
        undone_why: Set(why.map(str::to_owned)),
        undone_ms: Set(Some(at_ms)),
        ..Default::default()
    };
    let rows = Column::Batch.eq(batch).and(Column::UndoneMs.is_null());
    Ok(Entity::update_many().set(undone).filter(rows).exec(tx).await?.rows_affected)
}
