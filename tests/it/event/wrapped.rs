//! CloudEvents and Laravel's payloads: each fixture has its expected reading, and an event is read
//! the same in any wrapper.

use std::collections::BTreeMap;
use std::path::PathBuf;

use base64::Engine as _;
use hostmatch::event::{Decoded, MalformedKind};
use serde::Deserialize;
use serde_json::{Value, json};
use strum::VariantArray as _;

use super::sent::*;

/// A captured or constructed message (`made_by` says which), and its expected reading.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fixture {
    made_by: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    routing_key: String,
    correlation_id: Option<String>,
    body: Value,
    reading: Vec<String>,
}

impl Fixture {
    fn sent(&self) -> Sent {
        let mut sent = Sent::json(&self.body);
        sent.headers = self.headers.clone();
        sent.routing_key = self.routing_key.clone();
        sent.correlation_id = self.correlation_id.clone();
        sent
    }

    /// Returns the decoded event, preceded by the id by which repeats are recognized.
    fn read(&self) -> Vec<String> {
        let decoded = self.sent().decode();
        let id = match &decoded {
            Ok(Decoded::Event(event)) => event.id.to_string(),
            Ok(Decoded::Ignored(ignored)) => ignored.id.to_string(),
            Err(malformed) => {
                let (id, shape) = (malformed.hints.id.as_ref().unwrap(), malformed.hints.shape);
                format!("{id} {:?} {shape:?}", malformed.hints.event_type)
            }
        };
        [vec![format!("id={id}")], reading(&decoded)].concat()
    }
}

fn fixtures() -> BTreeMap<String, Fixture> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/messages");
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let read = |path: PathBuf| {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let fixture = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        (name, fixture)
    };
    paths.map(read).collect()
}

#[test]
fn every_wrapper_and_version_is_read_as_expected() {
    let fixtures = fixtures();
    assert!(fixtures.len() > 20, "too few fixtures were found");
    let mut wrong = String::new();
    for (name, fixture) in fixtures {
        assert!(!fixture.made_by.is_empty(), "{name}");
        let read = fixture.read();
        if read != fixture.reading {
            wrong += &format!("{name}.json: it is read as\n{}\n", json!(read));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Returns every way to wrap an event, for all versions that were ever sent.
fn wrappers(event: &Value) -> Vec<(&'static str, Sent)> {
    let named = |name: &str| event.get(name).cloned();
    let type_name = named("event").or(named("triggerEvent")).unwrap();
    let cloud =
        |version: &str| json!({"specversion": version, "id": "e-1", "source": "s", "type": type_name});
    let with = |mut outer: Value, key: &str, value: Value| {
        outer[key] = value;
        outer
    };
    let base64 = json!(base64::engine::general_purpose::STANDARD.encode(event.to_string()));
    let horizon = |outer: Value| {
        let outer = with(with(outer, "tags", json!([])), "silenced", json!(false));
        with(with(outer, "type", json!("job")), "pushedAt", json!("1771582533.1234"))
    };
    let job =
        json!({"displayName": type_name, "job": type_name, "maxTries": null, "timeout": null, "data": event});
    let with_uuid = with(job.clone(), "uuid", json!("u-1"));
    let structured = with(cloud("1.0"), "data", event.clone());
    let binary = |prefix: &str| {
        let mut sent = Sent::json(event);
        for (name, value) in [("specversion", "1.0"), ("id", "e-1"), ("type", type_name.as_str().unwrap())] {
            sent.headers.insert(format!("{prefix}{name}"), value.to_owned());
        }
        sent
    };
    let old = with(with(cloud("0.3"), "data", base64.clone()), "datacontentencoding", json!("base64"));
    vec![
        ("bare", Sent::json(event)),
        ("pushRaw through Horizon", Sent::json(&horizon(event.clone()))),
        ("CloudEvents 1.0", Sent::json(&structured)),
        ("CloudEvents 1.1", Sent::json(&with(cloud("1.1"), "data", event.clone()))),
        ("CloudEvents 0.3", Sent::json(&with(cloud("0.3"), "data", event.clone()))),
        ("CloudEvents 1.0, base64", Sent::json(&with(cloud("1.0"), "data_base64", base64))),
        ("CloudEvents 0.3, base64", Sent::json(&old)),
        ("CloudEvents through Horizon", Sent::json(&horizon(structured.clone()))),
        ("binary, cloudEvents:", binary("cloudEvents:")),
        ("binary, cloudEvents_", binary("cloudEvents_")),
        ("binary, ce-", binary("ce-")),
        ("Laravel 4", Sent::json(&json!({"job": type_name, "data": event}))),
        ("Laravel 5", Sent::json(&job)),
        ("Laravel 8", Sent::json(&with(with_uuid.clone(), "backoff", Value::Null))),
        ("Laravel 12", Sent::json(&with(with_uuid.clone(), "createdAt", json!(1_771_582_533)))),
        ("Laravel with Horizon", Sent::json(&horizon(with_uuid.clone()))),
        ("Laravel around CloudEvents", Sent::json(&with(with_uuid, "data", structured))),
    ]
}

#[test]
fn an_event_is_read_the_same_in_any_wrapper() {
    let expected: Value = serde_json::from_slice(&fixture("expected-readings")).unwrap();
    for name in expected.as_object().unwrap().keys() {
        let event: Value = serde_json::from_slice(&fixture(name)).unwrap();
        let mut wrappers = wrappers(&event).into_iter();
        let bare = wrappers.next().unwrap().1.decode();
        for (wrapper, sent) in wrappers {
            match (&bare, sent.decode()) {
                (Ok(Decoded::Event(bare)), Ok(Decoded::Event(wrapped))) => {
                    let parts = |event: &hostmatch::event::BookingEvent| {
                        let mut bookings = event.bookings.clone();
                        // The time of publishing differs.
                        bookings.iter_mut().filter(|b| b.time.is_inferred).for_each(|b| b.time.ms = 0);
                        // A pointer into the message begins with that of the event.
                        bookings.iter_mut().for_each(|b| b.host_missing_at = None);
                        (
                            event.event_type.clone(),
                            event.kind,
                            event.content,
                            event.company,
                            event.appointment,
                            bookings,
                        )
                    };
                    assert_eq!(parts(bare), parts(&wrapped), "{name} in {wrapper}");
                }
                (Ok(Decoded::Ignored(bare)), Ok(Decoded::Ignored(wrapped))) => {
                    assert_eq!(bare.event_type, wrapped.event_type, "{name} in {wrapper}");
                }
                (_, other) => panic!("{name} in {wrapper}: {other:?}"),
            }
        }
    }
}

#[test]
fn an_error_in_a_wrapper_is_reported_with_its_pointer_in_the_message() {
    use MalformedKind::{Malformed, NoBooking, UnknownEventType};
    let cloud = |version: Value, data: Value| json!({"specversion": version, "id": "e-1", "type": "appointment.created", "data": data});
    let base64 = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let in_base64 =
        |text: Value| json!({"specversion": "1.0", "type": "appointment.created", "data_base64": text});
    let job = |name: &str, data: Value| json!({"job": name, "data": data});
    let good = native(&json!({"uid": "u1"}));
    for (body, kind, pointer) in [
        (cloud(json!("2.0"), good.clone()), Malformed, "/specversion"),
        (cloud(json!(1.0), good.clone()), Malformed, "/specversion"),
        (cloud(json!(null), good.clone()), Malformed, "/specversion"),
        (cloud(json!("1.0"), json!(null)), Malformed, "/data/calcom_booking"),
        (cloud(json!("1.0"), json!("{\"event\":\"appointment.created\"}")), Malformed, "/data"),
        (cloud(json!("1.0"), json!([good])), Malformed, "/data"),
        (cloud(json!("1.0"), json!({})), Malformed, "/data/calcom_booking"),
        (cloud(json!("1.0"), native(&json!({}))), NoBooking, "/data/calcom_booking"),
        (cloud(json!("1.0"), native(&json!({"uid": 1.5}))), Malformed, "/data/calcom_booking/uid"),
        (cloud(json!("1.0"), json!({"triggerEvent": "BOOKING_CREATED"})), Malformed, "/data/payload"),
        (in_base64(json!("not base64!")), Malformed, "/data_base64"),
        (in_base64(json!(base64("not json"))), Malformed, "/data_base64"),
        (in_base64(json!(base64("{}"))), Malformed, "/data_base64"),
        (in_base64(json!(7)), Malformed, "/data_base64"),
        (
            json!({"specversion": "1.0", "type": "booking.made", "data": {"calcom_booking": {"uid": "u1"}}}),
            UnknownEventType,
            "/type",
        ),
        (
            json!({"specversion": "1.0", "data": {"calcom_booking": {"uid": "u1"}}}),
            UnknownEventType,
            "/data/event",
        ),
        (job("appointment.created", json!("")), Malformed, "/data"),
        (job("appointment.created", json!("{}")), Malformed, "/data"),
        (job("appointment.created", json!([])), Malformed, "/data"),
        (job("appointment.created", json!(null)), Malformed, "/data"),
        (job("appointment.created", json!({})), Malformed, "/data/calcom_booking"),
        (job("appointment.created", native(&json!({"uid": {}}))), Malformed, "/data/calcom_booking/uid"),
        (job("booking.made", json!({"calcom_booking": {"uid": "u1"}})), UnknownEventType, "/job"),
        (job("booking.made", json!({"uid": "u1", "hosts": []})), Malformed, "/data"),
        (job("X@call", json!({"command": "O:8:\"stdClass\":0:{}"})), Malformed, "/data/command"),
        (job("X@call", json!({"command": "eyJpdiI6"})), Malformed, "/data/command"),
        (job("appointment.created", cloud(json!("1.0"), json!(7))), Malformed, "/data/data"),
        (job("booking.made", cloud(json!("3"), good.clone())), Malformed, "/data/specversion"),
    ] {
        let malformed = Sent::json(&body).malformed();
        assert_eq!((malformed.kind, malformed.pointer.as_str()), (kind, pointer), "{body}: {malformed}");
        assert!(malformed.hints.id.is_some() && malformed.hints.shape.is_some(), "{body}");
    }
    let mut binary = Sent::json(&good);
    binary.headers.insert("ce-specversion".to_owned(), "2.0".to_owned());
    assert!(binary.malformed().message.contains("ce-specversion"));
    binary.headers.insert("ce-specversion".to_owned(), "1.0".to_owned());
    binary.headers.insert("ce-id".to_owned(), "e-7".to_owned());
    binary.body = b"no json".to_vec();
    assert_eq!(binary.malformed().hints.id.unwrap().as_str(), "e-7");
    binary.headers.insert("ce-id".to_owned(), "i".repeat(2049));
    assert!(binary.malformed().message.contains("ce-id must have at most 2048 bytes"));
}

#[test]
fn bodies_that_php_compressed_are_reported_as_such() {
    for start in [&b"\x78\x9c"[..], b"\x78\xda", b"\x78\x01", b"\x1f\x8b"] {
        let mut sent = Sent::json(&json!({}));
        sent.body = [start, b"\x03"].concat();
        let message = sent.malformed().message;
        assert!(message.contains("compressed"), "{start:?}: {message}");
    }
}

#[test]
fn jobs_that_only_php_can_read_are_refused_with_advice() {
    let all = fixtures();
    for (name, expected) in [
        ("laravel-8-object-job", "serialized by PHP"),
        ("laravel-horizon-object-job", "serialized by PHP"),
        ("laravel-8-encrypted-job", "APP_KEY"),
    ] {
        let malformed = all[name].sent().malformed();
        assert!(malformed.message.contains(expected), "{name}: {malformed}");
        assert!(
            malformed.message.contains("Queue::push('appointment.created', $event"),
            "{name}: {malformed}"
        );
        assert!(
            !malformed.message.contains('\n') && !malformed.to_string().contains("mara"),
            "{name}: {malformed}"
        );
    }
}

#[test]
fn the_shape_is_recognized_in_the_documented_order() {
    use hostmatch::event::Shape;
    let event = native(&json!({"uid": "u1"}));
    // The body has the distinguishing keys of all shapes; each step removes the first of them.
    let mut body = event.clone();
    body["specversion"] = json!("1.0");
    body["job"] = json!("appointment.created");
    body["data"] = event.clone();
    body["triggerEvent"] = json!("BOOKING_CREATED");
    body["payload"] = json!({"uid": "u1"});
    let mut sent = Sent::json(&body);
    sent.headers.insert("cloudEvents:specversion".to_owned(), "1.0".to_owned());
    let mut shapes = Vec::new();
    let mut record_shape = |sent: &Sent| shapes.push(sent.event().shape);
    record_shape(&sent);
    body.as_object_mut().unwrap().remove("specversion");
    sent.body = body.to_string().into();
    record_shape(&sent);
    sent.headers.clear();
    record_shape(&sent);
    body.as_object_mut().unwrap().remove("job");
    sent.body = body.to_string().into();
    record_shape(&sent);
    body.as_object_mut().unwrap().remove("triggerEvent");
    sent.body = body.to_string().into();
    record_shape(&sent);
    assert_eq!(shapes, Shape::VARIANTS);
    assert!(Shape::VARIANTS.iter().all(|shape| shape.as_str().len() <= 16), "the name fits its column");
}
