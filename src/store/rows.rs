//! Our own rows, as they are read back: assignments, inbox rows, recorded outcomes.

use migration::names;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use sea_orm::sea_query::{Expr, ExprTrait as _, Query};
use sea_orm::{ConnectionTrait, QueryResult};

use super::cells::Cells;
use super::statement::{any_host, padded};
use super::{DbId, InboxKind, StoreError};
use crate::event::{AppointmentId, BookingRef, EventId, EventTime, Host, HostId};
use crate::matching::{
    Assignment, Confidence, HostBearing, HostKey, InboxRow, InboxState, MappingRef, Outcome, Review,
};
use crate::runtime::clock::now_ms;

/// The columns of an assignment, in the order in which [`assignment`] reads them; the payload, which it does not, is
/// the last.
pub(super) const ASSIGNMENT: [&str; 21] = [
    "appointment_id",
    "company_id",
    "staff_id",
    "found_staff_id",
    "observed",
    "mapping_id",
    "strategy",
    "confidence",
    "evidence",
    "event_id",
    "event_time_ms",
    "event_stamped",
    "host_id",
    "host_email",
    "host_source",
    "outcome",
    "reason",
    "booking_ref",
    "starts_ms",
    "decided_ms",
    "payload",
];

/// Our rows for these appointments, without their payloads: no decision needs them.
pub(super) async fn assignments(
    tx: &impl ConnectionTrait,
    ids: &[i64],
) -> Result<Vec<Assignment>, StoreError> {
    let mut select = Query::select();
    select.columns(ASSIGNMENT.into_iter().filter(|column| *column != "payload"));
    select.from(names::ASSIGNMENTS).and_where(Expr::col("appointment_id").is_in(ids.iter().copied()));
    tx.query_all(&select).await?.iter().map(assignment).collect()
}

/// The same with the bookings, while those are kept.
pub(super) async fn with_bookings(
    tx: &impl ConnectionTrait,
    ids: &[i64],
) -> Result<Vec<Assignment>, StoreError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut select = Query::select();
    select.columns(["appointment_id", "payload"]).from(names::ASSIGNMENTS);
    select.and_where(Expr::col("appointment_id").is_in(padded(ids.iter().copied())));
    let mut bookings = HashMap::new();
    for row in tx.query_all(&select).await? {
        let id: AppointmentId = row.try_get("", "appointment_id")?;
        bookings.insert(id, row.try_get::<Option<String>>("", "payload")?);
    }
    let mut assignments = assignments(tx, &padded(ids.iter().copied())).await?;
    for assignment in &mut assignments {
        assignment.payload = bookings.remove(&assignment.appointment).flatten();
    }
    Ok(assignments)
}

/// A row of [`ASSIGNMENT`] without the payload.
fn assignment(row: &QueryResult) -> Result<Assignment, StoreError> {
    let mut cells = Cells::of(row);
    let (appointment, company, staff, found) = (cells.next()?, cells.next()?, cells.next()?, cells.next()?);
    let observed = cells.next::<Option<String>>()?.and_then(|word| word.parse().ok());
    let mapping = cells.next::<Option<DbId>>()?.map(|row| MappingRef::Row(row.0));
    let strategy = cells.next()?;
    let confidence =
        cells.next::<Option<DbId>>()?.and_then(|score| u8::try_from(score.0).ok()).map(Confidence);
    let evidence = cells.next::<Option<String>>()?.and_then(|text| serde_json::from_str(&text).ok());
    let (event, ms) = (cells.next::<Option<String>>()?, cells.next::<Option<DbId>>()?);
    let stamped = cells.next()?;
    let host_id = cells.next::<Option<DbId>>()?.map(|id| id.0);
    let (host_email, source) = (cells.next()?, cells.next::<Option<String>>()?.unwrap_or_default());
    let newest = event.zip(ms).map(|(event, ms)| HostBearing {
        event: EventId::new(&event),
        time: EventTime { ms: ms.0, stamped },
        host_id,
        host_email,
        source,
    });
    let outcome = cells.next::<String>()?.parse().unwrap_or(Outcome::Ignored);
    let review = cells.next::<Option<String>>()?.and_then(|word| word.parse().ok());
    let booking = cells.next::<Option<String>>()?.as_deref().and_then(BookingRef::new);
    let starts_ms = cells.next::<Option<DbId>>()?.map(|ms| ms.0);
    let decided_ms = cells.next::<DbId>()?.0;
    Ok(Assignment {
        appointment,
        company,
        staff,
        found,
        observed,
        mapping,
        strategy,
        confidence,
        evidence,
        newest,
        outcome,
        review,
        booking,
        starts_ms,
        payload: None,
        decided_ms,
    })
}

/// What [`inbox_row`] reads. By name: a newer program may add a column at any time, and PostgreSQL gives up
/// a prepared statement whose result has changed.
pub(super) const INBOX: [&str; 16] = [
    "company_id",
    "host_id",
    "name",
    "email",
    "username",
    "time_zone",
    "event_id",
    "event_time_ms",
    "event_stamped",
    "first_seen_ms",
    "last_seen_ms",
    "kind",
    "suggestions",
    "state",
    "state_changed_ms",
    "ignored_until_ms",
];

/// The inbox rows of these hosts.
pub(super) async fn inbox(
    tx: &impl ConnectionTrait,
    keys: &BTreeSet<HostKey>,
) -> Result<BTreeMap<HostKey, InboxRow>, StoreError> {
    let mut select = Query::select();
    select.columns(INBOX).from(names::INBOX);
    select.cond_where(any_host("host_id", keys.iter().copied()));
    let rows = tx.query_all(&select).await?;
    rows.iter().map(|row| inbox_row(row).map(|row| (row.key, row))).collect()
}

pub(super) fn inbox_row(row: &QueryResult) -> Result<InboxRow, StoreError> {
    let text = |column: &str| row.try_get::<Option<String>>("", column);
    let ms = |column: &str| row.try_get::<DbId>("", column).map(|ms| ms.0);
    let host_id = HostId(ms("host_id")?);
    let state = row.try_get::<String>("", "state")?.parse().unwrap_or(InboxState::Open);
    let ignored_until = row.try_get::<Option<DbId>>("", "ignored_until_ms")?.map(|ms| ms.0);
    let over = ignored_until.filter(|until| state == InboxState::Ignored && *until <= now_ms());
    let host = Host {
        id: Some(host_id),
        name: text("name")?,
        email: text("email")?,
        display_email: None,
        username: text("username")?,
        time_zone: text("time_zone")?,
    };
    Ok(InboxRow {
        key: HostKey::new(row.try_get("", "company_id")?, host_id),
        host,
        event: EventId::new(&row.try_get::<String>("", "event_id")?),
        time: EventTime { ms: ms("event_time_ms")?, stamped: row.try_get("", "event_stamped")? },
        first_seen_ms: ms("first_seen_ms")?,
        last_seen_ms: ms("last_seen_ms")?,
        review: row.try_get::<String>("", "kind")?.parse().ok(),
        suggestions: serde_json::from_str(&row.try_get::<String>("", "suggestions")?).unwrap_or_default(),
        state: if over.is_some() { InboxState::Open } else { state },
        state_changed_ms: over.map_or_else(|| ms("state_changed_ms"), Ok)?,
    })
}

/// The recorded outcomes of these events, by name.
pub(super) async fn outcomes(
    tx: &impl ConnectionTrait,
    ids: &BTreeSet<&EventId>,
) -> Result<HashMap<EventId, String>, StoreError> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let mut select = Query::select();
    select.columns(["event_id", "outcome"]).from(names::EVENTS);
    select.and_where(Expr::col("event_id").is_in(padded(ids.iter().map(|id| id.as_str()))));
    let rows = tx.query_all(&select).await?;
    rows.iter()
        .map(|row| {
            let mut cells = Cells::of(row);
            Ok((EventId::new(&cells.next::<String>()?), cells.next()?))
        })
        .collect()
}

/// The name under which a review is stored with an inbox row; nobody found is `unknown`.
pub(super) fn kind(review: Option<Review>) -> &'static str {
    review.map_or(InboxKind::Unknown.as_str(), Review::as_str)
}
