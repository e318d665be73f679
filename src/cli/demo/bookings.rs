//! The bookings of the demo, in the order in which they are posted, and what each is to become. The
//! gateway's own event is in `native.json`, with the booking as Cal.com's API (2024-08-13) answers;
//! Cal.com's webhook, which has an organizer and no `hosts`, in `webhook.json`.

use serde_json::{Value, json};

use super::salon::SALON;
use crate::contract;
use crate::runtime::clock::{now_ms, rfc3339};

/// The route that the gateway has always used for its own events, with its bearer token.
const RETELL: &str = "/api/retell/webhook";
/// The route for programs, with the same token.
const EVENTS: &str = "/v1/events";
/// The route for Cal.com's webhooks, signed by Cal.com.
pub(super) const CALCOM: &str = "/webhooks/calcom";

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 1440 * MINUTE_MS;

/// One booking of the demo.
#[derive(Debug)]
pub(super) struct Posting {
    pub(super) booking: &'static str,
    /// What is posted, in a few words.
    pub(super) what: &'static str,
    pub(super) route: &'static str,
    pub(super) body: String,
    /// Its appointment is made only after it could not be found once.
    pub(super) appointment_is_late: bool,
    /// What it is to become, as `verdict` says it.
    pub(super) expected: &'static str,
}

/// A Cal.com user, as a booking shows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Person {
    pub(super) id: i64,
    pub(super) name: &'static str,
    /// The address, which need not be the one that the salon knows.
    pub(super) email: &'static str,
    username: &'static str,
}

const fn person(id: i64, name: &'static str, email: &'static str, username: &'static str) -> Person {
    Person { id, name, email, username }
}

const CLARA: Person = person(1_420_209, "Clara Sommer", "clara.sommer@salon.example", "clara-sommer");
// Cal.com's webhooks may show another address than its API does.
const CLARA_AT_HOME: Person = Person { email: "clara@home.example", ..CLARA };
const ANNA: Person = person(1_420_277, "Anna Koch", "anna@home.example", "anna-koch");
const SOFIA: Person = person(1_420_288, "Sofia Lind", "sofia@freelance.example", "sofia-lind");
const MIRA: Person = person(1_420_299, "Mira Aydin", "mira.aydin@salon.example", "mira-aydin");
const TOM: Person = person(1_420_311, "Tom Berger", "tom@barber.example", "tom-berger");

/// The host whose name alone is not enough, for commands that ask about it.
pub(super) const UNSURE: Person = Person { email: "jonas@home.example", ..CERTAIN };
/// The same person, whom an address makes certain.
pub(super) const CERTAIN: Person =
    person(1_420_233, "Jonas Weber", "jonas.weber@salon.example", "jonas-weber");

/// All of them: first those that are decided at once, then those on which something goes wrong on the way.
pub(super) fn all() -> Vec<Posting> {
    let posting = |route, booking, what, event: Value, expected| Posting {
        booking,
        what,
        route,
        body: event.to_string(),
        appointment_is_late: false,
        expected,
    };
    let gateway = |booking, what, event, expected| posting(EVENTS, booking, what, event, expected);
    let calcom = |booking, what, organizer, expected| {
        posting(CALCOM, booking, what, webhook(booking, organizer), expected)
    };

    let known = native(("created", "demo-123"), "ABC123", CLARA, 10);
    let older = native(("updated", "demo-123-old"), "ABC123", MIRA, 60);
    let neighbours = native(("created", "demo-131"), "ABC131", TOM, 5);
    // Answers of an older version of the API have no `hosts` at all.
    let mut without_hosts = native(("created", "demo-128"), "ABC128", CLARA, 5);
    let mut booking = without_hosts["calcom_booking"].take();
    booking.as_object_mut().map(|members| members.remove("hosts"));
    without_hosts["calcom_booking"] = json!({ "status": "success", "data": booking });
    let mut cut_off =
        calcom("ABC129", "Cal.com: signed, but cut off halfway", CLARA_AT_HOME, "dead_letter (malformed)");
    cut_off.body.truncate(cut_off.body.len() / 2);
    let late = calcom(
        "ABC130",
        "Cal.com: sooner than its appointment",
        MIRA,
        "assigned, Mira Aydin, by email 95, after a retry",
    );
    vec![
        posting(
            RETELL,
            "ABC123",
            "gateway: a host with her work address",
            known,
            "assigned, Clara Sommer, by email 95",
        ),
        calcom(
            "ABC124",
            "Cal.com: the same host, private address",
            CLARA_AT_HOME,
            "assigned, Clara Sommer, by existing 95",
        ),
        calcom("ABC125", "Cal.com: a host known by name only", UNSURE, "needs_review (below_threshold)"),
        calcom("ABC126", "Cal.com: a name that two of the staff have", ANNA, "needs_review (ambiguous)"),
        calcom("ABC127", "Cal.com: a host whom nobody knows", SOFIA, "unmatched"),
        gateway("ABC128", "gateway: a booking without hosts", without_hosts, "no_host"),
        cut_off,
        Posting { appointment_is_late: true, ..late },
        gateway(
            "ABC123",
            "gateway: an hour old, with another host",
            older,
            "stale, Clara Sommer, by email 95",
        ),
        gateway(
            "ABC131",
            "gateway: another company's appointment",
            neighbours,
            "dead_letter (tenant_mismatch)",
        ),
    ]
}

/// The event that is left for the reader: a host of whom only the name was known shows the work
/// address, so that the booking that waits for this host is settled as well.
pub(super) fn next() -> Value {
    native(("created", "demo-next"), "ABC132", CERTAIN, 1)
}

/// The gateway's own event, of this type and with this id, about a booking that was changed so many
/// minutes ago.
fn native((event, event_id): (&str, &str), booking: &str, host: Person, minutes: i64) -> Value {
    let minutes_ago = |minutes: i64| json!(rfc3339(now_ms() - minutes * MINUTE_MS));
    let values = [
        ("{event}", json!(event)),
        ("{event_id}", json!(event_id)),
        ("{company}", json!(SALON)),
        ("{created}", minutes_ago(minutes + 1)),
        ("{updated}", minutes_ago(minutes)),
    ];
    filled(include_str!("native.json"), booking, host, &values)
}

fn webhook(booking: &str, organizer: Person) -> Value {
    filled(include_str!("webhook.json"), booking, organizer, &[])
}

fn filled(event: &str, booking: &str, host: Person, more: &[(&str, Value)]) -> Value {
    let now = now_ms();
    let values = [
        ("{uid}", json!(booking)),
        ("{host_id}", json!(host.id)),
        ("{host_name}", json!(host.name)),
        ("{host_email}", json!(host.email)),
        ("{host_username}", json!(host.username)),
        ("{now}", json!(rfc3339(now))),
        ("{day}", json!(rfc3339(now + 3 * DAY_MS)[..10])),
    ];
    contract::filled(event, &[&values, more].concat())
}
