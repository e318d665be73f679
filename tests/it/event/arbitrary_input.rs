//! Any bytes lead to a result, and never to a panic.

use hostmatch::event::{Decoded, TYPE_HEADER};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::sent::*;

/// Generates any JSON, with a preference for keys and values that the decoder reads.
pub(super) fn any_json() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        any::<String>(),
        prop::sample::select(vec![
            "appointment.created",
            "BOOKING_CREATED",
            "BOOKING_CANCELLED",
            "unknown",
            "",
            "7",
            "7.0",
            "cancelled",
            "2026-02-20T10:15:30Z",
            "+999999-01-01T00:00:00Z",
            "mara@salon.example",
            "1.0",
            "base64",
            "e30=",
            "O:8:",
            r#"{"uid":"u1","hosts":"[{\"id\":7}]"}"#,
            r#"[{"id":7}]"#,
            "[",
            "\0",
        ])
        .prop_map(str::to_owned),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<i16>().prop_map(|number| Value::from(f64::from(number))),
        text.prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 48, 6, |inner| {
        let key = prop::sample::select(vec![
            "event",
            "event_id",
            "calcom_booking",
            "data",
            "hosts",
            "organizer",
            "user",
            "userId",
            "id",
            "uid",
            "bookingId",
            "triggerEvent",
            "payload",
            "status",
            "updatedAt",
            "createdAt",
            "occurred_at",
            "start",
            "company_id",
            "appointment_id",
            "rescheduleUid",
            "rescheduleId",
            "bookingUid",
            "email",
            "name",
            "job",
            "specversion",
            "type",
            "data_base64",
            "datacontentencoding",
            "command",
            "uuid",
            "pushedAt",
            "other",
            "0",
            "1",
            "07",
        ]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((key, inner), 0..8).prop_map(|pairs| {
                Value::Object(pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
            }),
        ]
    })
}

/// Checks the decoder's guarantees for this input.
fn assert_guarantees(sent: &Sent) {
    match sent.decode() {
        Ok(Decoded::Event(event)) => {
            assert!(!event.bookings.is_empty());
            assert!(event.appointment.is_none() || event.bookings.len() == 1);
            assert!(event.id.as_str().len() <= 255);
            for booking in &event.bookings {
                assert!(booking.reference().is_some() || event.appointment.is_some());
                assert!(booking.host.as_ref().is_none_or(|(host, _)| host.is_usable()));
            }
        }
        Ok(Decoded::Ignored(ignored)) => {
            assert!(!ignored.event_type.is_empty() && ignored.event_type.len() <= 255)
        }
        Err(malformed) => {
            assert!(!malformed.message.is_empty() && malformed.hints.id.is_some());
            assert!(malformed.pointer.is_empty() || malformed.pointer.starts_with('/'));
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_have_a_result(body: Vec<u8>, key: String, property: Option<String>, stamp: Option<i64>) {
        let mut sent = Sent::bytes(body);
        sent.headers.insert(TYPE_HEADER.to_owned(), key.clone());
        (sent.routing_key, sent.message_type, sent.message_id, sent.timestamp_ms) = (key, property.clone(), property, stamp);
        assert_guarantees(&sent);
    }

    #[test]
    fn any_json_has_a_result(body in any_json(), wrap in 0..5) {
        assert_guarantees(&Sent::json(&match wrap {
            0 => body,
            1 => native(&body),
            2 => json!({"specversion": "1.0", "type": "appointment.created", "data": body}),
            3 => json!({"job": "appointment.created", "data": body}),
            _ => json!({"triggerEvent": "BOOKING_CREATED", "payload": body}),
        }));
    }

    #[test]
    fn any_damage_to_a_real_event_has_a_result(
        which in 0..NAMES.len(),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3), 1..6),
    ) {
        let mut body = fixture(NAMES[which]);
        for (at, byte, how) in cuts {
            if body.is_empty() { break; }
            let at = at.index(body.len());
            match how {
                0 => body[at] = byte,
                1 => { body.remove(at); }
                _ => body.truncate(at),
            }
        }
        assert_guarantees(&Sent::bytes(body));
    }

    #[test]
    fn any_value_anywhere_in_a_real_event_has_a_result(
        which in 0..NAMES.len(),
        index in any::<prop::sample::Index>(),
        value in any_json(),
    ) {
        let mut body: Value = serde_json::from_slice(&fixture(NAMES[which])).unwrap();
        let mut pointers_in_body = Vec::new();
        pointers(&body, String::new(), &mut pointers_in_body);
        let pointer = index.get(&pointers_in_body);
        *body.pointer_mut(pointer).unwrap() = value;
        assert_guarantees(&Sent::json(&body));
    }
}

const NAMES: [&str; 5] =
    ["native-full", "native-wrapped", "native-recurring", "native-2024-04-15", "calcom-rescheduled"];

/// Collects the JSON pointers of `value`, which is at `prefix`, and of every value in it.
pub(super) fn pointers(value: &Value, prefix: String, into: &mut Vec<String>) {
    match value {
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(i, v)| pointers(v, format!("{prefix}/{i}"), into));
        }
        Value::Object(fields) => fields.iter().for_each(|(k, v)| pointers(v, format!("{prefix}/{k}"), into)),
        _ => {}
    }
    into.push(prefix);
}
