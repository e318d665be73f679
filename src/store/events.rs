//! The record of events, looked at: what came, how it was read, and what became of it.

use migration::names;
use sea_orm::sea_query::{Cond, Expr, ExprTrait as _, Order, Query};
use sea_orm::{ConnectionTrait as _, QueryResult};

use super::{Database, DbId, StoreError};

const TABLE: &str = names::EVENTS;

/// Which events; what is given must all be true.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Of this tenant.
    pub company_id: Option<i64>,
    /// With this outcome.
    pub outcome: Option<String>,
    /// Not with this outcome.
    pub but: Option<&'static str>,
    /// Of this type.
    pub event_type: Option<String>,
    /// In this shape.
    pub shape: Option<String>,
    /// From this publisher.
    pub publisher: Option<String>,
    /// About the booking with exactly this reference.
    pub booking_ref: Option<String>,
    /// About this appointment.
    pub appointment_id: Option<i64>,
    /// Decided at this moment or later, in ms since 1970 (UTC).
    pub since_ms: Option<i64>,
    /// Decided before this moment, in ms since 1970 (UTC).
    pub until_ms: Option<i64>,
    /// Only older ones than this: when the last one of the page before was decided, and its id.
    pub before: Option<(i64, String)>,
}

/// One event as it stands in the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedEvent {
    /// By which repeats are told.
    pub id: String,
    /// Its type, as it was named.
    pub event_type: String,
    /// The shape that it came in.
    pub shape: String,
    /// Who published it, as far as is known.
    pub publisher: Option<String>,
    /// Its (first) booking.
    pub booking_ref: Option<String>,
    /// The tenant: the appointment's, else the one that the event named.
    pub company_id: Option<i64>,
    /// The (first) appointment.
    pub appointment_id: Option<i64>,
    /// What became of it: an outcome, or [`DEAD_LETTER`](crate::matching::DEAD_LETTER).
    pub outcome: String,
    /// A code that says more.
    pub reason: Option<String>,
    /// When it was first received, in ms since 1970 (UTC).
    pub received_ms: i64,
    /// When it was decided last, in ms since 1970 (UTC).
    pub decided_ms: i64,
}

impl EventFilter {
    fn condition(&self) -> Cond {
        let mut all = Cond::all();
        let text = |value: &Option<String>| value.clone().map(Expr::val);
        for (column, value) in [
            ("company_id", self.company_id.map(Expr::val)),
            ("outcome", text(&self.outcome)),
            ("event_type", text(&self.event_type)),
            ("shape", text(&self.shape)),
            ("publisher", text(&self.publisher)),
            ("booking_ref", text(&self.booking_ref)),
            ("appointment_id", self.appointment_id.map(Expr::val)),
        ] {
            if let Some(value) = value {
                all = all.add(Expr::col(column).eq(value));
            }
        }
        if let Some(outcome) = self.but {
            all = all.add(Expr::col("outcome").ne(outcome));
        }
        if let Some(since) = self.since_ms {
            all = all.add(Expr::col("decided_ms").gte(since));
        }
        if let Some(until) = self.until_ms {
            all = all.add(Expr::col("decided_ms").lt(until));
        }
        if let Some((decided_ms, id)) = &self.before {
            // The first half is what the index is used for.
            all = all.add(Expr::col("decided_ms").lte(*decided_ms));
            let older = Expr::col("decided_ms").lt(*decided_ms);
            all = all.add(older.or(Expr::col("event_id").lt(id)));
        }
        all
    }
}

/// Events, newest first, at most `limit`.
///
/// # Errors
/// [`StoreError`]
pub async fn recorded_events(
    database: &Database,
    filter: &EventFilter,
    limit: u64,
) -> Result<Vec<RecordedEvent>, StoreError> {
    let mut query = Query::select();
    query.columns(COLUMNS).from(TABLE).cond_where(filter.condition());
    query.order_by("decided_ms", Order::Desc).order_by("event_id", Order::Desc).limit(limit);
    database.connection().query_all(&query).await?.iter().map(read).collect()
}

/// One event by its id.
///
/// # Errors
/// [`StoreError`]
pub async fn recorded_event(database: &Database, id: &str) -> Result<Option<RecordedEvent>, StoreError> {
    let mut query = Query::select();
    query.columns(COLUMNS).from(TABLE).and_where(Expr::col("event_id").eq(id));
    database.connection().query_one(&query).await?.as_ref().map(read).transpose()
}

/// The ids of the dead letters of this event, newest first.
///
/// # Errors
/// [`StoreError`]
pub async fn letters_of_event(database: &Database, event: &RecordedEvent) -> Result<Vec<i64>, StoreError> {
    let mut query = Query::select();
    query.column("id").from(names::DEAD_LETTERS).and_where(Expr::col("event_id").eq(&event.id));
    // For which there is an index.
    if let Some(booking) = &event.booking_ref {
        query.and_where(Expr::col("booking_ref").eq(booking));
    }
    query.order_by("id", Order::Desc).limit(100);
    let rows = database.connection().query_all(&query).await?;
    rows.iter().map(|row| Ok(row.try_get("", "id")?)).collect()
}

fn read(row: &QueryResult) -> Result<RecordedEvent, StoreError> {
    Ok(RecordedEvent {
        id: row.try_get("", "event_id")?,
        event_type: row.try_get("", "event_type")?,
        shape: row.try_get("", "shape")?,
        publisher: row.try_get("", "publisher")?,
        booking_ref: row.try_get("", "booking_ref")?,
        company_id: row.try_get("", "company_id")?,
        appointment_id: row.try_get("", "appointment_id")?,
        outcome: row.try_get("", "outcome")?,
        reason: row.try_get("", "reason")?,
        received_ms: row.try_get::<DbId>("", "received_ms")?.0,
        decided_ms: row.try_get::<DbId>("", "decided_ms")?.0,
    })
}

const COLUMNS: [&str; 11] = [
    "event_id",
    "event_type",
    "shape",
    "publisher",
    "booking_ref",
    "company_id",
    "appointment_id",
    "outcome",
    "reason",
    "received_ms",
    "decided_ms",
];
