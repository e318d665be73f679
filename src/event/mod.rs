//! Decodes bytes and headers into a [`BookingEvent`], or explains why they are not one; does no I/O.

mod ids;
mod host;
mod zone;
mod booking;
mod decode;
mod shapes;

use crate::runtime::string_values;

pub use booking::{Booking, BookingEvent, BookingLinks, EventKind, EventOrder, EventTime, Shape, TimeNote};
pub use booking::{FormNote, OddForm};
pub use decode::{Decoded, Envelope, Hints, Ignored, Malformed, MalformedKind};
pub use decode::{EVENT_TYPES, EventType, IGNORED_TRIGGERS, TYPE_HEADER};
pub use host::{Host, HostMissing, HostSource, normal_email};
pub use ids::{AppointmentId, BookingRef, CompanyId, EventId, HostId, MAX_TEXT, StaffId};
pub use shapes::{ENCODING_HEADER, MAX_BOOKINGS, carried_context, decode, is_header_read};
pub use zone::LocalZone;

string_values!(Shape, HostSource, HostMissing);
