//! Events as the gateway and Cal.com write them, about invented people.

use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

/// A Cal.com user, as a booking shows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Person {
    pub(super) id: i64,
    pub(super) name: &'static str,
    /// The address, which need not be the one that the salon knows.
    pub(super) email: &'static str,
    pub(super) username: &'static str,
}

/// The gateway's own event, with the booking as Cal.com's API answers.
pub(super) fn native(event: &str, event_id: &str, company: Option<i64>, booking: &Value) -> Value {
    let mut native = json!({
        "event": event,
        "event_id": event_id,
        "occurred_at": minutes_ago(0),
        "schema_version": 1,
        "call_id": format!("call_{event_id}"),
        "calcom_booking": booking,
    });
    if let Some(company) = company {
        native["company_id"] = company.into();
    }
    native
}

/// A booking of Cal.com's API (2024-08-13), last changed so many minutes ago; without a host it has
/// no `hosts` at all, as answers of an older version of the API have none.
pub(super) fn booking(uid: &str, host: Option<Person>, minutes: i64) -> Value {
    let mut booking = json!({
        "uid": uid,
        "title": "Cut and colour",
        "status": "accepted",
        "start": in_three_days(9, 0),
        "end": in_three_days(9, 45),
        "duration": 45,
        "eventTypeId": 2_563_193,
        "createdAt": minutes_ago(minutes + 1),
        "updatedAt": minutes_ago(minutes),
        "attendees": [{
            "name": "Lena Vogt", "email": "lena.vogt@guest.example", "timeZone": "Europe/Berlin",
            "language": "de", "absent": false,
        }],
        "bookingFieldsResponses": { "name": "Lena Vogt", "email": "lena.vogt@guest.example" },
        "metadata": {},
    });
    if let Some(host) = host {
        booking["hosts"] = json!([{
            "id": host.id, "name": host.name, "email": host.email, "displayEmail": host.email,
            "username": host.username, "timeZone": "Europe/Berlin",
        }]);
    }
    booking
}

/// Cal.com's own webhook: it has an organizer and no `hosts`.
pub(super) fn webhook(trigger: &str, uid: &str, organizer: Person) -> Value {
    json!({
        "triggerEvent": trigger,
        "createdAt": minutes_ago(0),
        "payload": {
            "type": "cut-and-colour",
            "title": format!("Cut and colour between {} and Lena Vogt", organizer.name),
            "startTime": in_three_days(9, 0),
            "endTime": in_three_days(9, 45),
            "length": 45,
            "eventTypeId": 2_563_193,
            "schedulingType": null,
            "organizer": {
                "id": organizer.id, "name": organizer.name, "email": organizer.email,
                "username": organizer.username, "timeZone": "Europe/Berlin", "timeFormat": "HH:mm",
                "language": { "locale": "de" }, "utcOffset": 120,
            },
            "attendees": [{
                "name": "Lena Vogt", "email": "lena.vogt@guest.example", "timeZone": "Europe/Berlin",
                "language": { "locale": "de" }, "utcOffset": 120,
            }],
            "responses": {
                "name": { "label": "your_name", "value": "Lena Vogt", "isHidden": false },
                "email": { "label": "email_address", "value": "lena.vogt@guest.example", "isHidden": false },
            },
            "location": "Rosengarten 7",
            "destinationCalendar": null,
            "iCalUID": format!("{uid}@cal.example"),
            "uid": uid,
            "metadata": {},
            "status": "ACCEPTED",
        },
    })
}

fn minutes_ago(minutes: i64) -> String {
    text(OffsetDateTime::now_utc() - Duration::minutes(minutes))
}

fn in_three_days(hour: u8, minute: u8) -> String {
    let day = OffsetDateTime::now_utc() + Duration::days(3);
    day.replace_time(time::Time::from_hms(hour, minute, 0).unwrap_or(time::Time::MIDNIGHT))
        .format(&Rfc3339)
        .unwrap_or_default()
}

fn text(time: OffsetDateTime) -> String {
    time.format(&Rfc3339).unwrap_or_default()
}
