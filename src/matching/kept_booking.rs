//! The booking that is stored with an assignment: as received, or in short form if it is large.

use serde_json::json;

use crate::event::{Booking, BookingEvent, BookingRef, Decoded, Envelope, decode};

/// The largest booking that is stored as received, in bytes. Real ones have a few KiB.
pub(crate) const MAX_KEPT_BOOKING: usize = 256 * 1024;

/// The key that marks the short form. Its value has the size of the booking as received, in bytes.
const CUT: &str = "hostmatch_cut";

/// The key of the booking in the event as which it is decoded.
const WRAPPER: &str = "calcom_booking";

/// Returns the JSON text to store for this booking: as received if it has at most [`MAX_KEPT_BOOKING`] bytes,
/// otherwise a mark with the size, the references and the host, which is all that is read from it later.
pub(super) fn kept_booking(booking: &Booking) -> Option<String> {
    let raw = booking.raw.as_ref()?;
    if raw.len() <= MAX_KEPT_BOOKING {
        return Some(raw.clone());
    }
    let host = booking.host.as_ref().map(|(host, _)| {
        json!({
            "id": host.id.map(|id| id.0),
            "name": host.name,
            "email": host.email,
            "displayEmail": host.display_email,
            "username": host.username,
            "timeZone": host.time_zone,
        })
    });
    let mut kept = json!({
        (CUT): { "bytes": raw.len() },
        "uid": booking.uid.as_ref().map(BookingRef::as_str),
        "id": booking.id.as_ref().map(BookingRef::as_str),
        "hosts": host.into_iter().collect::<Vec<_>>(),
    });
    if kept.to_string().len() > MAX_KEPT_BOOKING {
        kept = json!({ (CUT): { "bytes": raw.len() } });
    }
    Some(kept.to_string())
}

/// Decodes a stored booking, as the only one of an event. The pointers of its notes lead into the booking.
pub(super) fn read_kept_booking(kept: &str) -> Option<BookingEvent> {
    // The booking is wrapped as the gateway would publish it; with an appointment, because it may have no reference.
    let body = format!(r#"{{"event":"appointment.created","appointment_id":1,"{WRAPPER}":{kept}}}"#);
    match decode(&Envelope::new(body.as_bytes(), 0)) {
        Ok(Decoded::Event(mut event)) => {
            for note in &mut event.form_notes {
                if let Some(inside) = note.pointer.strip_prefix(&format!("/{WRAPPER}")) {
                    note.pointer = inside.to_owned();
                }
            }
            Some(*event)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kept: &str) -> Booking {
        read_kept_booking(kept).unwrap().bookings.remove(0)
    }

    fn booking(padding: usize) -> Booking {
        let text = json!({
            "uid": "bA", "id": 7, "padding": "x".repeat(padding),
            "hosts": [{ "id": 101, "name": "Lea Moser", "email": "lea@salon.example", "username": "lea" }],
        });
        read(&text.to_string())
    }

    #[test]
    fn a_large_booking_is_stored_without_what_nobody_reads() {
        let large = booking(24 << 20);
        let kept = kept_booking(&large).unwrap();
        assert!(kept.len() < 1_000, "{} bytes", kept.len());
        assert!(kept.contains("\"hostmatch_cut\":{\"bytes\":2516"), "{kept}");
        let read = read(&kept);
        assert_eq!((read.host, read.uid, read.id), (large.host, large.uid, large.id));
    }

    #[test]
    fn a_booking_of_the_usual_size_is_stored_as_received() {
        let usual = booking(10_000);
        assert_eq!(kept_booking(&usual), usual.raw);
    }
}
