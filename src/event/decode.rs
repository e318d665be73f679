//! From bytes to a typed event: which shape is it, and what does it say?

use super::booking::{BookingEvent, Shape};
use super::envelope::Envelope;
use super::ids::{BookingRef, CompanyId, EventId};

/// What a message turned out to be.
#[derive(Clone, Debug, PartialEq)]
pub enum Decoded {
    /// A booking event that the worker acts on.
    Event(Box<BookingEvent>),
    /// Well-formed, and nothing that we act on: acknowledged and counted.
    Ignored(Ignored),
}

/// A well-formed message that carries nothing to act on (PING, meetings, forms, unknown triggers,
/// Retell events without a booking).
#[derive(Clone, Debug, PartialEq)]
pub struct Ignored {
    /// By which repeats are told.
    pub id: EventId,
    /// The type as it was named.
    pub event_type: String,
    /// The shape that it came in.
    pub shape: Shape,
}

/// Why a message cannot be read. It will never be better: a permanent failure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}{}", pointer_suffix(.pointer))]
pub struct Malformed {
    /// The reason code for the dead letter.
    pub kind: MalformedKind,
    /// A JSON pointer (RFC 6901) to the offending place; empty for the whole document.
    pub pointer: String,
    /// What is wrong and what is expected. Never contains personal data from the message.
    pub message: String,
    /// What could be read all the same, for the record.
    pub hints: Box<Hints>,
}

/// What could be read of a message that is malformed as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    /// The event's id, by the same rules as for a good one.
    pub id: Option<EventId>,
    /// The event's type.
    pub event_type: Option<String>,
    /// The booking's reference.
    pub booking: Option<BookingRef>,
    /// The tenant that it names.
    pub company: Option<CompanyId>,
    /// The shape that it came in, if that could be told.
    pub shape: Option<Shape>,
}

/// The closed list of reasons why a message is malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MalformedKind {
    /// Not JSON, not UTF-8, or JSON that is not an object of a shape we know.
    Malformed,
    /// It carries a booking, and a type that we do not know.
    UnknownEventType,
    /// Its booking has neither `uid` nor `id`, and no `appointment_id` says which appointment.
    NoBooking,
}

fn pointer_suffix(pointer: &str) -> String {
    if pointer.is_empty() { String::new() } else { format!(" (at {pointer})") }
}

/// Reads one message.
///
/// # Errors
/// [`Malformed`] for everything that is not a booking event of a known shape. Never panics,
/// whatever the bytes.
pub fn decode(envelope: &Envelope<'_>) -> Result<Decoded, Malformed> {
    super::shapes::decode(envelope)
}
