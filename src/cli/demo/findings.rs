//! Reads the results of the demo from the salon's database. All SQL that reads is here.

use std::collections::BTreeMap;

use sea_orm::{DbBackend, FromQueryResult, Statement};
use serde::Serialize;
use serde_json::Value;

use crate::cli::failure::Failure;
use crate::store::{Database, StoreError};

/// The decision about one event, and its appointment's present state.
#[derive(Clone, Debug, Default, FromQueryResult, Serialize)]
pub(super) struct Decided {
    #[serde(skip)]
    pub(super) event_id: String,
    pub(super) outcome: String,
    /// The reason code.
    pub(super) reason: Option<String>,
    /// The name of the appointment's member of staff.
    pub(super) staff: Option<String>,
    /// The strategy, confidence and evidence of the appointment's last decision.
    pub(super) strategy: Option<String>,
    pub(super) confidence: Option<i64>,
    #[serde(skip)]
    pub(super) evidence: Option<Value>,
    /// The suggestions for the host.
    #[serde(skip)]
    pub(super) suggestions: Option<Value>,
    /// The reason why the event is a dead letter.
    #[serde(skip)]
    pub(super) error: Option<String>,
}

const DECIDED: &str = "
    SELECT e.event_id, e.outcome, e.reason, s.first_name || ' ' || s.last_name AS staff,
        a.strategy, a.confidence, a.evidence, h.suggestions, d.error
    FROM hostmatch_events e
    LEFT JOIN appointments p ON p.id = e.appointment_id
    LEFT JOIN staff s ON s.id = p.staff_id
    LEFT JOIN hostmatch_assignments a ON a.appointment_id = p.id
    LEFT JOIN hostmatch_inbox h ON h.company_id = a.company_id AND h.host_id = a.host_id
    LEFT JOIN hostmatch_dead_letters d ON d.event_id = e.event_id";

/// One change of a mapping.
#[derive(Debug, FromQueryResult, Serialize)]
pub(super) struct Audit {
    pub(super) actor: String,
    pub(super) action: String,
    pub(super) mapping_id: i64,
    pub(super) host_id: i64,
    pub(super) staff: String,
    pub(super) reason: String,
}

const AUDITS: &str = "
    SELECT a.actor, a.action, a.mapping_id, a.calcom_host_id AS host_id,
        s.first_name || ' ' || s.last_name AS staff, a.reason
    FROM calcom_host_mapping_audits a JOIN staff s ON s.id = a.staff_id ORDER BY a.id";

/// One host that needs a person.
#[derive(Debug, FromQueryResult, Serialize)]
pub(super) struct Waiting {
    pub(super) host_id: i64,
    pub(super) name: Option<String>,
    pub(super) kind: String,
    /// The suggestions for the host.
    pub(super) suggestions: Value,
    /// The number of appointments that wait for the host.
    pub(super) appointments: i64,
}

const INBOX: &str = "
    SELECT h.host_id, h.name, h.kind, h.suggestions, COUNT(a.appointment_id) AS appointments
    FROM hostmatch_inbox h
    LEFT JOIN hostmatch_assignments a ON a.company_id = h.company_id AND a.host_id = h.host_id
        AND a.staff_id IS NULL AND a.outcome IN ('needs_review', 'unmatched')
    WHERE h.state = 'open'
    GROUP BY h.company_id, h.host_id ORDER BY h.host_id";

/// One dead letter.
#[derive(Debug, FromQueryResult, Serialize)]
pub(super) struct DeadLetter {
    pub(super) id: i64,
    pub(super) booking: Option<String>,
    pub(super) reason: String,
    pub(super) error: String,
    pub(super) attempts: i64,
}

const DEAD_LETTERS: &str = "
    SELECT id, booking_ref AS booking, reason, error, attempts FROM hostmatch_dead_letters ORDER BY id";

#[derive(FromQueryResult)]
struct Staff {
    id: i64,
    name: String,
}

const STAFF: &str = "SELECT id, first_name || ' ' || last_name AS name FROM staff";

/// All results of the demo.
#[derive(Debug, Serialize)]
pub(super) struct Findings {
    /// By event id.
    #[serde(skip)]
    pub(super) decided: BTreeMap<String, Decided>,
    /// Oldest first.
    pub(super) audits: Vec<Audit>,
    pub(super) inbox: Vec<Waiting>,
    /// Oldest first.
    pub(super) dead_letters: Vec<DeadLetter>,
    /// Full names by id.
    #[serde(skip)]
    staff: BTreeMap<i64, String>,
}

impl Findings {
    /// Reads all results of the demo.
    ///
    /// # Errors
    /// Fails if the database cannot be read.
    pub(super) async fn read(database: &Database) -> Result<Self, Failure> {
        let decided: Vec<Decided> = rows(database, DECIDED).await?;
        let staff: Vec<Staff> = rows(database, STAFF).await?;
        Ok(Self {
            decided: decided.into_iter().map(|one| (one.event_id.clone(), one)).collect(),
            audits: rows(database, AUDITS).await?,
            inbox: rows(database, INBOX).await?,
            dead_letters: rows(database, DEAD_LETTERS).await?,
            staff: staff.into_iter().map(|one| (one.id, one.name)).collect(),
        })
    }

    /// Lists the suggested people; adds the ids where several have one name.
    pub(super) fn names(&self, suggestions: &Value) -> String {
        let ids = suggestions.as_array().into_iter().flatten().filter_map(|one| one["staff"].as_i64());
        let people: Vec<_> = ids.filter_map(|id| Some((id, self.staff.get(&id)?))).collect();
        let shown = people.iter().map(|(id, name)| {
            let namesakes = people.iter().filter(|(_, other)| other == name).count();
            if namesakes > 1 { format!("{name} (#{id})") } else { (*name).clone() }
        });
        shown.collect::<Vec<_>>().join(", ")
    }
}

/// Reads the outcome of an event, if there is one yet.
///
/// # Errors
/// Fails if the database cannot be read.
pub(super) async fn outcome(database: &Database, event: &str) -> Result<Option<String>, Failure> {
    let decided: Vec<Decided> = rows(database, DECIDED).await?;
    Ok(decided.into_iter().find(|one| one.event_id == event).map(|one| one.outcome))
}

async fn rows<T: FromQueryResult>(database: &Database, sql: &str) -> Result<Vec<T>, Failure> {
    let statement = Statement::from_string(DbBackend::Sqlite, sql);
    Ok(T::find_by_statement(statement).all(database.connection()).await.map_err(StoreError::from)?)
}
