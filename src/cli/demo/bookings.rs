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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Expected<'a> {
    /// The outcome by name; `dead_letter` is one here.
    pub(super) outcome: &'a str,
    /// The code that says more, where there is one.
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
    /// Its reference.
    pub(super) booking: &'static str,
    /// What is posted, in a few words.
    pub(super) what: &'static str,
    /// Where.
    pub(super) route: Route,
    /// The bytes.
    pub(super) body: String,
    /// Its appointment is made only after it could not be found once.
    pub(super) appointment_is_late: bool,
    /// What it is to become.
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

impl Expected<'static> {
    const fn new(outcome: &'static str) -> Self {
        Self { outcome, reason: None, staff: None, found_by: None, retried: false }
    }

    const fn because(self, reason: &'static str) -> Self {
        Self { reason: Some(reason), ..self }
    }

    const fn assigned(staff: &'static str, strategy: &'static str) -> Self {
        Self { staff: Some(staff), found_by: Some((strategy, 95)), ..Self::new("assigned") }
    }
}

/// All of them.
pub(super) fn all() -> Vec<Posting> {
    let mut all = decided();
    all.extend(in_trouble());
    all
}

/// The event that is left for the reader: a host of whom only the name was known shows the work
/// address, so that the booking that waits for this host is settled as well.
pub(super) fn next() -> Value {
    native("appointment.created", "demo-next", Some(SALON), &booking("ABC132", Some(JONAS_WEBER), 1))
}

/// Those that are decided at once.
fn decided() -> Vec<Posting> {
    let created = |reference, host| webhook("BOOKING_CREATED", reference, host).to_string();
    let answer = json!({ "status": "success", "data": booking("ABC128", None, 5) });
    vec![
        posting(
            "ABC123",
            "gateway: a host with her work address",
            Route::Retell,
            native(
                "appointment.created",
                "demo-123",
                Some(SALON),
                &booking("ABC123", Some(CLARA_SOMMER), 10),
            )
            .to_string(),
            Expected::assigned("Clara Sommer", "email"),
        ),
        posting(
            "ABC124",
            "Cal.com: the same host, private address",
            Route::Calcom,
            created("ABC124", CLARA_AT_HOME),
            Expected::assigned("Clara Sommer", "existing"),
        ),
        posting(
            "ABC125",
            "Cal.com: a host known by name only",
            Route::Calcom,
            created("ABC125", JONAS_AT_HOME),
            Expected::new("needs_review").because("below_threshold"),
        ),
        posting(
            "ABC126",
            "Cal.com: a name that two of the staff have",
            Route::Calcom,
            created("ABC126", ANNA_KOCH),
            Expected::new("needs_review").because("ambiguous"),
        ),
        posting(
            "ABC127",
            "Cal.com: a host whom nobody knows",
            Route::Calcom,
            created("ABC127", SOFIA_LIND),
            Expected::new("unmatched"),
        ),
        posting(
            "ABC128",
            "gateway: a booking without hosts",
            Route::Events,
            native("appointment.created", "demo-128", Some(SALON), &answer).to_string(),
            Expected::new("no_host"),
        ),
    ]
}

/// Those on which something goes wrong on the way.
fn in_trouble() -> Vec<Posting> {
    let mut cut_off = webhook("BOOKING_CREATED", "ABC129", CLARA_AT_HOME).to_string();
    cut_off.truncate(cut_off.len() / 2);
    let late = Posting {
        appointment_is_late: true,
        ..posting(
            "ABC130",
            "Cal.com: sooner than its appointment",
            Route::Calcom,
            webhook("BOOKING_CREATED", "ABC130", MIRA_AYDIN).to_string(),
            Expected { retried: true, ..Expected::assigned("Mira Aydin", "email") },
        )
    };
    let older = booking("ABC123", Some(MIRA_AYDIN), 60);
    let stale = Expected { outcome: "stale", ..Expected::assigned("Clara Sommer", "email") };
    let neighbours = booking("ABC131", Some(TOM_BERGER), 5);
    vec![
        posting(
            "ABC129",
            "Cal.com: signed, but cut off halfway",
            Route::Calcom,
            cut_off,
            Expected::new(DEAD_LETTER).because("malformed"),
        ),
        late,
        posting(
            "ABC123",
            "gateway: an hour old, with another host",
            Route::Events,
            native("appointment.updated", "demo-123-old", Some(SALON), &older).to_string(),
            stale,
        ),
        posting(
            "ABC131",
            "gateway: another company's appointment",
            Route::Events,
            native("appointment.created", "demo-131", Some(SALON), &neighbours).to_string(),
            Expected::new(DEAD_LETTER).because("tenant_mismatch"),
        ),
    ]
}

fn posting(
    booking: &'static str,
    what: &'static str,
    route: Route,
    body: String,
    expected: Expected<'static>,
) -> Posting {
    Posting { booking, what, route, body, appointment_is_late: false, expected }
}
