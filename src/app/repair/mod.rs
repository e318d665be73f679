//! Repairs: once a person has mapped a host, assigns the appointments that waited for the host. Undoes a
//! repair, except for appointments that have been changed since.
//!
//! A repair decides appointments with the same plan as a worker, so the same rules apply: it changes only
//! appointments that still wait, never one that a person assigned. Each part is one transaction: it locks the
//! host, then the part's appointments, except those that another session has locked. It records the changes
//! in the same transaction, so a repair can be resumed at any time, by anybody.

mod parts;

use sea_orm::{ConnectionTrait, DatabaseTransaction};
use serde::Serialize;

use super::carry_out::{fit_column, transact_with_retries};
use super::context::{names, page};
use super::{AppContext, AppError, Refusal};
use crate::event::StaffId;
use crate::matching::HostKey;
use crate::runtime::clock::now_ms;
use crate::store::{
    self, ItemState, RepairFilter, RepairItem, RepairRow, RepairScope, RepairState, StoreError, Waiting,
};

/// The preview of a host's repair. `docs/commands.md` describes it: its JSON is a contract.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RepairPreview {
    #[serde(flatten)]
    pub(crate) key: HostKey,
    /// The member of staff who would get the appointments. `None` while the host has no mapping in force.
    pub(crate) staff: Option<StaffId>,
    pub(crate) staff_name: Option<String>,
    /// The waiting appointments that have not started.
    pub future: Vec<Waiting>,
    /// The waiting appointments that have started.
    pub past: Vec<Waiting>,
    /// The waiting appointments without a known start.
    pub unknown: Vec<Waiting>,
}

/// The numbers of waiting appointments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Counts {
    pub(crate) future: usize,
    /// Appointments that have started.
    pub(crate) past: usize,
    /// Appointments without a known start.
    pub(crate) unknown: usize,
}

impl Counts {
    /// Returns the number of appointments that a repair with this scope would assign.
    pub(crate) fn of(self, scope: RepairScope) -> usize {
        match scope {
            RepairScope::Future => self.future,
            RepairScope::All => self.future + self.past + self.unknown,
        }
    }
}

impl RepairPreview {
    /// Counts the waiting appointments.
    pub(crate) fn counts(&self) -> Counts {
        Counts { future: self.future.len(), past: self.past.len(), unknown: self.unknown.len() }
    }
}

/// Previews the repair of this host.
pub async fn preview(context: &AppContext, key: HostKey) -> Result<RepairPreview, AppError> {
    context.check_company(key.company)?;
    let found = context.with_deadline(find_waiting(context, context.connection(), key)).await?;
    let staff_name = match &found.staff {
        Some(staff) => names(context, [staff.clone()]).await?.name(staff),
        None => None,
    };
    Ok(RepairPreview { staff_name, ..found })
}

async fn find_waiting(
    context: &AppContext,
    db: &impl ConnectionTrait,
    key: HostKey,
) -> Result<RepairPreview, StoreError> {
    let staff = context.processor().dry_run().predict_waiting(db, key).await?;
    let [future, past, unknown] = [(); 3].map(|()| Vec::new());
    let mut found = RepairPreview { key, staff, staff_name: None, future, past, unknown };
    let now_ms = now_ms();
    for it in store::waiting_of(db, key).await? {
        match it.starts {
            Some(ms) if ms >= now_ms => found.future.push(it),
            Some(_) => found.past.push(it),
            None => found.unknown.push(it),
        }
    }
    Ok(found)
}

/// Creates a repair of exactly the appointments that wait now, and returns its id. Returns `None` if no
/// appointment waits. Fails with [`Refusal::NotMapped`] while the host has no mapping in force.
pub async fn begin(
    context: &AppContext,
    key: HostKey,
    scope: RepairScope,
    why: Option<&str>,
) -> Result<Option<i64>, AppError> {
    context.check_company(key.company)?;
    let created = transact_with_retries(&context.database, async |tx: &DatabaseTransaction| {
        store::lock_hosts(tx, &context.schema, &[key].into()).await?;
        let found = find_waiting(context, tx, key).await?;
        let Some(staff) = &found.staff else { return Ok(None) };
        let mut waiting = found.future;
        if scope == RepairScope::All {
            waiting.extend(found.past);
            waiting.extend(found.unknown);
        }
        if waiting.is_empty() {
            return Ok(Some(None));
        }
        waiting.sort_by_key(|it| it.appointment);
        let by = (context.author.actor(), why.map(fit_column));
        Ok(Some(Some(store::begin_repair(tx, &context.schema, key, (staff, scope), &waiting, by).await?)))
    });
    Ok(created.await?.ok_or(Refusal::NotMapped(key))?)
}

/// Assigns the pending appointments of a repair, in parts. Calls `progress` with the number of appointments
/// done. Retries locked appointments for a while, then leaves them pending. Fails when the repair has
/// ended. On failure the appointments done so far stay done and recorded.
pub async fn apply(
    context: &AppContext,
    id: i64,
    progress: impl FnMut(usize),
) -> Result<RepairRow, AppError> {
    let repair = find_row(context, id).await?;
    if repair.state.known() != Some(RepairState::Running) {
        return Err(Refusal::RepairEnded(id, repair.state).into());
    }
    parts::process(context, &repair, ItemState::Pending, progress).await?;
    find_repair(context, id).await
}

/// Undoes a repair, in parts, for the appointments that have not been changed since. Fails if the repair has
/// already been undone. On failure the appointments undone so far stay undone and recorded.
pub async fn undo(
    context: &AppContext,
    id: i64,
    why: Option<&str>,
    progress: impl FnMut(usize),
) -> Result<RepairRow, AppError> {
    let repair = find_row(context, id).await?;
    let why = why.map(fit_column);
    let started = transact_with_retries(&context.database, async |tx: &DatabaseTransaction| {
        // Waits for a session that is assigning a part of the repair.
        store::lock_hosts(tx, &context.schema, &[repair.key()].into()).await?;
        store::start_undoing(tx, id, context.author.actor(), why.as_deref()).await
    });
    if !started.await? && find_row(context, id).await?.state.known() != Some(RepairState::Undoing) {
        return Err(Refusal::RepairEnded(id, repair.state).into());
    }
    parts::process(context, &repair, ItemState::Done, progress).await?;
    find_repair(context, id).await
}

async fn find_row(context: &AppContext, id: i64) -> Result<RepairRow, AppError> {
    let found = store::repair(context.connection(), &context.scope, id);
    context.with_deadline(found).await?.ok_or_else(|| context.not_found(format_args!("repair {id}")))
}

/// Returns one repair with its counts.
pub(crate) async fn find_repair(context: &AppContext, id: i64) -> Result<RepairRow, AppError> {
    Ok(with_counts(context, vec![find_row(context, id).await?]).await?.remove(0))
}

async fn with_counts(context: &AppContext, mut rows: Vec<RepairRow>) -> Result<Vec<RepairRow>, AppError> {
    let names = names(context, rows.iter().map(|row| row.staff.clone())).await?;
    let counts = store::tallies(context.connection(), rows.iter().map(|row| row.id));
    let mut counts = context.with_deadline(counts).await?;
    for row in &mut rows {
        row.counts = counts.remove(&row.id).unwrap_or_default();
        row.staff_name = names.name(&row.staff);
    }
    Ok(rows)
}

/// A page of repairs. `docs/commands.md` describes it: its JSON is a contract.
#[derive(Debug, Serialize)]
pub(crate) struct RepairList {
    pub(crate) repairs: Vec<RepairRow>,
    /// The value of `--before` for the next page.
    pub(crate) next_before: Option<i64>,
}

/// Returns repairs, newest first.
pub(crate) async fn list(
    context: &AppContext,
    filter: &RepairFilter,
    limit: u64,
) -> Result<RepairList, AppError> {
    let rows = store::repairs(context.connection(), &context.scope, filter, limit + 1);
    let (rows, next_before) = page(context.with_deadline(rows).await?, limit, |row| row.id);
    Ok(RepairList { repairs: with_counts(context, rows).await?, next_before })
}

/// A repair with its appointments. `docs/commands.md` describes it: its JSON is a contract.
#[derive(Debug, Serialize)]
pub(crate) struct RepairDetails {
    pub(crate) repair: RepairRow,
    pub(crate) items: Vec<RepairItem>,
}

/// Returns a repair with its appointments whose ids are above `after`, at most `limit`.
pub(crate) async fn show(
    context: &AppContext,
    id: i64,
    (after, limit): (i64, u64),
) -> Result<RepairDetails, AppError> {
    let repair = find_repair(context, id).await?;
    let items = store::repair_items(context.connection(), id, None, after, limit);
    Ok(RepairDetails { repair, items: context.with_deadline(items).await? })
}
