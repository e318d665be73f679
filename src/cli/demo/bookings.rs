//! The bookings of the demo, in the order in which they are posted, and what each is to become.

use serde_json::{Value, json};

use super::salon::{CLARA, JONAS, MIRA, SALON, TOM};
use super::shapes::{Person, booking, native, webhook};
use crate::matching::DEAD_LETTER;

/// Where an event is posted, and with which proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// The gateway's own event, with its bearer token, to the route that it has always used.
    Retell,
    /// The same to the route for programs.
    Events,
    /// Cal.com's webhook, signed by Cal.com.
    Calcom,
}

impl Route {
    /// The path.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Retell => "/api/retell/webhook",
            Self::Events => "/v1/events",
            Self::Calcom => "/webhooks/calcom",
        }
    }
}

/// What a booking is to become.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Expected<'a> {
    /// The outcome by name; `dead_letter` is one here.
    pub(super) outcome: &'a str,
    pub(super) reason: Option<&'a str>,
    /// Who has the appointment in the end.
    pub(super) staff: Option<&'a str>,
    /// By which strategy and how surely the appointment's last decision was made.
    pub(super) found_by: Option<(&'a str, i64)>,
    /// It has to be tried more than once.
    pub(super) retried: bool,
}

/// One booking of the demo.
#[derive(Debug)]
pub(super) struct Posting {
    pub(super) booking: &'static str,
    /// What is posted, in a few words.
    pub(super) what: &'static str,
    pub(super) route: Route,
    pub(super) body: String,
    /// Its appointment is made only after it could not be found once.
    pub(super) appointment_is_late: bool,
    pub(super) expected: Expected<'static>,
}

const CLARA_SOMMER: Person =
    Person { id: 1_420_209, name: "Clara Sommer", email: CLARA, username: "clara-sommer" };
// Cal.com's webhooks may show another address than its API does.
const CLARA_AT_HOME: Person = Person { email: "clara@home.example", ..CLARA_SOMMER };
const JONAS_AT_HOME: Person =
    Person { id: 1_420_233, name: "Jonas Weber", email: "jonas@home.example", username: "jonas-weber" };
const JONAS_WEBER: Person = Person { email: JONAS, ..JONAS_AT_HOME };
const ANNA_KOCH: Person =
    Person { id: 1_420_277, name: "Anna Koch", email: "anna@home.example", username: "anna-koch" };
const SOFIA_LIND: Person =
    Person { id: 1_420_288, name: "Sofia Lind", email: "sofia@freelance.example", username: "sofia-lind" };
const MIRA_AYDIN: Person = Person { id: 1_420_299, name: "Mira Aydin", email: MIRA, username: "mira-aydin" };
const TOM_BERGER: Person = Person { id: 1_420_311, name: "Tom Berger", email: TOM, username: "tom-berger" };

/// The host whose name alone is not enough, for commands that ask about it.
pub(super) const UNSURE: Person = JONAS_AT_HOME;
/// The same person, whom an address makes certain.
pub(super) const CERTAIN: Person = JONAS_WEBER;

const fn became(outcome: &'static str, reason: Option<&'static str>) -> Expected<'static> {
    Expected { outcome, reason, staff: None, found_by: None, retried: false }
}

const fn has(staff: &'static str, strategy: &'static str, outcome: &'static str) -> Expected<'static> {
    Expected { staff: Some(staff), found_by: Some((strategy, 95)), ..became(outcome, None) }
}

/// All of them: first those that are decided at once, then those on which something goes wrong on the way.
pub(super) fn all() -> Vec<Posting> {
    const CLARA: Expected<'static> = has("Clara Sommer", "email", "assigned");
    let without_hosts = json!({ "status": "success", "data": booking("ABC128", None, 5) });
    let mut cut_off = calcom("ABC129", "Cal.com: signed, but cut off halfway", CLARA_AT_HOME);
    cut_off.body.truncate(cut_off.body.len() / 2);
    let late = Posting {
        appointment_is_late: true,
        ..calcom("ABC130", "Cal.com: sooner than its appointment", MIRA_AYDIN)
    };
    let older = booking("ABC123", Some(MIRA_AYDIN), 60);
    let known = booking("ABC123", Some(CLARA_SOMMER), 10);
    let neighbours = booking("ABC131", Some(TOM_BERGER), 5);
    vec![
        gateway("ABC123", "gateway: a host with her work address", ("created", "demo-123"), &known)
            .becomes(CLARA)
            .by(Route::Retell),
        calcom("ABC124", "Cal.com: the same host, private address", CLARA_AT_HOME).becomes(has(
            "Clara Sommer",
            "existing",
            "assigned",
        )),
        calcom("ABC125", "Cal.com: a host known by name only", JONAS_AT_HOME)
            .becomes(became("needs_review", Some("below_threshold"))),
        calcom("ABC126", "Cal.com: a name that two of the staff have", ANNA_KOCH)
            .becomes(became("needs_review", Some("ambiguous"))),
        calcom("ABC127", "Cal.com: a host whom nobody knows", SOFIA_LIND).becomes(became("unmatched", None)),
        gateway("ABC128", "gateway: a booking without hosts", ("created", "demo-128"), &without_hosts)
            .becomes(became("no_host", None)),
        cut_off.becomes(became(DEAD_LETTER, Some("malformed"))),
        late.becomes(Expected { retried: true, ..has("Mira Aydin", "email", "assigned") }),
        gateway("ABC123", "gateway: an hour old, with another host", ("updated", "demo-123-old"), &older)
            .becomes(has("Clara Sommer", "email", "stale")),
        gateway("ABC131", "gateway: another company's appointment", ("created", "demo-131"), &neighbours)
            .becomes(became(DEAD_LETTER, Some("tenant_mismatch"))),
    ]
}

/// The event that is left for the reader: a host of whom only the name was known shows the work
/// address, so that the booking that waits for this host is settled as well.
pub(super) fn next() -> Value {
    native("appointment.created", "demo-next", Some(SALON), &booking("ABC132", Some(JONAS_WEBER), 1))
}

/// The gateway's own event, to the route for programs. `event`: its type and its id.
fn gateway(
    booking: &'static str,
    what: &'static str,
    (event, id): (&str, &str),
    document: &Value,
) -> Posting {
    let event = native(&format!("appointment.{event}"), id, Some(SALON), document);
    posting(booking, what, Route::Events, &event)
}

/// Cal.com's webhook about a new booking.
fn calcom(booking: &'static str, what: &'static str, organizer: Person) -> Posting {
    posting(booking, what, Route::Calcom, &webhook("BOOKING_CREATED", booking, organizer))
}

fn posting(booking: &'static str, what: &'static str, route: Route, event: &Value) -> Posting {
    let (body, expected) = (event.to_string(), Expected::default());
    Posting { booking, what, route, body, appointment_is_late: false, expected }
}

impl Posting {
    fn becomes(self, expected: Expected<'static>) -> Self {
        Self { expected, ..self }
    }

    fn by(self, route: Route) -> Self {
        Self { route, ..self }
    }
}
