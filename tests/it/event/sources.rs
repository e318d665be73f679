//! Tests the sources of an event's type, id and time, and their precedence.

use hostmatch::event::{EventId, MalformedKind, TYPE_HEADER};
use serde_json::json;

use super::sent::*;

#[test]
fn the_type_comes_from_our_header_then_a_known_routing_key_then_a_known_property_then_the_body() {
    let mut sent = Sent::json(&native(&json!({"uid": "u1"})));
    assert_eq!(sent.event().event_type, "appointment.created");
    sent.message_type = Some("App\\Jobs\\Publish".to_owned());
    sent.routing_key = "bookings".to_owned();
    assert_eq!(sent.event().event_type, "appointment.created", "neither is a known type");
    sent.message_type = Some("appointment.updated".to_owned());
    assert_eq!(sent.event().event_type, "appointment.updated");
    sent.routing_key = "appointment.cancelled".to_owned();
    assert_eq!(sent.event().event_type, "appointment.cancelled");
    sent.headers.insert(TYPE_HEADER.to_owned(), "appointment.rescheduled".to_owned());
    assert_eq!(sent.event().event_type, "appointment.rescheduled");
    sent.headers.insert(TYPE_HEADER.to_owned(), "appointment.moved".to_owned());
    let malformed = sent.malformed();
    assert_eq!(malformed.kind, MalformedKind::UnknownEventType, "a replay keeps its type");
    assert_eq!(malformed.hints.event_type.as_deref(), Some("appointment.moved"));
}

#[test]
fn the_id_comes_from_the_event_then_the_properties_then_a_hash() {
    let mut body = native(&json!({"uid": "u1"}));
    let hashed = Sent::json(&body).event().id;
    assert_eq!(hashed, EventId::hash_of(&[b"appointment.created", b"u1", body.to_string().as_bytes()]));
    assert_eq!(Sent::json(&body).event().id, hashed, "the same bytes have the same id");
    let mut sent = Sent::json(&body);
    sent.correlation_id = Some("c1".to_owned());
    assert_eq!(sent.event().id.as_str(), "c1");
    sent.message_id = Some("m1".to_owned());
    assert_eq!(sent.event().id.as_str(), "m1");
    for (given, id) in [(json!("e1"), "e1"), (json!(17), "17"), (json!(""), "m1"), (json!(["e1"]), "m1")] {
        body["event_id"] = given;
        sent.body = body.to_string().into();
        assert_eq!(sent.event().id.as_str(), id);
    }
    body["event_id"] = json!("x".repeat(300));
    sent.body = body.to_string().into();
    assert!(sent.event().id.as_str().starts_with("sha256:"), "too long for a column");
    sent.body = b"no json".to_vec();
    assert_eq!(sent.malformed().hints.id.unwrap().as_str(), "m1");
}

#[test]
fn the_time_comes_from_the_booking_then_the_event_then_the_message() {
    let at = |sent: &Sent| {
        let time = sent.event().bookings[0].time;
        (time.ms, time.is_inferred)
    };
    let mut body = native(&json!({"uid": "u1"}));
    let mut sent = Sent::json(&body);
    assert_eq!(at(&sent), (FIRST_SEEN_MS, true));
    sent.timestamp_ms = Some(5_000);
    assert_eq!(at(&sent), (5_000, true));
    body["occurred_at"] = json!("sometime");
    body["createdAt"] = json!("1970-01-01T00:00:04Z");
    sent.body = body.to_string().into();
    assert_eq!(at(&sent), (4_000, false));
    body["occurred_at"] = json!("1970-01-01T00:00:03Z");
    sent.body = body.to_string().into();
    assert_eq!(at(&sent), (3_000, false));
    body["calcom_booking"]["updatedAt"] = json!("1970-01-01T00:00:02Z");
    sent.body = body.to_string().into();
    assert_eq!(at(&sent), (2_000, false));
}
