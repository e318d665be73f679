//! Pure: what is a booking event? Bytes and headers become a [`BookingEvent`], or an answer why not.

mod ids;
mod host;
mod booking;
mod decode;
mod shapes;
mod carried;

pub use booking::{Booking, BookingEvent, EventKind, EventOrder, EventTime, Shape};
pub use carried::carried_context;
pub use decode::{Decoded, Hints, Ignored, Malformed, MalformedKind, decode};
pub use decode::{EVENT_TYPES, EventType};
pub use decode::{Envelope, TYPE_HEADER};
pub use host::{Host, HostMissing, HostSource, normal_email};
pub use ids::{AppointmentId, BookingRef, CompanyId, EventId, HostId, MAX_TEXT, StaffId};
pub use shapes::MAX_BOOKINGS;
