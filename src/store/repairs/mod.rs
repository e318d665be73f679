//! Repairs: after a person's decision the waiting appointments of a host get their member of staff,
//! in parts, and may be given back. One row for each repair, with its appointments frozen in items.
//!
//! An item is `pending` until its appointment is assigned (`done`) or found not to wait any more (`left`,
//! with a reason), in the transaction that does it. Undoing makes of one that is `done` an `undone` one,
//! or leaves it (`kept`, with a reason) when somebody else has touched it since.

mod items;
mod read;

use sea_orm::DerivePartialModel;
use serde::{Deserialize, Serialize};
use strum::{AsRefStr, Display, EnumString, IntoStaticStr, VariantArray};

use super::entity::{repair, repair_item};
use crate::event::{AppointmentId, CompanyId, HostId, StaffId};
use crate::matching::{
    Actor, Assignment, Confidence, Evidence, HostKey, MappingRef, Outcome, Review, Stored, words,
};
use crate::runtime::clock::as_rfc3339;

pub use items::lock_hosts;
pub(crate) use items::{
    begin_repair, free_appointments, mark_items, repair_items, set_repair_state, start_undoing, still_there,
};
pub use read::{RepairFilter, Tally, Waiting, repairs};
pub(crate) use read::{repair, tallies, waiting_of};

words!(RepairScope, RepairState, ItemState);

/// Which of the waiting appointments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[derive(AsRefStr, Display, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum RepairScope {
    /// Those that have not begun.
    Future,
    /// All of them.
    All,
}

/// Where a repair stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[derive(AsRefStr, Display, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum RepairState {
    /// Some appointments are still to be assigned: a process does it, or has died, or they were locked.
    Running,
    /// Each has its result.
    Done,
    /// The host is somebody else's by now: the rest was left.
    Stopped,
    /// Some are still to be given back.
    Undoing,
    /// Taken back.
    Undone,
}

/// Where one appointment of a repair stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[derive(AsRefStr, Display, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum ItemState {
    /// To be assigned.
    Pending,
    /// Assigned.
    Done,
    /// It did not wait any more, or not for this.
    Left,
    /// Given back.
    Undone,
    /// Not given back: somebody else has touched it since.
    Kept,
}

/// A repair, as it is kept and shown: `docs/commands.md` describes its JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, DerivePartialModel)]
#[sea_orm(entity = "repair::Entity")]
#[expect(missing_docs, reason = "most fields are columns")]
pub struct RepairRow {
    pub id: i64,
    #[sea_orm(from_col = "company_id")]
    pub company: CompanyId,
    #[sea_orm(from_col = "host_id")]
    pub host: HostId,
    /// Who gets the appointments.
    #[sea_orm(from_col = "staff_id")]
    pub staff: StaffId,
    /// Their name; not read with the row.
    #[sea_orm(skip)]
    pub staff_name: Option<String>,
    pub scope: Stored<RepairScope>,
    pub state: Stored<RepairState>,
    /// How many appointments.
    #[sea_orm(from_col = "total")]
    pub appointments: i32,
    /// How many of them stand where; not read with the row.
    #[sea_orm(skip)]
    pub counts: Tally,
    pub made_by: Actor,
    /// Why.
    pub why: Option<String>,
    /// When it was begun, ms since 1970.
    #[sea_orm(from_col = "created_ms")]
    #[serde(serialize_with = "as_rfc3339")]
    pub created: i64,
    /// When each had its result, ms since 1970.
    #[sea_orm(from_col = "ended_ms")]
    #[serde(serialize_with = "as_rfc3339")]
    pub ended: Option<i64>,
    /// Who took it back.
    pub undone_by: Option<Actor>,
    /// Why.
    pub undone_why: Option<String>,
    /// When, ms since 1970.
    #[sea_orm(from_col = "undone_ms")]
    #[serde(serialize_with = "as_rfc3339")]
    pub undone: Option<i64>,
}

impl RepairRow {
    /// Company and host.
    pub fn key(&self) -> HostKey {
        HostKey::new(self.company, self.host)
    }
}

/// One appointment of a repair, as it is kept and shown.
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
    /// What our row said before: a [`Prior`] as JSON.
    #[serde(skip)]
    pub(crate) prior: Option<String>,
    /// When it was assigned, ms since 1970.
    #[serde(skip)]
    pub(crate) decided_ms: Option<i64>,
}

impl RepairItem {
    /// It stands there from now on, for this reason.
    pub(crate) fn becomes(&mut self, state: ItemState, reason: Option<&str>) {
        (self.state, self.reason) = (state.into(), reason.map(str::to_owned));
    }
}

/// What our row of an appointment said before it was assigned: all that assigning changes.
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
    /// The newest event with a host, which is to be the same when it is restored.
    event: Option<String>,
}

impl Prior {
    /// Of an appointment that waits.
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

    /// The row as it was; `None` when a newer event has been decided since.
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
