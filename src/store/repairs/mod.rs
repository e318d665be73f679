//! Reads and writes repairs: after a person has mapped a host, its waiting appointments get their member of
//! staff, in batches; a repair can be undone. There is one row per repair, and one item for each of the
//! appointments that waited when it started.
//!
//! An item is `pending` until its appointment is assigned (`done`) or no longer waits (`left`, with a
//! reason); the state is set in the transaction that assigns it. Undoing turns `done` items into `undone`
//! ones, or `kept` ones (with a reason) if the appointment has been changed since.

mod items;
mod read;

use sea_orm::DerivePartialModel;
use serde::{Deserialize, Serialize};
use strum::{AsRefStr, Display, EnumString, IntoStaticStr, VariantArray};

use super::entity::{repair, repair_item};
use crate::event::{AppointmentId, CompanyId, HostId, StaffId};
use crate::matching::{
    Actor, Assignment, Confidence, Evidence, HostKey, MappingRef, Outcome, Review, Stored, string_values,
};
use crate::runtime::clock::as_rfc3339;

pub use items::lock_hosts;
pub(crate) use items::{
    begin_repair, existing_appointments, lock_appointments, mark_items, repair_items, set_repair_state,
    start_undoing,
};
pub use read::{RepairFilter, Tally, Waiting, repairs};
pub(crate) use read::{repair, repairs_of, tallies, waiting_of};

string_values!(RepairScope, RepairState, ItemState);

/// Which of the waiting appointments are assigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[derive(AsRefStr, Display, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum RepairScope {
    /// Those that start in the future.
    Future,
    /// All of them.
    All,
}

/// The state of a repair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[derive(AsRefStr, Display, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum RepairState {
    /// Some appointments are still to be assigned: a process is assigning them, or it died, or another
    /// session had locked them.
    Running,
    /// Each appointment has its result.
    Done,
    /// The host is now mapped to another member of staff: the remaining appointments were left as they are.
    Stopped,
    /// Some appointments are still to be restored.
    Undoing,
    /// It was undone.
    Undone,
}

/// The state of one appointment of a repair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[derive(AsRefStr, Display, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum ItemState {
    /// To be assigned.
    Pending,
    /// Assigned.
    Done,
    /// Not assigned: it no longer waited for this host.
    Left,
    /// Restored.
    Undone,
    /// Not restored: it has been changed since.
    Kept,
}

/// A repair, as stored and shown: `docs/commands.md` describes its JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, DerivePartialModel)]
#[sea_orm(entity = "repair::Entity")]
#[expect(missing_docs, reason = "most fields are columns")]
pub struct RepairRow {
    pub id: i64,
    #[sea_orm(from_col = "company_id")]
    pub company: CompanyId,
    #[sea_orm(from_col = "host_id")]
    pub host: HostId,
    /// The member of staff who gets the appointments.
    #[sea_orm(from_col = "staff_id")]
    pub staff: StaffId,
    /// The name of that member of staff; not read with the row.
    #[sea_orm(skip)]
    pub staff_name: Option<String>,
    pub scope: Stored<RepairScope>,
    pub state: Stored<RepairState>,
    /// The number of its appointments.
    #[sea_orm(from_col = "total")]
    pub appointments: i32,
    /// The number of them in each state; not read with the row.
    #[sea_orm(skip)]
    pub counts: Tally,
    pub made_by: Actor,
    /// The reason.
    pub why: Option<String>,
    /// When it was started, in ms since 1970.
    #[sea_orm(from_col = "created_ms")]
    #[serde(serialize_with = "as_rfc3339")]
    pub created: i64,
    /// When every appointment had its result, in ms since 1970.
    #[sea_orm(from_col = "ended_ms")]
    #[serde(serialize_with = "as_rfc3339")]
    pub ended: Option<i64>,
    /// Who undid it.
    pub undone_by: Option<Actor>,
    /// Why it was undone.
    pub undone_why: Option<String>,
    /// When it was undone, in ms since 1970.
    #[sea_orm(from_col = "undone_ms")]
    #[serde(serialize_with = "as_rfc3339")]
    pub undone: Option<i64>,
}

impl RepairRow {
    /// Returns the company and host.
    pub fn key(&self) -> HostKey {
        HostKey::new(self.company, self.host)
    }
}

/// One appointment of a repair, as stored and shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, DerivePartialModel)]
#[sea_orm(entity = "repair_item::Entity")]
pub struct RepairItem {
    #[sea_orm(from_col = "appointment_id")]
    pub(crate) appointment: AppointmentId,
    /// When it starts, ms since 1970.
    #[sea_orm(from_col = "starts_ms")]
    #[serde(serialize_with = "as_rfc3339")]
    pub(crate) starts: Option<i64>,
    pub(crate) state: Stored<ItemState>,
    pub(crate) reason: Option<String>,
    /// Our row before the repair: a [`Prior`] as JSON.
    #[serde(skip)]
    pub(crate) prior: Option<String>,
    /// When it was assigned, ms since 1970.
    #[serde(skip)]
    pub(crate) decided_ms: Option<i64>,
}

impl RepairItem {
    /// Sets the state and the reason.
    pub(crate) fn set_state(&mut self, state: ItemState, reason: Option<&str>) {
        (self.state, self.reason) = (state.into(), reason.map(str::to_owned));
    }
}

/// Our row of an appointment before it was assigned: everything that assigning changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prior {
    #[serde(default)]
    found: Option<StaffId>,
    mapping: Option<i64>,
    strategy: Option<String>,
    confidence: Option<Confidence>,
    evidence: Option<Evidence>,
    outcome: Outcome,
    review: Option<Review>,
    decided_ms: i64,
    /// The newest event with a host; the row is restored only if this is still the same.
    event: Option<String>,
}

impl Prior {
    /// Saves the row of a waiting appointment.
    pub fn of(assignment: &Assignment) -> Self {
        Self {
            found: assignment.found.clone(),
            mapping: assignment.mapping.and_then(|mapping| match mapping {
                MappingRef::Row(row) => Some(row),
                MappingRef::New(_) => None,
            }),
            strategy: assignment.strategy.clone(),
            confidence: assignment.confidence,
            evidence: assignment.evidence.clone(),
            outcome: assignment.outcome,
            review: assignment.review,
            decided_ms: assignment.decided_ms,
            event: event_of(assignment),
        }
    }

    /// Returns the row as it was; `None` if a newer event has been decided since.
    pub fn restore(&self, now: &Assignment) -> Option<Assignment> {
        (event_of(now) == self.event).then(|| Assignment {
            staff: None,
            found: self.found.clone(),
            mapping: self.mapping.map(MappingRef::Row),
            strategy: self.strategy.clone(),
            confidence: self.confidence,
            evidence: self.evidence.clone(),
            outcome: self.outcome,
            review: self.review,
            decided_ms: self.decided_ms,
            ..now.clone()
        })
    }
}

fn event_of(assignment: &Assignment) -> Option<String> {
    assignment.newest.as_ref().map(|newest| newest.event.as_str().to_owned())
}
