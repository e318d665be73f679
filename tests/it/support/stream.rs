//! A long stream of mixed events for three salons, and the required final state, whichever worker decides
//! the events and in whatever order.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{Stack, World};

const COMPANIES: u32 = 3;
/// The number of events about one appointment, on average.
const EACH: u32 = 5;

/// The step of the shuffle: a prime.
const STEP: usize = 7919;

/// The kinds of events in a stream.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mix {
    /// Everything.
    All,
    /// No event that ends as a dead letter.
    Decidable,
    /// Only dead letters: events that cannot be read, and events with a company other than the
    /// appointment's.
    Dead,
}

pub(crate) struct Stream {
    /// The events in the order in which they are published; some occur twice.
    pub(crate) events: Vec<Value>,
    /// The outcome of each event id; `None` where it depends on the order of arrival.
    outcomes: BTreeMap<String, Option<&'static str>>,
    /// The final staff and host of each appointment.
    appointments: BTreeMap<u32, String>,
    /// The company, host and staff of each final mapping.
    mappings: BTreeSet<String>,
    dead: usize,
}

impl Stream {
    /// Creates `count` events. Newer ones come before older ones about half of the time.
    pub(crate) fn new(count: u32, mix: Mix) -> Self {
        let appointments = (count / EACH).max(1);
        let mut stream = Self {
            events: Vec::new(),
            outcomes: BTreeMap::new(),
            appointments: (1..=appointments).map(|id| (id, "-/-".to_owned())).collect(),
            mappings: BTreeSet::new(),
            dead: 0,
        };
        let made: Vec<Value> = (0..count).map(|n| stream.event(n, mix)).collect();
        // A fixed shuffle: in steps of a prime, every event is visited once.
        assert!(!made.len().is_multiple_of(STEP), "the shuffle would not visit every event");
        let shuffled = (0..made.len()).map(|n| made[n * STEP % made.len()].clone());
        for (n, event) in shuffled.enumerate() {
            if n % 50 == 0 && stream.outcomes[event["event_id"].as_str().unwrap()] != Some("dead_letter") {
                stream.events.push(event.clone());
            }
            stream.events.push(event);
        }
        stream
    }

    /// Returns every host of any stream, with its company.
    pub(crate) fn hosts() -> impl Iterator<Item = (u32, u64)> {
        let all = (1..=COMPANIES).flat_map(|company| (1..=8).map(move |n| (company, n)));
        all.map(|(company, n)| (company, host(company, n).0["id"].as_u64().unwrap()))
    }

    fn event(&mut self, n: u32, mix: Mix) -> Value {
        let count = u32::try_from(self.appointments.len()).unwrap();
        let appointment = n % count + 1;
        let company = appointment % COMPANIES + 1;
        let (host, staff) = host(company, (n / 7 + n / count) % 8 + 1);
        let id = format!("e{n}");
        let seconds = n % 60;
        let mut event = json!({
            "event": "appointment.created", "event_id": id,
            "calcom_booking": {
                "uid": format!("L{appointment}"), "hosts": [host.clone()],
                "updatedAt": format!("2026-03-{:02}T{:02}:{:02}:{seconds:02}Z", n / 86400 + 1, n / 3600 % 24, n / 60 % 60),
            }
        });
        let kind = if mix == Mix::Dead { 8 + n % 2 } else { n % 97 };
        let outcome = match kind {
            1..=3 => {
                event["event"] = json!("appointment.cancelled");
                Some("recorded")
            }
            4..=5 => {
                event["calcom_booking"]["hosts"] = json!([]);
                Some("no_host")
            }
            6 => {
                event = json!({ "triggerEvent": "MEETING_STARTED", "event_id": id, "bookingId": n });
                Some("ignored")
            }
            7..=8 if mix != Mix::Decidable => {
                event["company_id"] = json!(company % COMPANIES + 1);
                Some("dead_letter")
            }
            9 if mix != Mix::Decidable => {
                event["calcom_booking"] = json!("not a booking");
                Some("dead_letter")
            }
            10 if mix != Mix::Decidable => {
                event["calcom_booking"]["uid"] = json!(format!("unknown-{n}"));
                Some("dead_letter")
            }
            _ => {
                if let Some(staff) = staff {
                    self.mappings.insert(format!("{company}|{}|{staff}|1", host["id"]));
                }
                // Events are created in the order of time, so the last one about an appointment counts.
                let staff = staff.map_or("-".to_owned(), |staff| staff.to_string());
                self.appointments.insert(appointment, format!("{staff}/{}", host["id"]));
                None
            }
        };
        self.dead += usize::from(outcome == Some("dead_letter"));
        self.outcomes.insert(id, outcome);
        event
    }

    /// Adds an event about `appointment`, which no other event uses, and which the database refuses to change. The
    /// event must become a dead letter.
    pub(crate) fn add_dead_letter(&mut self, appointment: u32, position: usize) {
        let company = appointment % COMPANIES + 1;
        let id = format!("d{appointment}");
        let booking = json!({
            "uid": format!("L{appointment}"), "hosts": [host(company, 1).0], "updatedAt": "2026-03-01T00:00:00Z",
        });
        let event = json!({ "event": "appointment.created", "event_id": id, "calcom_booking": booking });
        self.events.insert(position, event);
        self.appointments.insert(appointment, "-/-".to_owned());
        self.outcomes.insert(id, Some("dead_letter"));
        self.dead += 1;
    }

    /// Puts the newest event first and the oldest last.
    pub(crate) fn reverse(&mut self) {
        let number = |event: &Value| event["event_id"].as_str().unwrap()[1..].parse::<u32>().unwrap();
        self.events.sort_by_key(|event| std::cmp::Reverse(number(event)));
    }

    /// Repeats the whole stream this many times.
    pub(crate) fn repeat(&mut self, times: usize) {
        self.events = (0..times).flat_map(|_| self.events.clone()).collect();
    }

    /// Returns the number of different events.
    pub(crate) fn len(&self) -> usize {
        self.outcomes.len()
    }

    /// Creates the salons and the appointments.
    pub(crate) async fn insert_all(&self, world: &World) {
        self.insert_salons(world).await;
        self.insert_appointments(world).await;
    }

    /// Creates only companies and staff: events about an appointment are retried later.
    pub(crate) async fn insert_salons(&self, world: &World) {
        for company in 1..=COMPANIES {
            world.company(company).await;
            for n in 1..=5 {
                world.staff(company * 10 + n, company, &format!("Person Nr{n}"), &email(company, n)).await;
            }
            for n in 6..=7 {
                world.staff(company * 10 + n, company, &format!("Twin Nr{n}"), &email(company, 6)).await;
            }
        }
    }

    /// Creates the appointments.
    pub(crate) async fn insert_appointments(&self, world: &World) {
        let ids: Vec<u32> = self.appointments.keys().copied().collect();
        for ids in ids.chunks(1000) {
            let mut insert =
                "INSERT INTO appointments (id, company_id, calcom_v2_booking_id) VALUES ".to_owned();
            for (n, id) in ids.iter().enumerate() {
                let comma = if n == 0 { "" } else { ", " };
                write!(insert, "{comma}({id}, {}, 'L{id}')", id % COMPANIES + 1).unwrap();
            }
            world.run(&insert).await;
        }
    }

    /// Checks that every event has its outcome and its effects exactly once. Call it when no worker is running.
    pub(crate) async fn assert_done(&self, stack: &Stack) {
        let world = &stack.world;
        assert!(stack.is_empty().await, "a queue still has messages: {:?}", stack.queue.depth().await);
        let rows = world.rows("hostmatch_events", &["event_id", "outcome"]).await;
        let rows: BTreeMap<&str, &str> = rows.iter().map(|row| row.split_once('|').unwrap()).collect();
        assert!(rows.keys().eq(self.outcomes.keys()), "exactly one outcome for every event");
        let decided = ["assigned", "unchanged", "stale", "needs_review", "unmatched"];
        for (id, expected) in &self.outcomes {
            let found = rows[id.as_str()];
            let is_expected = expected.map_or(decided.contains(&found), |expected| expected == found);
            assert!(is_expected, "{id}: {found} instead of {expected:?}");
        }
        let dead = world.test.strings("SELECT event_id FROM hostmatch_dead_letters").await;
        assert_eq!(dead.len(), self.dead, "one dead letter for each event that must become one");
        let different: BTreeSet<&String> = dead.iter().collect();
        assert_eq!(different.len(), self.dead, "no dead letter is recorded twice");
        assert!(dead.iter().all(|id| self.outcomes[id] == Some("dead_letter")));

        assert_eq!(
            world.appointments().await,
            self.appointments,
            "the newest event of each appointment counts"
        );
        self.assert_audited(world).await;
    }

    /// Checks that the mappings are as required, and that replaying their audits gives the same rows.
    async fn assert_audited(&self, world: &World) {
        let active = |value: &str| if ["1", "true"].contains(&value) { "1" } else { "0" }.to_owned();
        let columns = ["company_id", "calcom_host_id", "staff_id", "is_active"];
        let rows = world.rows("calcom_host_mappings", &columns).await;
        let rows: BTreeSet<String> = rows
            .iter()
            .map(|row| row.rsplit_once('|').map(|(key, value)| format!("{key}|{}", active(value))).unwrap())
            .collect();
        assert_eq!(rows, self.mappings);
        assert_eq!(world.count("calcom_host_mappings").await, i64::try_from(rows.len()).unwrap());

        let columns = ["company_id", "calcom_host_id", "staff_id", "action"];
        let audits = world.rows("calcom_host_mapping_audits", &columns).await;
        let replayed: Vec<String> = audits
            .iter()
            .map(|row| row.strip_suffix("|auto_matched").map(|key| format!("{key}|1")).expect(row))
            .collect();
        assert_eq!(replayed, self.mappings.iter().cloned().collect::<Vec<_>>(), "one audit for each change");
        let states = world.rows("calcom_host_mapping_audits", &["new_values"]).await;
        assert!(
            states.iter().all(|state| serde_json::from_str::<Value>(state).unwrap()["is_active"] == true)
        );
    }
}

fn email(company: u32, n: u32) -> String {
    format!("person{n}@salon{company}.example")
}

/// Returns host `n` of a company, and the member of staff to whom it must be mapped. Host 8 has the same id in
/// every company.
fn host(company: u32, n: u32) -> (Value, Option<u32>) {
    let id = company * 1000 + n;
    match n {
        1..=4 => (json!({ "id": id, "name": "P.", "email": email(company, n) }), Some(company * 10 + n)),
        // This host matches by name only, which gives a suggestion.
        5 => (json!({ "id": id, "name": "Person Nr5", "email": "private@elsewhere.example" }), None),
        // Two people share this mailbox.
        6 => (json!({ "id": id, "name": "Twins", "email": email(company, 6) }), None),
        7 => (json!({ "id": id, "name": "Nobody Known" }), None),
        _ => (json!({ "id": 77, "name": "P.", "email": email(company, 1) }), Some(company * 10 + 1)),
    }
}
