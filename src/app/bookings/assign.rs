//! Gives appointments a member of staff by hand, all of them or none, and undoes that.
//!
//! Our record of the decision stays as it is, so that the appointment counts as one that a person assigned: events
//! do not change it (unless `appointments.overwrite` is `always`).

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::DatabaseTransaction;
use sea_orm::prelude::TextUuid;
use serde::Serialize;
use uuid::Uuid;

use super::super::carry_out::{fit_column, transact_with_retries};
use super::super::context::names;
use super::super::ruling::check_staff;
use super::super::{AppContext, AppError, Refusal};
use crate::event::{AppointmentId, CompanyId, StaffId};
use crate::matching::{Appointment, AppointmentWrite, ChangeSet};
use crate::runtime::clock::now_ms;
use crate::store::{self, ManualAssignment, StaffFact, StoreError};

/// The result or preview of an assignment by hand. `docs/commands.md` describes its JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the other names are clear")]
pub struct AssignmentView {
    /// The id with which it can be undone. `None` for a preview, or if nothing was to change.
    pub assignment: Option<i64>,
    pub company: CompanyId,
    pub staff: StaffId,
    pub staff_name: Option<String>,
    /// The appointments that get the member of staff.
    pub appointments: Vec<AssignedBooking>,
    /// The appointments that have this member of staff already.
    pub unchanged: Vec<AppointmentId>,
}

/// An appointment that gets a member of staff.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the names are clear")]
pub struct AssignedBooking {
    pub appointment: AppointmentId,
    pub staff_before: Option<StaffId>,
    pub staff_before_name: Option<String>,
}

/// The result of undoing an assignment by hand. `docs/commands.md` describes its JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UndoneAssignment {
    /// The id of the assignment.
    pub assignment: i64,
    /// The appointments that have their previous member of staff again, or none.
    pub appointments: Vec<AppointmentId>,
    /// The appointments that somebody has changed since; they stay.
    pub left: Vec<AppointmentId>,
}

/// Previews an assignment by hand. Fails if an appointment does not exist in the caller's scope, if they belong to
/// several companies, or if the member of staff is not an active one of that company.
pub async fn preview_assign(
    context: &AppContext,
    ids: &BTreeSet<AppointmentId>,
    staff: &StaffId,
) -> Result<AssignmentView, AppError> {
    let (db, schema) = (context.connection(), &context.schema);
    let found = context.with_deadline(store::read_appointments(db, schema, ids)).await?;
    if let Some(id) = ids.iter().find(|id| !is_visible(context, found.get(id))) {
        return Err(context.not_found(format_args!("appointment {id}")));
    }
    let companies: BTreeSet<CompanyId> = found.values().map(|one| one.company).collect();
    let company = match companies.first() {
        Some(company) if companies.len() == 1 => *company,
        _ => {
            let text = "the appointments belong to several companies: assign those of one company at a time";
            return Err(AppError::Invalid(text.to_owned()));
        }
    };
    let named = BTreeSet::from([staff.clone()]);
    let mut facts = context.with_deadline(store::staff_facts(db, schema, &named)).await?;
    let staff: StaffFact = facts.remove(staff).ok_or_else(|| Refusal::NoStaff(staff.clone()))?;
    check_staff(&staff, company)?;
    let names = names(context, found.values().filter_map(|one| one.staff.clone())).await?;
    let (unchanged, changed): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|(_, one)| one.staff.as_ref() == Some(&staff.id));
    let assigned = |(appointment, before): (AppointmentId, Appointment)| AssignedBooking {
        appointment,
        staff_before_name: before.staff.as_ref().and_then(|staff| names.name(staff)),
        staff_before: before.staff,
    };
    Ok(AssignmentView {
        assignment: None,
        company,
        staff: staff.id,
        staff_name: Some(staff.name).filter(|name| !name.is_empty()),
        appointments: changed.into_iter().map(assigned).collect(),
        unchanged: unchanged.into_iter().map(|(id, _)| id).collect(),
    })
}

fn is_visible(context: &AppContext, appointment: Option<&Appointment>) -> bool {
    appointment.is_some_and(|one| context.scope.contains(one.company))
}

/// Carries out a previewed assignment. Fails if one of the appointments has been changed since the preview.
pub async fn assign(
    context: &AppContext,
    view: AssignmentView,
    why: Option<&str>,
) -> Result<AssignmentView, AppError> {
    if view.appointments.is_empty() {
        return Ok(view);
    }
    let why = why.map(fit_column);
    let batch = TextUuid(Uuid::new_v4());
    let written = transact_with_retries(&context.database, async |tx: &DatabaseTransaction| {
        write(tx, context, &view, (batch, why.as_deref())).await
    });
    match written.await? {
        Some(id) => Ok(AssignmentView { assignment: Some(id), ..view }),
        None => Err(AppError::NotAllowed(
            "somebody else has changed one of the appointments in the meantime: look at them, and assign again"
                .to_owned(),
        )),
    }
}

/// Returns `None` if an appointment is no longer as in the preview.
async fn write(
    tx: &DatabaseTransaction,
    context: &AppContext,
    view: &AssignmentView,
    (batch, why): (TextUuid, Option<&str>),
) -> Result<Option<i64>, StoreError> {
    let ids = view.appointments.iter().map(|one| one.appointment).collect();
    let locked = lock(tx, context, &ids).await?;
    let mut changes = ChangeSet::default();
    let mut rows = Vec::new();
    for one in &view.appointments {
        let Some(now) = locked.get(&one.appointment) else { return Ok(None) };
        if now.staff != one.staff_before || now.company != view.company {
            return Ok(None);
        }
        let staff = Some(view.staff.clone());
        changes.appointments.push(AppointmentWrite { id: one.appointment, staff, host_id: now.host_id });
        rows.push(ManualAssignment { appointment: one.appointment, from: one.staff_before.clone() });
    }
    store::commit(tx, &context.schema, &changes).await?;
    let command = (batch, view.company, &view.staff);
    let by = (context.author.actor(), why, now_ms());
    Ok(Some(store::insert_manual_assignments(tx, &context.schema, command, &rows, by).await?))
}

/// Locks these appointments, as far as they exist. Fails with a conflict if another session has locked one.
async fn lock(
    tx: &DatabaseTransaction,
    context: &AppContext,
    ids: &BTreeSet<AppointmentId>,
) -> Result<BTreeMap<AppointmentId, Appointment>, StoreError> {
    let locked = store::lock_appointments(tx, &context.schema, ids).await?;
    let missing = ids.iter().copied().filter(|id| !locked.contains_key(id)).collect();
    if let Some(id) = store::existing_appointments(tx, &missing).await?.first() {
        return Err(StoreError::Conflict(format!("appointment {id} is locked by another session")));
    }
    Ok(locked)
}

/// Undoes an assignment by hand for each appointment that still has the member of staff of that assignment. Fails if
/// it was undone before.
pub async fn undo(context: &AppContext, id: i64, why: Option<&str>) -> Result<UndoneAssignment, AppError> {
    let batch = store::manual_batch(context.connection(), &context.scope, id);
    let rows = context.with_deadline(batch).await?;
    let first = rows.first().ok_or_else(|| context.not_found(format_args!("assignment {id}")))?;
    let why = why.map(fit_column);
    let undone = transact_with_retries(&context.database, async |tx: &DatabaseTransaction| {
        let ids = rows.iter().map(|row| row.appointment_id).collect();
        let locked = lock(tx, context, &ids).await?;
        let by = (context.author.actor(), why.as_deref());
        if store::record_manual_undone(tx, first.batch, by, now_ms()).await? == 0 {
            return Ok(None);
        }
        let mut undone = UndoneAssignment { assignment: id, appointments: Vec::new(), left: Vec::new() };
        let mut changes = ChangeSet::default();
        for row in &rows {
            let now = locked.get(&row.appointment_id);
            let unchanged = now
                .filter(|now| now.staff.as_ref() == Some(&row.to_staff_id) && now.company == row.company_id);
            let Some(now) = unchanged else {
                undone.left.push(row.appointment_id);
                continue;
            };
            undone.appointments.push(row.appointment_id);
            let (staff, host_id) = (row.from_staff_id.clone(), now.host_id);
            changes.appointments.push(AppointmentWrite { id: row.appointment_id, staff, host_id });
        }
        store::commit(tx, &context.schema, &changes).await?;
        Ok(Some(undone))
    });
    let already_undone = || AppError::NotAllowed(format!("assignment {id} has already been undone"));
    undone.await?.ok_or_else(already_undone)
}
