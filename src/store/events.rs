//! Reads the recorded events: the shape in which each arrived, and its outcome.

use super::entity::event::{Column, Entity, Model};
use super::prelude::*;
use super::{Database, Scope};

/// A filter for events. A row must meet every condition that is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    pub(crate) outcome: Option<String>,
    /// Excludes this outcome.
    pub(crate) but: Option<&'static str>,
    pub(crate) event_type: Option<String>,
    pub(crate) shape: Option<String>,
    pub(crate) publisher: Option<String>,
    pub(crate) booking_ref: Option<String>,
    pub(crate) appointment_id: Option<i64>,
    /// Decided at this time or later, in ms since 1970 (UTC).
    pub(crate) since_ms: Option<i64>,
    /// Decided before this time, in ms since 1970 (UTC).
    pub(crate) until_ms: Option<i64>,
    /// Only events older than the last one of the previous page: when that was decided, and its id.
    pub(crate) before: Option<(i64, String)>,
}

impl EventFilter {
    fn condition(&self, scope: &Scope) -> Cond {
        let text = |value: &Option<String>| value.clone().map(Expr::val);
        let equal = [
            (Column::Outcome, text(&self.outcome)),
            (Column::EventType, text(&self.event_type)),
            (Column::Shape, text(&self.shape)),
            (Column::Publisher, text(&self.publisher)),
            (Column::BookingRef, text(&self.booking_ref)),
            (Column::AppointmentId, self.appointment_id.map(Expr::val)),
        ];
        let mut all = scope.condition(Column::CompanyId);
        for (column, value) in equal {
            all = all.add_option(value.map(|value| Expr::col(column).eq(value)));
        }
        let before = self.before.as_ref().map(|(decided_ms, id)| {
            // The second condition implies the first, which makes the index usable.
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

/// Returns events, newest first, at most `limit`.
pub async fn recorded_events(
    database: &Database,
    scope: &Scope,
    filter: &EventFilter,
    limit: u64,
) -> Result<Vec<Model>> {
    let events = Entity::find()
        .filter(filter.condition(scope))
        .order_by_desc(Column::DecidedMs)
        .order_by_desc(Column::EventId)
        .limit(limit);
    Ok(events.all(database.connection()).await?)
}

/// Returns one event by its id.
pub async fn recorded_event(database: &Database, scope: &Scope, id: &str) -> Result<Option<Model>> {
    let event = scope.condition(Column::CompanyId).add(Column::EventId.eq(id));
    Ok(Entity::find().filter(event).one(database.connection()).await?)
}
