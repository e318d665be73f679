//! The JSON Schemas of the events agree with the decoder: the schema accepts what the decoder reads, and
//! refuses what the decoder refuses, where a schema can express it.

use boon::{Compiler, SchemaIndex, Schemas};
use hostmatch::contract;
use hostmatch::event::{Decoded, EVENT_TYPES};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::arbitrary_input::{any_json, pointers};
use super::sent::*;

/// A compiled schema.
struct Schema {
    schemas: Schemas,
    index: SchemaIndex,
}

impl Schema {
    fn compile(document: Value) -> Self {
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        compiler.add_resource("urn:schema", document).unwrap();
        let index = compiler.compile("urn:schema", &mut schemas).unwrap();
        Self { schemas, index }
    }

    /// Returns the reason why the schema refuses this body, or `None` if it accepts it.
    fn refusal(&self, body: &Value) -> Option<String> {
        self.schemas.validate(body, self.index).err().map(|error| format!("{error:#}"))
    }

    /// Checks that the schema and the decoder agree on this body.
    fn check_agreement(&self, body: &Value) -> Result<(), TestCaseError> {
        let (read, refused) = (Sent::json(body).decode(), self.refusal(body));
        if let (Ok(read), Some(refused)) = (&read, &refused) {
            return Err(TestCaseError::fail(format!(
                "read as {read:?}, and refused by the schema: {refused}\n{body}"
            )));
        }
        if let (Err(malformed), None, false) = (read, refused, is_inexpressible(body)) {
            return Err(TestCaseError::fail(format!(
                "accepted by the schema, and refused because {malformed}\n{body}"
            )));
        }
        Ok(())
    }
}

/// Returns whether a value contains something that no schema can distinguish: a large float from the integer of the
/// same value, bytes from characters, a number of 19 digits from a larger one, a control character from a blank, the
/// content of base64 and of JSON in a string.
fn is_inexpressible(value: &Value) -> bool {
    match value {
        Value::Object(members) if members.contains_key("data_base64") => true,
        Value::Object(members) if members.contains_key("datacontentencoding") => true,
        Value::Number(number) => {
            number.as_f64().is_some_and(|n| number.is_f64() && n.fract() == 0.0 && n.abs() >= 2f64.powi(53))
        }
        Value::String(text) => {
            let whole = text.trim().split_once('.').map_or(text.trim(), |(whole, _)| whole);
            let digits = whole.len() >= 19 && whole.bytes().all(|b| b.is_ascii_digit());
            let strange = text.chars().any(|c| c.is_control() || c == '\u{feff}');
            let json = text.trim_start().starts_with(['{', '[']);
            digits || json || strange || (text.len() > 255 && text.chars().count() <= 255)
        }
        Value::Array(items) => items.iter().any(is_inexpressible),
        Value::Object(members) => members.values().any(is_inexpressible),
        _ => false,
    }
}

fn fixtures() -> Vec<(String, Value)> {
    let expected: Value = serde_json::from_slice(&fixture("expected-readings")).unwrap();
    let names = expected.as_object().unwrap().keys().cloned();
    names.map(|name| (name.clone(), serde_json::from_slice(&fixture(&name)).unwrap())).collect()
}

#[test]
fn every_fixture_agrees_with_the_general_schema_and_with_its_types_schema() {
    let all = Schema::compile(contract::event_schema());
    let mut typed = 0;
    for (name, body) in fixtures() {
        all.check_agreement(&body).unwrap_or_else(|error| panic!("{name}: {error}"));
        let Ok(Decoded::Event(event)) = Sent::json(&body).decode() else { continue };
        for known in &EVENT_TYPES {
            let same = known.name == event.event_type && known.named_by == event.shape;
            let refused = Schema::compile(contract::event_type_schema(known)).refusal(&body);
            if event.shape == known.named_by {
                assert_eq!(refused.is_none(), same, "{name} by the schema of {}: {refused:?}", known.name);
                typed += usize::from(same);
            }
        }
    }
    assert!(typed > 10, "{typed}");
}

/// These are corner cases that most senders never reach.
#[test]
fn the_schema_covers_the_corner_cases() {
    let all = Schema::compile(contract::event_schema());
    let good = json!({"uid": "u1"});
    let with = |field: &str, value: Value| json!({"event": "appointment.created", field: value, "calcom_booking": good});
    for body in [
        json!([]),
        json!("text"),
        json!({}),
        json!({"event": "appointment.created"}),
        json!({"event": "call_ended"}),
        json!({"event": " appointment.created "}),
        json!({"event": " appointment.created ", "calcom_booking": good}),
        json!({"event": "call_ended", "calcom_booking": null, "company_id": "no key"}),
        json!({"event": " ", "calcom_booking": null}),
        json!({"event": "MEETING_ENDED", "calcom_booking": good}),
        json!({"event": "BOOKING_CREATED", "calcom_booking": good}),
        json!({"triggerEvent": "appointment.created", "payload": good}),
        json!({"triggerEvent": null, "payload": good}),
        json!({"triggerEvent": "PING", "payload": 7}),
        json!({"triggerEvent": "BOOKING_CREATED", "uid": "u1"}),
        json!({"triggerEvent": "BOOKING_CREATED", "uid": []}),
        json!({"triggerEvent": "BOOKING_CREATED", "payload": {"data": good}}),
        json!({"triggerEvent": "BOOKING_CREATED", "payload": {"data": [good]}}),
        native(&json!([])),
        native(&json!([good])),
        native(&json!([{"data": good}])),
        native(&json!([{"data": [good]}])),
        native(&json!({"data": [good]})),
        native(&json!({"data": [{"data": good}]})),
        native(&json!({"data": "text"})),
        native(&json!({"uid": "u1", "data": "text"})),
        native(&json!({"uid": " ", "data": good})),
        native(&json!({"uid": "a\0b"})),
        native(&json!({"uid": "x".repeat(255)})),
        native(&json!({"uid": "x".repeat(256)})),
        native(&json!({"uid": "u1", "id": true})),
        native(&json!({"bookingId": 7, "id": true})),
        native(&json!({"bookingId": "", "id": true})),
        native(&json!({"bookingId": 1.5, "id": 7})),
        native(&json!({"uid": "u1", "rescheduledFromUid": "u0", "rescheduleUid": []})),
        native(&json!({"uid": "u1", "rescheduledFromUid": " ", "rescheduleUid": []})),
        with("company_id", json!("7")),
        with("company_id", json!("0")),
        with("company_id", json!("")),
        with("company_id", json!(" ")),
        with("company_id", json!(1.0)),
        with("company_id", json!("1.00")),
        with("company_id", json!("1.")),
        with("company_id", json!("1.5")),
        native(&json!({"uid": null, "rescheduleUid": "u0"})),
        native(&json!({"uid": null, "rescheduleUid": ""})),
        native(&json!({"uid": null, "rescheduleUid": []})),
        native(&json!({"uid": "", "rescheduledFromUid": null, "rescheduleUid": "u0"})),
        native(&json!({"rescheduleId": 7})),
        native(&json!({"rescheduleId": {}})),
        native(&json!({"rootBookingUid": "u0"})),
        native(&json!({"data": {"rescheduleUid": "u0"}})),
        native(&json!({"data": [{"rescheduleUid": "u0"}]})),
        native(&json!({"bookingUid": "u0", "data": "text"})),
        native(&json!({"uid": "u1", "bookingUid": []})),
        native(&json!({"uid": "", "bookingUid": []})),
        native(&json!({"id": 7.0})),
        json!({"triggerEvent": "INSTANT_MEETING_ACCEPTED", "bookingUid": "u0", "organizer": {}}),
        json!({"triggerEvent": "BOOKING_RESCHEDULED", "rescheduleUid": "u0"}),
        json!({"triggerEvent": "BOOKING_RESCHEDULED", "rescheduleUid": ""}),
        json!({"triggerEvent": "BOOKING_RESCHEDULED", "payload": {"uid": null, "rescheduleUid": "u0"}}),
        with("company_id", json!(-7)),
        with("appointment_id", json!(null)),
        json!({"event": "appointment.created", "appointment_id": 7, "calcom_booking": {}}),
        json!({"event": "appointment.created", "appointment_id": 7, "calcom_booking": [good]}),
        json!({"event": "appointment.created", "appointment_id": 7, "calcom_booking": {"data": [good]}}),
        json!({"event": "appointment.created", "appointment_id": 7, "calcom_booking": {"data": {"uid": []}}}),
        json!({"event": "appointment.created", "appointment_id": 7, "calcom_booking": null}),
        json!({"specversion": "1.0", "type": "appointment.created"}),
        json!({"job": "SendBooking", "data": {}}),
        json!({"job": 7, "data": {}, "event": "call_ended"}),
        json!({"event": "call_ended", "hosts": []}),
    ] {
        all.check_agreement(&body).unwrap_or_else(|error| panic!("{error}"));
    }
    let many: Vec<Value> = vec![good.clone(); 501];
    all.check_agreement(&native(&json!(many[..500]))).unwrap();
    all.check_agreement(&native(&json!(many))).unwrap();
}

#[test]
fn the_schema_covers_the_forms_that_php_writes() {
    let all = Schema::compile(contract::event_schema());
    let good = json!({"uid": "u1"});
    for body in [
        native(&json!({"1": good, "12": {"data": good}})),
        native(&json!({"1": good, "012": good})),
        native(&json!({"1": good, "12345678901": good})),
        native(&json!({"1": good, "other": good})),
        native(&json!({"1": good, "uid": "u1"})),
        native(&json!({"1": good, "2": {}})),
        native(&json!({"data": {"1": good, "2": good}})),
        native(&json!({"data": {"1": {"data": good}}})),
        native(&json!({"uid": "u1", "data": {"1": {}}})),
        native(&json!([{"data": {"1": good}}])),
        native(&json!(good.to_string())),
        native(&json!([good.to_string()])),
        native(&json!({"data": good.to_string()})),
        native(&json!({"data": [good.to_string()]})),
        native(&json!(false)),
        native(&json!(" ")),
        json!({"event": "call_ended", "calcom_booking": []}),
        json!({"event": "call_ended", "calcom_booking": ""}),
        json!({"event": "call_ended", "calcom_booking": false}),
        json!({"event": "call_ended", "calcom_booking": true}),
        json!({"event": "call_ended", "calcom_booking": {}}),
        json!({"event": "appointment.created", "appointment_id": 7, "calcom_booking": {"1": good}}),
        json!({"event": "appointment.created", "appointment_id": 7, "calcom_booking": {"data": {"1": good}}}),
        json!({"event": "appointment.created", "appointment_id": 7, "calcom_booking": {"1": good, "x": 1}}),
        json!({"event": "appointment.created", "appointment_id": 7, "calcom_booking": good.to_string()}),
        json!({"event": "appointment.created", "appointment_id": 7, "calcom_booking": {"data": good.to_string()}}),
        json!({"triggerEvent": "BOOKING_CREATED", "payload": good.to_string()}),
        json!({"triggerEvent": "BOOKING_CREATED", "payload": {"1": good}}),
        json!({"triggerEvent": "BOOKING_CREATED", "payload": {"data": {"1": good}}}),
        json!({"triggerEvent": "BOOKING_CREATED", "payload": {"data": good.to_string()}}),
    ] {
        all.check_agreement(&body).unwrap_or_else(|error| panic!("{error}"));
    }
}

/// Tries every type in the wrapper, around every kind of event.
#[test]
fn the_schema_covers_the_types_named_by_wrappers() {
    let all = Schema::compile(contract::event_schema());
    let good = json!({"uid": "u1"});
    let agrees = |body: Value| all.check_agreement(&body).unwrap_or_else(|error| panic!("{error}"));
    let events = [
        native(&good),
        json!({"calcom_booking": good}),
        json!({"event": 7, "calcom_booking": good}),
        json!({"event": "appointment.created", "calcom_booking": {}}),
        json!({"event": "call_ended"}),
        json!({"event": "call_ended", "hosts": null}),
        json!({"triggerEvent": "BOOKING_CREATED", "payload": good}),
        json!({"triggerEvent": 7, "payload": good}),
        json!({"triggerEvent": "PING", "payload": 7}),
        json!({}),
        json!([]),
        json!(null),
        json!("e30="),
        json!({"command": "O:8:\"stdClass\":0:{}"}),
        json!({"command": 7, "event": "call_ended"}),
    ];
    let names = [
        json!("appointment.updated"),
        json!(" BOOKING_PAID "),
        json!("App\\Jobs\\Send"),
        json!("job"),
        json!(" "),
        json!(7),
        json!(null),
    ];
    for event in &events {
        for name in &names {
            for version in [json!("1.0"), json!("0.3"), json!("0.2"), json!(1.0), json!("1")] {
                let cloud = json!({"specversion": version, "type": name, "data": event});
                agrees(cloud.clone());
                agrees(json!({"job": "x", "data": cloud}));
                agrees(json!({"job": "appointment.created", "data": cloud}));
                agrees(json!({"job": "", "displayName": name, "data": cloud}));
            }
            agrees(json!({"job": name, "data": event}));
            agrees(json!({"job": "", "displayName": name, "data": event}));
            for (encoding, data) in
                [("base64", json!("7")), ("BASE64", event.clone()), ("utf-8", event.clone())]
            {
                let cloud = json!({"specversion": "0.3", "type": name, "datacontentencoding": encoding, "data": data});
                agrees(cloud.clone());
            }
            agrees(json!({"specversion": "1.0", "type": name}));
            agrees(json!({"specversion": "1.0", "type": name, "data_base64": event}));
        }
    }
}

thread_local! {
    // Compiling it takes longer than a check.
    static ALL: Schema = Schema::compile(contract::event_schema());
}

proptest! {
    #[test]
    fn schema_and_decoder_agree_on_any_json(body in any_json(), wrap in 0..6) {
        let body = match wrap {
            0 => body,
            1 => native(&body),
            2 => json!({"job": "appointment.created", "data": body}),
            3 => json!({"specversion": "1.0", "type": "appointment.created", "data": body}),
            4 => json!({"job": "App", "data": {"specversion": "1.0", "data": body}}),
            _ => json!({"triggerEvent": "BOOKING_CREATED", "payload": body}),
        };
        ALL.with(|all| all.check_agreement(&body))?;
    }

    #[test]
    fn schema_and_decoder_agree_on_any_changed_event(
        which in any::<prop::sample::Index>(),
        index in any::<prop::sample::Index>(),
        value in any_json(),
    ) {
        let fixtures = fixtures();
        let mut body = which.get(&fixtures).1.clone();
        let mut all_pointers: Vec<String> = Vec::new();
        pointers(&body, String::new(), &mut all_pointers);
        *body.pointer_mut(index.get(&all_pointers[..]).as_str()).unwrap() = value;
        ALL.with(|all| all.check_agreement(&body))?;
    }
}
