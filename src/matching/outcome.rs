//! What became of an event: the closed lists of outcomes and of reason codes.

use serde::{Deserialize, Serialize};

use crate::event::MalformedKind;

/// What was decided on a booking. All of them end with the delivery acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The appointment got its member of staff.
    Assigned,
    /// It would have got one, but the worker only observes.
    WouldAssign,
    /// It had the very person already.
    Unchanged,
    /// Somebody else decided (set or cleared `staff_id`); that stands.
    Kept,
    /// A newer event had been decided already.
    Stale,
    /// A person has to decide: suggestions, ambiguity, something switched off, several appointments.
    NeedsReview,
    /// Nobody was found.
    Unmatched,
    /// The booking names no usable host.
    NoHost,
    /// Cancelled or rejected: noted, staff untouched.
    Recorded,
    /// Nothing that we act on.
    Ignored,
}

impl Outcome {
    /// All of them, from the one that matters most to the one that matters least: an event about
    /// several bookings takes the first that occurs.
    pub const ALL: [Self; 10] = [
        Self::NeedsReview,
        Self::Unmatched,
        Self::NoHost,
        Self::Kept,
        Self::Stale,
        Self::WouldAssign,
        Self::Assigned,
        Self::Unchanged,
        Self::Recorded,
        Self::Ignored,
    ];

    /// The name under which it is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Assigned => "assigned",
            Self::WouldAssign => "would_assign",
            Self::Unchanged => "unchanged",
            Self::Kept => "kept",
            Self::Stale => "stale",
            Self::NeedsReview => "needs_review",
            Self::Unmatched => "unmatched",
            Self::NoHost => "no_host",
            Self::Recorded => "recorded",
            Self::Ignored => "ignored",
        }
    }

    /// When this is the outcome, as the documentation has it.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Assigned => "the appointment got its member of staff",
            Self::WouldAssign => {
                "it would have got its member of staff, but `worker.mode` is `observe`: nothing was written"
            }
            Self::Unchanged => "it had the very person already",
            Self::Kept => "somebody else set (or cleared) `staff_id`; that stays",
            Self::Stale => "a newer event had been decided already; this one still teaches its mapping",
            Self::NeedsReview => {
                "only suggestions, several candidates, a mapping that a person switched off, or several \
                 appointments: a person decides"
            }
            Self::Unmatched => "nobody was found",
            Self::NoHost => "the booking names no usable host; the appointment stays as it is",
            Self::Recorded => "cancelled or rejected: noted, staff untouched",
            Self::Ignored => "well-formed, and nothing to act on",
        }
    }

    /// The outcome of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == name)
    }

    /// The more important of two (see [`Outcome::ALL`]).
    pub fn worse(self, other: Self) -> Self {
        Self::ALL.into_iter().find(|outcome| *outcome == self || *outcome == other).unwrap_or(self)
    }

    /// Whether an appointment without staff in this state is decided again when its host becomes known.
    pub fn waits(self) -> bool {
        matches!(self, Self::NeedsReview | Self::Unmatched)
    }
}

/// Why a delivery is tried again or dead-lettered: the closed list of reason codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The message cannot be read.
    Malformed,
    /// It carries a booking, and a type that we do not know.
    UnknownEventType,
    /// Neither `uid` nor `id` nor `appointment_id` says which appointment.
    NoBooking,
    /// The event names another company than the appointment's.
    TenantMismatch,
    /// The appointment belongs to no company: nobody can be matched.
    NoCompany,
    /// No appointment has this booking (yet): tried again by the schedule first.
    AppointmentNotFound,
    /// The database refuses this very event's rows: tried again by the schedule first.
    Refused,
    /// Handling it made the program fail.
    Poison,
    /// The broker handed it out too often without an answer.
    DeliveryLimit,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Malformed,
        Self::UnknownEventType,
        Self::NoBooking,
        Self::TenantMismatch,
        Self::NoCompany,
        Self::AppointmentNotFound,
        Self::Refused,
        Self::Poison,
        Self::DeliveryLimit,
    ];

    /// The reason of this code.
    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == code)
    }

    /// When this is the reason, as the documentation has it.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Malformed => "the message cannot be read; the error names the place",
            Self::UnknownEventType => "it carries a booking, and a type that is not known",
            Self::NoBooking => {
                "neither `uid` nor `id` nor `appointment_id` says which appointment it is about"
            }
            Self::TenantMismatch => "the event names another company than the appointment's",
            Self::NoCompany => "the appointment belongs to no company, so that nobody can be matched",
            Self::AppointmentNotFound => "no appointment has this booking, to the end of the retry schedule",
            Self::Refused => "the database refused this event's rows, to the end of the retry schedule",
            Self::Poison => "handling it made the program fail",
            Self::DeliveryLimit => "the broker handed it out up to the delivery limit without an answer",
        }
    }

    /// What a person can do about it.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Malformed => "correct what the sender makes, and send it again",
            Self::UnknownEventType => "send it again under a known type",
            Self::NoBooking => "send it again with the booking's `uid` or `id`, or with `appointment_id`",
            Self::TenantMismatch => {
                "find out which is right, the event's `company_id` or the appointment's, and send it again"
            }
            Self::NoCompany => "set `appointments.company_id`, and send it again",
            Self::AppointmentNotFound => {
                "see whether the gateway has the appointment, with this reference in \
                 `appointments.calcom_v2_booking_id`; then send it again"
            }
            Self::Refused => "correct what the error names, and send it again",
            Self::Poison => "a fault of hostmatch: report it with the worker's log",
            Self::DeliveryLimit => {
                "see in the worker's log why it crashed or lost its connection each time; then send it again"
            }
        }
    }

    /// The code under which it is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::UnknownEventType => "unknown_event_type",
            Self::NoBooking => "no_booking",
            Self::TenantMismatch => "tenant_mismatch",
            Self::NoCompany => "no_company",
            Self::AppointmentNotFound => "appointment_not_found",
            Self::Refused => "refused",
            Self::Poison => "poison",
            Self::DeliveryLimit => "delivery_limit",
        }
    }
}

impl From<MalformedKind> for Reason {
    fn from(kind: MalformedKind) -> Self {
        match kind {
            MalformedKind::Malformed => Self::Malformed,
            MalformedKind::UnknownEventType => Self::UnknownEventType,
            MalformedKind::NoBooking => Self::NoBooking,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_complete_and_names_are_unique() {
        for outcome in Outcome::ALL {
            assert_eq!(Outcome::parse(outcome.as_str()), Some(outcome));
            assert_eq!(serde_json::to_value(outcome).unwrap(), outcome.as_str());
        }
        for reason in Reason::ALL {
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
            assert_eq!(Reason::parse(reason.as_str()), Some(reason));
        }
        assert_eq!(Outcome::Unchanged.worse(Outcome::Assigned), Outcome::Assigned);
        assert_eq!(Outcome::Unmatched.worse(Outcome::Assigned), Outcome::Unmatched);
    }
}
