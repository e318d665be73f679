//! Freezing a repair's appointments, and what becomes of each.

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::prelude::TextUuid;
use sea_orm::sea_query::{CaseStatement, Expr, Value};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _,
    QueryTrait as _, Set,
};
use uuid::Uuid;

use super::{ItemState, NewRepair, Prior, RepairItem, RepairState, Waiting};
use crate::event::AppointmentId;
use crate::matching::{Appointment, HostKey, Stored};
use crate::store::entity::repair_item::{self, Column, Entity};
use crate::store::entity::{appointment, repair};
use crate::store::load::{self, Purpose};
use crate::store::statement::{chunk_rows, pad_in_list};
use crate::store::{GatewaySchema, Hosts, StoreError, hosts};

/// What has become of one appointment.
#[derive(Clone, Debug, PartialEq)]
pub struct Mark {
    /// Which.
    pub appointment: AppointmentId,
    /// Where it stands now.
    pub state: ItemState,
    /// Why it was left or kept.
    pub reason: Option<&'static str>,
    /// What our row said before.
    pub prior: Option<Prior>,
    /// When it was assigned, ms since 1970.
    pub decided_ms: Option<i64>,
}

impl Mark {
    fn prior_json(&self) -> Option<String> {
        self.prior.as_ref().and_then(|prior| serde_json::to_string(prior).ok())
    }
}

/// Freezes a repair of these appointments. Gives its id.
///
/// # Errors
/// [`StoreError`]; then the transaction is to be rolled back.
pub async fn begin_repair(
    tx: &impl ConnectionTrait,
    schema: &GatewaySchema,
    repair: &NewRepair,
    waiting: &[Waiting],
) -> Result<i64, StoreError> {
    let row = repair::ActiveModel {
        token: Set(TextUuid(Uuid::new_v4())),
        company_id: Set(repair.key.company),
        host_id: Set(repair.key.host),
        staff_id: Set(schema.staff_key.key(&repair.staff)?),
        scope: Set(repair.scope.into()),
        state: Set(RepairState::Running.into()),
        total: Set(i32::try_from(waiting.len()).unwrap_or(i32::MAX)),
        made_by: Set(repair.made_by.clone()),
        why: Set(repair.why.clone()),
        created_ms: Set(repair.created_ms),
        ..Default::default()
    };
    let id = repair::Entity::insert(row).exec(tx).await?.last_insert_id;
    for some in chunk_rows(waiting) {
        let items = some.iter().map(|one| repair_item::ActiveModel {
            repair_id: Set(id),
            appointment_id: Set(one.appointment),
            starts_ms: Set(one.starts_ms),
            state: Set(ItemState::Pending.into()),
            ..Default::default()
        });
        Entity::insert_many(items).exec_without_returning(tx).await?;
    }
    Ok(id)
}

/// Locks the host of a repair for the rest of the transaction, waiting for whoever has it.
///
/// # Errors
/// [`StoreError`]
pub async fn lock_host(
    tx: &impl ConnectionTrait,
    schema: &GatewaySchema,
    key: HostKey,
) -> Result<(), StoreError> {
    lock_hosts(tx, schema, &BTreeSet::from([key])).await
}

/// The same with several hosts.
///
/// # Errors
/// [`StoreError`]
pub async fn lock_hosts(
    tx: &impl ConnectionTrait,
    schema: &GatewaySchema,
    keys: &BTreeSet<HostKey>,
) -> Result<(), StoreError> {
    hosts::lock(tx, schema.backend, keys, Hosts::Alone).await?;
    Ok(())
}

/// The appointments of a repair behind `after`, in order, at most `limit`; with a `state`, only those in it.
///
/// # Errors
/// [`StoreError`]
pub async fn repair_items(
    db: &impl ConnectionTrait,
    repair: i64,
    state: Option<ItemState>,
    after: i64,
    limit: u64,
) -> Result<Vec<RepairItem>, StoreError> {
    let rows = Entity::find()
        .filter(Column::RepairId.eq(repair))
        .apply_if(state.map(Stored::from), |all, state| all.filter(Column::State.eq(state)))
        .filter(Column::AppointmentId.gt(after))
        .order_by_asc(Column::AppointmentId)
        .limit(limit)
        .all(db)
        .await?;
    Ok(rows.into_iter().map(RepairItem::from).collect())
}

/// Reads these appointments with our own rows and locks them; those that somebody else has locked are
/// not among them. From then on the transaction waits for nobody.
///
/// # Errors
/// [`StoreError`]
pub async fn free_appointments(
    tx: &impl ConnectionTrait,
    schema: &GatewaySchema,
    ids: &BTreeSet<AppointmentId>,
) -> Result<BTreeMap<AppointmentId, Appointment>, StoreError> {
    load::appointments(tx, schema, ids, Purpose::Write(Hosts::Alone)).await
}

/// Those of these appointments that are there and belong to somebody, locked or not.
///
/// # Errors
/// [`StoreError`]
pub async fn still_there(
    tx: &impl ConnectionTrait,
    ids: &BTreeSet<AppointmentId>,
) -> Result<BTreeSet<AppointmentId>, StoreError> {
    if ids.is_empty() {
        return Ok(BTreeSet::new());
    }
    let there = appointment::Entity::find()
        .select_only()
        .column(appointment::Column::Id)
        .filter(appointment::Column::CompanyId.is_not_null())
        .filter(appointment::Column::Id.is_in(pad_in_list(ids.iter().copied())));
    let there: Vec<AppointmentId> = there.into_tuple().all(tx).await?;
    Ok(there.into_iter().collect())
}

/// Notes what has become of these appointments, in the transaction that does it.
///
/// # Errors
/// [`StoreError`]
pub async fn mark_items(tx: &impl ConnectionTrait, repair: i64, marks: &[Mark]) -> Result<(), StoreError> {
    for some in chunk_rows(marks) {
        let case = |value: fn(&Mark) -> Value| -> Expr {
            let cases = some.iter().fold(CaseStatement::new(), |cases, mark| {
                cases.case(Column::AppointmentId.eq(mark.appointment), Expr::val(value(mark)))
            });
            cases.into()
        };
        Entity::update_many()
            .col_expr(Column::State, case(|mark| mark.state.as_str().into()))
            .col_expr(Column::Reason, case(|mark| mark.reason.into()))
            .col_expr(Column::Prior, case(|mark| mark.prior_json().into()))
            .col_expr(Column::DecidedMs, case(|mark| mark.decided_ms.into()))
            .filter(Column::RepairId.eq(repair))
            .filter(Column::AppointmentId.is_in(some.iter().map(|mark| mark.appointment)))
            .exec(tx)
            .await?;
    }
    Ok(())
}

/// Leaves a repair in another state. False: it was not in one of the states `from`.
///
/// # Errors
/// [`StoreError`]
pub async fn set_repair_state(
    tx: &impl ConnectionTrait,
    repair: i64,
    from: &[RepairState],
    to: RepairState,
    now_ms: i64,
) -> Result<bool, StoreError> {
    let mut row = repair::ActiveModel { state: Set(to.into()), ..Default::default() };
    match to {
        RepairState::Done | RepairState::Stopped => row.ended_ms = Set(Some(now_ms)),
        RepairState::Undone => row.undone_ms = Set(Some(now_ms)),
        RepairState::Running | RepairState::Undoing => {}
    }
    update_repair(tx, repair, from, row).await
}

/// Begins to take a repair back; what it had not assigned yet is left. False: it was taken back before.
///
/// # Errors
/// [`StoreError`]
pub async fn start_undoing(
    tx: &impl ConnectionTrait,
    repair: i64,
    undone_by: &str,
    why: Option<&str>,
) -> Result<bool, StoreError> {
    let row = repair::ActiveModel {
        state: Set(RepairState::Undoing.into()),
        undone_by: Set(Some(undone_by.to_owned())),
        undone_why: Set(why.map(str::to_owned)),
        ..Default::default()
    };
    let from = [RepairState::Running, RepairState::Done, RepairState::Stopped];
    if !update_repair(tx, repair, &from, row).await? {
        return Ok(false);
    }
    let left = repair_item::ActiveModel {
        state: Set(ItemState::Left.into()),
        reason: Set(Some("undone_before".to_owned())),
        ..Default::default()
    };
    Entity::update_many()
        .set(left)
        .filter(Column::RepairId.eq(repair))
        .filter(Column::State.eq(Stored::from(ItemState::Pending)))
        .exec(tx)
        .await?;
    Ok(true)
}

/// Updates a repair that is in one of the states `from`; false when it is not.
async fn update_repair(
    tx: &impl ConnectionTrait,
    id: i64,
    from: &[RepairState],
    row: repair::ActiveModel,
) -> Result<bool, StoreError> {
    let updated = repair::Entity::update_many()
        .set(row)
        .filter(repair::Column::Id.eq(id))
        .filter(repair::Column::State.is_in(from.iter().copied().map(Stored::from)))
        .exec(tx)
        .await?;
    Ok(updated.rows_affected > 0)
}
