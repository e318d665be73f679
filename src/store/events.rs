//! Reading the record of events: what came, how it was read, and what became of it.

use sea_orm::sea_query::{Cond, Expr, ExprTrait as _};
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _};

use super::entity::dead_letter;
use super::entity::event::{Column, Entity, Model};
use super::{Database, StoreError};

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

impl From<Model> for RecordedEvent {
    fn from(row: Model) -> Self {
        Self {
            id: row.event_id,
            event_type: row.event_type,
            shape: row.shape,
            publisher: row.publisher,
            booking_ref: row.booking_ref,
            company_id: row.company_id.map(|id| id.0),
            appointment_id: row.appointment_id.map(|id| id.0),
            outcome: row.outcome,
            reason: row.reason,
            received_ms: row.received_ms,
            decided_ms: row.decided_ms,
        }
    }
}

impl EventFilter {
    fn condition(&self) -> Cond {
        let text = |value: &Option<String>| value.clone().map(Expr::val);
        let equal = [
            (Column::CompanyId, self.company_id.map(Expr::val)),
            (Column::Outcome, text(&self.outcome)),
            (Column::EventType, text(&self.event_type)),
            (Column::Shape, text(&self.shape)),
            (Column::Publisher, text(&self.publisher)),
            (Column::BookingRef, text(&self.booking_ref)),
            (Column::AppointmentId, self.appointment_id.map(Expr::val)),
        ];
        let mut all = Cond::all();
        for (column, value) in equal {
            all = all.add_option(value.map(|value| Expr::col(column).eq(value)));
        }
        let before = self.before.as_ref().map(|(decided_ms, id)| {
            // The first half is what the index is used for.
            Column::DecidedMs
                .lte(*decided_ms)
                .and(Column::DecidedMs.lt(*decided_ms).or(Column::EventId.lt(id.as_str())))
        });
        all.add_option(self.but.map(|outcome| Column::Outcome.ne(outcome)))
            .add_option(self.since_ms.map(|since| Column::DecidedMs.gte(since)))
            .add_option(self.until_ms.map(|until| Column::DecidedMs.lt(until)))
            .add_option(before)
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
    let events = Entity::find()
        .filter(filter.condition())
        .order_by_desc(Column::DecidedMs)
        .order_by_desc(Column::EventId)
        .limit(limit)
        .all(database.connection());
    Ok(events.await?.into_iter().map(RecordedEvent::from).collect())
}

/// One event by its id.
///
/// # Errors
/// [`StoreError`]
pub async fn recorded_event(database: &Database, id: &str) -> Result<Option<RecordedEvent>, StoreError> {
    let event = Entity::find().filter(Column::EventId.eq(id)).one(database.connection());
    Ok(event.await?.map(RecordedEvent::from))
}

/// The ids of the dead letters of this event, newest first.
///
/// # Errors
/// [`StoreError`]
pub async fn letters_of_event(database: &Database, event: &RecordedEvent) -> Result<Vec<i64>, StoreError> {
    let mut letters = dead_letter::Entity::find()
        .select_only()
        .column(dead_letter::Column::Id)
        .filter(dead_letter::Column::EventId.eq(event.id.as_str()));
    // For which there is an index.
    if let Some(booking) = &event.booking_ref {
        letters = letters.filter(dead_letter::Column::BookingRef.eq(booking.as_str()));
    }
    let letters = letters.order_by_desc(dead_letter::Column::Id).limit(100).into_tuple();
    Ok(letters.all(database.connection()).await?)
}
