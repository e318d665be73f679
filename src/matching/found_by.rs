//! By which reference an appointment was found.

use serde::Serialize;
use strum::{AsRefStr, Display, EnumString, IntoStaticStr, VariantArray};

use super::values::string_values;
use crate::event::{Booking, BookingRef};

string_values!(FoundBy);

/// The reference by which an appointment was found, in the order in which they are tried: in the gateway's columns, or
/// recorded, because an earlier event led it to the appointment.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, AsRefStr, Display, EnumString, IntoStaticStr, VariantArray, Serialize,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum FoundBy {
    /// The event names the appointment.
    AppointmentId,
    /// The booking's `uid`.
    Uid,
    /// The booking's `uid`, recorded.
    RecordedUid,
    /// The booking's `id`.
    Id,
    /// The booking's `id`, recorded.
    RecordedId,
    /// The `uid` of the booking that it replaced.
    RescheduleUid,
    /// The `uid` of the booking that it replaced, recorded.
    RecordedRescheduleUid,
    /// The `id` of the booking that it replaced.
    RescheduleId,
    /// The `id` of the booking that it replaced, recorded.
    RecordedRescheduleId,
    /// The first booking of its chain of reschedules.
    RootBookingUid,
    /// The first booking of its chain of reschedules, recorded.
    RecordedRootBookingUid,
}

impl FoundBy {
    /// Returns the same reference, recorded. An appointment is never recorded by its own id.
    pub(crate) fn recorded(self) -> Self {
        match self {
            Self::AppointmentId => self,
            Self::Uid | Self::RecordedUid => Self::RecordedUid,
            Self::Id | Self::RecordedId => Self::RecordedId,
            Self::RescheduleUid | Self::RecordedRescheduleUid => Self::RecordedRescheduleUid,
            Self::RescheduleId | Self::RecordedRescheduleId => Self::RecordedRescheduleId,
            Self::RootBookingUid | Self::RecordedRootBookingUid => Self::RecordedRootBookingUid,
        }
    }

    /// Describes the reference.
    pub(crate) fn description(self) -> &'static str {
        match self {
            Self::AppointmentId => "appointment_id",
            Self::Uid => "the booking's uid",
            Self::RecordedUid => "the booking's uid, as an earlier event named it",
            Self::Id => "the booking's id",
            Self::RecordedId => "the booking's id, as an earlier event named it",
            Self::RescheduleUid => "the uid of the booking that it replaced",
            Self::RecordedRescheduleUid => {
                "the uid of the booking that it replaced, as an earlier event named it"
            }
            Self::RescheduleId => "the id of the booking that it replaced",
            Self::RecordedRescheduleId => {
                "the id of the booking that it replaced, as an earlier event named it"
            }
            Self::RootBookingUid => "the first booking of its chain (rootBookingUid)",
            Self::RecordedRootBookingUid => {
                "the first booking of its chain (rootBookingUid), as an earlier event named it"
            }
        }
    }

    /// Returns the references of a booking by which its appointment is searched for, in three groups: its own, those
    /// of the booking that it replaced, and the first one of its chain.
    pub(crate) fn references<'b>(booking: &'b Booking) -> [Vec<(Self, &'b BookingRef)>; 3] {
        let is_other = |reference: &BookingRef| booking.own().all(|own| own != reference);
        let named =
            |by, reference: &'b Option<BookingRef>| reference.as_ref().map(|reference| (by, reference));
        let own = [named(Self::Uid, &booking.uid), named(Self::Id, &booking.id)];
        let links = &booking.links;
        let replaced =
            [named(Self::RescheduleUid, &booking.replaces), named(Self::RescheduleId, &links.replaces_id)];
        let replaced = replaced.into_iter().flatten().filter(|(_, reference)| is_other(reference));
        let root = named(Self::RootBookingUid, &links.root).filter(|(_, reference)| is_other(reference));
        [own.into_iter().flatten().collect(), replaced.collect(), root.into_iter().collect()]
    }
}
