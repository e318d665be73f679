//! Reads waiting appointments and repairs.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{ItemState, RepairRow};
use crate::event::{AppointmentId, HostId};
use crate::matching::{HostKey, Outcome, Stored};
use crate::runtime::clock::as_rfc3339;
use crate::store::Scope;
use crate::store::entity::repair::{Column, Entity};
use crate::store::entity::{appointment, assignment, repair_item};
use crate::store::prelude::*;

/// An appointment that waits for its host to be mapped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, DerivePartialModel)]
#[sea_orm(entity = "assignment::Entity")]
pub struct Waiting {
    /// The appointment.
    #[sea_orm(from_col = "appointment_id")]
    pub appointment: AppointmentId,
    /// When it starts, in ms since 1970, if known.
    #[sea_orm(from_col = "starts_ms")]
    #[serde(serialize_with = "as_rfc3339")]
    pub starts: Option<i64>,
    /// The booking's reference.
    #[sea_orm(from_col = "booking_ref")]
    pub booking: Option<String>,
}

/// Returns the appointments that wait for this host: their newest event has this host, no staff was found,
/// and they have not been assigned since. They are read from the recorded decisions.
pub(crate) async fn waiting_of(db: &impl ConnectionTrait, key: HostKey) -> Result<Vec<Waiting>> {
    use assignment::Column;
    let is_in_company = appointment::Column::CompanyId.into_expr().eq(Column::CompanyId.into_expr());
    let waiting = assignment::Entity::find()
        .inner_join(appointment::Entity)
        .filter(is_in_company)
        .filter(Column::CompanyId.eq(key.company))
        .filter(Column::HostId.eq(key.host))
        .filter(Column::Outcome.is_in(Outcome::waiting().map(Outcome::as_str)))
        .filter(Column::StaffId.is_null())
        .filter(appointment::Column::StaffId.is_null())
        .order_by_asc(Column::AppointmentId);
    Ok(waiting.into_partial_model().all(db).await?)
}

/// A filter for repairs. A row must meet every condition that is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RepairFilter {
    /// The host: a Cal.com user.
    pub host: Option<HostId>,
    /// Only repairs older than this id.
    pub before: Option<i64>,
}

/// Returns repairs, newest first, at most `limit`.
pub async fn repairs(
    db: &impl ConnectionTrait,
    scope: &Scope,
    filter: &RepairFilter,
    limit: u64,
) -> Result<Vec<RepairRow>> {
    let rows = Entity::find()
        .filter(scope.condition(Column::CompanyId))
        .apply_if(filter.host, |all, host| all.filter(Column::HostId.eq(host)))
        .apply_if(filter.before, |all, before| all.filter(Column::Id.lt(before)))
        .order_by_desc(Column::Id)
        .limit(limit);
    Ok(rows.into_partial_model().all(db).await?)
}

/// Returns the repair with this id.
pub(crate) async fn repair(db: &impl ConnectionTrait, scope: &Scope, id: i64) -> Result<Option<RepairRow>> {
    let row = Entity::find_by_id(id).filter(scope.condition(Column::CompanyId));
    Ok(row.into_partial_model().one(db).await?)
}

/// Returns the repairs that contain this appointment, oldest first, at most `limit`, each with the appointment's state
/// in it.
pub(crate) async fn repairs_of(
    db: &impl ConnectionTrait,
    scope: &Scope,
    appointment: AppointmentId,
    limit: u64,
) -> Result<Vec<(RepairRow, Stored<ItemState>)>> {
    let items: Vec<repair_item::Model> = repair_item::Entity::find()
        .filter(repair_item::Column::AppointmentId.eq(appointment))
        .order_by_asc(repair_item::Column::RepairId)
        .limit(limit)
        .all(db)
        .await?;
    let mut repairs = Vec::new();
    for item in items {
        repairs.extend(repair(db, scope, item.repair_id).await?.map(|row| (row, item.state)));
    }
    Ok(repairs)
}

/// The number of a repair's appointments in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Still to be assigned: locked by another session, or the repair was interrupted.
    pub pending: i64,
    /// Assigned.
    pub done: i64,
    /// Not assigned: they no longer waited.
    pub left: i64,
    /// Restored.
    pub undone: i64,
    /// Not restored: they have been changed since.
    pub kept: i64,
}

/// Counts appointments by repair and state; repairs without any are not in the result.
pub(crate) async fn tallies(
    db: &impl ConnectionTrait,
    repairs: impl IntoIterator<Item = i64>,
) -> Result<BTreeMap<i64, Tally>> {
    use repair_item::Column;
    let counts: Vec<(i64, Stored<ItemState>, i64)> = repair_item::Entity::find()
        .select_only()
        .column(Column::RepairId)
        .column(Column::State)
        .expr(Column::AppointmentId.count())
        .filter(Column::RepairId.is_in(repairs))
        .group_by(Column::RepairId)
        .group_by(Column::State)
        .into_tuple()
        .all(db)
        .await?;
    let mut tallies = BTreeMap::<i64, Tally>::new();
    for (repair, state, count) in counts {
        let tally = tallies.entry(repair).or_default();
        // An item in a state that this version does not know counts as left.
        *match state.known().unwrap_or(ItemState::Left) {
            ItemState::Pending => &mut tally.pending,
            ItemState::Done => &mut tally.done,
            ItemState::Left => &mut tally.left,
            ItemState::Undone => &mut tally.undone,
            ItemState::Kept => &mut tally.kept,
        } += count;
    }
    Ok(tallies)
}
