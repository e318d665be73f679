//! Carries out and undoes a repair in parts, each in one transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sea_orm::DatabaseTransaction;

use super::super::AppContext;
use super::super::carry_out::transact_with_retries;
use crate::config::{Mode, Overwrite};
use crate::event::AppointmentId;
use crate::matching::{Appointment, AppointmentWrite, ChangeSet, HostKey, Plan, Policy, Resolver};
use crate::runtime::backoff::Delays;
use crate::runtime::clock::now_ms;
use crate::runtime::crash_points;
use crate::store::{self, GatewaySchema, ItemState, Prior, RepairItem, RepairRow, RepairState, StoreError};

/// The number of appointments in one transaction.
const PART_ROWS: u64 = 250;

/// The number of rounds that a repair makes over locked appointments before it leaves them pending.
const MAX_ROUNDS: u32 = 6;

/// Processes the items in state `from`, part by part. Makes several rounds while rows are locked by other
/// sessions.
pub(super) async fn process(
    context: &AppContext,
    repair: &RepairRow,
    from: ItemState,
    mut progress: impl FnMut(usize),
) -> Result<(), StoreError> {
    let mut delays = Delays::new(Duration::from_millis(50), Duration::from_millis(500));
    let mut processed = 0;
    for round in 0..MAX_ROUNDS {
        let (mut after, mut is_locked) = (0, false);
        loop {
            let part = transact_with_retries(&context.database, async |tx: &DatabaseTransaction| {
                process_part(tx, context, repair, (from, after)).await
            });
            let part = part.await?;
            crash_points::point("repair_part");
            let Some(part) = part else { break };
            (after, is_locked) = (part.last, is_locked || part.is_locked);
            if round == 0 {
                processed += part.size;
                progress(processed);
            }
        }
        if !is_locked {
            return Ok(());
        }
        tokio::time::sleep(delays.next()).await;
    }
    Ok(())
}

/// The result of one part.
struct Part {
    /// The id of the last requested appointment.
    last: i64,
    /// Whether another session has locked some of the appointments.
    is_locked: bool,
    size: usize,
}

/// Processes one part. Returns `None` when nothing is left to do.
async fn process_part(
    tx: &DatabaseTransaction,
    context: &AppContext,
    repair: &RepairRow,
    (from, after): (ItemState, i64),
) -> Result<Option<Part>, StoreError> {
    let schema = &context.schema;
    store::lock_hosts(tx, schema, &[repair.key()].into()).await?;
    let mut items = store::repair_items(tx, repair.id, Some(from), after, PART_ROWS).await?;
    let is_undo = from == ItemState::Done;
    let Some(last) = items.last().map(|item| item.appointment.0) else {
        if store::repair_items(tx, repair.id, Some(from), 0, 1).await?.is_empty() {
            let (running, ended) = match is_undo {
                true => (RepairState::Undoing, RepairState::Undone),
                false => (RepairState::Running, RepairState::Done),
            };
            store::set_repair_state(tx, repair.id, running, ended).await?;
        }
        return Ok(None);
    };
    let decided = match is_undo {
        true => Some(restore(tx, schema, repair, &mut items).await?),
        false => assign(tx, context, repair, &mut items).await?,
    };
    let Some((read, changes)) = decided else { return Ok(None) };
    // An appointment that was not read is locked by another session, or was deleted.
    let missing: BTreeSet<AppointmentId> =
        items.iter().map(|item| item.appointment).filter(|id| !read.contains(id)).collect();
    let existing = store::existing_appointments(tx, &missing).await?;
    let state_if_deleted = if is_undo { ItemState::Kept } else { ItemState::Left };
    for item in items.iter_mut().filter(|item| missing.contains(&item.appointment)) {
        if !existing.contains(&item.appointment) {
            item.set_state(state_if_deleted, Some("gone"));
        }
    }
    let part = Part { last, is_locked: !existing.is_empty(), size: items.len() };
    items.retain(|item| item.state.known() != Some(from));
    store::mark_items(tx, repair.id, &items).await?;
    store::commit(tx, schema, &changes).await?;
    Ok(Some(part))
}

/// The appointments that could be read, and their changes.
type Changed = (BTreeSet<AppointmentId>, ChangeSet);

/// Assigns the appointments of one part. If the host is no longer mapped to the repair's member of staff,
/// stops the repair and returns `None`.
async fn assign(
    tx: &DatabaseTransaction,
    context: &AppContext,
    repair: &RepairRow,
    items: &mut [RepairItem],
) -> Result<Option<Changed>, StoreError> {
    let key = repair.key();
    let waiting: Vec<(AppointmentId, HostKey)> = items.iter().map(|item| (item.appointment, key)).collect();
    let mut loaded = store::load_waiting(tx, &context.schema, &waiting).await?;
    let resolver = Resolver::new(context.config.matching.auto_accept);
    if resolver.resolve_by_id(key, &loaded.directory).into_staff().as_ref() != Some(&repair.staff) {
        store::set_repair_state(tx, repair.id, RepairState::Running, RepairState::Stopped).await?;
        return Ok(None);
    }
    let read = loaded.appointments.keys().copied().collect();
    for item in items.iter_mut() {
        let Some(appointment) = loaded.appointments.get(&item.appointment) else { continue };
        if let Some(reason) = reason_not_waiting(appointment, key) {
            item.set_state(ItemState::Left, Some(reason));
            loaded.appointments.remove(&item.appointment);
        } else {
            let prior = appointment.assignment.as_ref().map(Prior::of);
            item.prior = prior.and_then(|prior| serde_json::to_string(&prior).ok());
        }
    }
    let policy = Policy { mode: Mode::Assign, overwrite: Overwrite::Ours, now_ms: now_ms() };
    let mut plan = Plan::new(loaded, &resolver, policy);
    plan.redecide_waiting();
    let changes = plan.finish();
    let decided: BTreeMap<AppointmentId, i64> =
        changes.assignments.iter().map(|row| (row.appointment, row.decided_ms)).collect();
    for item in items.iter_mut() {
        if let Some(decided_ms) = decided.get(&item.appointment) {
            item.set_state(ItemState::Done, None);
            item.decided_ms = Some(*decided_ms);
        }
    }
    Ok(Some((read, changes)))
}

/// Returns the reason why an appointment no longer waits for this host. `None` if it still waits.
fn reason_not_waiting(appointment: &Appointment, key: HostKey) -> Option<&'static str> {
    match &appointment.assignment {
        _ if appointment.company != key.company => Some("other_company"),
        _ if appointment.staff.is_some() => Some("assigned_meanwhile"),
        Some(row) if row.waits_for() == Some(key) => None,
        _ => Some("waits_no_more"),
    }
}

/// Restores the appointments of one part, except those that have been changed since.
async fn restore(
    tx: &DatabaseTransaction,
    schema: &GatewaySchema,
    repair: &RepairRow,
    items: &mut [RepairItem],
) -> Result<Changed, StoreError> {
    let ids = items.iter().map(|item| item.appointment).collect();
    let appointments = store::lock_appointments(tx, schema, &ids).await?;
    let mut changes = ChangeSet::default();
    for item in items.iter_mut() {
        let Some(appointment) = appointments.get(&item.appointment) else { continue };
        let staff = Some(&repair.staff);
        let row = appointment.assignment.as_ref().filter(|_| appointment.staff.as_ref() == staff);
        let Some(row) = row else {
            item.set_state(ItemState::Kept, Some("assigned_meanwhile"));
            continue;
        };
        if row.staff.as_ref() != staff || Some(row.decided_ms) != item.decided_ms {
            item.set_state(ItemState::Kept, Some("decided_meanwhile"));
            continue;
        }
        let prior = item.prior.as_deref().and_then(|prior| serde_json::from_str::<Prior>(prior).ok());
        let Some(before) = prior.and_then(|prior| prior.restore(row)) else {
            item.set_state(ItemState::Kept, Some("newer_event"));
            continue;
        };
        let (id, host_id) = (item.appointment, appointment.host_id);
        changes.appointments.push(AppointmentWrite { id, staff: None, host_id });
        changes.assignments.push(before);
        item.set_state(ItemState::Undone, None);
    }
    Ok((appointments.into_keys().collect(), changes))
}
