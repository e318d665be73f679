//! What became of an event: the closed lists of outcomes and of reason codes.

use serde::{Deserialize, Serialize};
use strum::{AsRefStr, Display, EnumMessage, EnumString, IntoStaticStr, VariantArray};

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
#[derive(AsRefStr, Display, EnumMessage, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
#[expect(missing_docs, reason = "the messages say when it is the outcome, as the documentation has it")]
pub enum Outcome {
    #[strum(
        message = "only suggestions, several candidates, a mapping that a person switched off, or several \
                       appointments: a person decides"
    )]
    NeedsReview,
    #[strum(message = "nobody was found")]
    Unmatched,
    #[strum(message = "the booking names no usable host; the appointment stays as it is")]
    NoHost,
    #[strum(message = "somebody else set (or cleared) `staff_id`; that stays")]
    Kept,
    #[strum(message = "a newer event had been decided already; this one still teaches its mapping")]
    Stale,
    #[strum(
        message = "it would have got its member of staff, but `worker.mode` is `observe`: nothing was written"
    )]
    WouldAssign,
    #[strum(message = "the appointment got its member of staff")]
    Assigned,
    #[strum(message = "it had the very person already")]
    Unchanged,
    #[strum(message = "cancelled or rejected: noted, staff untouched")]
    Recorded,
    #[strum(message = "well-formed, and nothing to act on")]
    Ignored,
}

impl Outcome {
    /// When this is the outcome.
    pub fn meaning(self) -> &'static str {
        self.get_message().unwrap_or_default()
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
#[derive(AsRefStr, Display, EnumMessage, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
#[expect(missing_docs, reason = "the messages say when it is the reason, and what a person can do about it")]
pub enum Reason {
    #[strum(message = "the message cannot be read; the error names the place")]
    #[strum(detailed_message = "correct what the sender makes, and send it again")]
    Malformed,
    #[strum(message = "it carries a booking, and a type that is not known")]
    #[strum(detailed_message = "send it again under a known type")]
    UnknownEventType,
    #[strum(message = "neither `uid` nor `id` nor `appointment_id` says which appointment it is about")]
    #[strum(detailed_message = "send it again with the booking's `uid` or `id`, or with `appointment_id`")]
    NoBooking,
    #[strum(message = "the event names another company than the appointment's")]
    #[strum(
        detailed_message = "find out which is right, the event's `company_id` or the appointment's, and send \
                                it again"
    )]
    TenantMismatch,
    #[strum(message = "the appointment belongs to no company, so that nobody can be matched")]
    #[strum(detailed_message = "set `appointments.company_id`, and send it again")]
    NoCompany,
    #[strum(message = "no appointment has this booking, to the end of the retry schedule")]
    #[strum(detailed_message = "see whether the gateway has the appointment, with this reference in \
                                `appointments.calcom_v2_booking_id`; then send it again")]
    AppointmentNotFound,
    #[strum(message = "the database refused this event's rows, to the end of the retry schedule")]
    #[strum(detailed_message = "correct what the error names, and send it again")]
    Refused,
    #[strum(message = "handling it made the program fail")]
    #[strum(detailed_message = "a fault of hostmatch: report it with the worker's log")]
    Poison,
    #[strum(message = "the broker handed it out up to the delivery limit without an answer")]
    #[strum(
        detailed_message = "see in the worker's log why it crashed or lost its connection each time; then \
                                send it again"
    )]
    DeliveryLimit,
}

impl Reason {
    /// When this is the reason.
    pub fn meaning(self) -> &'static str {
        self.get_message().unwrap_or_default()
    }

    /// What a person can do about it.
    pub fn remedy(self) -> &'static str {
        self.get_detailed_message().unwrap_or_default()
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
