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
        (native(&json!({"uid": null, "rescheduleUid": ["u1"]})), Malformed, "/calcom_booking/rescheduleUid"),
        (
            native(&json!({"uid": null, "rescheduleUid": "", "rescheduleId": []})),
            NoBooking,
            "/calcom_booking",
        ),
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
            [json!(0), json!(-1), json!(1.5), json!("7a"), json!("7.5"), json!(true), json!([7]), json!(1e30)]
        {
            let body = json!({"event": "appointment.created", field: wrong, "calcom_booking": {"uid": "u1"}});
            let malformed = Sent::json(&body).malformed();
            assert_eq!(malformed.pointer, format!("/{field}"), "{body}");
            assert_eq!(malformed.hints.booking.unwrap().as_str(), "u1");
        }
        let absent = [json!(null), json!(""), json!(" \t")];
        for right in [json!(7), json!("7"), json!(7.0), json!("7.0")].iter().chain(&absent) {
            let body = json!({"event": "appointment.created", field: right, "calcom_booking": {"uid": "u1"}});
            let event = Sent::json(&body).event();
            let read = if field == "company_id" {
                event.company.map(|c| c.0)
            } else {
                event.appointment.map(|a| a.0)
            };
            assert_eq!(read, (!absent.contains(right)).then_some(7), "{body}");
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
    let bodies: [&[u8]; 9] = [
        b"",
        b"{",
        b"\xef\xbb\xbf{\"event\":\"appointment.created\"}",
        b"{\"event\":\"\xff\xfe\"}",
        b"{\"event\":1e400}",
        b"{\"event\":\"call_ended\",\"notes\":\"\\ud8\"}",
        b"{\"event\":\"call_ended\",\"notes\":\"\xed\xa0\xbd\"}",
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
fn a_fault_in_a_field_that_is_not_read_costs_nothing() {
    let booking = |fields: &str| {
        format!(
            r#"{{"event":"appointment.created","calcom_booking":{{"uid":"u1","hosts":[{{"id":5,"name":"Mara"}}]{fields}}}}}"#
        )
    };
    let plain = Sent::bytes(booking("")).event().bookings.remove(0);
    let deep = format!(r#","metadata":{}{}"#, "[".repeat(5_000), "]".repeat(5_000));
    for fields in [
        r#","additionalNotes":"see you \ud83d""#,
        r#","responses":{"notes":"\ude00 \ud83d\ud83d"}"#,
        r#","responses":{"\ud83d":1}"#,
        r#","\ud83d":1"#,
        r#","title":"\ud83d","type":"cut \ud83d","data":"\ud83d""#,
        r#","price":1e999,"metadata":[-1e999]"#,
        &deep,
    ] {
        let read = Sent::bytes(booking(fields)).event().bookings.remove(0);
        let raw = read.raw.clone().unwrap();
        assert!(raw.starts_with(r#"{"uid":"u1""#) && raw.ends_with('}'), "{raw}");
        assert_eq!(hostmatch::event::Booking { raw: plain.raw.clone(), ..read }, plain, "{fields}");
    }
    // In a field that is read, half of a character is replaced, and the booking can be read again.
    let name = booking("").replace("Mara", "Mara \\ud83d \\ud83d\\ude00");
    let mut read = Sent::bytes(name).event().bookings.remove(0);
    for _ in 0..2 {
        assert_eq!(read.host.as_ref().unwrap().0.name.as_deref(), Some("Mara \u{fffd} 😀"));
        let raw = read.raw.unwrap();
        read = Sent::bytes(format!(r#"{{"event":"appointment.created","calcom_booking":{raw}}}"#))
            .event()
            .bookings
            .remove(0);
    }
    let uid = booking("").replace("u1", "u\\ud83d");
    assert_eq!(Sent::bytes(uid).event().bookings[0].uid.as_ref().unwrap().as_str(), "u\u{fffd}");
}

#[test]
fn whole_numbers_may_be_written_as_floats() {
    let event = Sent::bytes(
        r#"{"event":"appointment.created","company_id":1.0,"calcom_booking":{"id":71.0,"rescheduleId":70.0,"hosts":[{"id":211.0}]}}"#,
    );
    let event = event.event();
    let booking = &event.bookings[0];
    assert_eq!(event.company.unwrap().0, 1);
    assert_eq!(booking.id.as_ref().unwrap().as_str(), "71");
    assert_eq!(booking.links.replaces_id.as_ref().unwrap().as_str(), "70");
    assert_eq!(booking.host.as_ref().unwrap().0.id.unwrap().0, 211);
}

#[test]
fn a_booking_without_its_own_reference_has_that_of_the_booking_that_it_replaced() {
    for (fields, reference) in [
        (json!({"uid": null, "rescheduleUid": "cA"}), "cA"),
        (json!({"uid": "", "id": null, "rescheduledFromUid": "cA", "rescheduleId": 7}), "cA"),
        (json!({"rescheduleId": 7, "rootBookingUid": "c0"}), "7"),
        (json!({"rootBookingUid": "c0"}), "c0"),
    ] {
        let flat = {
            let mut body = fields.clone();
            body["triggerEvent"] = json!("BOOKING_RESCHEDULED");
            body
        };
        for body in [
            native(&fields),
            native(&json!({"status": "success", "data": fields})),
            json!({"triggerEvent": "BOOKING_RESCHEDULED", "payload": fields}),
            flat,
        ] {
            let booking = Sent::json(&body).event().bookings.remove(0);
            assert_eq!(booking.own().count(), 0, "{body}");
            assert_eq!(booking.reference().unwrap().as_str(), reference, "{body}");
        }
    }
}

#[test]
fn the_host_who_accepts_an_instant_meeting_may_be_assigned() {
    use hostmatch::event::EventKind;
    let fields = json!({"bookingUid": "u1", "bookingId": 7, "status": "ACCEPTED",
        "organizer": {"id": 5, "name": "Mara Lind", "email": "mara@salon.example"}});
    let mut flat = fields.clone();
    flat["triggerEvent"] = json!("INSTANT_MEETING_ACCEPTED");
    for body in [flat, json!({"triggerEvent": "INSTANT_MEETING_ACCEPTED", "payload": fields})] {
        let event = Sent::json(&body).event();
        let booking = &event.bookings[0];
        assert_eq!(event.kind, EventKind::Assigns);
        assert_eq!(booking.uid.as_ref().unwrap().as_str(), "u1");
        assert_eq!(booking.id.as_ref().unwrap().as_str(), "7");
        assert_eq!(booking.host.as_ref().unwrap().0.id.unwrap().0, 5);
    }
}

#[test]
fn the_other_triggers_of_calcom_are_ignored() {
    use hostmatch::event::{Decoded, EVENT_TYPES, IGNORED_TRIGGERS};
    for name in IGNORED_TRIGGERS {
        assert!(!EVENT_TYPES.iter().any(|known| known.name == name), "{name}");
        let body = json!({"triggerEvent": name, "payload": {"uid": "u1", "organizer": {"id": 5}}});
        assert!(matches!(Sent::json(&body).decode(), Ok(Decoded::Ignored(it)) if it.event_type == name));
    }
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
