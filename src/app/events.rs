//! Use cases that list, show and tail the recorded events.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use serde::Serialize;

use super::context::page;
use super::explain::is_explainable;
use super::redaction::{MASK, masked_name};
use super::{AppContext, AppError, ErrorCode, NextAction};
use crate::event::BookingRef;
use crate::matching::{DEAD_LETTER, EventReading, Outcome, Reason};
use crate::runtime::clock::rfc3339;
use crate::runtime::shutdown::Shutdown;
pub(crate) use crate::store::EventFilter;
use crate::store::entity::event::Model;
use crate::store::{LetterOfEvent, letters_of_event, recorded_event, recorded_events};

/// The interval between reads of new events.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// How far before the newest event to read for late ones: an event becomes visible when its transaction
/// commits, but carries the time at which it was decided.
const OVERLAP_MS: i64 = 15_000;

/// The number of rows read at a time.
const PAGE_ROWS: u64 = 500;

/// One event. `docs/commands.md` describes it: its JSON is a contract.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct EventView {
    pub(crate) id: String,
    #[serde(rename = "type")]
    pub(crate) event_type: String,
    pub(crate) shape: String,
    pub(crate) publisher: Option<String>,
    pub(crate) booking: Option<String>,
    pub(crate) company: Option<i64>,
    pub(crate) appointment: Option<i64>,
    pub(crate) outcome: String,
    pub(crate) reason: Option<String>,
    pub(crate) received: String,
    pub(crate) decided: String,
    pub(crate) rejected: bool,
}

impl From<Model> for EventView {
    fn from(row: Model) -> Self {
        Self {
            id: row.event_id,
            // Senders choose types and publisher names freely, so both may hold personal data.
            event_type: masked_name(&row.event_type),
            shape: row.shape,
            publisher: row.publisher.map(|name| if name.contains('@') { MASK.to_owned() } else { name }),
            booking: row.booking_ref,
            company: row.company_id.map(|id| id.0),
            appointment: row.appointment_id.map(|id| id.0),
            rejected: row.outcome == DEAD_LETTER,
            outcome: row.outcome,
            reason: row.reason,
            received: rfc3339(row.received_ms),
            decided: rfc3339(row.decided_ms),
        }
    }
}

/// The last events, each list newest first.
#[derive(Debug, Default, Serialize)]
pub(crate) struct EventsView {
    /// The events that became dead letters. Empty after the first page, and when the filter names an outcome.
    pub(crate) rejected: Vec<EventView>,
    /// Whether there are more rejected events.
    pub(crate) more_rejected: bool,
    /// The other events.
    pub(crate) events: Vec<EventView>,
    /// The cursor of the next page. `None` on the last page.
    pub(crate) next_before: Option<String>,
}

/// Returns the last events: the rejected ones, then the others, at most `limit` of each.
pub(crate) async fn list(
    context: &AppContext,
    filter: EventFilter,
    limit: u64,
) -> Result<EventsView, AppError> {
    let mut view = EventsView::default();
    let mut others = filter.clone();
    if filter.outcome.is_none() {
        others.but = Some(DEAD_LETTER);
        if filter.before.is_none() {
            let rejected = EventFilter { outcome: Some(DEAD_LETTER.to_owned()), ..filter };
            let (events, next) = events(context, &rejected, limit).await?;
            (view.rejected, view.more_rejected) = (events, next.is_some());
        }
    }
    (view.events, view.next_before) = events(context, &others, limit).await?;
    Ok(view)
}

/// Reads one page of events. Also returns the cursor of the next page.
async fn events(
    context: &AppContext,
    filter: &EventFilter,
    limit: u64,
) -> Result<(Vec<EventView>, Option<String>), AppError> {
    let cursor = |row: &Model| format!("{}:{}", row.decided_ms, row.event_id);
    let (rows, next) = page(read(context, filter, limit + 1).await?, limit, cursor);
    Ok((rows.into_iter().map(EventView::from).collect(), next))
}

async fn read(context: &AppContext, filter: &EventFilter, limit: u64) -> Result<Vec<Model>, AppError> {
    let events = recorded_events(&context.database, &context.scope, filter, limit);
    Ok(context.with_deadline(events).await?)
}

/// An event and its result. `docs/commands.md` describes it: its JSON is a contract.
#[derive(Debug, Serialize)]
pub(crate) struct EventDetails {
    /// The event.
    #[serde(flatten)]
    pub(crate) event: EventView,
    /// The meaning of the outcome or of the reason.
    pub(crate) meaning: Option<&'static str>,
    /// How it was read.
    #[serde(flatten)]
    pub(crate) reading: EventReading,
    /// Its dead letters, newest first.
    pub(crate) dead_letters: Vec<LetterOfEvent>,
    /// The next steps.
    #[serde(skip)]
    pub(crate) next: Vec<NextAction>,
    /// The next steps as commands. The front end fills them in.
    #[serde(rename = "next")]
    pub(crate) commands: Vec<String>,
}

/// Returns one event by its id. Fails if there is no such event.
pub(crate) async fn show(context: &AppContext, id: &str) -> Result<EventDetails, AppError> {
    let found = context.with_deadline(recorded_event(&context.database, &context.scope, id)).await?;
    let row = found.ok_or_else(|| AppError::NotFound("event with this id".to_owned()))?;
    let dead_letters = letters_of_event(&context.database, &context.scope, &row);
    let dead_letters = context.with_deadline(dead_letters).await?;
    let reason = row.reason.as_deref().and_then(|reason| reason.parse().ok()).map(Reason::meaning);
    let meaning = row.outcome.parse().ok().map(Outcome::meaning).or(reason);
    let mut next: Vec<_> = dead_letters.iter().map(|letter| NextAction::ShowLetter(letter.id)).collect();
    // An event without a host, or a cancelled booking, may be all that is recorded of its appointment.
    let reference = row.appointment_id.and(row.booking_ref.as_deref());
    if let Some(reference) = reference.and_then(BookingRef::new)
        && is_explainable(context, &reference).await?
    {
        next.push(NextAction::ExplainBooking(reference.to_string()));
    }
    let reading = row.reading.as_deref().and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default();
    Ok(EventDetails { event: row.into(), meaning, reading, dead_letters, next, commands: Vec::new() })
}

/// Calls `show` with the last `lines` events, oldest first, and then with each newly decided event, until `stop`
/// is cancelled. Waits while the database is unreachable. Fails if the database cannot be reached at the start or
/// refuses the query, or if `show` fails.
pub(crate) async fn tail<E: From<AppError>>(
    context: &AppContext,
    filter: EventFilter,
    lines: u64,
    stop: &Shutdown,
    mut show: impl FnMut(EventView) -> Result<(), E>,
) -> Result<(), E> {
    let mut tail = Tail { context, filter, shown: HashMap::new(), newest_ms: 0 };
    let mut rows = tail.read_last(lines).await?;
    let mut is_unreachable = false;
    loop {
        rows.drain(..).try_for_each(|row| show(row.into()))?;
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(POLL_INTERVAL) => {}
        }
        match tail.read_new().await {
            Ok(new) => (rows, is_unreachable) = (new, false),
            Err(error) if error.code() == ErrorCode::DatabaseUnreachable => {
                if !is_unreachable {
                    tracing::warn!(%error, "waiting for the database");
                }
                is_unreachable = true;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

struct Tail<'a> {
    context: &'a AppContext,
    filter: EventFilter,
    /// The shown events that a read may find again, each with the time of its decision and its outcome.
    shown: HashMap<String, (i64, String)>,
    newest_ms: i64,
}

impl Tail<'_> {
    /// Reads the last `lines` events, oldest first. Events before these count as shown.
    async fn read_last(&mut self, lines: u64) -> Result<Vec<Model>, AppError> {
        // At least one: without the newest event's time, every event would count as new.
        let mut last = read(self.context, &self.filter, lines.max(1)).await?;
        self.newest_ms = last.first().map_or(0, |row| row.decided_ms);
        last.truncate(usize::try_from(lines).unwrap_or(usize::MAX));
        last.reverse();
        let oldest = last.first().filter(|_| last.len() as u64 == lines).map(position);
        let known: HashSet<String> = last.iter().map(|row| row.event_id.clone()).collect();
        // Events that arrived between the two queries.
        let late = |row: &Model| {
            !known.contains(&row.event_id) && oldest.as_ref().is_none_or(|oldest| position(row) > *oldest)
        };
        let found = self.read_new().await?;
        if lines > 0 {
            last.extend(found.into_iter().filter(late));
        }
        Ok(last)
    }

    /// Reads the events that have not been shown, oldest first.
    async fn read_new(&mut self) -> Result<Vec<Model>, AppError> {
        let from = self.newest_ms.saturating_sub(OVERLAP_MS);
        let mut filter = EventFilter { since_ms: Some(from), ..self.filter.clone() };
        let mut new = Vec::new();
        loop {
            let rows = read(self.context, &filter, PAGE_ROWS).await?;
            filter.before = rows.last().filter(|_| rows.len() as u64 == PAGE_ROWS).map(position);
            new.extend(rows);
            if filter.before.is_none() {
                break;
            }
        }
        new.retain(|row| {
            let now = (row.decided_ms, row.outcome.clone());
            self.shown.insert(row.event_id.clone(), now.clone()) != Some(now)
        });
        new.reverse();
        self.newest_ms = new.iter().map(|row| row.decided_ms).fold(self.newest_ms, i64::max);
        let from = self.newest_ms.saturating_sub(OVERLAP_MS);
        self.shown.retain(|_, (decided_ms, _)| *decided_ms >= from);
        Ok(new)
    }
}

/// Returns the event's position in the order of the list.
fn position(row: &Model) -> (i64, String) {
    (row.decided_ms, row.event_id.clone())
}
