//! Rows that tests need to be there, and short ways to look at those that are: on any engine, on any shape
//! of gateway.

use std::ops::RangeInclusive;

use super::{TestDatabase, World};

/// A dead letter, as far as lists and counts look at it.
pub(crate) struct Letter<'a> {
    pub(crate) id: &'a str,
    pub(crate) reason: &'a str,
    pub(crate) state: &'a str,
    pub(crate) company: Option<u32>,
    /// When it was first seen, and when it failed last.
    pub(crate) times_ms: (i64, i64),
}

/// What was decided about one event.
pub(crate) struct Event<'a> {
    pub(crate) id: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) outcome: &'a str,
    /// Of the company's appointment of this number, whose booking is `bk-` and the number.
    pub(crate) appointment: Option<(u32, u32)>,
    pub(crate) decided_ms: i64,
}

impl TestDatabase {
    /// Rows of a table, or of one `WHERE` something.
    pub(crate) async fn count(&self, of: &str) -> i64 {
        self.number(&format!("SELECT COUNT(*) FROM {of}")).await
    }

    /// One column of a table, or of one `WHERE` something: text, in the order of the keys.
    pub(crate) async fn column(&self, name: &str, of: &str) -> Vec<String> {
        self.texts(&format!("SELECT {name} FROM {of} ORDER BY id")).await
    }

    pub(crate) async fn letter(&self, letter: Letter<'_>) {
        let Letter { id, reason, state, company, times_ms: (first, last) } = letter;
        let company = number(company);
        self.run(&[format!(
            "INSERT INTO hostmatch_dead_letters (dead_id, reason, error, fingerprint, state, attempts, history, \
             routing_key, headers, body, first_seen_ms, last_failed_ms, recorded_ms, company_id) VALUES \
             ('{id}', '{reason}', 'x', 'f', '{state}', 1, '[]', '', '{{}}', '', {first}, {last}, 100, {company})"
        )])
        .await;
    }

    pub(crate) async fn event(&self, event: Event<'_>) {
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
    /// Many appointments: the reference of each is the prefix and its number.
    pub(crate) async fn appointments_of(&self, company: u32, ids: RangeInclusive<u32>, prefix: &str) {
        let rows: Vec<String> = ids.map(|id| format!("({id}, {company}, '{prefix}{id}')")).collect();
        let columns = "id, company_id, calcom_v2_booking_id";
        self.run(&format!("INSERT INTO appointments ({columns}) VALUES {}", rows.join(", "))).await;
    }

    /// A person has mapped this host.
    pub(crate) async fn maps(&self, company: u32, host: u32, staff: u32) {
        let staff = self.staff_id(staff);
        self.run(&format!(
            "INSERT INTO calcom_host_mappings (company_id, staff_id, calcom_host_id, calcom_name, calcom_email, \
             mapping_source, confidence_score, is_active) VALUES ({company}, {staff}, {host}, '', '', 'manual', 100, TRUE)"
        ))
        .await;
    }

    /// Somebody switches all mappings off, past us.
    pub(crate) async fn switches_mappings_off(&self) {
        self.run("UPDATE calcom_host_mappings SET is_active = FALSE").await;
    }

    /// All dead letters are in this state from now on.
    pub(crate) async fn letters_become(&self, state: &str) {
        self.run(&format!("UPDATE hostmatch_dead_letters SET state = '{state}'")).await;
    }
}

fn number(it: Option<u32>) -> String {
    it.map_or("NULL".to_owned(), |number| number.to_string())
}
