//! Inserts and reads rows, on any engine and any shape of gateway.

use std::ops::RangeInclusive;

use super::{TestDatabase, World};

/// A dead letter, with the values that lists and counts use.
pub(crate) struct Letter<'a> {
    pub(crate) id: &'a str,
    pub(crate) reason: &'a str,
    pub(crate) state: &'a str,
    pub(crate) company: Option<u32>,
    /// The times at which the letter was first seen and last failed.
    pub(crate) times_ms: (i64, i64),
}

/// The decision about one event.
pub(crate) struct Event<'a> {
    pub(crate) id: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) outcome: &'a str,
    /// The company and the id of its appointment; the booking is `bk-` and that id.
    pub(crate) appointment: Option<(u32, u32)>,
    pub(crate) decided_ms: i64,
}

impl TestDatabase {
    /// Counts the rows of a table, or of a table with a `WHERE` condition.
    pub(crate) async fn count(&self, of: &str) -> i64 {
        self.number(&format!("SELECT COUNT(*) FROM {of}")).await
    }

    /// Returns one string column of a table, or of a table with a `WHERE` condition, in key order.
    pub(crate) async fn column(&self, name: &str, of: &str) -> Vec<String> {
        self.strings(&format!("SELECT {name} FROM {of} ORDER BY id")).await
    }

    pub(crate) async fn insert_letter(&self, letter: Letter<'_>) {
        let Letter { id, reason, state, company, times_ms: (first, last) } = letter;
        let company = number(company);
        self.run(&[format!(
            "INSERT INTO hostmatch_dead_letters (dead_id, reason, error, fingerprint, state, attempts, history, \
             routing_key, headers, body, first_seen_ms, last_failed_ms, recorded_ms, company_id) VALUES \
             ('{id}', '{reason}', 'x', 'f', '{state}', 1, '[]', '', '{{}}', '', {first}, {last}, 100, {company})"
        )])
        .await;
    }

    pub(crate) async fn insert_event(&self, event: Event<'_>) {
        let Event { id, kind, outcome, appointment, decided_ms } = event;
        let booking = appointment.map_or("NULL".to_owned(), |(_, number)| format!("'bk-{number}'"));
        let (company, appointment) = (number(appointment.map(|it| it.0)), number(appointment.map(|it| it.1)));
        self.run(&[format!(
            "INSERT INTO hostmatch_events (event_id, event_type, shape, publisher, booking_ref, company_id, \
             appointment_id, outcome, received_ms, decided_ms) VALUES ('{id}', '{kind}', 'calcom', 'calcom', \
             {booking}, {company}, {appointment}, '{outcome}', 1772323200000, {decided_ms})"
        )])
        .await;
    }
}

impl World {
    /// Inserts many appointments; the reference of each is the prefix and its id.
    pub(crate) async fn insert_appointments(&self, company: u32, ids: RangeInclusive<u32>, prefix: &str) {
        let rows: Vec<String> = ids.map(|id| format!("({id}, {company}, '{prefix}{id}')")).collect();
        let columns = "id, company_id, calcom_v2_booking_id";
        self.run(&format!("INSERT INTO appointments ({columns}) VALUES {}", rows.join(", "))).await;
    }

    /// Inserts a mapping of this host that a person has made.
    pub(crate) async fn insert_manual_mapping(&self, company: u32, host: u32, staff: u32) {
        let staff = self.staff_id(staff);
        self.run(&format!(
            "INSERT INTO calcom_host_mappings (company_id, staff_id, calcom_host_id, calcom_name, calcom_email, \
             mapping_source, confidence_score, is_active) VALUES ({company}, {staff}, {host}, '', '', 'manual', 100, TRUE)"
        ))
        .await;
    }

    /// Deactivates all mappings directly in the database, not through hostmatch.
    pub(crate) async fn deactivate_mappings(&self) {
        self.run("UPDATE calcom_host_mappings SET is_active = FALSE").await;
    }

    /// Sets all dead letters to this state.
    pub(crate) async fn set_letters_state(&self, state: &str) {
        self.run(&format!("UPDATE hostmatch_dead_letters SET state = '{state}'")).await;
    }
}

fn number(it: Option<u32>) -> String {
    it.map_or("NULL".to_owned(), |number| number.to_string())
}
