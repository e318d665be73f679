//! A gateway's database with salons, on any engine and of any shape, and a processor that decides events in it.

use std::collections::BTreeMap;

use bytes::Bytes;
use hostmatch::config::{self, Config, Overrides};
use hostmatch::decide::{DeliveryResult, Processor};
use hostmatch::matching::{Resolved, Resolver};
use hostmatch::queue::{Delivery, Message};
use hostmatch::store::{self, Batch, GatewaySchema, Lookup, Purpose, StoreError};
use sea_orm::{ConnectionTrait as _, DatabaseTransaction};
use serde_json::{Value, json};

use super::{Backend, GatewayShape, TestDatabase};

/// A gateway's database, and a processor that uses it.
pub(crate) struct World {
    pub(crate) test: TestDatabase,
    pub(crate) processor: Processor,
}

impl World {
    pub(crate) async fn new(backend: Backend, shape: GatewayShape) -> Self {
        Self::with_settings(backend, shape, &[]).await
    }

    /// Creates a world with settings other than the defaults, as `section.key` and value.
    pub(crate) async fn with_settings(
        backend: Backend,
        shape: GatewayShape,
        settings: &[(&str, &str)],
    ) -> Self {
        Self::in_database(TestDatabase::migrated(backend, shape).await, settings).await
    }

    /// Creates a world in this database.
    pub(crate) async fn in_database(test: TestDatabase, settings: &[(&str, &str)]) -> Self {
        let processor = Self::processor_on(&test, settings).await;
        Self { test, processor }
    }

    pub(crate) async fn processor_on(test: &TestDatabase, settings: &[(&str, &str)]) -> Processor {
        let config = settings_of(settings);
        let schema = GatewaySchema::read(&test.db, &config.gateway).await.unwrap();
        Processor::new(test.db.clone(), schema, &config)
    }

    /// Returns the id of member of staff `n`, as this gateway writes it in SQL.
    pub(crate) fn staff_id(&self, n: u32) -> String {
        if self.test.shape.has_uuids() { format!("'00000000-0000-4000-8000-{n:012}'") } else { n.to_string() }
    }

    pub(crate) async fn company(&self, id: u32) {
        let name = format!("Salon {id}");
        self.test.run(&[format!("INSERT INTO companies (id, name) VALUES ({id}, '{name}')")]).await;
    }

    /// Inserts a member of staff; `email` may be empty.
    pub(crate) async fn staff(&self, n: u32, company: u32, name: &str, email: &str) {
        let id = self.staff_id(n);
        let email = if email.is_empty() { "NULL".to_owned() } else { format!("'{email}'") };
        let (columns, values) = if self.test.shape.has_uuids() {
            ("name", format!("'{name}'"))
        } else {
            let (first, last) = name.split_once(' ').unwrap_or((name, ""));
            ("first_name, last_name", format!("'{first}', '{last}'"))
        };
        let insert = format!(
            "INSERT INTO staff (id, company_id, {columns}, email) VALUES ({id}, {company}, {values}, {email})"
        );
        self.test.run(&[insert]).await;
    }

    pub(crate) async fn set_staff_active(&self, n: u32, active: bool) {
        let (id, active) = (self.staff_id(n), if active { "TRUE" } else { "FALSE" });
        self.test.run(&[format!("UPDATE staff SET is_active = {active} WHERE id = {id}")]).await;
    }

    pub(crate) async fn appointment(&self, id: u32, company: u32, reference: &str) {
        let insert = format!(
            "INSERT INTO appointments (id, company_id, calcom_v2_booking_id) VALUES ({id}, {company}, '{reference}')"
        );
        self.test.run(&[insert]).await;
    }

    /// Sets (or, with `None`, clears) the staff of an appointment, as another program would.
    pub(crate) async fn set_staff_externally(&self, appointment: u32, staff: Option<u32>) {
        let staff = staff.map_or("NULL".to_owned(), |n| self.staff_id(n));
        self.test
            .run(&[format!("UPDATE appointments SET staff_id = {staff} WHERE id = {appointment}")])
            .await;
    }

    /// Decides these events as one batch.
    pub(crate) async fn send(&self, events: &[Value]) -> Vec<DeliveryResult> {
        decide(&self.processor, events).await
    }

    /// Decides these events as one batch. Returns the number of results, or the database's error.
    pub(crate) async fn try_send(&self, events: &[Value]) -> Result<usize, StoreError> {
        let deliveries: Vec<Delivery> = events.iter().map(delivery).collect();
        self.processor.process(&deliveries).await.map(|answers| answers.len())
    }

    /// Decides one event and returns the name of its outcome or of its reason.
    pub(crate) async fn outcome_of(&self, event: Value) -> String {
        match self.send(&[event]).await.remove(0) {
            DeliveryResult::Done(outcome) => outcome.to_string(),
            DeliveryResult::Retry(reason, _) => format!("retry: {reason}"),
            DeliveryResult::Deferred => "deferred".to_owned(),
            DeliveryResult::Dead(reason, _) => format!("dead: {reason}"),
        }
    }

    /// Returns `staff/host` of an appointment, with `-` for NULL; `staff` is the `n` of [`Self::staff`].
    pub(crate) async fn assigned(&self, appointment: u32) -> String {
        self.appointments().await.remove(&appointment).expect("no such appointment")
    }

    /// Returns `staff/host` of every appointment.
    pub(crate) async fn appointments(&self) -> BTreeMap<u32, String> {
        let rows = self.rows("appointments", &["id", "staff_id", "calcom_host_id"]).await;
        rows.iter()
            .map(|row| {
                let parts: Vec<&str> = row.split('|').collect();
                (parts[0].parse().unwrap(), format!("{}/{}", parts[1], parts[2]))
            })
            .collect()
    }

    /// Returns these columns of all rows, as sorted strings, with `n` of [`Self::staff`] for ids of staff.
    pub(crate) async fn rows(&self, table: &str, columns: &[&str]) -> Vec<String> {
        let text = match self.test.backend {
            Backend::MariaDb => "CHAR",
            _ => "TEXT",
        };
        let parts: Vec<String> =
            columns.iter().map(|column| format!("COALESCE(CAST({column} AS {text}), '-')")).collect();
        let all = match self.test.backend {
            Backend::MariaDb => format!("CONCAT_WS('|', {})", parts.join(", ")),
            _ => parts.join(" || '|' || "),
        };
        let mut rows = self.test.strings(&format!("SELECT {all} FROM {table}")).await;
        for row in &mut rows {
            *row = row.replace("00000000-0000-4000-8000-", "#");
            *row = row
                .split('|')
                .map(|part| part.strip_prefix('#').map_or(part, |id| id.trim_start_matches('0')))
                .collect::<Vec<_>>()
                .join("|");
        }
        rows.sort();
        rows
    }

    /// Returns all rows that deciding writes, without values that differ between runs (ids, timestamps).
    pub(crate) async fn all_decided_rows(&self) -> BTreeMap<&'static str, Vec<String>> {
        let mut all = BTreeMap::new();
        for (table, columns) in TABLES {
            let rows = self.rows(table, &columns.split(' ').collect::<Vec<_>>()).await;
            all.insert(*table, rows);
        }
        all
    }

    /// Deletes all rows that deciding writes, and clears the appointments.
    pub(crate) async fn delete_decisions(&self) {
        let mut statements =
            vec!["UPDATE appointments SET staff_id = NULL, calcom_host_id = NULL".to_owned()];
        for table in [
            "calcom_host_mapping_audits",
            "calcom_host_mappings",
            "hostmatch_assignments",
            "hostmatch_booking_references",
            "hostmatch_inbox",
            "hostmatch_events",
            "hostmatch_host_locks",
        ] {
            statements.push(format!("DELETE FROM {table}"));
        }
        self.test.run(&statements).await;
    }

    pub(crate) async fn count(&self, of: &str) -> i64 {
        self.test.count(of).await
    }

    /// Returns whether a session on MariaDB is waiting for a host's lock that another session holds.
    pub(crate) async fn has_session_waiting_for_host_lock(&self) -> bool {
        let waiting = "SELECT COUNT(*) FROM information_schema.processlist \
            WHERE db = DATABASE() AND info LIKE 'INSERT INTO `hostmatch_host_locks`%'";
        self.test.number(waiting).await > 0
    }

    pub(crate) async fn run(&self, statement: &str) {
        self.test.db.connection().execute_unprepared(statement).await.unwrap();
    }
}

const TABLES: &[(&str, &str)] = &[
    ("appointments", "id staff_id calcom_host_id"),
    (
        "calcom_host_mappings",
        "company_id calcom_host_id staff_id calcom_name calcom_email mapping_source confidence_score is_active",
    ),
    (
        "calcom_host_mapping_audits",
        "company_id calcom_host_id staff_id action old_values new_values actor reason",
    ),
    (
        "hostmatch_assignments",
        "appointment_id company_id staff_id found_staff_id observed strategy confidence evidence event_id event_time_ms event_stamped \
         host_id host_email host_source outcome reason booking_ref starts_ms payload",
    ),
    ("hostmatch_booking_references", "reference appointment_id replaced_by"),
    (
        "hostmatch_inbox",
        "company_id host_id name email event_id event_time_ms event_stamped first_seen_ms last_seen_ms kind \
         suggestions state",
    ),
    (
        "hostmatch_events",
        "event_id event_type shape booking_ref company_id appointment_id outcome reason reading received_ms",
    ),
];

/// Returns the default configuration with these settings.
pub(crate) fn settings_of(settings: &[(&str, &str)]) -> Config {
    let mut flags = Overrides::default();
    for (key, value) in settings {
        flags.set("test", key, value);
    }
    config::load(None, &flags).unwrap().config
}

pub(crate) async fn decide(processor: &Processor, events: &[Value]) -> Vec<DeliveryResult> {
    let deliveries: Vec<Delivery> = events.iter().map(delivery).collect();
    processor.process(&deliveries).await.unwrap()
}

/// Returns an event as it would be delivered. Its `"first_seen"`, if present, is its time of receipt.
pub(crate) fn delivery(event: &Value) -> Delivery {
    Delivery {
        message: Message { body: Bytes::from(event.to_string()), ..Message::default() },
        attempt: event["attempt"].as_u64().map_or(0, |n| u32::try_from(n).unwrap()),
        first_seen_ms: event["first_seen"].as_i64().unwrap_or(1_772_500_000_000),
        redelivered: false,
    }
}

/// Returns the gateway's event about one booking, at minute `at` of a day.
pub(crate) fn event(id: &str, reference: &str, at: u32, hosts: Value) -> Value {
    json!({
        "event": "appointment.created", "event_id": id,
        "calcom_booking": {
            "uid": reference, "start": "2026-03-02T09:00:00Z", "hosts": hosts,
            "updatedAt": format!("2026-03-01T{:02}:{:02}:00.000Z", at / 60, at % 60),
        }
    })
}

pub(crate) fn host(id: u32, name: &str, email: &str) -> Value {
    json!([{ "id": id, "name": name, "email": email, "username": "x", "timeZone": "Europe/Berlin" }])
}

/// Loads everything that deciding these events reads, and resolves their new hosts.
pub(crate) async fn load(
    tx: &DatabaseTransaction,
    schema: &GatewaySchema,
    lookups: &[Lookup<'_>],
    purpose: Purpose,
) -> Result<(Batch, Resolved), StoreError> {
    let mut batch = store::load_hosts(tx, schema, lookups, purpose, None).await?;
    let mut resolved = Resolved::default();
    for (lookup, targets) in lookups.iter().zip(&batch.targets) {
        for (booking, target) in lookup.event.bookings.iter().zip(targets) {
            if let Some((key, host)) = batch.unmapped_host(booking, target) {
                resolved.resolve(&Resolver::new(80), key, host, &batch.loaded.directory);
            }
        }
    }
    let events = lookups.iter().map(|lookup| &lookup.event.id).collect();
    batch.load_appointments(tx, schema, &resolved.matched(), &events, 100).await?;
    Ok((batch, resolved))
}
