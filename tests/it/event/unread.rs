//! What counts as absent although something was sent is noted, with its place and without its value.

use serde_json::{Value, json};

use super::sent::*;

/// Returns the notes of an event.
fn notes(body: &Value) -> Vec<String> {
    Sent::json(body).event().form_notes.iter().map(ToString::to_string).collect()
}

#[test]
fn values_that_are_not_read_give_a_note() {
    const BLANK: &str = "a blank string: read as absent";
    const UNREADABLE: &str = "not what this field holds: read as absent";
    for (field, value, note) in [
        ("company_id", json!(" "), BLANK),
        ("appointment_id", json!(""), BLANK),
        ("event_id", json!(["e1"]), UNREADABLE),
        ("occurred_at", json!("sometime"), UNREADABLE),
        ("createdAt", json!(1_759_738_443), UNREADABLE),
    ] {
        let body = json!({"event": "appointment.created", field: value, "calcom_booking": {"uid": "u1"}});
        assert_eq!(notes(&body), [format!("/{field} is {note}")], "{body}");
    }
    for (field, value, note) in [
        ("id", json!(""), BLANK),
        ("rescheduleUid", json!(" "), BLANK),
        ("rescheduleId", json!({}), UNREADABLE),
        ("rescheduledToUid", json!("x".repeat(256)), UNREADABLE),
        ("rootBookingUid", json!(""), BLANK),
        ("updatedAt", json!("28.11.2026 09:00"), UNREADABLE),
        ("updatedAt", json!("0000-00-00 00:00:00"), UNREADABLE),
        ("start", json!(""), BLANK),
        ("hosts", json!([{"id": 7, "email": "none"}]), UNREADABLE),
        ("organizer", json!({"id": "cal_7", "email": "mara@salon.example"}), UNREADABLE),
    ] {
        let place = match field {
            "hosts" => "hosts/0/email",
            "organizer" => "organizer/id",
            field => field,
        };
        let booking = json!({"uid": "u1", field: value});
        for (prefix, body) in [
            ("/calcom_booking", native(&booking)),
            ("/calcom_booking/1", native(&json!([{"uid": "u0"}, booking]))),
            ("/calcom_booking/data", native(&json!({"status": "success", "data": booking}))),
            ("/payload", json!({"triggerEvent": "BOOKING_CREATED", "payload": booking})),
            ("/data/calcom_booking", json!({"job": "appointment.created", "data": native(&booking)})),
        ] {
            assert_eq!(notes(&body), [format!("{prefix}/{place} is {note}")], "{body}");
        }
    }
}

#[test]
fn usual_values_give_no_note() {
    let expected: Value = serde_json::from_slice(&fixture("expected-readings")).unwrap();
    // PHP's own forms have notes.
    for name in expected.as_object().unwrap().keys().filter(|name| !name.contains("-php-")) {
        let body: Value = serde_json::from_slice(&fixture(name)).unwrap();
        if let Ok(hostmatch::event::Decoded::Event(event)) = Sent::json(&body).decode() {
            assert_eq!(event.form_notes, [], "{name}");
        }
    }
    let booking = json!({"uid": "u1", "id": null, "updatedAt": "2026-03-01 08:00:00", "start": "+002026-03-01T08:00:00Z",
        "hosts": [{"id": "unknown", "name": "Nameless", "email": "Email-less", "username": "", "timeZone": null}]});
    assert_eq!(notes(&native(&booking)), Vec::<String>::new());
}

#[test]
fn half_of_a_character_that_is_read_gives_a_note() {
    let body = |name: &str, title: &str| {
        let booking = format!(r#"{{"uid":"u1","title":"{title}","hosts":[{{"id":7,"name":"{name}"}}]}}"#);
        format!(r#"{{"event":"appointment.created","calcom_booking":{booking}}}"#)
    };
    let notes_of = |body: String| {
        Sent::bytes(body).event().form_notes.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(notes_of(body("Mara", "\\ud83d")), Vec::<String>::new());
    let noted = notes_of(body("Mara \\ud83d", ""));
    assert!(
        noted[0].starts_with("the event is JSON with half of a character") && noted.len() == 1,
        "{noted:?}"
    );
    let text = json!({"event": "appointment.created", "calcom_booking": r#"{"uid":"u1","hosts":[{"id":7,"name":"\udc00"}]}"#});
    let noted = notes(&text);
    assert!(noted[1].starts_with("/calcom_booking is JSON with half of a character"), "{noted:?}");
}

#[test]
fn hosts_other_than_a_fixed_organizer_give_a_note() {
    let reassigned = |organizer: Value, added: Value| {
        notes(&json!({"triggerEvent": "BOOKING_REASSIGNED", "payload": {
            "uid": "u1", "organizer": organizer, "addedHostUserIds": added, "removedHostUserIds": [9],
        }}))
    };
    let noted = reassigned(json!({"id": 5}), json!([7, 8]));
    assert_eq!(
        noted,
        [
            "/payload/addedHostUserIds is a list of other hosts than the organizer, who is a fixed host and stays the \
          primary host"
        ]
    );
    for (organizer, added) in [
        (json!({"id": 7}), json!([7, 8])),
        (json!({"id": 7}), json!([])),
        (json!({"id": 7}), json!(null)),
        (json!({"email": "mara@salon.example"}), json!([7])),
    ] {
        assert_eq!(reassigned(organizer, added), Vec::<String>::new());
    }
}
