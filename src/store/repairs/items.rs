//! Stores the list of a repair's appointments, and records the result of each.

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::prelude::TextUuid;
use sea_orm::sea_query::Value;
use uuid::Uuid;

use super::{ItemState, RepairItem, RepairScope, RepairState, Waiting};
use crate::event::{AppointmentId, StaffId};
use crate::matching::{Actor, Appointment, HostKey, Stored};
use crate::runtime::clock::now_ms;
use crate::store::entity::repair_item::{self, Column, Entity};
use crate::store::entity::{appointment, repair};
use crate::store::load::{self, Purpose};
use crate::store::prelude::*;
use crate::store::statement::{chunk_rows, pad_in_list, values_of};
use crate::store::{GatewaySchema, HostLockMode, hosts};

/// Starts a repair of these appointments and returns its id. After an error the caller must roll back.
pub(crate) async fn begin_repair(
    tx: &impl ConnectionTrait,
    schema: &GatewaySchema,
    key: HostKey,
    (staff, scope): (&StaffId, RepairScope),
    waiting: &[Waiting],
    (made_by, why): (&Actor, Option<String>),
) -> Result<i64> {
    let row = repair::ActiveModel {
        token: Set(TextUuid(Uuid::new_v4())),
        company_id: Set(key.company),
        host_id: Set(key.host),
        staff_id: Set(staff.of_kind(schema.staff_key)?),
        scope: Set(scope.into()),
        state: Set(RepairState::Running.into()),
        total: Set(i32::try_from(waiting.len()).unwrap_or(i32::MAX)),
        made_by: Set(made_by.clone()),
        why: Set(why),
        created_ms: Set(now_ms()),
        ..Default::default()
    };
    let id = repair::Entity::insert(row).exec(tx).await?.last_insert_id;
    for some in chunk_rows(waiting) {
        let items = some.iter().map(|one| repair_item::ActiveModel {
            repair_id: Set(id),
            appointment_id: Set(one.appointment),
            starts_ms: Set(one.starts),
            state: Set(ItemState::Pending.into()),
            ..Default::default()
        });
        Entity::insert_many(items).exec_without_returning(tx).await?;
    }
    Ok(id)
}

/// Locks these hosts until the transaction ends, after waiting for sessions that have locked them.
pub async fn lock_hosts(
    tx: &impl ConnectionTrait,
    schema: &GatewaySchema,
    keys: &BTreeSet<HostKey>,
) -> Result<()> {
    hosts::lock(tx, schema.backend, keys, HostLockMode::Exclusive).await?;
    Ok(())
}

/// Returns the appointments of a repair after `after`, in order, at most `limit`; with a `state`, only those
/// in that state.
pub(crate) async fn repair_items(
    db: &impl ConnectionTrait,
    repair: i64,
    state: Option<ItemState>,
    after: i64,
    limit: u64,
) -> Result<Vec<RepairItem>> {
    let items = Entity::find()
        .filter(Column::RepairId.eq(repair))
        .apply_if(state.map(Stored::from), |all, state| all.filter(Column::State.eq(state)))
        .filter(Column::AppointmentId.gt(after))
        .order_by_asc(Column::AppointmentId)
        .limit(limit);
    Ok(items.into_partial_model().all(db).await?)
}

/// Reads these appointments with our own rows and locks them, except those that another session has locked.
/// After that the transaction does not wait for locks.
pub(crate) async fn lock_appointments(
    tx: &impl ConnectionTrait,
    schema: &GatewaySchema,
    ids: &BTreeSet<AppointmentId>,
) -> Result<BTreeMap<AppointmentId, Appointment>> {
    load::appointments(tx, schema, ids, Purpose::Write(HostLockMode::Exclusive)).await
}

/// Returns those of these appointments that exist and belong to a company, locked or not.
pub(crate) async fn existing_appointments(
    tx: &impl ConnectionTrait,
    ids: &BTreeSet<AppointmentId>,
) -> Result<BTreeSet<AppointmentId>> {
    if ids.is_empty() {
        return Ok(BTreeSet::new());
    }
    let existing = appointment::Entity::find()
        .filter(appointment::Column::CompanyId.is_not_null())
        .filter(appointment::Column::Id.is_in(pad_in_list(ids.iter().copied())));
    values_of(tx, existing, appointment::Column::Id).await
}

/// Records the current state of these appointments, in the transaction that changes them.
pub(crate) async fn mark_items(tx: &impl ConnectionTrait, repair: i64, items: &[RepairItem]) -> Result<()> {
    for some in chunk_rows(items) {
        let case = |value: fn(&RepairItem) -> Value| -> Expr {
            let cases = some.iter().fold(CaseStatement::new(), |cases, item| {
                cases.case(Column::AppointmentId.eq(item.appointment), Expr::val(value(item)))
            });
            cases.into()
        };
        Entity::update_many()
            .col_expr(Column::State, case(|item| item.state.clone().into()))
            .col_expr(Column::Reason, case(|item| item.reason.clone().into()))
            .col_expr(Column::Prior, case(|item| item.prior.clone().into()))
            .col_expr(Column::DecidedMs, case(|item| item.decided_ms.into()))
            .filter(Column::RepairId.eq(repair))
            .filter(Column::AppointmentId.is_in(some.iter().map(|item| item.appointment)))
            .exec(tx)
            .await?;
    }
    Ok(())
}

/// Changes the state of a repair. Returns false if it was not in the state `from`.
pub(crate) async fn set_repair_state(
    tx: &impl ConnectionTrait,
    repair: i64,
    from: RepairState,
    to: RepairState,
) -> Result<bool> {
    let mut row = repair::ActiveModel { state: Set(to.into()), ..Default::default() };
    match to {
        RepairState::Done | RepairState::Stopped => row.ended_ms = Set(Some(now_ms())),
        RepairState::Undone => row.undone_ms = Set(Some(now_ms())),
        RepairState::Running | RepairState::Undoing => {}
    }
    update_repair(tx, repair, &[from], row).await
}

/// Starts to undo a repair; appointments that are not yet assigned stay unassigned. Returns false if it is
/// being undone or was undone.
pub(crate) async fn start_undoing(
    tx: &impl ConnectionTrait,
    repair: i64,
    undone_by: &Actor,
    why: Option<&str>,
) -> Result<bool> {
    let row = repair::ActiveModel {
        state: Set(RepairState::Undoing.into()),
        undone_by: Set(Some(undone_by.clone())),
        undone_why: Set(why.map(str::to_owned)),
        ..Default::default()
    };
    let from = [RepairState::Running, RepairState::Done, RepairState::Stopped];
    if !update_repair(tx, repair, &from, row).await? {
        return Ok(false);
    }
    let not_assigned = repair_item::ActiveModel {
        state: Set(ItemState::Left.into()),
        reason: Set(Some("undone_before".to_owned())),
        ..Default::default()
    };
    Entity::update_many()
        .set(not_assigned)
        .filter(Column::RepairId.eq(repair))
        .filter(Column::State.eq(Stored::from(ItemState::Pending)))
        .exec(tx)
        .await?;
    Ok(true)
}

/// Updates a repair that is in one of the states `from`. Returns false if it is in another state.
async fn update_repair(
    tx: &impl ConnectionTrait,
    id: i64,
    from: &[RepairState],
    row: repair::ActiveModel,
) -> Result<bool> {
    let updated = repair::Entity::update_many()
        .set(row)
        .filter(repair::Column::Id.eq(id))
        .filter(repair::Column::State.is_in(from.iter().copied().map(Stored::from)))
        .exec(tx)
        .await?;
    Ok(updated.rows_affected > 0)
}
