//! Checks the decoder's guarantees for any input. This file is shared by the fuzz target and by a test of the usual
//! run (tests/it/event/fuzzing.rs).

use std::collections::BTreeMap;

use hostmatch::event::{Decoded, Envelope, decode};
use serde::Deserialize;
use serde_json::Value;

/// A whole message, in the format of the fixtures in tests/fixtures/messages. Any other input is a body.
#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    routing_key: String,
    correlation_id: Option<String>,
    body: Value,
}

/// Panics if the decoder breaks one of its guarantees.
pub(crate) fn check(input: &[u8]) {
    match serde_json::from_slice::<Message>(input) {
        Ok(Message { headers, routing_key, correlation_id, body }) => {
            let body = body.to_string();
            check_decoding(body.as_bytes(), &headers, &routing_key, correlation_id.as_deref());
        }
        Err(_) => check_decoding(input, &BTreeMap::new(), "", None),
    }
}

fn check_decoding(
    body: &[u8],
    headers: &BTreeMap<String, String>,
    routing_key: &str,
    correlation_id: Option<&str>,
) {
    let envelope =
        Envelope { headers, routing_key, correlation_id, ..Envelope::new(body, 1_771_700_000_000) };
    let decoded = decode(&envelope);
    assert_eq!(decoded, decode(&envelope), "decoding the same bytes twice must give the same result");
    match decoded {
        Ok(Decoded::Event(event)) => {
            assert!(!event.bookings.is_empty() && event.bookings.len() <= 500);
            assert!(event.appointment.is_none() || event.bookings.len() == 1);
            check_text(event.id.as_str());
            for booking in &event.bookings {
                let references = [&booking.uid, &booking.id, &booking.replaces];
                references.into_iter().flatten().for_each(|reference| check_text(reference.as_str()));
                assert!(booking.reference().is_some() || event.appointment.is_some());
                assert!(booking.host.as_ref().is_none_or(|(host, _)| host.is_usable()));
                assert!((0..253_402_300_800_000).contains(&booking.time.ms));
            }
        }
        Ok(Decoded::Ignored(ignored)) => {
            check_text(ignored.id.as_str());
            check_text(&ignored.event_type);
        }
        Err(malformed) => {
            check_text(malformed.hints.id.as_ref().expect("a dead letter has an id").as_str());
            assert!(!malformed.message.is_empty() && malformed.message.len() < 1000);
            assert!(malformed.pointer.is_empty() || malformed.pointer.starts_with('/'));
        }
    }
}

/// Checks that a string fits into a column.
fn check_text(text: &str) {
    assert!(!text.is_empty() && text.len() <= 255 && !text.contains('\0'), "{text:?}");
}
