//! What the demo left behind, read from the salon's database: all of its SQL for reading.

use std::collections::BTreeMap;

use sea_orm::{ConnectionTrait as _, DbBackend, FromQueryResult, Statement};

use crate::cli::failure::Failure;
use crate::matching::{Evidence, Suggestion};
use crate::store::{Database, DeadLetter, DeadLetterFilter, Scope, StoreError, dead_letters};

/// What was decided on one event, and how its appointment stands now.
#[derive(Debug, FromQueryResult)]
pub(super) struct Decided {
    /// By name.
    pub(super) outcome: String,
    /// The code that says more.
    pub(super) reason: Option<String>,
    /// Who has the appointment.
    pub(super) staff_id: Option<i64>,
    /// The strategy of the appointment's last decision.
    pub(super) strategy: Option<String>,
    /// Its confidence.
    pub(super) confidence: Option<i64>,
    /// What spoke for it, as JSON.
    evidence: Option<String>,
    /// Whom a person may accept for the host, as JSON.
    suggestions: Option<String>,
}

impl Decided {
    /// What spoke for the decision.
    pub(super) fn evidence(&self) -> Option<Evidence> {
        self.evidence.as_deref().and_then(|text| serde_json::from_str(text).ok())
    }

    /// Whom a person may accept for the host.
    pub(super) fn suggestions(&self) -> Vec<Suggestion> {
        suggestions(self.suggestions.as_deref())
    }
}

const DECIDED: &str = "
    SELECT e.outcome, e.reason, p.staff_id, a.strategy, a.confidence, a.evidence, h.suggestions
    FROM hostmatch_events e
    LEFT JOIN appointments p ON p.id = e.appointment_id
    LEFT JOIN hostmatch_assignments a ON a.appointment_id = p.id
    LEFT JOIN hostmatch_inbox h ON h.company_id = a.company_id AND h.host_id = a.host_id
    WHERE e.event_id = ?";

/// One change of a mapping.
#[derive(Debug, FromQueryResult)]
pub(super) struct Audit {
    /// Who made it.
    pub(super) actor: String,
    /// What was done.
    pub(super) action: String,
    /// The mapping.
    pub(super) mapping_id: i64,
    /// Its host.
    pub(super) calcom_host_id: i64,
    /// Its member of staff.
    pub(super) staff_id: i64,
    /// Why.
    pub(super) reason: String,
}

const AUDITS: &str = "
    SELECT actor, action, mapping_id, calcom_host_id, staff_id, reason
    FROM calcom_host_mapping_audits ORDER BY id";

/// One host that needs a person.
#[derive(Debug, FromQueryResult)]
pub(super) struct Waiting {
    /// The host.
    pub(super) host_id: i64,
    /// Its name.
    pub(super) name: Option<String>,
    /// What is the matter.
    pub(super) kind: String,
    /// Appointments that wait for it.
    pub(super) appointments: i64,
    suggestions: Option<String>,
}

impl Waiting {
    /// Whom a person may accept.
    pub(super) fn suggestions(&self) -> Vec<Suggestion> {
        suggestions(self.suggestions.as_deref())
    }
}

const INBOX: &str = "
    SELECT h.host_id, h.name, h.kind, h.suggestions, COUNT(a.appointment_id) AS appointments
    FROM hostmatch_inbox h
    LEFT JOIN hostmatch_assignments a ON a.company_id = h.company_id AND a.host_id = h.host_id
        AND a.staff_id IS NULL AND a.outcome IN ('needs_review', 'unmatched')
    WHERE h.state = 'open'
    GROUP BY h.company_id, h.host_id ORDER BY h.host_id";

/// Everything.
#[derive(Debug)]
pub(super) struct Findings {
    /// By event id.
    pub(super) decided: BTreeMap<String, Decided>,
    /// In the order in which they were made.
    pub(super) audits: Vec<Audit>,
    /// Hosts that need a person.
    pub(super) inbox: Vec<Waiting>,
    /// Oldest first.
    pub(super) dead_letters: Vec<DeadLetter>,
    /// Full names by id.
    pub(super) staff: BTreeMap<i64, String>,
}

/// Reads everything that these events left behind.
///
/// # Errors
/// When the database cannot be read.
pub(super) async fn read(
    database: &Database,
    events: impl Iterator<Item = &str>,
) -> Result<Findings, Failure> {
    let mut decided = BTreeMap::new();
    for event in events {
        decided
            .extend(rows::<Decided>(database, DECIDED, Some(event)).await?.pop().map(|d| (event.into(), d)));
    }
    let mut letters = dead_letters(database, &Scope::All, &DeadLetterFilter::default(), 100).await?;
    letters.reverse();
    let names = "SELECT id, first_name || ' ' || last_name AS name FROM staff";
    let staff = rows::<Staff>(database, names, None).await?;
    Ok(Findings {
        decided,
        audits: rows(database, AUDITS, None).await?,
        inbox: rows(database, INBOX, None).await?,
        dead_letters: letters,
        staff: staff.into_iter().map(|one| (one.id, one.name)).collect(),
    })
}

/// The outcome of an event, once there is one.
///
/// # Errors
/// When the database cannot be read.
pub(super) async fn outcome(database: &Database, event: &str) -> Result<Option<String>, Failure> {
    Ok(rows::<Decided>(database, DECIDED, Some(event)).await?.pop().map(|decided| decided.outcome))
}

#[derive(FromQueryResult)]
struct Staff {
    id: i64,
    name: String,
}

async fn rows<T: FromQueryResult>(
    database: &Database,
    sql: &str,
    event: Option<&str>,
) -> Result<Vec<T>, Failure> {
    let statement = Statement::from_sql_and_values(DbBackend::Sqlite, sql, event.map(Into::into));
    let rows = database.connection().query_all_raw(statement).await.map_err(StoreError::from)?;
    let rows: Result<Vec<T>, _> = rows.iter().map(|row| T::from_query_result(row, "")).collect();
    Ok(rows.map_err(StoreError::from)?)
}

fn suggestions(text: Option<&str>) -> Vec<Suggestion> {
    text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}
