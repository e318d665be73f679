//! Masks personal data in messages: every string and number, unless its key is known to be harmless and a
//! string has a harmless form. Unknown fields are masked, because senders add fields over time.

use serde::Serialize;
use serde_json::{Map, Value};

/// The replacement for a masked value.
pub(crate) const MASK: &str = "***";

/// Keys of ids, types, states and times.
const PLAIN_KEYS: &str = "id uid event event_id event_type triggerEvent type status success schema_version specversion \
    appointment_id company_id branch_id service_id call_id bookingId bookingUid eventTypeId userId \
    organizerId seatUid rescheduledFromUid rescheduledToUid rescheduleUid recurringBookingUid \
    timeZone created_at createdAt updatedAt occurred_at pushedAt time timestamp start startTime end \
    endTime duration length";

/// Keys inside form fields. The keys themselves are never a person's input.
const FORM_KEYS: &str = "name email phone phoneNumber location notes guests title label value id";

/// Keys of objects that people or programs fill in freely: neither their keys nor their values are known.
const FREE_FORM_KEYS: [&str; 6] =
    ["responses", "bookingFieldsResponses", "userFieldsResponses", "customInputs", "metadata", "attendees"];

/// The maximum number of bytes shown of a body that is not JSON.
pub(crate) const MAX_SHOWN_BYTES: usize = 4096;

/// A message's body, as JSON, masked unless revealed.
#[derive(Debug, Serialize)]
pub(crate) struct PayloadView {
    pub(crate) bytes: usize,
    pub(crate) revealed: bool,
    #[serde(flatten)]
    pub(crate) content: Content,
}

/// The content of a body, or its beginning. A body that is not JSON cannot be masked: it is
/// shown only when revealed.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Content {
    Json { value: Value },
    Text { text: Option<String> },
    Binary { hex: Option<String> },
}

impl PayloadView {
    /// Creates the view of these bytes.
    pub(crate) fn of(body: &[u8], revealed: bool) -> Self {
        let content = match (serde_json::from_slice::<Value>(body), std::str::from_utf8(body)) {
            (Ok(value), _) if revealed => Content::Json { value },
            (Ok(value), _) => Content::Json { value: mask(&value, Place::Unknown) },
            (Err(_), Ok(text)) => {
                let end = text.floor_char_boundary(MAX_SHOWN_BYTES);
                Content::Text { text: revealed.then(|| text[..end].to_owned()) }
            }
            (Err(_), Err(_)) => {
                let end = body.len().min(MAX_SHOWN_BYTES);
                Content::Binary { hex: revealed.then(|| hex::encode(&body[..end])) }
            }
        };
        Self { bytes: body.len(), revealed, content }
    }
}

/// Masks a name that a sender chose, unless it has the form of an id, type or time.
pub(crate) fn masked_name(name: &str) -> String {
    if is_plain(name) { name.to_owned() } else { MASK.to_owned() }
}

/// Masks a header unless it is one of hostmatch's own or a trace header.
pub(crate) fn masked_header(name: &str, value: &str) -> String {
    let known = name.starts_with("x-hostmatch-") || matches!(name, "traceparent" | "tracestate");
    if known { value.to_owned() } else { MASK.to_owned() }
}

/// What is known about the place of a value in the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// The value of one of the plain keys.
    Plain,
    /// The value of an unknown key.
    Unknown,
    /// Anywhere inside an object that is filled in freely.
    Free,
}

fn mask(value: &Value, place: Place) -> Value {
    match value {
        Value::Null | Value::Bool(_) => value.clone(),
        Value::Number(_) if place == Place::Plain => value.clone(),
        Value::String(text) if place == Place::Plain && is_plain(text) => value.clone(),
        Value::Number(_) | Value::String(_) => Value::from(MASK),
        Value::Array(items) => items.iter().map(|item| mask(item, place)).collect(),
        Value::Object(object) => Value::Object(mask_object(object, place)),
    }
}

fn mask_object(object: &Map<String, Value>, place: Place) -> Map<String, Value> {
    let mut masked = Map::new();
    for (number, (key, value)) in object.iter().enumerate() {
        let value_place = match key.as_str() {
            _ if place == Place::Free => Place::Free,
            key if FREE_FORM_KEYS.contains(&key) => Place::Free,
            key if is_in(key, PLAIN_KEYS) => Place::Plain,
            _ => Place::Unknown,
        };
        // A key may also be an address. Masked keys are numbered, so that they stay distinct.
        let hidden =
            place == Place::Free && !is_in(key, FORM_KEYS) && !is_in(key, PLAIN_KEYS) || !is_plain(key);
        let key = if hidden { format!("{MASK}{}", number + 1) } else { key.clone() };
        masked.insert(key, mask(value, value_place));
    }
    masked
}

/// Returns whether the string has the form of an id, type or time: short, without spaces and `@`.
fn is_plain(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.:+/".contains(c);
    text.len() <= 64 && text.chars().all(plain)
}

/// Returns whether the key is one of these words.
fn is_in(key: &str, words: &str) -> bool {
    words.split(' ').any(|word| word == key)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_values_known_to_be_harmless_are_shown() {
        let event = json!({
            "event": "appointment.created", "company_id": 15, "phone_number": 491_701_234_567_i64,
            "calcom_booking": {
                "uid": "Bk-1", "id": 7, "status": "accepted", "start": "2026-03-02T09:00:00+01:00",
                "title": "Cut for Jane Roe", "paid": false, "location": null,
                "hosts": [{ "id": 9, "name": "Mara Lind", "email": "mara@salon.example", "timeZone": "Europe/Berlin" }],
                "attendees": [{ "id": 5, "name": "Jane Roe", "status": "widowed" }],
                "responses": { "allergies?": "nuts", "id": "AB1234567", "email": { "value": "jane@roe.example" } },
                "jane@roe.example": 1, "type": "Jane Roe",
            }
        });
        let expected = json!({
            "event": "appointment.created", "company_id": 15, "phone_number": "***",
            "calcom_booking": {
                "uid": "Bk-1", "id": 7, "status": "accepted", "start": "2026-03-02T09:00:00+01:00",
                "title": "***", "paid": false, "location": null,
                "hosts": [{ "id": 9, "name": "***", "email": "***", "timeZone": "Europe/Berlin" }],
                "attendees": [{ "id": "***", "name": "***", "status": "***" }],
                "type": "***",
            }
        });
        let mut shown = mask(&event, Place::Unknown);
        let booking = shown["calcom_booking"].as_object_mut().unwrap();
        let responses = booking.remove("responses").unwrap().to_string();
        assert!(!responses.contains("allerg") && !responses.contains("AB12") && !responses.contains("jane"));
        booking.retain(|key, _| !key.starts_with(MASK));
        assert_eq!(shown, expected);
        assert!(!mask(&event, Place::Unknown).to_string().contains("jane@"));
    }

    #[test]
    fn a_body_that_is_not_json_is_shown_only_when_revealed() {
        let text = b"{\"name\": \"Jane Roe\",";
        assert!(!format!("{:?}", PayloadView::of(text, false)).contains("Jane"));
        assert!(format!("{:?}", PayloadView::of(text, true)).contains("Jane"));
        let bytes = [&b"\xff\x00Jane"[..], &[b'x'; 5000]].concat();
        let hex = |revealed| match PayloadView::of(&bytes, revealed).content {
            Content::Binary { hex } => hex,
            other => panic!("{other:?}"),
        };
        assert_eq!(hex(false), None);
        let shown = hex(true).unwrap();
        assert!(shown.starts_with("ff004a61") && shown.len() == 2 * MAX_SHOWN_BYTES, "{shown}");
    }

    #[test]
    fn only_headers_of_hostmatch_and_of_traces_are_shown() {
        assert_eq!(masked_header("x-hostmatch-attempt", "6"), "6");
        assert_eq!(masked_header("authorization", "Bearer hunter2"), MASK);
    }
}
