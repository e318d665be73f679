//! The closed lists of outcomes and of reason codes of an event.

use serde::{Deserialize, Serialize};
use strum::{AsRefStr, Display, EnumMessage, EnumString, IntoStaticStr, VariantArray};

use super::values::string_values;
use crate::event::MalformedKind;

/// The recorded outcome of an event that became a dead letter and so was not decided.
pub const DEAD_LETTER: &str = "dead_letter";

/// Returns every outcome with which an event can be recorded: all [`Outcome`]s, and [`DEAD_LETTER`].
pub fn recorded_outcomes() -> impl Iterator<Item = &'static str> {
    Outcome::VARIANTS.iter().copied().map(Outcome::as_str).chain([DEAD_LETTER])
}

string_values!(Outcome, Reason);

/// The decision on a booking, from the most important to the least: an event about several bookings gets the
/// first that occurs. The delivery is acknowledged with any outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[derive(AsRefStr, Display, EnumMessage, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
#[expect(missing_docs, reason = "the messages say when it is the outcome, as in the documentation")]
pub enum Outcome {
    #[strum(
        message = "only suggestions, several candidates, a mapping that a person switched off, or several \
                       appointments: a person decides"
    )]
    NeedsReview,
    #[strum(message = "nobody was found")]
    Unmatched,
    #[strum(message = "the booking has no usable host; the appointment stays as it is")]
    NoHost,
    #[strum(message = "a person or another program set (or cleared) `staff_id`; it stays unchanged")]
    Kept,
    #[strum(
        message = "a newer event, or one of the booking that replaced this one, has already been decided; this one can still create a mapping"
    )]
    Stale,
    #[strum(message = "staff would have been assigned, but `worker.mode` is `observe`: nothing was written")]
    WouldAssign,
    #[strum(message = "the member of staff was assigned")]
    Assigned,
    #[strum(message = "the appointment already had this member of staff")]
    Unchanged,
    #[strum(message = "cancelled or rejected: recorded, staff unchanged")]
    Recorded,
    #[strum(message = "well-formed, but nothing to act on")]
    Ignored,
}

impl Outcome {
    /// Returns the condition for this outcome.
    pub fn meaning(self) -> &'static str {
        self.get_message().unwrap_or_default()
    }

    /// Returns the more important of two outcomes.
    pub fn more_important(self, other: Self) -> Self {
        self.min(other)
    }

    /// Returns whether an appointment without staff and with this outcome is decided again when its host
    /// gets a mapping.
    pub fn waits(self) -> bool {
        matches!(self, Self::NeedsReview | Self::Unmatched)
    }

    /// Returns whether the booking has the member of staff that was found.
    pub fn is_assigned(self) -> bool {
        matches!(self, Self::Assigned | Self::Unchanged)
    }

    /// Returns whether no member of staff was found who can be accepted without a decision by a person.
    pub fn found_nobody(self) -> bool {
        matches!(self, Self::NeedsReview | Self::Unmatched | Self::NoHost)
    }

    /// Returns whether the event should assign staff. False if a person, another program or a newer event had
    /// decided, or if nothing had to be done.
    pub fn should_assign(self) -> bool {
        self.is_assigned() || self.found_nobody() || self == Self::WouldAssign
    }

    /// Returns the outcomes with which an appointment waits for a mapping.
    pub fn waiting() -> impl Iterator<Item = Self> {
        Self::VARIANTS.iter().copied().filter(|outcome| outcome.waits())
    }
}

/// The closed list of reason codes for retried and dead-lettered deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[derive(AsRefStr, Display, EnumMessage, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
#[expect(missing_docs, reason = "the messages say when it is the reason, and what a person can do about it")]
pub enum Reason {
    #[strum(message = "the message cannot be read; the error says where")]
    #[strum(detailed_message = "correct the message, and send the event again")]
    Malformed,
    #[strum(message = "the event contains a booking, but its type is unknown")]
    #[strum(detailed_message = "send the event again with a known type")]
    UnknownEventType,
    #[strum(message = "the booking has no `uid`, `id` or `appointment_id` to identify its appointment")]
    #[strum(
        detailed_message = "send the event again with the booking's `uid` or `id`, or with `appointment_id`"
    )]
    NoBooking,
    #[strum(message = "the event's company is not the appointment's")]
    #[strum(
        detailed_message = "correct the event's `company_id` or the appointment's, whichever is wrong, and send \
                                the event again"
    )]
    TenantMismatch,
    #[strum(message = "the appointment belongs to no company, so nobody can be matched")]
    #[strum(detailed_message = "set `appointments.company_id`, and send the event again")]
    NoCompany,
    #[strum(message = "no appointment has this booking, even after all retries")]
    #[strum(detailed_message = "check whether the gateway has the appointment, with this reference in \
                                `appointments.calcom_v2_booking_id`; then send the event again")]
    AppointmentNotFound,
    #[strum(message = "the database refused this event's rows, even after all retries")]
    #[strum(detailed_message = "correct the cause that the error gives, and send the event again")]
    Refused,
    #[strum(message = "hostmatch failed while processing the event")]
    #[strum(detailed_message = "a bug in hostmatch: report it with the worker's log")]
    Poison,
    #[strum(message = "the message reached the broker's delivery limit without being settled")]
    #[strum(
        detailed_message = "the worker's log says why it crashed or lost its connection each time; correct \
                                the cause, and send the event again"
    )]
    DeliveryLimit,
    #[strum(message = "nothing proves why the message is a dead letter: an earlier version, another \
                       `queue.header_key` or another program put it into the dead-letter queue")]
    #[strum(
        detailed_message = "check the event, and replay it; if this happens again, give each edge, worker and \
                                command the same `queue.header_key_file`"
    )]
    Unverified,
}

impl Reason {
    /// Returns the condition for this reason.
    pub fn meaning(self) -> &'static str {
        self.get_message().unwrap_or_default()
    }

    /// Returns the remedy: what a person can do about the problem.
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
    fn the_more_important_of_two_outcomes_wins() {
        assert_eq!(Outcome::Unchanged.more_important(Outcome::Assigned), Outcome::Assigned);
        assert_eq!(Outcome::Unmatched.more_important(Outcome::Assigned), Outcome::Unmatched);
        assert!(Outcome::waiting().eq([Outcome::NeedsReview, Outcome::Unmatched]));
    }
}
