//! A message as the decoder receives it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use hostmatch::event::{BookingRef, Decoded, Envelope, Malformed, decode};
use serde_json::{Value, json};

/// The time of first receipt in the envelopes of these tests.
pub(super) const FIRST_SEEN_MS: i64 = 1_771_700_000_000;

pub(super) struct Sent {
    pub(super) body: Vec<u8>,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) routing_key: String,
    pub(super) message_type: Option<String>,
    pub(super) message_id: Option<String>,
    pub(super) correlation_id: Option<String>,
    pub(super) timestamp_ms: Option<i64>,
}

impl Sent {
    pub(super) fn bytes(body: impl Into<Vec<u8>>) -> Self {
        let (headers, routing_key) = (BTreeMap::new(), String::new());
        let (message_type, message_id, correlation_id, timestamp_ms) = (None, None, None, None);
        let body = body.into();
        Self { body, headers, routing_key, message_type, message_id, correlation_id, timestamp_ms }
    }

    pub(super) fn json(body: &Value) -> Self {
        Self::bytes(body.to_string())
    }

    pub(super) fn decode(&self) -> Result<Decoded, Malformed> {
        decode(&Envelope {
            headers: &self.headers,
            routing_key: &self.routing_key,
            message_type: self.message_type.as_deref(),
            message_id: self.message_id.as_deref(),
            correlation_id: self.correlation_id.as_deref(),
            timestamp_ms: self.timestamp_ms,
            ..Envelope::new(&self.body, FIRST_SEEN_MS)
        })
    }

    pub(super) fn event(&self) -> hostmatch::event::BookingEvent {
        match self.decode() {
            Ok(Decoded::Event(event)) => *event,
            other => panic!("not an event: {other:?}"),
        }
    }

    pub(super) fn malformed(&self) -> Malformed {
        self.decode().expect_err("should be malformed")
    }
}

/// Returns one line for the event and one for each booking.
pub(super) fn reading(decoded: &Result<Decoded, Malformed>) -> Vec<String> {
    match decoded {
        Ok(Decoded::Event(event)) => {
            let (company, appointment) = (event.company.map(|c| c.0), event.appointment.map(|a| a.0));
            let mut lines = vec![format!(
                "{} {:?} {:?} company={company:?} appointment={appointment:?}",
                event.event_type, event.kind, event.shape
            )];
            lines.extend(event.bookings.iter().map(|b| {
                let text =
                    |r: &Option<BookingRef>| r.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
                let host = b.host.as_ref().map_or_else(
                    || "nobody".to_owned(),
                    |(host, source)| {
                        let id = host.id.map_or(0, |id| id.0);
                        format!("{source:?} {id} {:?} {:?}", host.name, host.emails())
                    },
                );
                let stamped = if b.time.is_inferred { " stamped" } else { "" };
                format!(
                    "uid={} id={} replaces={} off={} at={}{stamped} starts={:?} host={host}",
                    text(&b.uid),
                    text(&b.id),
                    text(&b.replaces),
                    b.is_cancelled,
                    b.time.ms,
                    b.starts_ms
                )
            }));
            lines
        }
        Ok(Decoded::Ignored(ignored)) => vec![format!("ignored {} {:?}", ignored.event_type, ignored.shape)],
        Err(malformed) => vec![format!("malformed {malformed}")],
    }
}

pub(super) fn fixture(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/events/{name}.json"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns a native event about this booking.
pub(super) fn native(booking: &Value) -> Value {
    json!({ "event": "appointment.created", "calcom_booking": booking })
}
