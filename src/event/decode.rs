//! The input and output of decoding: a message with its properties, the known event types, and the result.

use std::collections::BTreeMap;

use super::booking::{BookingEvent, EventKind, Shape};
use super::ids::{BookingRef, CompanyId, EventId};
use super::zone::LocalZone;

/// A decoded message.
#[derive(Clone, Debug, PartialEq)]
pub enum Decoded {
    /// A booking event that the worker decides.
    Event(Box<BookingEvent>),
    /// A well-formed message with nothing to decide: it is acknowledged and counted.
    Ignored(Ignored),
}

/// A well-formed message with nothing to act on (PING, meetings, forms, unknown triggers,
/// Retell events without a booking).
#[derive(Clone, Debug, PartialEq)]
pub struct Ignored {
    /// Identifies repeats of the event.
    pub id: EventId,
    /// The type as sent.
    pub event_type: String,
    /// The shape in which the message arrived.
    pub shape: Shape,
}

/// The reason why a message cannot be decoded: a permanent failure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}{}", pointer_suffix(.pointer))]
pub struct Malformed {
    /// The reason code for the dead letter.
    pub kind: MalformedKind,
    /// A JSON pointer (RFC 6901) to the error; empty for the whole document.
    pub pointer: String,
    /// What is wrong and what is expected. It never contains personal data from the message.
    pub message: String,
    /// The values that could still be decoded, for the record.
    pub hints: Box<Hints>,
}

/// The values of a malformed message that could be decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    /// The event's id, by the same rules as for a well-formed event.
    pub id: Option<EventId>,
    /// The event's type.
    pub event_type: Option<String>,
    /// The booking's reference.
    pub booking: Option<BookingRef>,
    /// The tenant that the event names.
    pub company: Option<CompanyId>,
    /// The shape in which the event arrived, if it was recognised.
    pub shape: Option<Shape>,
}

/// The closed list of reasons why a message is malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MalformedKind {
    /// Not JSON, not UTF-8, or JSON that is not an object of a shape we know.
    Malformed,
    /// The event contains a booking, but its type is unknown.
    UnknownEventType,
    /// The booking has neither `uid` nor `id`, and no `appointment_id` identifies the appointment.
    NoBooking,
}

fn pointer_suffix(pointer: &str) -> String {
    if pointer.is_empty() { String::new() } else { format!(" (at {pointer})") }
}

/// The input of the decoder. Start with [`Envelope::new`] and add the properties of the message.
///
/// Header names are as sent; values are strings.
#[derive(Clone, Copy, Debug)]
pub struct Envelope<'a> {
    /// The bytes.
    pub body: &'a [u8],
    /// The headers by their exact names.
    pub headers: &'a BTreeMap<String, String>,
    /// The AMQP routing key.
    pub routing_key: &'a str,
    /// The AMQP property `type`.
    pub message_type: Option<&'a str>,
    /// The AMQP property `message_id`.
    pub message_id: Option<&'a str>,
    /// The AMQP property `correlation_id`.
    pub correlation_id: Option<&'a str>,
    /// The AMQP property `timestamp`, in ms since 1970 (UTC).
    pub timestamp_ms: Option<i64>,
    /// When the message was first received, in ms since 1970 (UTC): from the header `x-hostmatch-first-seen`,
    /// otherwise now. Retries and dead letters keep this time.
    pub first_seen_ms: i64,
    /// The zone of times without a zone.
    pub zone: &'a LocalZone,
}

impl<'a> Envelope<'a> {
    /// Creates an envelope for bytes without properties, first received at this time (ms since 1970, UTC), whose
    /// times without a zone are in UTC.
    pub fn new(body: &'a [u8], first_seen_ms: i64) -> Self {
        static UTC: LocalZone = LocalZone::UTC;
        static NO_HEADERS: BTreeMap<String, String> = BTreeMap::new();
        Self {
            body,
            headers: &NO_HEADERS,
            routing_key: "",
            message_type: None,
            message_id: None,
            correlation_id: None,
            timestamp_ms: None,
            first_seen_ms,
            zone: &UTC,
        }
    }
}

/// Our own header that keeps the type of an event across retries, dead letters and replays.
pub const TYPE_HEADER: &str = "x-hostmatch-type";

/// One event type that hostmatch acts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventType {
    /// The name in messages and routing keys, which is compared exactly.
    pub name: &'static str,
    /// The source of the name: the gateway (its own event) or Cal.com (its webhooks).
    pub named_by: Shape,
    /// What an event of this type may do.
    pub kind: EventKind,
    /// The occasion on which it is sent, for the documentation.
    pub when: &'static str,
}

/// All event types, in the order of the documentation.
pub const EVENT_TYPES: [EventType; 12] = {
    use EventKind::{Assigns, Records};
    use Shape::{Calcom, Native};
    [
        event_type("appointment.created", Native, Assigns, "the gateway booked an appointment"),
        event_type("appointment.updated", Native, Assigns, "the gateway changed an appointment"),
        event_type("appointment.rescheduled", Native, Assigns, "the gateway moved an appointment"),
        event_type("appointment.cancelled", Native, Records, "the gateway cancelled an appointment"),
        event_type(
            "BOOKING_CREATED",
            Calcom,
            Assigns,
            "a booking was made or confirmed, or a seat in it was taken",
        ),
        event_type("BOOKING_REQUESTED", Calcom, Assigns, "a booking was made and waits for confirmation"),
        event_type("BOOKING_RESCHEDULED", Calcom, Assigns, "a booking was replaced by one at another time"),
        event_type("BOOKING_PAID", Calcom, Assigns, "a booking was paid for"),
        event_type("BOOKING_REASSIGNED", Calcom, Assigns, "a booking was reassigned to another host"),
        event_type("INSTANT_MEETING_ACCEPTED", Calcom, Assigns, "a host accepted an instant meeting"),
        event_type("BOOKING_CANCELLED", Calcom, Records, "a booking, or one seat of it, was cancelled"),
        event_type("BOOKING_REJECTED", Calcom, Records, "a requested booking was declined"),
    ]
};

const fn event_type(name: &'static str, named_by: Shape, kind: EventKind, when: &'static str) -> EventType {
    EventType { name, named_by, kind, when }
}

/// The other triggers of Cal.com that are known. They change no host of a booking, and are ignored like triggers
/// that are not known yet.
pub const IGNORED_TRIGGERS: [&str; 22] = [
    "PING",
    "BOOKING_PAYMENT_INITIATED",
    "BOOKING_NO_SHOW_UPDATED",
    "BOOKING_LOCATION_UPDATED",
    "MEETING_STARTED",
    "MEETING_ENDED",
    "INSTANT_MEETING",
    "RECORDING_READY",
    "RECORDING_TRANSCRIPTION_GENERATED",
    "AFTER_HOSTS_CAL_VIDEO_NO_SHOW",
    "AFTER_GUESTS_CAL_VIDEO_NO_SHOW",
    "CALENDAR_ENTRY_REJECTED",
    "FORM_SUBMITTED",
    "FORM_SUBMITTED_NO_EVENT",
    "ROUTING_FORM_FALLBACK_HIT",
    "OOO_CREATED",
    "SCHEDULE_UPDATED",
    "WRONG_ASSIGNMENT_REPORT",
    "DELEGATION_CREDENTIAL_ERROR",
    "DELEGATION_CREDENTIAL_ROTATION_REQUIRED",
    "DELEGATION_CREDENTIAL_SECRET_ROTATED",
    "DELEGATION_CREDENTIAL_SECRET_ROTATION_FAILED",
];

/// Returns the event type with this name, if it is known.
pub(super) fn known_type(name: &str) -> Option<&'static EventType> {
    EVENT_TYPES.iter().find(|known| known.name == name)
}
