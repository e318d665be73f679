//! Tests `hostmatch validate`: every shape, errors with JSON pointers, data outside the body, and that no
//! personal data is printed.

use std::path::PathBuf;
use std::process::Output;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::program::{command, json, stderr, stdout};

fn fixtures() -> Vec<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/events");
    let mut files: Vec<_> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| !file.ends_with("expected-readings.json"));
    files.sort();
    files
}

/// Runs `hostmatch validate` on a file with these bytes.
fn validate(bytes: &[u8], arguments: &[&str]) -> (TempDir, Output) {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("message");
    std::fs::write(&file, bytes).unwrap();
    let output = command(&["validate"]).arg(&file).args(arguments).current_dir(&home).output().unwrap();
    (home, output)
}

fn validate_json(message: &Value, arguments: &[&str]) -> (Option<i32>, Value) {
    let (_home, output) =
        validate(message.to_string().as_bytes(), &[arguments, &["--output", "json"]].concat());
    (output.status.code(), json(&output)["messages"][0].clone())
}

#[test]
fn every_error_is_reported_with_its_json_pointer() {
    for (text, pointer, reason) in [
        (
            json!({"event": "appointment.created", "calcom_booking": {"uid": ["Jane"]}}),
            "/calcom_booking/uid",
            "malformed",
        ),
        (
            json!({"event": "appointment.moved", "calcom_booking": {"uid": "u1"}}),
            "/event",
            "unknown_event_type",
        ),
        (
            json!({"event": "Jane@roe.example", "calcom_booking": {"uid": "u1"}}),
            "/event",
            "unknown_event_type",
        ),
        (
            json!({"event": "appointment.created", "calcom_booking": {"title": "Jane"}}),
            "/calcom_booking",
            "no_booking",
        ),
        (json!({"triggerEvent": "BOOKING_CREATED", "payload": "Jane"}), "/payload", "malformed"),
        (
            json!({"event": "appointment.created", "company_id": "Jane", "calcom_booking": {"uid": "u"}}),
            "/company_id",
            "malformed",
        ),
    ] {
        let (code, reported) = validate_json(&text, &[]);
        assert_eq!((code, &reported["verdict"]), (Some(10), &json!("malformed")), "{text}");
        assert_eq!(
            (&reported["problem"]["pointer"], &reported["problem"]["reason"]),
            (&json!(pointer), &json!(reason))
        );
        assert!(!reported.to_string().contains("Jane"), "{reported}");
    }
    for bytes in [&b""[..], b"{", b"\xff\xfe", b"\xef\xbb\xbf{}", b"[]"] {
        let (_home, output) = validate(bytes, &[]);
        assert_eq!(output.status.code(), Some(10), "{bytes:?}: {}", stdout(&output));
    }
    let missing = command(&["validate", "/nonexistent"]).output().unwrap();
    assert_eq!(missing.status.code(), Some(3));
}

#[test]
fn the_output_contains_no_personal_data() {
    let text = json!({"event": "appointment.created", "event_id": "e1", "company_id": "15", "calcom_booking": {
        "uid": "u1", "id": 7, "rescheduledFromUid": "u0", "start": "2026-03-02T09:00:00Z", "updatedAt": "2026-03-01T08:00:00Z",
        "hosts": [{"id": 9, "name": "Mara Lind", "email": "mara@salon.example"}]}});
    let (code, reported) = validate_json(&text, &[]);
    assert_eq!(code, Some(0));
    let expected = json!({
        "place": "-", "verdict": "valid", "shape": "native", "type": "appointment.created", "id": "e1", "company": 15,
        "appointment": null, "may_assign": true, "problem": null, "notes": [],
        "bookings": [{
            "uid": "u1", "id": "7", "replaces": "u0", "time": "2026-03-01T08:00:00Z", "stamped": false,
            "starts": "2026-03-02T09:00:00Z", "off": false,
            "host": {"found_in": "hosts", "id": 9, "name": "***", "email": "***", "username": null},
        }],
    });
    assert_eq!(reported, expected);
    for file in fixtures() {
        let output = command(&["validate"]).arg(&file).output().unwrap();
        let (out, err) = (stdout(&output), stderr(&output));
        assert!(matches!(output.status.code(), Some(0 | 10)), "{}: {err}", file.display());
        assert!(
            !out.contains('@') && !out.contains("Mara") && !out.contains("Frida"),
            "{}: {out}",
            file.display()
        );
    }
}

#[test]
fn values_in_odd_forms_and_hosts_that_cannot_be_used_are_reported() {
    let notes = |booking: Value| {
        let message = json!({"event": "appointment.created", "event_id": "e1", "company_id": 15, "calcom_booking": booking});
        let (code, reported) = validate_json(&message, &[]);
        assert_eq!(code, Some(0), "{reported}");
        let notes = reported["notes"].as_array().unwrap();
        notes.iter().map(|note| note["message"].as_str().unwrap().to_owned()).collect::<Vec<_>>().join("\n")
    };
    let booking = |hosts: Value| json!({"uid": "u1", "updatedAt": "2026-03-01T08:00:00Z", "hosts": hosts});
    let host = json!({"id": 9, "name": "Mara Lind"});
    assert_eq!(notes(booking(json!([host]))), "");
    for (odd, note) in [
        (
            booking(json!({"1": host})),
            "/calcom_booking/hosts is an object with numbered keys instead of a list",
        ),
        (booking(host.clone()), "/calcom_booking/hosts is one host instead of a list"),
        (json!(booking(json!([host])).to_string()), "/calcom_booking is a string that contains JSON"),
        (
            booking(json!(["Mara"])),
            "no usable host (hosts[0], organizer, user; malformed at /calcom_booking/hosts/0)",
        ),
        (
            booking(json!({"mara": host})),
            "no usable host (hosts[0], organizer, user; malformed at /calcom_booking/hosts)",
        ),
    ] {
        let notes = notes(odd);
        assert!(notes.contains(note) && !notes.contains("Mara"), "{note}: {notes}");
    }
}

#[test]
fn bytes_that_every_receiver_refuses_are_not_valid() {
    let event = json!({"event": "appointment.created", "calcom_booking": {"uid": "u1"}}).to_string();
    let utf_16: Vec<u8> = event.encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (bytes, named) in [
        ([b"\xef\xbb\xbf", event.as_bytes()].concat(), "byte order mark"),
        (utf_16, "UTF-16"),
        (b"\x1f\x8b\x08\0\n\n{}\n".to_vec(), "compressed (gzip)"),
    ] {
        let (_home, output) = validate(&bytes, &[]);
        assert_eq!(output.status.code(), Some(10), "{named}: {}", stdout(&output));
        assert!(stdout(&output).contains(named), "{named}: {}", stdout(&output));
    }
}

#[test]
fn probable_mistakes_are_reported() {
    let text = json!({"event": "appointment.created", "calcom_booking": [
        {"uid": "u1", "updatedAt": "yesterday", "hosts": [{"id": "unknown", "email": "unknown"}]},
        {"uid": "u2", "updatedAt": "2026-03-01T08:00:00Z", "hosts": [{"email": "mara@salon.example"}]},
        {"uid": "u3", "updatedAt": "2026-03-01T08:00:00Z", "status": "cancelled"},
    ]});
    let (code, reported) = validate_json(&text, &[]);
    assert_eq!(code, Some(0));
    let of: Vec<Option<u64>> =
        reported["notes"].as_array().unwrap().iter().map(|note| note["booking"].as_u64()).collect();
    assert_eq!(of, [None, None, Some(0), Some(0), Some(1), None], "{reported}");
}

#[test]
fn headers_properties_and_the_routing_key_affect_the_reading() {
    let bare = json!({"calcom_booking": {"uid": "u1"}});
    assert_eq!(validate_json(&bare, &[]).0, Some(10));
    for arguments in
        [&["--routing-key", "appointment.updated"][..], &["--message-type", "appointment.updated"]]
    {
        let (code, reported) =
            validate_json(&bare, &[arguments, &["--message-id", "m1", "--timestamp", "1772323200"]].concat());
        assert_eq!(
            (code, &reported["type"], &reported["id"]),
            (Some(0), &json!("appointment.updated"), &json!("m1"))
        );
        assert_eq!(
            (&reported["bookings"][0]["time"], &reported["bookings"][0]["stamped"]),
            (&json!("2026-03-01T00:00:00Z"), &json!(true))
        );
    }
    for (content_type, notes) in [("application/json; charset=utf-8", 0), ("text/plain", 1)] {
        let body = json!({"event": "appointment.created", "event_id": "e", "company_id": 1, "occurred_at": "2026-03-01T00:00:00Z",
            "calcom_booking": {"uid": "u1", "hosts": [{"id": 7}]}});
        let (code, reported) = validate_json(&body, &["--content-type", content_type]);
        assert_eq!((code, reported["notes"].as_array().unwrap().len()), (Some(0), notes), "{reported}");
    }
    let cloud =
        ["--header", "ce-specversion=1.0", "--header", "ce-type=appointment.updated", "--header", "ce-id=c1"];
    let (code, read) = validate_json(&bare, &cloud);
    assert_eq!((code, &read["shape"], &read["id"]), (Some(0), &json!("cloudevents_bin"), &json!("c1")));
    let job = json!({"job": "appointment.created", "data": {"calcom_booking": {"uid": 1.5}}});
    let (code, read) = validate_json(&job, &[]);
    assert_eq!(
        (code, &read["shape"], &read["problem"]["pointer"]),
        (Some(10), &json!("laravel"), &json!("/data/calcom_booking/uid"))
    );
    let ignored = validate_json(&json!({"triggerEvent": "PING"}), &[]);
    assert_eq!(
        (ignored.0, &ignored.1["verdict"], &ignored.1["shape"]),
        (Some(0), &json!("ignored"), &json!("calcom"))
    );
    let (_home, output) = validate(b"{\"event\":\"call_ended\"}\n{\"event\":7}\n", &["--output", "json"]);
    let messages = &json(&output)["messages"];
    assert_eq!((output.status.code(), &messages[1]["place"]), (Some(10), &json!("line 2")), "{messages}");
}
