//! An appointment's newest event once more, from what is remembered of it.

use super::changes::Assignment;
use crate::event::{
    Booking, BookingEvent, Decoded, Envelope, EventKind, Host, HostId, HostSource, Shape, decode,
};

impl Assignment {
    /// The newest event that named a host; `None` when none did. While the booking is kept
    /// (`retention.payloads`) it has the whole host, afterwards its id and address.
    pub fn newest_event(&self) -> Option<BookingEvent> {
        let newest = self.newest.as_ref()?;
        let known = || {
            let email = newest.host_email.clone();
            let host = Host { id: newest.host_id.and_then(HostId::new), email, ..Host::default() };
            host.is_usable().then_some((host, HostSource::Hosts))
        };
        let kept = self.payload.as_deref().and_then(kept);
        let (host, raw) = match kept {
            Some(booking) => (booking.host.or_else(known), booking.raw),
            None => (known(), None),
        };
        let booking = Booking {
            uid: self.booking.clone(),
            id: None,
            replaces: None,
            host,
            host_missing: None,
            is_off: false,
            time: newest.time,
            starts_ms: self.starts_ms,
            raw,
        };
        Some(BookingEvent {
            id: newest.event.clone(),
            // Not kept, and of no consequence.
            event_type: String::new(),
            kind: EventKind::Assigns,
            shape: Shape::Native,
            content: Shape::Native,
            company: None,
            appointment: Some(self.appointment),
            bookings: vec![booking],
        })
    }
}

fn kept(payload: &str) -> Option<Booking> {
    // As the gateway would publish it.
    let body = format!(r#"{{"event":"appointment.created","calcom_booking":{payload}}}"#);
    match decode(&Envelope::new(body.as_bytes(), 0)) {
        Ok(Decoded::Event(event)) => event.bookings.into_iter().next(),
        _ => None,
    }
}
