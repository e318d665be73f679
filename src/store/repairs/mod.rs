//! Repairs: after a person's decision the waiting appointments of a host get their member of staff,
//! in parts, and may be given back. One row for each repair, with its appointments frozen in items.
//!
//! An item is `pending` until its appointment is assigned (`done`) or found not to wait any more (`left`,
//! with a reason), in the transaction that does it. Undoing makes of one that is `done` an `undone` one,
//! or leaves it (`kept`, with a reason) when somebody else has touched it since.

mod items;
mod read;

use serde::{Deserialize, Serialize};
use strum::{AsRefStr, Display, EnumString, IntoStaticStr, VariantArray};

use crate::event::{AppointmentId, CompanyId, HostId, StaffId};
use crate::matching::{
    Assignment, Confidence, Evidence, HostKey, MappingRef, Outcome, Review, Stored, words,
};

pub use items::{
    Mark, begin_repair, free_appointments, lock_host, lock_hosts, mark_items, repair_items, set_repair_state,
    start_undoing, still_there,
};
pub use read::{RepairFilter, Waiting, repair, repair_item_counts, repairs, waiting_of};

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

impl RepairState {
    /// One that this build does not know is none that it can go on with.
    fn of(stored: &Stored<Self>) -> Self {
        stored.known().unwrap_or(Self::Stopped)
    }
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

impl ItemState {
    /// One that this build does not know is none that it can give back.
    fn of(stored: &Stored<Self>) -> Self {
        stored.known().unwrap_or(Self::Left)
    }
}

/// A repair to be begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRepair {
    /// Company and host.
    pub key: HostKey,
    /// Who gets the appointments.
    pub staff: StaffId,
    /// Which appointments.
    pub scope: RepairScope,
    /// Who, such as `cli:anna@office-3`.
    pub made_by: String,
    /// Why, in words of theirs.
    pub why: Option<String>,
    /// When, ms since 1970.
    pub created_ms: i64,
}

/// A repair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepairRow {
    /// The row's id, growing.
    pub id: i64,
    /// Company and host.
    pub key: HostKey,
    /// Who gets the appointments.
    pub staff: StaffId,
    /// Which appointments.
    pub scope: Stored<RepairScope>,
    /// Where it stands.
    pub state: RepairState,
    /// How many appointments.
    pub total: i64,
    /// Who.
    pub made_by: String,
    /// Why.
    pub why: Option<String>,
    /// When it was begun, ms since 1970.
    pub created_ms: i64,
    /// When each had its result, ms since 1970.
    pub ended_ms: Option<i64>,
    /// Who took it back.
    pub undone_by: Option<String>,
    /// Why.
    pub undone_why: Option<String>,
    /// When, ms since 1970.
    pub undone_ms: Option<i64>,
}

impl RepairRow {
    /// The company.
    pub fn company(&self) -> CompanyId {
        self.key.company
    }

    /// The Cal.com user.
    pub fn host(&self) -> HostId {
        self.key.host
    }
}

/// One appointment of a repair.
#[derive(Clone, Debug, PartialEq)]
pub struct RepairItem {
    /// Which.
    pub appointment: AppointmentId,
    /// When it starts, ms since 1970.
    pub starts_ms: Option<i64>,
    /// Where it stands.
    pub state: ItemState,
    /// Why it was left or kept: a code.
    pub reason: Option<String>,
    /// What our row said before.
    pub prior: Option<Prior>,
    /// When it was assigned, ms since 1970.
    pub decided_ms: Option<i64>,
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
