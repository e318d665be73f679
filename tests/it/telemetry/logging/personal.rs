//! The personal data and the secrets of these tests, and the check that a log contains none of them.

use serde_json::{Value, json};

use super::encodings::decoded;

pub(super) const CALCOM_SECRET: &str = "whsec_Tannenzapfen";
pub(super) const GATEWAY_SECRET: &str = "gws_Lindwurm";
pub(super) const RETELL_KEY: &str = "key_Morgentau";
pub(super) const COLLECTORS: &str = "Bearer c0llect-Zauberwort";
pub(super) const PASSWORD: &str = "pw-Siebenschlaefer";

/// A member of staff whose host matches by address.
pub(super) const FRIEDA: (&str, &str) = ("Frieda Morgenroth", "frieda.morgenroth@salon.example");
/// A member of staff whose host matches by name only.
pub(super) const BORIS: (&str, &str) = ("Boris Kammerlander", "boris.kammerlander@salon.example");
/// Unknown hosts with the same address.
pub(super) const STRANGERS: [&str; 2] = ["Xaver Unbekannt", "Ylvi Fremdling"];
pub(super) const STRANGE_ADDRESS: &str = "kollektiv@fremde.example";

/// Strings that must not be in any log, in upper or lower case.
pub(super) const PERSONAL: [&str; 33] = [
    "Frieda",
    "Morgenroth",
    "Boris",
    "Kammerlander",
    "Xaver",
    "Unbekannt",
    "Ylvi",
    "Fremdling",
    "fremde.example",
    "salon.example",
    "Salon 1",
    "Wanda",
    "Quill",
    "wanda.quill",
    "gast.example",
    "170 5550199",
    "1705550199",
    "henna",
    "Balayage",
    "very small dog",
    "Europe/Reykjavik",
    "Gundula",
    "Rumpel",
    "203.0.113.77",
    "Tannenzapfen",
    "Lindwurm",
    "Morgentau",
    "Zauberwort",
    "Siebenschlaefer",
    "because of Wanda",
    "moves to Weimar",
    "reveal-Goldregen",
    "SELECT ",
];

/// Returns an event of the gateway, with all the fields of a real one.
pub(super) fn native(id: &str, uid: &str, host: (i64, &str, &str)) -> Value {
    let (host, name, email) = host;
    json!({
        "event": "appointment.created", "event_id": id, "call_id": "+49 170 5550199",
        "calcom_booking": {
            "uid": uid, "title": format!("Balayage for Wanda Quill ({id})"), "start": "2099-03-02T09:00:00Z",
            "updatedAt": "2026-03-01T08:00:00.000Z",
            "hosts": [{ "id": host, "name": name, "email": email, "username": "frieda.morgenroth", "timeZone": "Europe/Reykjavik" }],
            "attendees": [{ "name": "Wanda Quill", "email": "wanda.quill@gast.example", "phoneNumber": "+49 170 5550199" }],
            "bookingFieldsResponses": { "notes": "allergic to henna", "email": "wanda.quill@gast.example" },
            "location": "203.0.113.77",
        }
    })
}

/// Returns Cal.com's own webhook.
pub(super) fn webhook(uid: &str) -> Value {
    json!({
        "triggerEvent": "BOOKING_CREATED", "createdAt": "2026-03-01T08:00:00.000Z",
        "payload": {
            "uid": uid, "bookingId": 880_001, "title": "Balayage between Frieda M. and Wanda Quill",
            "startTime": "2099-03-02T10:00:00Z", "endTime": "2099-03-02T10:30:00Z", "status": "ACCEPTED",
            "organizer": { "id": 2_000_001, "name": FRIEDA.0, "email": FRIEDA.1, "timeZone": "Europe/Reykjavik" },
            "attendees": [{ "name": "Wanda Quill", "email": "wanda.quill@gast.example" }],
            "additionalNotes": "brings a very small dog",
        }
    })
}

/// Fails with the lines of a log that contain personal data or a secret, in any usual encoding.
pub(super) fn assert_absent(what: &str, text: &str, more: &[&str]) {
    let text = &decoded(text);
    let lowercase = text.to_lowercase();
    for personal in PERSONAL.iter().chain(more) {
        if lowercase.contains(&personal.to_lowercase()) {
            let shown: Vec<_> = text
                .lines()
                .filter(|line| line.to_lowercase().contains(&personal.to_lowercase()))
                .take(3)
                .collect();
            panic!("{what}: {personal:?} in {shown:?}");
        }
    }
}
