//! Lists, objects and texts in the forms that PHP gives them are read like the usual ones, or refused with their
//! place.

use hostmatch::event::{Booking, HostMissing, OddForm};
use serde_json::{Value, json};

use super::sent::*;

fn host(id: i64) -> Value {
    json!({"id": id, "name": "Mara Lind", "email": "mara@salon.example"})
}

fn booking(uid: &str) -> Value {
    json!({"uid": uid, "hosts": [host(7)]})
}

fn text(value: &Value) -> Value {
    value.to_string().into()
}

/// Returns the odd forms in an event, as pointer and form.
fn forms(sent: &Sent) -> Vec<(String, OddForm)> {
    sent.event().form_notes.into_iter().map(|note| (note.pointer, note.form)).collect()
}

fn raw(booking: &Booking) -> Value {
    serde_json::from_str(booking.raw.as_deref().unwrap()).unwrap()
}

#[test]
fn bookings_in_odd_forms_are_read_like_usual_ones() {
    use OddForm::{Numbered, Text};
    let (one, two) = (booking("u1"), booking("u2"));
    let both = json!([one, two]);
    for (odd, usual, expected) in [
        (text(&one), &one, vec![("", Text)]),
        (text(&both), &both, vec![("", Text)]),
        (json!([one, text(&two)]), &both, vec![("/1", Text)]),
        (json!({"10": two, "9": one}), &both, vec![("", Numbered)]),
        (json!({"3": text(&one), "4": two}), &both, vec![("", Numbered), ("/3", Text)]),
        (text(&json!({"1": one, "2": two})), &both, vec![("", Text), ("", Numbered)]),
        (json!({"data": text(&one)}), &json!({"data": one}), vec![("/data", Text)]),
        (json!({"data": {"1": one, "2": two}}), &json!({"data": both}), vec![("/data", Numbered)]),
        (json!({"data": text(&both)}), &json!({"data": both}), vec![("/data", Text)]),
        (text(&json!({"data": text(&one)})), &json!({"data": one}), vec![("", Text), ("/data", Text)]),
    ] {
        let (sent, usual) = (Sent::json(&native(&odd)), Sent::json(&native(usual)));
        assert_eq!(reading(&sent.decode()), reading(&usual.decode()), "{odd}");
        let expected: Vec<_> =
            expected.into_iter().map(|(at, form)| (format!("/calcom_booking{at}"), form)).collect();
        assert_eq!(forms(&sent), expected, "{odd}");
        assert!(forms(&usual).is_empty(), "{odd}");
    }
    let listed = Sent::json(&native(&json!({"10": two, "9": text(&one)}))).event();
    assert_eq!(listed.bookings.iter().map(raw).collect::<Vec<_>>(), [one.clone(), two.clone()]);
    assert_eq!(raw(&Sent::json(&native(&text(&one))).event().bookings[0]), one);

    let webhook = |payload: &Value| json!({"triggerEvent": "BOOKING_CREATED", "payload": payload});
    let (sent, usual) = (Sent::json(&webhook(&text(&one))), Sent::json(&webhook(&one)));
    assert_eq!(reading(&sent.decode()), reading(&usual.decode()));
    assert_eq!(forms(&sent), [("/payload".to_owned(), Text)]);
    assert_eq!(raw(&sent.event().bookings[0]), one);
}

#[test]
fn hosts_in_odd_forms_are_read_like_usual_ones() {
    use OddForm::{ListOfOne, Nothing, Numbered, Single, Text};
    let (first, second) = (host(7), host(8));
    for (key, odd, expected) in [
        ("hosts", json!({"1": first, "2": second}), vec![("/hosts", Numbered)]),
        ("hosts", json!({"10": second, "9": first}), vec![("/hosts", Numbered)]),
        ("hosts", json!({"7": first}), vec![("/hosts", Numbered)]),
        ("hosts", text(&json!([first, second])), vec![("/hosts", Text)]),
        ("hosts", text(&json!({"1": first})), vec![("/hosts", Text), ("/hosts", Numbered)]),
        ("hosts", json!([text(&first), second]), vec![("/hosts/0", Text)]),
        ("hosts", json!({"1": text(&first)}), vec![("/hosts", Numbered), ("/hosts/1", Text)]),
        ("hosts", first.clone(), vec![("/hosts", Single)]),
        ("hosts", text(&first), vec![("/hosts", Text), ("/hosts", Single)]),
        ("organizer", text(&first), vec![("/organizer", Text)]),
        ("organizer", json!([first]), vec![("/organizer", ListOfOne)]),
        ("organizer", json!({"1": first}), vec![("/organizer", Numbered)]),
        ("user", json!([first]), vec![("/user", ListOfOne)]),
    ] {
        let sent = Sent::json(&native(&json!({"uid": "u1", key: odd})));
        let usual = if key == "hosts" { json!([first, second]) } else { first.clone() };
        let usual = Sent::json(&native(&json!({"uid": "u1", key: usual})));
        assert_eq!(reading(&sent.decode()), reading(&usual.decode()), "{key} {odd}");
        let expected: Vec<_> =
            expected.into_iter().map(|(at, form)| (format!("/calcom_booking{at}"), form)).collect();
        assert_eq!(forms(&sent), expected, "{key} {odd}");
    }
    for nothing in [json!(false), json!(""), json!([]), json!(null)] {
        for key in ["hosts", "organizer", "user"] {
            let booking = json!({"uid": "u1", key: nothing});
            let sent = Sent::json(&native(&booking));
            let found = sent.event().bookings.remove(0);
            let empty = key == "hosts" && nothing.is_array();
            let why = if empty { HostMissing::Empty } else { HostMissing::Absent };
            assert_eq!((found.host, found.host_missing), (None, Some(why)), "{booking}");
            assert!(forms(&sent).iter().all(|(_, form)| *form == Nothing), "{booking}");
            assert_eq!(forms(&sent).is_empty(), empty || nothing.is_null(), "{booking}");
        }
    }
}

#[test]
fn a_host_that_cannot_be_read_is_not_hidden() {
    let missing = |booking: &Value| {
        let event = Sent::json(&native(booking)).event();
        assert_eq!(event.bookings[0].host, None, "{booking}");
        event.bookings[0].describe_missing_host().unwrap()
    };
    let at = |hosts: Value| missing(&json!({"uid": "u1", "hosts": hosts}));
    for (hosts, why) in [
        (json!("Mara"), "malformed at /calcom_booking/hosts"),
        (json!(7), "malformed at /calcom_booking/hosts"),
        (json!(true), "malformed at /calcom_booking/hosts"),
        (json!("[{"), "malformed at /calcom_booking/hosts"),
        // Text in text.
        (text(&text(&json!([host(7)]))), "malformed at /calcom_booking/hosts"),
        (json!({"mara": host(7)}), "malformed at /calcom_booking/hosts"),
        (json!({"1": host(7), "count": 1}), "malformed at /calcom_booking/hosts"),
        // Each key is the id of its host, so their order is unknown.
        (json!({"8": host(8), "7": host(7)}), "malformed at /calcom_booking/hosts"),
        (json!([null, host(7)]), "malformed at /calcom_booking/hosts/0"),
        (json!(["Mara"]), "malformed at /calcom_booking/hosts/0"),
        (json!([[host(7)]]), "malformed at /calcom_booking/hosts/0"),
        (json!({"3": {"id": 1.5}}), "malformed at /calcom_booking/hosts/3"),
        (json!({"3": {"name": "Mara"}}), "null_id at /calcom_booking/hosts/3"),
        (json!([{"id": "unknown"}]), "null_id at /calcom_booking/hosts/0"),
        (json!([]), "empty at /calcom_booking/hosts"),
        (json!(null), "absent"),
    ] {
        assert_eq!(at(hosts.clone()), why, "{hosts}");
    }
    let two = json!({"uid": "u1", "hosts": [], "organizer": [host(7), host(8)]});
    assert_eq!(missing(&two), "malformed at /calcom_booking/organizer");
    let inner = json!({"data": {"uid": "u1", "hosts": "Mara"}});
    assert_eq!(missing(&inner), "malformed at /calcom_booking/data/hosts");

    let listed = native(&json!({"data": {"4": {"uid": "u1", "user": "Mara"}}}));
    for (body, place) in [
        (listed.clone(), "/calcom_booking/data/4/user"),
        (json!({"specversion": "1.0", "data": listed}), "/data/calcom_booking/data/4/user"),
        (json!({"job": "appointment.created", "data": listed}), "/data/calcom_booking/data/4/user"),
        (json!({"triggerEvent": "BOOKING_PAID", "uid": "u1", "organizer": "Mara"}), "/organizer"),
        (json!({"triggerEvent": "BOOKING_PAID", "payload": {"uid": "u1", "user": [7, 8]}}), "/payload/user"),
    ] {
        let booking = Sent::json(&body).event().bookings.remove(0);
        assert_eq!(booking.host_missing_at.as_deref(), Some(place), "{body}");
    }
}

#[test]
fn odd_forms_that_cannot_be_read_are_refused_with_their_place() {
    let one = booking("u1");
    for (odd, pointer) in [
        (text(&text(&one)), "/calcom_booking"),
        (json!("{\"uid\":"), "/calcom_booking"),
        (json!(""), "/calcom_booking"),
        (json!(false), "/calcom_booking"),
        (json!({"1": one, "title": "x"}), "/calcom_booking"),
        (json!({"3": one, "5": "u2"}), "/calcom_booking/5"),
        (json!({"3": one, "5": {"uid": []}}), "/calcom_booking/5/uid"),
        (text(&json!({"uid": []})), "/calcom_booking/uid"),
        (json!({"data": "u1"}), "/calcom_booking/data"),
        (json!({"data": {"2": {"title": "x"}}}), "/calcom_booking/data/2"),
    ] {
        assert_eq!(Sent::json(&native(&odd)).malformed().pointer, pointer, "{odd}");
    }
    let appointment =
        json!({"event": "appointment.created", "appointment_id": 7, "calcom_booking": {"1": one}});
    assert_eq!(Sent::json(&appointment).malformed().pointer, "/appointment_id");
    let hints =
        Sent::json(&json!({"event": "appointment.moved", "calcom_booking": text(&one)})).malformed().hints;
    assert_eq!(hints.booking.unwrap().as_str(), "u1");
    for nothing in [json!(false), json!(" "), json!([])] {
        let decoded = Sent::json(&json!({"event": "call_ended", "calcom_booking": nothing})).decode();
        assert_eq!(reading(&decoded), ["ignored call_ended Native"], "{nothing}");
    }
}

#[test]
fn values_in_texts_are_limited() {
    let hosts = |count: usize| text(&json!(vec![1; count]));
    let many = |each: usize| {
        native(&json!([{"uid": "u1", "hosts": hosts(each)}, {"uid": "u2", "hosts": hosts(each)}]))
    };
    assert_eq!(forms(&Sent::json(&many(20_000))).len(), 2);
    let too_many = Sent::json(&many(30_000));
    assert_eq!(forms(&too_many).len(), 1);
    let missing = too_many.event().bookings[1].describe_missing_host();
    assert_eq!(missing.as_deref(), Some("malformed at /calcom_booking/1/hosts"));
}

#[test]
fn bytes_in_another_encoding_are_named() {
    let json = native(&booking("u1")).to_string();
    let utf_16 =
        |to_bytes: fn(u16) -> [u8; 2]| -> Vec<u8> { json.encode_utf16().flat_map(to_bytes).collect() };
    let utf_32: Vec<u8> = json.chars().flat_map(|c| u32::from(c).to_le_bytes()).collect();
    let (little, big) = (utf_16(u16::to_le_bytes), utf_16(u16::to_be_bytes));
    for (bytes, named) in [
        (little.clone(), "UTF-16"),
        (big.clone(), "UTF-16"),
        ([b"\xff\xfe", &little[..]].concat(), "UTF-16"),
        ([b"\xfe\xff", &big[..]].concat(), "UTF-16"),
        (utf_32.clone(), "UTF-32"),
        ([b"\xff\xfe\0\0", &utf_32[..]].concat(), "UTF-32"),
        ([b"\xef\xbb\xbf", json.as_bytes()].concat(), "byte order mark"),
        (b"\x1f\x8b\x08\0\0".to_vec(), "compressed (gzip)"),
        (b"\x28\xb5\x2f\xfd\x04".to_vec(), "compressed (zstd)"),
        (b"\x78\x9c\xab\x56".to_vec(), "compressed (deflate)"),
        (b"\x78\x01\xab\x56".to_vec(), "compressed (deflate)"),
        (text(&json!({"event": "x"})).to_string().into_bytes(), "encoded twice"),
    ] {
        let malformed = Sent::bytes(bytes).malformed();
        assert!(malformed.pointer.is_empty() && malformed.message.contains(named), "{named}: {malformed}");
    }
}
