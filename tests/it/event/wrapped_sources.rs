//! Tests which source takes precedence for the type, id and time of wrapped events.

use serde_json::{Value, json};

use super::sent::*;

/// Returns a Laravel job around a CloudEvents message around the gateway's event: all sources at once.
fn all_sources() -> Value {
    json!({
        "job": "appointment.rescheduled@handle", "displayName": "appointment.rescheduled", "uuid": "laravel",
        "pushedAt": "7.5",
        "data": {
            "specversion": "1.0", "type": "appointment.cancelled", "id": "cloudevents", "time": "1970-01-01T00:00:05Z",
            "data": {"event": "appointment.created", "event_id": "event", "calcom_booking": {"uid": "u1"}},
        },
    })
}

fn remove_value(body: &mut Value, pointer: &str) -> Vec<u8> {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    body.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(key).unwrap();
    body.to_string().into()
}

#[test]
fn a_wrappers_type_takes_precedence_over_the_events_but_not_over_the_messages() {
    let mut body = all_sources();
    let mut sent = Sent::json(&body);
    assert_eq!(sent.event().event_type, "appointment.cancelled", "CloudEvents' before Laravel's");
    sent.message_type = Some("appointment.updated".to_owned());
    assert_eq!(sent.event().event_type, "appointment.updated");
    sent.message_type = None;
    body["data"]["type"] = json!("example.gateway.cancelled");
    sent.body = body.to_string().into();
    assert_eq!(sent.event().event_type, "appointment.rescheduled", "Laravel's, which is a known type");
    body["displayName"] = json!("App\\Jobs\\Publish");
    body["job"] = json!("App\\Jobs\\Publish@handle");
    sent.body = body.to_string().into();
    assert_eq!(sent.event().event_type, "appointment.created", "a class is not a known type");
    body["data"]["data"]["event"] = json!("moved");
    sent.body = body.to_string().into();
    let malformed = sent.malformed();
    let first = malformed.hints.event_type.as_deref();
    assert_eq!(first, Some("example.gateway.cancelled"), "no type is known: the first counts");
    assert_eq!(malformed.pointer, "/data/type", "the pointer to that type");
    assert!(malformed.message.contains("appointment.rescheduled"), "names the known types: {malformed}");
}

#[test]
fn horizons_type_is_ignored() {
    let mut body = json!({"specversion": "1.0", "type": "job", "data": {"calcom_booking": {"uid": "u1"}}});
    assert_eq!(Sent::json(&body).malformed().hints.event_type, None);
    body["data"]["event"] = json!("appointment.created");
    assert_eq!(Sent::json(&body).event().event_type, "appointment.created");
}

#[test]
fn the_id_is_cloudevents_then_the_events_then_the_messages_then_laravels_then_a_hash() {
    let mut body = all_sources();
    let mut sent = Sent::json(&body);
    (sent.message_id, sent.correlation_id) = (Some("message".to_owned()), Some("correlation".to_owned()));
    let id = |sent: &Sent| sent.event().id.as_str().to_owned();
    assert_eq!(id(&sent), "cloudevents");
    sent.body = remove_value(&mut body, "/data/id");
    assert_eq!(id(&sent), "event");
    sent.body = remove_value(&mut body, "/data/data/event_id");
    assert_eq!(id(&sent), "message");
    sent.message_id = None;
    assert_eq!(id(&sent), "correlation");
    sent.correlation_id = Some(" ".to_owned());
    assert_eq!(id(&sent), "laravel");
    sent.body = remove_value(&mut body, "/uuid");
    assert!(id(&sent).starts_with("sha256:"));
    body["data"]["id"] = json!(17);
    sent.body = body.to_string().into();
    assert_eq!(id(&sent), "17", "a number is an id too");
}

#[test]
fn the_time_is_the_bookings_then_the_events_then_cloudevents_then_that_of_publishing() {
    let mut body = all_sources();
    body["data"]["data"]["occurred_at"] = json!("1970-01-01T00:00:04Z");
    body["data"]["data"]["calcom_booking"]["updatedAt"] = json!("1970-01-01T00:00:03Z");
    let mut sent = Sent::json(&body);
    sent.timestamp_ms = Some(9_000);
    let at = |sent: &Sent| {
        let time = sent.event().bookings[0].time;
        (time.ms, time.is_inferred)
    };
    assert_eq!(at(&sent), (3_000, false));
    sent.body = remove_value(&mut body, "/data/data/calcom_booking/updatedAt");
    assert_eq!(at(&sent), (4_000, false));
    sent.body = remove_value(&mut body, "/data/data/occurred_at");
    assert_eq!(at(&sent), (5_000, false));
    sent.body = remove_value(&mut body, "/data/time");
    assert_eq!(at(&sent), (7_500, true));
    body["pushedAt"] = json!(4_000_000_000_000_i64);
    sent.body = body.to_string().into();
    assert_eq!(at(&sent), (9_000, true), "a time far in the future is ignored");
    sent.timestamp_ms = None;
    assert_eq!(at(&sent), (FIRST_SEEN_MS, true));
}
