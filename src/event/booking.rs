//! A booking event as the rest of the program uses it, independent of the shape in which it arrived.

use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantArray};

use super::host::{Host, HostMissing, HostSource};
use super::ids::{AppointmentId, BookingRef, CompanyId, EventId};

/// One message about one booking, or about several (a recurring one).
#[derive(Clone, Debug, PartialEq)]
pub struct BookingEvent {
    /// Identifies repeats of the event.
    pub id: EventId,
    /// The event's type as sent, for example `appointment.created` or `BOOKING_CREATED`.
    pub event_type: String,
    /// What an event of this type may do.
    pub kind: EventKind,
    /// The shape in which the event arrived.
    pub shape: Shape,
    /// The shape of the event without a wrapper: [`Shape::Native`] or [`Shape::Calcom`].
    pub content: Shape,
    /// The tenant that the event names, if any. The appointment's own company is authoritative.
    pub company: Option<CompanyId>,
    /// The appointment that the event names, if any; then no other reference is used to find it.
    pub appointment: Option<AppointmentId>,
    /// At least one booking; exactly one if `appointment` is set.
    pub bookings: Vec<Booking>,
    /// The values that were read although they have another form than expected, or that count as absent.
    pub form_notes: Vec<FormNote>,
}

/// A value that has another form than its place in the event expects. It was read, or counts as absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormNote {
    /// The JSON pointer to the value; empty for the whole event.
    pub pointer: String,
    /// Its form.
    pub form: OddForm,
}

/// The unexpected forms that are read or count as absent. PHP writes most of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OddForm {
    /// A string with the JSON of the value.
    Text,
    /// An object with numbered keys, in place of a list.
    Numbered,
    /// One host, in place of a list of them.
    Single,
    /// A list of one, in place of an object.
    ListOfOne,
    /// `false`, a blank string or an empty list, in place of an absent object.
    Nothing,
    /// A blank string.
    Blank,
    /// A value that the field cannot hold.
    Unreadable,
    /// Half of a surrogate pair in a key or in a field that is read.
    HalfCharacter,
    /// The hosts to whom a booking was reassigned, without the organizer.
    OtherHosts,
}

impl std::fmt::Display for FormNote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let place = if self.pointer.is_empty() { "the event" } else { &self.pointer };
        write!(f, "{place} is {}", self.form.description())
    }
}

impl OddForm {
    /// Describes the form, and how it was read.
    pub fn description(self) -> &'static str {
        match self {
            Self::Text => "a string that contains JSON (encoded twice): read as the JSON",
            Self::Numbered => {
                "an object with numbered keys instead of a list: read in the order of the numbers"
            }
            Self::Single => "one host instead of a list: read as a list of one",
            Self::ListOfOne => "a list of one instead of an object: read as its only item",
            Self::Nothing => "false, blank or an empty list instead of an object: read as absent",
            Self::Blank => "a blank string: read as absent",
            Self::Unreadable => "not what this field holds: read as absent",
            Self::HalfCharacter => {
                "JSON with half of a character (a surrogate such as \\ud83d without the other one): read as U+FFFD"
            }
            Self::OtherHosts => {
                "a list of other hosts than the organizer, who is a fixed host and stays the primary host"
            }
        }
    }
}

/// What an event may do, by its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// Created, requested, rescheduled, paid, reassigned, updated: may assign staff.
    Assigns,
    /// Cancelled and rejected: recorded, but staff is never changed.
    Records,
}

/// The shapes in which events arrive, in the order in which they are checked. The first three wrap one of the
/// others. Their stored names are at most 16 bytes long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Shape {
    /// A CloudEvents message that is one JSON document (structured mode).
    #[strum(serialize = "cloudevents")]
    CloudEvents,
    /// A CloudEvents message whose attributes are headers (binary mode).
    #[strum(serialize = "cloudevents_bin")]
    CloudEventsBinary,
    /// A Laravel queue payload: a string job.
    Laravel,
    /// Cal.com's own webhook.
    Calcom,
    /// The gateway's own event.
    Native,
}

impl Shape {
    /// Describes how the shape is recognised, and where it contains the event; used in the documentation.
    pub fn description(self) -> [&'static str; 2] {
        let binary = "a header `cloudEvents:specversion`, `cloudEvents_specversion` or `ce-specversion`";
        match self {
            Self::CloudEvents => ["`specversion` in the body", "`data`, or `data_base64`"],
            Self::CloudEventsBinary => [binary, "the body"],
            Self::Laravel => ["a string `job`, a key `data`", "`data`, which may be a CloudEvents message"],
            Self::Calcom => ["`triggerEvent`", "`payload`, or next to `triggerEvent`"],
            Self::Native => ["everything else", "the body"],
        }
    }
}

/// The Cal.com booking inside an event.
#[derive(Clone, Debug, PartialEq)]
pub struct Booking {
    /// Its `uid`, or `bookingUid`.
    pub uid: Option<BookingRef>,
    /// Its `id`, as text (sent as a number or a string).
    pub id: Option<BookingRef>,
    /// The booking that this one replaced (`rescheduledFromUid`, `rescheduleUid`).
    pub replaces: Option<BookingRef>,
    /// Other bookings that it names.
    pub links: BookingLinks,
    /// The primary host and where it was found; `None` if there is no usable host.
    pub host: Option<(Host, HostSource)>,
    /// The reason why there is no host, or no host with an id.
    pub host_missing: Option<HostMissing>,
    /// The JSON pointer to the value that may be the missing host. `None` if there is a host, or no such value.
    pub host_missing_at: Option<String>,
    /// Whether the booking's own status is cancelled or rejected. No staff is then assigned, whatever the
    /// event's type.
    pub is_cancelled: bool,
    /// The time of this state, which decides which of two events is newer.
    pub time: EventTime,
    /// What is unusual about the time that the event gives.
    pub time_note: Option<TimeNote>,
    /// When the booked meeting starts, in ms since 1970 (UTC).
    pub starts_ms: Option<i64>,
    /// The JSON text of the booking as received, for the record. `None` when it did not arrive in a message.
    pub raw: Option<String>,
}

/// The other bookings that a booking names, besides [`Booking::replaces`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BookingLinks {
    /// The numeric id of the booking that this one replaced (`rescheduleId`).
    pub replaces_id: Option<BookingRef>,
    /// The booking that replaced this one (`rescheduledToUid`).
    pub replaced_by: Option<BookingRef>,
    /// The first booking of a chain of reschedules (`rootBookingUid`).
    pub root: Option<BookingRef>,
    /// Whether the event is about one seat (`seatUid`, `seatReferenceUid`, `attendeeSeatId`): when one guest
    /// moves, the booking of the others goes on.
    pub names_seat: bool,
}

impl Booking {
    /// Returns the reference to show and store for this booking: the `uid`, otherwise the `id`, otherwise that
    /// of a booking that it replaced.
    pub fn reference(&self) -> Option<&BookingRef> {
        self.own().chain(self.replaced()).chain(self.first_of_chain()).next()
    }

    /// Returns why there is no host and, if there is a value that may be one, where it is in the event: for example
    /// `malformed at /calcom_booking/hosts/0`. `None` if there is a host with an id.
    pub fn describe_missing_host(&self) -> Option<String> {
        let why = self.host_missing?.as_str();
        Some(self.host_missing_at.as_ref().map_or(why.to_owned(), |at| format!("{why} at {at}")))
    }

    /// Returns the booking's own references.
    pub fn own(&self) -> impl Iterator<Item = &BookingRef> {
        self.uid.iter().chain(&self.id)
    }

    /// Returns the references of the booking that this one replaced, except its own.
    pub fn replaced(&self) -> impl Iterator<Item = &BookingRef> {
        let old = self.replaces.iter().chain(&self.links.replaces_id);
        old.filter(|one| self.own().all(|own| own != *one))
    }

    /// Returns the first booking of its chain of reschedules, if that is another one.
    pub fn first_of_chain(&self) -> Option<&BookingRef> {
        self.links.root.as_ref().filter(|root| self.own().all(|own| own != *root))
    }
}

/// The time by which events about one appointment are ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EventTime {
    /// ms since 1970 (UTC).
    pub ms: i64,
    /// Whether the event has no timestamp of its own, so that `ms` is the time at which it was published or
    /// first received.
    pub is_inferred: bool,
}

impl EventTime {
    /// The most by which an event's own time may lie ahead of its receipt, in ms: more than clocks differ.
    pub(crate) const MAX_AHEAD_MS: i64 = 86_400_000;
}

/// What is unusual about the time that an event gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeNote {
    /// It names no zone, and was read in the local one.
    Local,
    /// It lies more than a day ahead of the event's receipt, and does not count.
    Future,
}

/// The position of an event among those of one appointment: a later one is greater. At equal times an event
/// with its own timestamp wins over one with an inferred time; then the larger id wins, in byte order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventOrder(i64, bool, EventId);

impl EventOrder {
    /// Returns the position of the event `id` with this time.
    pub fn new(time: EventTime, id: &EventId) -> Self {
        Self(time.ms, !time.is_inferred, id.clone())
    }
}
