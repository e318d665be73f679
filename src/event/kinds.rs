//! The closed list of event types that hostmatch acts on, and what each may do.
//!
//! What is not in it is ignored when it comes from Cal.com or carries no booking, and refused as
//! an unknown event type when it is the gateway's own and does carry one.

use super::booking::{EventKind, Shape};

/// One event type that hostmatch acts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventType {
    /// The name, as it stands in messages and routing keys. Compared exactly.
    pub name: &'static str,
    /// Who names it so: the gateway (its own event) or Cal.com (its webhooks).
    pub named_by: Shape,
    /// What an event of this type may do.
    pub kind: EventKind,
    /// When it is sent, in a few words for the documentation.
    pub when: &'static str,
}

/// All of them, in the order in which the documentation lists them.
pub const EVENT_TYPES: [EventType; 11] = {
    use EventKind::{Assigns, Records};
    use Shape::{Calcom, Native};
    [
        of("appointment.created", Native, Assigns, "the gateway booked an appointment"),
        of("appointment.updated", Native, Assigns, "the gateway changed an appointment"),
        of("appointment.rescheduled", Native, Assigns, "the gateway moved an appointment"),
        of("appointment.cancelled", Native, Records, "the gateway cancelled an appointment"),
        of("BOOKING_CREATED", Calcom, Assigns, "a booking was made or confirmed, or a seat of it taken"),
        of("BOOKING_REQUESTED", Calcom, Assigns, "a booking was made and waits for confirmation"),
        of("BOOKING_RESCHEDULED", Calcom, Assigns, "a booking was replaced by one at another time"),
        of("BOOKING_PAID", Calcom, Assigns, "a booking was paid for"),
        of("BOOKING_REASSIGNED", Calcom, Assigns, "a booking was given to another host"),
        of("BOOKING_CANCELLED", Calcom, Records, "a booking, or one seat of it, was cancelled"),
        of("BOOKING_REJECTED", Calcom, Records, "a requested booking was declined"),
    ]
};

const fn of(name: &'static str, named_by: Shape, kind: EventKind, when: &'static str) -> EventType {
    EventType { name, named_by, kind, when }
}

/// The entry of this name, if it is one that we know.
pub(super) fn find(name: &str) -> Option<&'static EventType> {
    EVENT_TYPES.iter().find(|known| known.name == name)
}
