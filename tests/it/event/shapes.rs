//! Every shape is read as expected, and every error is reported with its JSON pointer.

use std::path::PathBuf;

use base64::Engine as _;
use hostmatch::event::MalformedKind;
use serde_json::{Value, json};

use super::sent::*;

#[test]
fn every_shape_is_read_as_expected() {
    let expected: Value = serde_json::from_slice(&fixture("expected-readings")).unwrap();
    for (name, lines) in expected.as_object().unwrap() {
        assert_eq!(json!(reading(&Sent::bytes(fixture(name)).decode())), *lines, "{name}");
    }
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/events");
    let fixtures = std::fs::read_dir(folder).unwrap().count();
    assert_eq!(fixtures, expected.as_object().unwrap().len() + 1, "a fixture has no expected reading");
}

#[test]
fn the_raw_booking_is_kept_unchanged() {
    for name in ["native-full", "native-wrapped", "calcom-created"] {
        let body: Value = serde_json::from_slice(&fixture(name)).unwrap();
        let booking = body.get("calcom_booking").or(body.get("payload")).unwrap();
        let raw = Sent::bytes(fixture(name)).event().bookings[0].raw.clone().unwrap();
        assert_eq!(serde_json::from_str::<Value>(&raw).unwrap(), *booking, "{name}");
        assert!(String::from_utf8(fixture(name)).unwrap().contains(&raw), "{name}: byte for byte");
    }
    let body: Value = serde_json::from_slice(&fixture("native-recurring")).unwrap();
    let bookings = Sent::json(&body).event().bookings;
    let raws: Vec<Value> = bookings.iter().map(raw).collect();
    assert_eq!(json!(raws), body["calcom_booking"]["data"]);
    let booking = r#"{"uid":"u1", "price":1.0e2,"title":"\u00e4", "uid" :"u1"}"#;
    let event = format!(r#"{{"event":"appointment.created","calcom_booking":{booking}}}"#);
    let encoded = base64::engine::general_purpose::STANDARD.encode(&event);
    for body in [
        event.clone(),
        format!(r#"{{"specversion":"1.0","id":"e","type":"appointment.created","data":{event}}}"#),
        format!(r#"{{"specversion":"1.0","id":"e","type":"x.y","data_base64":"{encoded}"}}"#),
        format!(r#"{{"uuid":"e","job":"appointment.created","data":{event}}}"#),
        format!(r#"{{"job":"x","data":{{"specversion":"1.0","id":"e","type":"t","data":{event}}}}}"#),
        format!(r#"{{"triggerEvent":"BOOKING_CREATED","payload":{{}}, "payload":{booking}}}"#),
        format!(r#"{{"event":"appointment.created","calcom_booking":[{{"uid":"u0"}}, {booking} ]}}"#),
    ] {
        let event = Sent::bytes(body.clone().into_bytes()).event();
        assert_eq!(event.bookings.last().unwrap().raw.as_deref(), Some(booking), "{body}");
    }
}

fn raw(booking: &hostmatch::event::Booking) -> Value {
    serde_json::from_str(booking.raw.as_deref().unwrap()).unwrap()
}

#[test]
fn every_error_is_reported_with_its_json_pointer() {
    use MalformedKind::{Malformed, NoBooking, UnknownEventType};
    let long = "x".repeat(256);
    let good = json!({"uid": "u1"});
    for (body, kind, pointer) in [
        (json!([]), Malformed, ""),
        (json!("text"), Malformed, ""),
        (json!({}), Malformed, ""),
        (json!({"name": "book_appointment", "args": {}, "call": {}}), Malformed, ""),
        (json!({"event": "appointment.created"}), Malformed, "/calcom_booking"),
        (json!({"event": "appointment.created", "calcom_booking": null}), Malformed, "/calcom_booking"),
        (native(&json!("u1")), Malformed, "/calcom_booking"),
        (native(&json!(7)), Malformed, "/calcom_booking"),
        (native(&json!([])), Malformed, "/calcom_booking"),
        (native(&json!([good, "u2"])), Malformed, "/calcom_booking/1"),
        (native(&json!({"data": "text"})), Malformed, "/calcom_booking/data"),
        (native(&json!({"data": []})), Malformed, "/calcom_booking/data"),
        (native(&json!({"data": [good, {"title": "no reference"}]})), NoBooking, "/calcom_booking/data/1"),
        (native(&json!({"data": [good, null]})), Malformed, "/calcom_booking/data/1"),
        (native(&json!({})), NoBooking, "/calcom_booking"),
        (native(&json!({"uid": " ", "id": null})), NoBooking, "/calcom_booking"),
        (native(&json!({"status": "error", "error": {"code": "NOT_FOUND"}})), NoBooking, "/calcom_booking"),
        (native(&json!({"status": "success", "data": {}})), NoBooking, "/calcom_booking/data"),
        (native(&json!({"uid": ["u1"]})), Malformed, "/calcom_booking/uid"),
        (native(&json!({"uid": "a\0b"})), Malformed, "/calcom_booking/uid"),
        (native(&json!({"uid": long})), Malformed, "/calcom_booking/uid"),
        (native(&json!({"uid": "u1", "id": 1.5})), Malformed, "/calcom_booking/id"),
        (native(&json!({"uid": "u1", "id": true})), Malformed, "/calcom_booking/id"),
        (
            native(&json!({"uid": "u1", "rescheduledFromUid": long})),
            Malformed,
            "/calcom_booking/rescheduledFromUid",
        ),
        (json!({"event": "appointment.moved", "calcom_booking": good}), UnknownEventType, "/event"),
        (json!({"event": "MEETING_ENDED", "calcom_booking": good}), UnknownEventType, "/event"),
        (json!({"event": 7, "calcom_booking": good}), UnknownEventType, "/event"),
        (json!({"calcom_booking": good}), UnknownEventType, "/event"),
        (json!({"triggerEvent": 7, "payload": good}), Malformed, "/triggerEvent"),
        (json!({"triggerEvent": "BOOKING_CREATED"}), Malformed, "/payload"),
        (json!({"triggerEvent": "BOOKING_CREATED", "payload": null}), Malformed, "/payload"),
        (json!({"triggerEvent": "BOOKING_CREATED", "payload": [good]}), Malformed, "/payload"),
        (json!({"triggerEvent": "BOOKING_CREATED", "payload": {}}), NoBooking, "/payload"),
        (json!({"event": "booking.created", "hosts": [{"id": 5}]}), Malformed, ""),
    ] {
        let malformed = Sent::json(&body).malformed();
        assert_eq!((malformed.kind, malformed.pointer.as_str()), (kind, pointer), "{body}: {malformed}");
        assert!(!malformed.message.is_empty() && malformed.hints.id.is_some(), "{body}");
    }
}

#[test]
fn keys_of_gateway_tables_are_positive_whole_numbers_or_malformed() {
    for field in ["company_id", "appointment_id"] {
        for wrong in
            [json!(0), json!(-1), json!(1.5), json!("7a"), json!(""), json!(true), json!([7]), json!(1e30)]
        {
            let body = json!({"event": "appointment.created", field: wrong, "calcom_booking": {"uid": "u1"}});
            let malformed = Sent::json(&body).malformed();
            assert_eq!(malformed.pointer, format!("/{field}"), "{body}");
            assert_eq!(malformed.hints.booking.unwrap().as_str(), "u1");
        }
        for right in [json!(7), json!("7"), json!(null)] {
            let body = json!({"event": "appointment.created", field: right, "calcom_booking": {"uid": "u1"}});
            let event = Sent::json(&body).event();
            let read = if field == "company_id" {
                event.company.map(|c| c.0)
            } else {
                event.appointment.map(|a| a.0)
            };
            assert_eq!(read, (!right.is_null()).then_some(7), "{body}");
        }
    }
}

#[test]
fn an_event_with_an_appointment_id_needs_no_reference_but_has_exactly_one_booking() {
    let with = |booking: Value| json!({"event": "appointment.created", "appointment_id": 7, "calcom_booking": booking});
    let event = Sent::json(&with(json!({"hosts": [{"id": 5}]}))).event();
    assert_eq!((event.bookings.len(), event.bookings[0].reference()), (1, None));
    for several in [json!([{"uid": "u1"}]), json!({"data": [{"uid": "u1"}]})] {
        assert_eq!(Sent::json(&with(several)).malformed().pointer, "/appointment_id");
    }
}

#[test]
fn bytes_that_are_not_a_json_object_are_malformed_and_not_shown() {
    let deep = format!("{}1{}", r#"{"event":"#.repeat(200), "}".repeat(200));
    let bodies: [&[u8]; 8] = [
        b"",
        b"{",
        b"\xef\xbb\xbf{\"event\":\"appointment.created\"}",
        b"{\"event\":\"\xff\xfe\"}",
        b"{\"event\":1e400}",
        b"{\"event\":\"\\ud800\"}",
        b"false",
        deep.as_bytes(),
    ];
    for body in bodies {
        let malformed = Sent::bytes(body).malformed();
        assert_eq!((malformed.kind, malformed.pointer.as_str()), (MalformedKind::Malformed, ""));
    }
    let secret =
        r#"{"event":"appointment.created","calcom_booking":{"hosts":[{"email":"mara@salon.example",,"#;
    assert!(!Sent::bytes(secret).malformed().to_string().contains("mara"));
}

#[test]
fn the_last_of_duplicate_keys_counts() {
    let body = r#"{"event":"appointment.created","calcom_booking":{"uid":"first","uid":"last"}}"#;
    assert_eq!(Sent::bytes(body).event().bookings[0].uid.as_ref().unwrap().as_str(), "last");
}

#[test]
fn a_cancelled_booking_is_recognized_in_any_spelling_bare_or_wrapped() {
    for (status, off) in [
        (json!("cancelled"), true),
        (json!("CANCELLED"), true),
        (json!(" Rejected "), true),
        (json!("accepted"), false),
        (json!("pending"), false),
        (json!("success"), false),
        (json!(["cancelled"]), false),
        (json!(null), false),
    ] {
        let booking = json!({"uid": "u1", "status": status});
        assert_eq!(Sent::json(&native(&booking)).event().bookings[0].is_cancelled, off, "{status}");
        let wrapped = json!({"status": "success", "data": booking});
        assert_eq!(Sent::json(&native(&wrapped)).event().bookings[0].is_cancelled, off, "wrapped {status}");
    }
}

#[test]
fn hints_contain_what_could_be_read() {
    let body = json!({"event": "appointment.moved", "event_id": "e1", "company_id": "15",
        "calcom_booking": {"data": [{"uid": {}, "id": 7}]}});
    let hints = Sent::json(&body).malformed().hints;
    assert_eq!(hints.id.unwrap().as_str(), "e1");
    assert_eq!(hints.event_type.as_deref(), Some("appointment.moved"));
    assert_eq!(hints.company.unwrap().0, 15);
    assert_eq!(hints.booking.unwrap().as_str(), "7");
}
