//! What may be done next, as a value: the command line names a command, the web UI shows a button.

use crate::event::StaffId;
use crate::matching::HostKey;

/// What may be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NextAction {
    /// Take the one suggestion for this host.
    AcceptSuggestion(HostKey),
    /// Take one of several suggestions for this host: one of these.
    ChooseSuggestion(HostKey, Vec<StaffId>),
    /// Say who this host is.
    AssignHost(HostKey),
    /// Say who this host is, of whom no booking was decided yet.
    MapUnseenHost(HostKey),
    /// Make a plan of dead letters.
    MakePlan,
    /// Begin this plan.
    BeginPlan(i64),
    /// Go on with this replay.
    ResumeReplay(i64),
    /// Plan the dead letters of this group, when their cause is gone.
    PlanGroup(String),
    /// See this dead letter.
    ShowLetter(i64),
    /// Open this discarded dead letter again.
    RestoreLetter(i64),
    /// Replay this dead letter.
    ReplayLetter(i64),
    /// See how the booking of this dead letter is matched.
    ExplainLetter(i64),
    /// See how the booking with this reference is matched.
    ExplainBooking(String),
    /// Give the booking itself.
    GiveBooking,
    /// Give the booking itself, and its company.
    GiveBookingOfCompany,
}
