//! Reading what waits, and repairs.

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

/// An appointment that waits for its host to become known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, DerivePartialModel)]
#[sea_orm(entity = "assignment::Entity")]
pub struct Waiting {
    /// Which.
    #[sea_orm(from_col = "appointment_id")]
    pub appointment: AppointmentId,
    /// When it starts, ms since 1970, where that is known.
    #[sea_orm(from_col = "starts_ms")]
    #[serde(serialize_with = "as_rfc3339")]
    pub starts: Option<i64>,
    /// The booking's reference.
    #[sea_orm(from_col = "booking_ref")]
    pub booking: Option<String>,
}

/// The appointments that wait for this host: its newest event names it, nobody was found, and nobody
/// has assigned them since. Counted from what was decided, never from a counter.
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

/// Which repairs; what is given must all be true.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RepairFilter {
    /// Of this Cal.com user.
    pub host: Option<HostId>,
    /// Only older ones than this.
    pub before: Option<i64>,
}

/// Repairs, newest first, at most `limit`.
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

/// The repair with this id.
pub(crate) async fn repair(db: &impl ConnectionTrait, scope: &Scope, id: i64) -> Result<Option<RepairRow>> {
    let row = Entity::find_by_id(id).filter(scope.condition(Column::CompanyId));
    Ok(row.into_partial_model().one(db).await?)
}

/// How many appointments of a repair stand where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Still to be assigned: somebody else has locked them, or it was interrupted.
    pub pending: i64,
    /// Assigned.
    pub done: i64,
    /// They did not wait any more.
    pub left: i64,
    /// Given back.
    pub undone: i64,
    /// Not given back: somebody else has touched them since.
    pub kept: i64,
}

/// How many appointments stand where, by repair; one without any is not in it.
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
        // One that this build does not know is none that it can give back.
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
