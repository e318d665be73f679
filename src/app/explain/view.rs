//! The view of an explanation: the JSON of `match --output json`.

use std::borrow::Cow;

use serde::Serialize;

use crate::app::NextAction;
use crate::event::{AppointmentId, BookingRef, CompanyId, Host, StaffId};
use crate::matching::{FoundBy, Resolution, Step};

/// The explanation of one host or booking. `docs/commands.md` describes it: its JSON is a contract.
#[derive(Debug, Default, Serialize)]
pub struct ExplanationView {
    /// The event's type. `None` for a host alone, and for an appointment's newest event.
    pub event_type: Option<String>,
    /// The booking's reference.
    pub booking: Option<BookingRef>,
    /// The company in which the host was matched. `None` if the company is unknown.
    pub company: Option<CompanyId>,
    /// The host. `None` if there is no usable one.
    pub host: Option<Host>,
    /// The place in the event where the host was found.
    pub host_source: Option<&'static str>,
    /// Values of the event in an unusual form.
    pub notes: Vec<String>,
    /// What each strategy found, highest priority first.
    pub steps: Vec<Step>,
    /// What the chain decided.
    pub decision: Option<Resolution>,
    /// The effect on the appointment and the delivery. `None` for a host alone.
    pub effect: Option<EffectView>,
    /// What a person can do. The front end adds the command for `action`.
    #[serde(skip)]
    pub advice: String,
    /// The advice as an action, and the member of staff if there is only one candidate.
    #[serde(skip)]
    pub action: Option<(NextAction, Option<StaffId>)>,
}

/// The effect of the event if it arrived now.
#[derive(Debug, Default, Serialize)]
pub struct EffectView {
    /// The appointment. `None` if there is none, or several.
    pub appointment: Option<AppointmentId>,
    /// The reference by which the appointment was found.
    pub found_by: Option<FoundBy>,
    /// What would happen to the delivery.
    pub delivery: Delivery,
    /// The outcome of a delivery that is done.
    pub outcome: Option<&'static str>,
    /// The reason code of a review, a retry or a dead letter.
    pub reason: Option<Cow<'static, str>>,
    /// The error of a dead letter.
    pub why: Option<String>,
    /// Who set the present `staff_id`.
    pub held_by: Option<&'static str>,
    /// The appointment's columns before the event.
    pub before: Option<Columns>,
    /// The appointment's columns after the event.
    pub after: Option<Columns>,
    /// The changes of mappings.
    pub mappings: Vec<MappingChangeView>,
    /// The number of other appointments that wait for this host and would be decided with it.
    pub also_decided: usize,
}

/// What would happen to a delivery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// The delivery is acknowledged.
    #[default]
    Done,
    /// The delivery is retried.
    Retry,
    /// The delivery becomes a dead letter, for a person to decide.
    DeadLetter,
}

/// The columns of an appointment that hostmatch writes.
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
