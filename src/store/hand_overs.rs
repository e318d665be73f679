//! Reads the appointments to hand over when a member of staff leaves, and records hand-overs.

use serde::{Deserialize, Serialize};

use super::entity::hand_over::{ActiveModel, Column, Entity, Model};
use super::entity::{appointment, assignment};
use super::prelude::*;
use super::{GatewaySchema, Prior, Scope, StoreError};
use crate::event::{AppointmentId, CompanyId, StaffId};
use crate::runtime::clock::as_rfc3339;

/// An appointment of a member of staff.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StaffAppointment {
    /// The appointment.
    pub appointment: AppointmentId,
    /// When it starts, ms since 1970.
    #[serde(rename = "starts", serialize_with = "as_rfc3339")]
    pub starts_ms: i64,
    /// Whether we assigned it to them.
    #[serde(skip)]
    pub is_ours: bool,
}

/// An appointment that was handed over, and our row of it before the hand-over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HandedOver {
    /// The appointment.
    pub appointment: AppointmentId,
    /// Our row as it was before.
    pub prior: Prior,
}

/// Returns the appointments that were handed over; an error if the column contains other JSON.
pub fn handed_over(row: &Model) -> Result<Vec<HandedOver>> {
    serde_json::from_str(&row.appointments).map_err(|error| {
        StoreError::Schema(format!(
            "the column appointments of hostmatch_hand_overs, id {}, cannot be read: {error}",
            row.id
        ))
    })
}

/// Returns the appointments of this member of staff that start at `from_ms` or later, ordered by id. Leaves
/// out those whose start hostmatch does not know.
pub async fn appointments_of_staff(
    db: &impl ConnectionTrait,
    schema: &GatewaySchema,
    company: CompanyId,
    staff: &StaffId,
    from_ms: i64,
) -> Result<Vec<StaffAppointment>> {
    use appointment::Column as Now;
    use assignment::Column as Ours;
    let rows: Vec<(AppointmentId, i64, Option<StaffId>, Option<StaffId>)> = appointment::Entity::find()
        .select_only()
        .column(Now::Id)
        .columns([Ours::StartsMs, Ours::StaffId])
        .column(Now::StaffId)
        .inner_join(assignment::Entity)
        .filter(Ours::CompanyId.eq(company))
        .filter(Now::CompanyId.eq(company))
        .filter(Now::StaffId.eq(staff.of_kind(schema.staff_key)?))
        .filter(Ours::StartsMs.gte(from_ms))
        .order_by_asc(Now::Id)
        .into_tuple()
        .all(db)
        .await?;
    let appointments = rows.into_iter().map(|(appointment, starts_ms, ours, now)| StaffAppointment {
        appointment,
        starts_ms,
        is_ours: ours == now,
    });
    Ok(appointments.collect())
}

/// Counts the appointments of this member of staff whose start hostmatch does not know, because no event
/// about them has been decided.
pub async fn count_without_known_start(
    db: &impl ConnectionTrait,
    schema: &GatewaySchema,
    company: CompanyId,
    staff: &StaffId,
) -> Result<i64> {
    let count = appointment::Entity::find()
        .select_only()
        .expr(appointment::Column::Id.count())
        .left_join(assignment::Entity)
        .filter(appointment::Column::CompanyId.eq(company))
        .filter(appointment::Column::StaffId.eq(staff.of_kind(schema.staff_key)?))
        .filter(assignment::Column::StartsMs.is_null());
    Ok(count.into_tuple().one(db).await?.unwrap_or(0))
}

/// Records a hand-over and returns its id.
pub async fn insert_hand_over(tx: &impl ConnectionTrait, row: ActiveModel) -> Result<i64> {
    Ok(Entity::insert(row).exec(tx).await?.last_insert_id)
}

/// Returns the hand-over with this id, if it belongs to these companies.
pub async fn hand_over(db: &impl ConnectionTrait, scope: &Scope, id: i64) -> Result<Option<Model>> {
    Ok(Entity::find_by_id(id).filter(scope.condition(Column::CompanyId)).one(db).await?)
}

/// Returns the hand-overs of this company, newest first, at most `limit`.
pub async fn hand_overs(db: &impl ConnectionTrait, company: CompanyId, limit: u64) -> Result<Vec<Model>> {
    let rows = Entity::find().filter(Column::CompanyId.eq(company)).order_by_desc(Column::Id).limit(limit);
    Ok(rows.all(db).await?)
}

/// Records that a hand-over was undone. Returns false if it was already undone.
pub async fn record_hand_over_undone(
    tx: &impl ConnectionTrait,
    id: i64,
    by: &str,
    why: Option<&str>,
    at_ms: i64,
) -> Result<bool> {
    let undone = ActiveModel {
        undone_by: Set(Some(by.to_owned())),
        undone_why: Set(why.map(str::to_owned)),
        undone_ms: Set(Some(at_ms)),
        ..Default::default()
    };
    let is_not_undone = Column::Id.eq(id).and(Column::UndoneMs.is_null());
    Ok(Entity::update_many().set(undone).filter(is_not_undone).exec(tx).await?.rows_affected > 0)
}
