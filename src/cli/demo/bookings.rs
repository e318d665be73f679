//! The bookings of the demo. `bookings.json` lists the postings and their expected outcomes: first the
//! bookings that are decided at once, then those with a problem. `native.json` is the gateway's own event,
//! with the booking as Cal.com's API (2024-08-13) returns it; `webhook.json` is Cal.com's webhook, which has
//! an organizer and no `hosts`, and may show another address.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::contract;
use crate::runtime::clock::{now_ms, rfc3339};

/// The route for Cal.com's webhooks, signed by Cal.com. The others are the gateway's, with its bearer token.
pub(super) const CALCOM: &str = "/webhooks/calcom";

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 1440 * MINUTE_MS;

/// The script of the demo.
#[derive(Debug, Deserialize)]
pub(super) struct Script {
    pub(super) postings: Vec<Posting>,
    /// The event that the user publishes: a host known only by name now has the work address, so that the
    /// booking that waits for this host is decided too.
    pub(super) next: Posting,
}

/// One booking of the demo.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Posting {
    pub(super) booking: String,
    /// A short description of the posting.
    pub(super) what: String,
    pub(super) route: String,
    /// The type of the gateway's event, without its prefix, and the event's id.
    event: String,
    id: String,
    /// How many minutes ago the booking was last changed.
    minutes: i64,
    pub(super) host: Host,
    without_hosts: bool,
    /// Whether only half of the body is posted.
    cut_off: bool,
    /// Whether the appointment is created only after a first attempt has not found it.
    pub(super) appointment_is_late: bool,
    /// The expected outcome, in the words of `verdict`.
    pub(super) expected: String,
}

/// A Cal.com user, as a booking shows it.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Host {
    pub(super) id: i64,
    pub(super) name: String,
    /// The address, which may differ from the one in the salon's data.
    pub(super) email: String,
}

/// Reads the script.
///
/// # Errors
/// Fails if the built-in file is invalid, which is a bug in hostmatch.
pub(super) fn script() -> serde_json::Result<Script> {
    serde_json::from_str(include_str!("bookings.json"))
}

impl Posting {
    /// Builds the event as its sender would write it now.
    pub(super) fn event(&self) -> Value {
        let now = now_ms();
        let values = [
            ("{event}", json!(self.event)),
            ("{event_id}", json!(self.id)),
            ("{uid}", json!(self.booking)),
            ("{host_id}", json!(self.host.id)),
            ("{host_name}", json!(self.host.name)),
            ("{host_email}", json!(self.host.email)),
            ("{host_username}", json!(self.host.name.to_lowercase().replace(' ', "-"))),
            ("{now}", json!(rfc3339(now))),
            ("{created}", json!(rfc3339(now - (self.minutes + 1) * MINUTE_MS))),
            ("{updated}", json!(rfc3339(now - self.minutes * MINUTE_MS))),
            ("{day}", json!(rfc3339(now + 3 * DAY_MS)[..10])),
        ];
        if self.route == CALCOM {
            return contract::fill_in(include_str!("webhook.json"), &values);
        }
        let mut event = contract::fill_in(include_str!("native.json"), &values);
        if self.without_hosts {
            // Responses of an older version of the API have no `hosts` at all.
            let mut booking = event["calcom_booking"].take();
            booking.as_object_mut().map(|members| members.remove("hosts"));
            event["calcom_booking"] = json!({ "status": "success", "data": booking });
        }
        event
    }

    /// Returns the body to post.
    pub(super) fn body(&self) -> String {
        let mut body = self.event().to_string();
        if self.cut_off {
            body.truncate(body.len() / 2);
        }
        body
    }
}
