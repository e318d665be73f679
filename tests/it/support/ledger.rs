//! Counts what became of the events that were sent, by reading the database and the queue.
//!
//! ```ignore
//! let mut ledger = Ledger::open("broker restarted", &stack).await; // before anything is sent
//! ledger.publish(&stack, &events).await;      // or `record_sent`, for events that are sent in another way
//! …                                           // the fault, and the recovery from it
//! ledger.close(&stack).await;                 // when no worker is running
//! ```
//!
//! `close` writes the scenario's row of the report, and fails if anything was lost or happened twice.
//! Whether each event had the right outcome is checked by [`super::Stream`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use hostmatch::queue::{BatchLimits, Disposition, Gathered, Source};
use hostmatch::runtime::shutdown::Shutdown;
use serde_json::Value;

use super::report::{self, Row};
use super::{Backend, Stack, World, eventually};

/// Everything that was sent in one scenario.
pub(crate) struct Ledger {
    scenario: String,
    began: Instant,
    /// The number of times that each event was sent, by [`identity`]. `accepted` counts those that were
    /// confirmed.
    sent: BTreeMap<String, usize>,
    accepted: BTreeMap<String, usize>,
    /// The number of changes that a person made to the staff of each appointment.
    manual_changes: BTreeMap<i64, i64>,
    /// What else was measured, as text.
    measured: Vec<String>,
}

/// Descriptions of the problems found.
#[derive(Debug, Default)]
struct Findings {
    lost: Vec<String>,
    duplicated: Vec<String>,
}

impl Ledger {
    /// Begins to count: from now on the database records every change of an appointment's staff.
    pub(crate) async fn open(scenario: &str, stack: &Stack) -> Self {
        stack.world.test.run(&record_changes(stack.world.test.backend)).await;
        Self {
            scenario: scenario.to_owned(),
            began: Instant::now(),
            sent: BTreeMap::new(),
            accepted: BTreeMap::new(),
            manual_changes: BTreeMap::new(),
            measured: Vec::new(),
        }
    }

    /// Publishes these events until they are confirmed.
    pub(crate) async fn publish(&mut self, stack: &Stack, events: &[Value]) {
        stack.publish(events).await;
        for event in events {
            self.record_sent(event, true);
        }
    }

    /// Records that an event was sent and, with `accepted`, that the receiver confirmed it.
    pub(crate) fn record_sent(&mut self, event: &Value, accepted: bool) {
        *self.sent.entry(identity(event)).or_default() += 1;
        if accepted {
            *self.accepted.entry(identity(event)).or_default() += 1;
        }
    }

    /// Posts these events one by one to the edge at this address (`host:port`). Returns those that got no
    /// 2xx response.
    pub(crate) async fn post(&mut self, address: &str, events: &[Value]) -> Vec<Value> {
        let client = crate::support::http_client();
        let url = format!("http://{address}/api/retell/webhook");
        let mut refused = Vec::new();
        for event in events {
            let response = client.post(&url).json(event).send().await;
            let accepted = response.is_ok_and(|response| response.status().is_success());
            self.record_sent(event, accepted);
            if !accepted {
                refused.push(event.clone());
            }
        }
        refused
    }

    /// Records that a person changed the staff of this appointment.
    pub(crate) fn record_manual_change(&mut self, appointment: u32) {
        *self.manual_changes.entry(appointment.into()).or_default() += 1;
    }

    /// Adds a measured value to the row of the report. Fails if it is above its bound.
    pub(crate) fn assert_at_most(&mut self, what: &str, measured: usize, bound: usize, unit: &str) {
        let value = format!("{what}: {measured}{unit} (at most {bound}{unit})");
        assert!(measured <= bound, "{}: {value}", self.scenario);
        self.measured.push(value);
    }

    /// Adds to the row of the report how many of all were done. Fails if any was not.
    pub(crate) fn assert_all(&mut self, what: &str, done: usize, all: usize) {
        let value = format!("{what}: {done} of {all}");
        assert!(done == all, "{}: {value}", self.scenario);
        self.measured.push(value);
    }

    /// Adds a duration to the row of the report. Fails if it is longer than its bound.
    pub(crate) fn assert_within(&mut self, what: &str, duration: Duration, bound: Duration) {
        let value = format!("{what}: {:.1} s (at most {} s)", duration.as_secs_f64(), bound.as_secs());
        assert!(duration <= bound, "{}: {value}", self.scenario);
        self.measured.push(value);
    }

    /// Counts, writes the row of the report, and fails if anything was lost or happened twice. Call it when
    /// no worker is running.
    pub(crate) async fn close(self, stack: &Stack) {
        let duration = self.began.elapsed();
        let mut findings = Findings::default();
        self.events(stack, &mut findings).await;
        self.changes(&stack.world, &mut findings).await;
        audits(&stack.world, &mut findings).await;
        report::write(&Row {
            scenario: &self.scenario,
            backends: stack.backends(),
            attempted: self.sent.values().sum(),
            accepted: self.accepted.values().sum(),
            lost: findings.lost.len(),
            duplicated: Some(findings.duplicated.len()),
            duration,
            measured: &self.measured,
        });
        let is_clean = findings.lost.is_empty() && findings.duplicated.is_empty();
        assert!(is_clean, "{} ({}): {findings:#?}", self.scenario, stack.backends());
    }

    /// Checks that each accepted event is in exactly one state: decided, dead or still queued.
    async fn events(&self, stack: &Stack, findings: &mut Findings) {
        let decided =
            stack.world.rows("hostmatch_events WHERE outcome <> 'dead_letter'", &["event_id"]).await;
        let decided: BTreeSet<String> = decided.into_iter().collect();
        let dead = self.dead(&stack.world).await;
        let queued = drain_queues(stack).await;
        for id in self.accepted.keys() {
            if !decided.contains(id) && !dead.contains_key(id) && !queued.contains(id) {
                findings.lost.push(format!("{id} is neither decided, nor dead-lettered, nor in a queue"));
            }
        }
        for (id, letters) in &dead {
            let sent = self.sent.get(id).copied().unwrap_or(0);
            if *letters > sent {
                findings
                    .duplicated
                    .push(format!("{id} was sent {sent} times and has {letters} dead letters"));
            }
            if decided.contains(id) {
                findings.duplicated.push(format!("{id} is both decided and dead-lettered"));
            }
        }
        let unexpected: Vec<&String> =
            decided.iter().chain(dead.keys()).filter(|id| !self.sent.contains_key(*id)).collect();
        assert!(unexpected.is_empty(), "the test did not send {unexpected:?}");
    }

    /// Counts the dead letters of each event.
    async fn dead(&self, world: &World) -> BTreeMap<String, usize> {
        let letters = hostmatch::store::dead_letters(
            &world.test.db,
            &hostmatch::store::Scope::All,
            &Default::default(),
            1_000_000,
        )
        .await;
        let mut dead = BTreeMap::new();
        for row in letters.unwrap() {
            // hostmatch derives an id for an event without one; the ledger identifies such an event by its body.
            let own = row.event_id.filter(|id| self.sent.contains_key(id));
            *dead.entry(own.unwrap_or_else(|| identity_of(&row.body))).or_default() += 1;
        }
        dead
    }

    /// Checks that an event changes the staff of its appointment at most once.
    async fn changes(&self, world: &World, findings: &mut Findings) {
        let count = async |table: &str| -> BTreeMap<i64, i64> {
            let table = format!("{table} GROUP BY appointment_id");
            let rows = world.rows(&table, &["appointment_id", "COUNT(*)"]).await;
            let numbers = |row: &String| {
                row.split_once('|').map(|(id, n)| (id.parse().unwrap(), n.parse().unwrap())).unwrap()
            };
            rows.iter().map(numbers).collect()
        };
        let events = count("hostmatch_events WHERE appointment_id IS NOT NULL").await;
        for (appointment, changes) in count("staff_changes").await {
            let of = |counts: &BTreeMap<i64, i64>| counts.get(&appointment).copied().unwrap_or(0);
            let most = of(&events) + of(&self.manual_changes);
            if changes > most {
                findings.duplicated.push(format!(
                    "appointment {appointment}: {changes} changes of staff, at most {most} allowed"
                ));
            }
        }
    }
}

/// Returns the event's own id, or else its whole body.
fn identity(event: &Value) -> String {
    event["event_id"].as_str().map_or_else(|| event.to_string(), str::to_owned)
}

fn identity_of(body: &[u8]) -> String {
    let event = serde_json::from_slice(body);
    event.map_or_else(|_| String::from_utf8_lossy(body).into_owned(), |event| identity(&event))
}

/// Takes all messages out of the queues and returns their identities.
async fn drain_queues(stack: &Stack) -> BTreeSet<String> {
    let time_limit = Duration::from_secs(60);
    let depth = || async { stack.queue.depth().await.unwrap() };
    // A broker that was down may not be reachable again yet.
    let none_waits = async || stack.queue.depth().await.is_ok_and(|depth| depth.waiting == 0).then_some(());
    eventually("no retry waits for its delay", time_limit, none_waits).await;
    let mut queued = BTreeSet::new();
    for source in [Source::Bookings, Source::Dead] {
        let mut consumer = stack.queue.consumer(source, BatchLimits { size: 100, bytes: 8 << 20 });
        loop {
            let now = depth().await;
            if [now.ready, now.dead][usize::from(source == Source::Dead)] == 0 {
                break;
            }
            let idle_timeout = Some(Duration::from_secs(2));
            let next = consumer.next_batch(&Shutdown::new(), idle_timeout).await.unwrap();
            let Gathered::Batch(batch) = next else {
                break;
            };
            queued.extend(batch.deliveries().iter().map(|delivery| identity_of(&delivery.message.body)));
            let acks = vec![Disposition::Ack; batch.deliveries().len()];
            batch.settle(acks).await.unwrap();
        }
        consumer.pause().await;
    }
    queued
}

/// Checks that replaying the audit trail gives exactly the mappings in the database, and that each audit row
/// changes something.
async fn audits(world: &World, findings: &mut Findings) {
    let columns = ["id", "company_id", "calcom_host_id", "staff_id", "new_values"];
    let mut trail: Vec<(i64, String, bool)> = Vec::new();
    for row in world.rows("calcom_host_mapping_audits", &columns).await {
        let parts: Vec<&str> = row.splitn(5, '|').collect();
        let values: Value = serde_json::from_str(parts[4]).unwrap();
        let active = values["is_active"].as_bool().unwrap();
        trail.push((parts[0].parse().unwrap(), parts[1..4].join("|"), active));
    }
    trail.sort_unstable();
    let mut replayed: BTreeMap<String, bool> = BTreeMap::new();
    for (id, mapping, active) in trail {
        if replayed.insert(mapping.clone(), active) == Some(active) {
            findings.duplicated.push(format!("audit {id} of mapping {mapping} changes nothing"));
        }
    }
    let columns = ["company_id", "calcom_host_id", "staff_id", "is_active"];
    let mut active_of_host: BTreeMap<String, usize> = BTreeMap::new();
    let mut stored: BTreeMap<String, bool> = BTreeMap::new();
    for row in world.rows("calcom_host_mappings", &columns).await {
        let (mapping, active) = row.rsplit_once('|').unwrap();
        let active = ["1", "true"].contains(&active);
        let host = mapping.rsplit_once('|').unwrap().0;
        *active_of_host.entry(host.to_owned()).or_default() += usize::from(active);
        stored.insert(mapping.to_owned(), active);
    }
    for (host, active) in active_of_host.iter().filter(|(_, active)| **active > 1) {
        findings.duplicated.push(format!("host {host} has {active} active mappings"));
    }
    let differ = |mapping: &&String| replayed.get(*mapping) != stored.get(*mapping);
    let all: BTreeSet<&String> = replayed.keys().chain(stored.keys()).collect();
    for mapping in all.into_iter().filter(differ) {
        let (audited, is) = (replayed.get(mapping), stored.get(mapping));
        findings
            .lost
            .push(format!("mapping {mapping}: active by its audits: {audited:?}, in the database: {is:?}"));
    }
}

/// Makes the database record each real change of an appointment's staff in a table.
fn record_changes(backend: Backend) -> Vec<String> {
    let insert = "INSERT INTO staff_changes VALUES (NEW.id)";
    let begin = "CREATE TRIGGER record_changes AFTER UPDATE ON appointments FOR EACH ROW";
    let mut statements = vec!["CREATE TABLE staff_changes (appointment_id BIGINT NOT NULL)".to_owned()];
    statements.extend(match backend {
        Backend::Sqlite => vec![format!("{begin} WHEN NEW.staff_id IS NOT OLD.staff_id BEGIN {insert}; END")],
        Backend::MariaDb => {
            vec![format!("{begin} IF NOT (NEW.staff_id <=> OLD.staff_id) THEN {insert}; END IF")]
        }
        Backend::Postgres => vec![
            format!(
                "CREATE FUNCTION record_change() RETURNS trigger LANGUAGE plpgsql AS \
                 $$ BEGIN {insert}; RETURN NULL; END $$"
            ),
            format!(
                "{begin} WHEN (NEW.staff_id IS DISTINCT FROM OLD.staff_id) EXECUTE FUNCTION record_change()"
            ),
        ],
    });
    statements
}
