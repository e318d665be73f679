//! What an explanation says: the JSON of `match --output json`.

use serde::Serialize;

use crate::app::NextAction;
use crate::event::{AppointmentId, BookingRef, CompanyId, Host, StaffId};
use crate::matching::{Resolution, Step};

/// What is said about one host or booking. `docs/commands.md` describes it: its JSON is a contract.
#[derive(Debug, Default, Serialize)]
pub struct ExplanationView {
    /// The event's type; none for a host alone, and for what is remembered.
    pub event_type: Option<String>,
    /// The booking's reference.
    pub booking: Option<BookingRef>,
    /// The tenant in which was looked; none when nothing says it.
    pub company: Option<CompanyId>,
    /// The host; none when there is no usable one.
    pub host: Option<Host>,
    /// Where in the event it was found.
    pub host_source: Option<&'static str>,
    /// What each strategy said, highest priority first.
    pub steps: Vec<Step>,
    /// What the chain decided.
    pub decision: Option<Resolution>,
    /// What would become of the appointment and of the delivery; none for a host alone.
    pub effect: Option<EffectView>,
    /// What a person can do. The front end adds how, from `action`.
    #[serde(skip)]
    pub advice: String,
    /// The same as an action, and whom it would be about, where that is clear.
    #[serde(skip)]
    pub action: Option<(NextAction, Option<StaffId>)>,
}

/// What would follow if the event came now.
#[derive(Debug, Default, Serialize)]
pub struct EffectView {
    /// The appointment; none when there is none, or several.
    pub appointment: Option<AppointmentId>,
    /// What would become of the delivery.
    pub delivery: Delivery,
    /// The outcome of a delivery that is done.
    pub outcome: Option<&'static str>,
    /// A code that says more: of a review, of a retry, of a dead letter.
    pub reason: Option<&'static str>,
    /// The same in words, where there are some.
    pub why: Option<String>,
    /// Whose doing the present `staff_id` is.
    pub held_by: Option<&'static str>,
    /// The appointment's columns as they are.
    pub before: Option<Columns>,
    /// The appointment's columns as they would be.
    pub after: Option<Columns>,
    /// What would be done to mappings.
    pub mappings: Vec<MappingChangeView>,
    /// Other appointments that wait for this host and would be decided with it.
    pub also_decided: usize,
}

/// What would become of a delivery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// It is acknowledged.
    #[default]
    Done,
    /// It is tried again.
    Retry,
    /// It is kept for a person.
    DeadLetter,
}

/// What we write of an appointment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Columns {
    /// `staff_id`
    pub staff_id: Option<StaffId>,
    /// `calcom_host_id`
    pub calcom_host_id: Option<i64>,
}

/// One change of a mapping.
#[derive(Clone, Debug, Serialize)]
pub struct MappingChangeView {
    /// `made`, `switched_on`, `switched_off`.
    pub(crate) change: &'static str,
    pub(crate) staff: StaffId,
}
