//! Freezing a repair's appointments, and what becomes of each.

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::ConnectionTrait;
use sea_orm::sea_query::{CaseStatement, Expr, ExprTrait as _, Order, Query};
use uuid::Uuid;

use super::look::read_item;
use super::{ITEMS, ItemState, NewRepair, Prior, REPAIRS, RepairItem, RepairState, Waiting};
use crate::event::AppointmentId;
use crate::matching::{Appointment, HostKey};
use crate::store::dead_letters::id_of;
use crate::store::load::{self, Purpose};
use crate::store::statement::{chunk_rows, pad_in_list};
use crate::store::{GatewaySchema, Hosts, StoreError, bind_staff, hosts};

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
    let token = Uuid::new_v4().to_string();
    let mut insert = Query::insert();
    insert
        .into_table(REPAIRS)
        .columns([
            "token",
            "company_id",
            "host_id",
            "staff_id",
            "scope",
            "state",
            "total",
            "made_by",
            "why",
            "created_ms",
        ])
        .values_panic([
            token.as_str().into(),
            repair.key.company.0.into(),
            repair.key.host.0.into(),
            bind_staff(&repair.staff, schema.staff_key)?.into(),
            repair.scope.as_str().into(),
            RepairState::Running.as_str().into(),
            i32::try_from(waiting.len()).unwrap_or(i32::MAX).into(),
            repair.made_by.as_str().into(),
            repair.why.clone().into(),
            repair.created_ms.into(),
        ]);
    tx.execute(&insert).await?;
    let id = id_of(tx, REPAIRS, &token).await?;
    for some in chunk_rows(waiting) {
        let mut insert = Query::insert();
        insert.into_table(ITEMS).columns(["repair_id", "appointment_id", "starts_ms", "state"]);
        for one in some {
            insert.values_panic([
                id.into(),
                one.appointment.0.into(),
                one.starts_ms.into(),
                ItemState::Pending.as_str().into(),
            ]);
        }
        tx.execute(&insert).await?;
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

/// The first appointments behind `after` that are still to be assigned.
///
/// # Errors
/// [`StoreError`]
pub async fn pending_items(
    tx: &impl ConnectionTrait,
    repair: i64,
    after: i64,
    limit: u64,
) -> Result<Vec<RepairItem>, StoreError> {
    in_state(tx, repair, ItemState::Pending, after, limit).await
}

/// The first appointments behind `after` that were assigned and may be given back.
///
/// # Errors
/// [`StoreError`]
pub async fn done_items(
    tx: &impl ConnectionTrait,
    repair: i64,
    after: i64,
    limit: u64,
) -> Result<Vec<RepairItem>, StoreError> {
    in_state(tx, repair, ItemState::Done, after, limit).await
}

async fn in_state(
    tx: &impl ConnectionTrait,
    repair: i64,
    state: ItemState,
    after: i64,
    limit: u64,
) -> Result<Vec<RepairItem>, StoreError> {
    let mut select = Query::select();
    select
        .columns(super::look::ITEM)
        .from(ITEMS)
        .and_where(Expr::col("repair_id").eq(repair))
        .and_where(Expr::col("state").eq(state.as_str()))
        .and_where(Expr::col("appointment_id").gt(after))
        .order_by("appointment_id", Order::Asc)
        .limit(limit);
    tx.query_all(&select).await?.iter().map(read_item).collect()
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
    let mut select = Query::select();
    select
        .column("id")
        .from("appointments")
        .and_where(Expr::col("company_id").is_not_null())
        .and_where(Expr::col("id").is_in(pad_in_list(ids.iter().map(|id| id.0))));
    tx.query_all(&select).await?.iter().map(|row| Ok(row.try_get("", "id")?)).collect()
}

/// Notes what has become of these appointments, in the transaction that does it.
///
/// # Errors
/// [`StoreError`]
pub async fn mark_items(tx: &impl ConnectionTrait, repair: i64, marks: &[Mark]) -> Result<(), StoreError> {
    for some in chunk_rows(marks) {
        let is_this = |mark: &Mark| Expr::col("appointment_id").eq(mark.appointment.0);
        let (mut state, mut reason, mut prior, mut decided) =
            (CaseStatement::new(), CaseStatement::new(), CaseStatement::new(), CaseStatement::new());
        for mark in some {
            let json = mark.prior.as_ref().and_then(|prior| serde_json::to_string(prior).ok());
            state = state.case(is_this(mark), Expr::val(mark.state.as_str()));
            reason = reason.case(is_this(mark), Expr::val(mark.reason.map(str::to_owned)));
            prior = prior.case(is_this(mark), Expr::val(json));
            decided = decided.case(is_this(mark), Expr::val(mark.decided_ms));
        }
        let mut update = Query::update();
        update
            .table(ITEMS)
            .value("state", state)
            .value("reason", reason)
            .value("prior", prior)
            .value("decided_ms", decided)
            .and_where(Expr::col("repair_id").eq(repair))
            .and_where(Expr::col("appointment_id").is_in(some.iter().map(|mark| mark.appointment.0)));
        tx.execute(&update).await?;
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
    let mut update = Query::update();
    update
        .table(REPAIRS)
        .value("state", to.as_str())
        .and_where(Expr::col("id").eq(repair))
        .and_where(Expr::col("state").is_in(from.iter().map(|state| state.as_str())));
    match to {
        RepairState::Done | RepairState::Stopped => _ = update.value("ended_ms", now_ms),
        RepairState::Undone => _ = update.value("undone_ms", now_ms),
        RepairState::Running | RepairState::Undoing => {}
    }
    Ok(tx.execute(&update).await?.rows_affected() > 0)
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
    let from = [RepairState::Running, RepairState::Done, RepairState::Stopped];
    let mut update = Query::update();
    update
        .table(REPAIRS)
        .value("state", RepairState::Undoing.as_str())
        .value("undone_by", undone_by)
        .value("undone_why", why.map(str::to_owned))
        .and_where(Expr::col("id").eq(repair))
        .and_where(Expr::col("state").is_in(from.map(RepairState::as_str)));
    if tx.execute(&update).await?.rows_affected() == 0 {
        return Ok(false);
    }
    let mut update = Query::update();
    update
        .table(ITEMS)
        .value("state", ItemState::Left.as_str())
        .value("reason", "undone_before")
        .and_where(Expr::col("repair_id").eq(repair))
        .and_where(Expr::col("state").eq(ItemState::Pending.as_str()));
    tx.execute(&update).await?;
    Ok(true)
}
