//! Reading what waits, and repairs.

use sea_orm::sea_query::ExprTrait as _;
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, DerivePartialModel, EntityTrait as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _, QueryTrait as _,
};

use super::{ItemState, RepairItem, RepairRow, RepairState};
use crate::event::{AppointmentId, CompanyId, HostId};
use crate::matching::{HostKey, Outcome, Stored};
use crate::store::StoreError;
use crate::store::entity::repair::{Column, Entity, Model};
use crate::store::entity::{appointment, assignment, repair_item};

/// An appointment that waits for its host to become known.
#[derive(Clone, Debug, PartialEq, Eq, DerivePartialModel)]
#[sea_orm(entity = "assignment::Entity")]
pub struct Waiting {
    /// Which.
    #[sea_orm(from_col = "appointment_id")]
    pub appointment: AppointmentId,
    /// When it starts, ms since 1970, where that is known.
    pub starts_ms: Option<i64>,
    /// The booking's reference.
    #[sea_orm(from_col = "booking_ref")]
    pub booking: Option<String>,
}

/// The appointments that wait for this host: its newest event names it, nobody was found, and nobody
/// has assigned them since. Counted from what was decided, never from a counter.
///
/// # Errors
/// [`StoreError`]
pub async fn waiting_of(db: &impl ConnectionTrait, key: HostKey) -> Result<Vec<Waiting>, StoreError> {
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
    /// Of this company.
    pub company: Option<CompanyId>,
    /// Of this Cal.com user.
    pub host: Option<HostId>,
    /// Only older ones than this.
    pub before: Option<i64>,
}

/// Repairs, newest first, at most `limit`.
///
/// # Errors
/// [`StoreError`]
pub async fn repairs(
    db: &impl ConnectionTrait,
    filter: &RepairFilter,
    limit: u64,
) -> Result<Vec<RepairRow>, StoreError> {
    let rows = Entity::find()
        .apply_if(filter.company, |all, company| all.filter(Column::CompanyId.eq(company)))
        .apply_if(filter.host, |all, host| all.filter(Column::HostId.eq(host)))
        .apply_if(filter.before, |all, before| all.filter(Column::Id.lt(before)))
        .order_by_desc(Column::Id)
        .limit(limit)
        .all(db)
        .await?;
    Ok(rows.into_iter().map(RepairRow::from).collect())
}

/// The repair with this id; with a `company`, only if it is that one's.
///
/// # Errors
/// [`StoreError`]
pub async fn repair(
    db: &impl ConnectionTrait,
    id: i64,
    company: Option<CompanyId>,
) -> Result<Option<RepairRow>, StoreError> {
    let row = Entity::find()
        .filter(Column::Id.eq(id))
        .apply_if(company, |all, company| all.filter(Column::CompanyId.eq(company)))
        .one(db)
        .await?;
    Ok(row.map(RepairRow::from))
}

/// How many appointments of a repair are in each state.
///
/// # Errors
/// [`StoreError`]
pub async fn repair_item_counts(
    db: &impl ConnectionTrait,
    repair: i64,
) -> Result<Vec<(ItemState, i64)>, StoreError> {
    use repair_item::Column;
    let counts: Vec<(Stored<ItemState>, i64)> = repair_item::Entity::find()
        .select_only()
        .column(Column::State)
        .expr(Column::AppointmentId.count())
        .filter(Column::RepairId.eq(repair))
        .group_by(Column::State)
        .into_tuple()
        .all(db)
        .await?;
    Ok(counts.into_iter().map(|(state, count)| (ItemState::of(&state), count)).collect())
}

impl From<Model> for RepairRow {
    fn from(row: Model) -> Self {
        Self {
            id: row.id,
            key: HostKey::new(row.company_id, row.host_id),
            staff: row.staff_id,
            scope: row.scope,
            state: RepairState::of(&row.state),
            total: row.total.into(),
            made_by: row.made_by,
            why: row.why,
            created_ms: row.created_ms,
            ended_ms: row.ended_ms,
            undone_by: row.undone_by,
            undone_why: row.undone_why,
            undone_ms: row.undone_ms,
        }
    }
}

impl From<repair_item::Model> for RepairItem {
    fn from(row: repair_item::Model) -> Self {
        Self {
            appointment: row.appointment_id,
            starts_ms: row.starts_ms,
            state: ItemState::of(&row.state),
            reason: row.reason,
            prior: row.prior.and_then(|prior| serde_json::from_str(&prior).ok()),
            decided_ms: row.decided_ms,
        }
    }
}
