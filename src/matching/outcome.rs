//! What became of an event: the closed lists of outcomes and of reason codes.

use serde::{Deserialize, Serialize};
use strum::{AsRefStr, Display, EnumString, IntoStaticStr, VariantArray};

use super::values::words;
use crate::event::MalformedKind;

/// The outcome of an event that became a dead letter, as it is recorded: nothing was decided on it.
pub const DEAD_LETTER: &str = "dead_letter";

/// Every outcome that an event is recorded with: what can be decided, and [`DEAD_LETTER`].
pub fn recorded_outcomes() -> impl Iterator<Item = &'static str> {
    Outcome::VARIANTS.iter().copied().map(Outcome::as_str).chain([DEAD_LETTER])
}

words!(Outcome, Reason);

/// What was decided on a booking, from what matters most to what matters least: an event about several
/// bookings takes the first that occurs. All of them end with the delivery acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[derive(AsRefStr, Display, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Outcome {
    /// A person has to decide: suggestions, ambiguity, something switched off, several appointments.
    NeedsReview,
    /// Nobody was found.
    Unmatched,
    /// The booking names no usable host.
    NoHost,
    /// Somebody else decided (set or cleared `staff_id`); that stands.
    Kept,
    /// A newer event had been decided already.
    Stale,
    /// It would have got its member of staff, but the worker only observes.
    WouldAssign,
    /// The appointment got its member of staff.
    Assigned,
    /// It had the very person already.
    Unchanged,
    /// Cancelled or rejected: noted, staff untouched.
    Recorded,
    /// Nothing that we act on.
    Ignored,
}

impl Outcome {
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

    /// The more important of two.
    pub fn worse(self, other: Self) -> Self {
        self.min(other)
    }

    /// Whether an appointment without staff in this state is decided again when its host becomes known.
    pub fn waits(self) -> bool {
        matches!(self, Self::NeedsReview | Self::Unmatched)
    }

    /// Whether the booking has the member of staff that was found.
    pub fn is_assigned(self) -> bool {
        matches!(self, Self::Assigned | Self::Unchanged)
    }

    /// Whether nobody was found who could be taken without a person.
    pub fn found_nobody(self) -> bool {
        matches!(self, Self::NeedsReview | Self::Unmatched | Self::NoHost)
    }

    /// Whether the event was to give a booking its staff. Where somebody else had decided, or a newer event, or
    /// nothing was to be done, it was not.
    pub fn is_to_assign(self) -> bool {
        self.is_assigned() || self.found_nobody() || self == Self::WouldAssign
    }

    /// Those that wait.
    pub fn waiting() -> impl Iterator<Item = Self> {
        Self::VARIANTS.iter().copied().filter(|outcome| outcome.waits())
    }
}

/// Why a delivery is tried again or dead-lettered: the closed list of reason codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[derive(AsRefStr, Display, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
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
    fn the_more_important_of_two_outcomes_is_taken() {
        assert_eq!(Outcome::Unchanged.worse(Outcome::Assigned), Outcome::Assigned);
        assert_eq!(Outcome::Unmatched.worse(Outcome::Assigned), Outcome::Unmatched);
        assert!(Outcome::waiting().eq([Outcome::NeedsReview, Outcome::Unmatched]));
    }
}
