//! Reads our own rows: assignments, inbox rows, recorded outcomes.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::entity::assignment::{Column, Entity};
use super::entity::{event, inbox};
use super::prelude::*;
use super::row_reader::selected;
use super::statement::{any_host, pad_in_list};
use super::{DbId, InboxKind};
use crate::event::{AppointmentId, BookingRef, CompanyId, EventId, EventTime, Host, HostId, StaffId};
use crate::matching::{
    Assignment, Confidence, HostEvent, HostKey, InboxRow, InboxState, MappingRef, Outcome, Review,
};
use crate::runtime::clock::now_ms;

selected! {
    /// An assignment without its payload, which no decision needs.
    struct Decided of () {
        appointment: AppointmentId = Expr::col(Column::AppointmentId),
        company: CompanyId = Expr::col(Column::CompanyId),
        staff: Option<StaffId> = Expr::col(Column::StaffId),
        found: Option<StaffId> = Expr::col(Column::FoundStaffId),
        observed: Option<String> = Expr::col(Column::Observed),
        mapping: Option<DbId> = Expr::col(Column::MappingId),
        strategy: Option<String> = Expr::col(Column::Strategy),
        confidence: Option<Confidence> = Expr::col(Column::Confidence),
        evidence: Option<String> = Expr::col(Column::Evidence),
        event: Option<EventId> = Expr::col(Column::EventId),
        event_time_ms: Option<i64> = Expr::col(Column::EventTimeMs),
        event_stamped: bool = Expr::col(Column::EventStamped),
        host_id: Option<HostId> = Expr::col(Column::HostId),
        host_email: Option<String> = Expr::col(Column::HostEmail),
        host_source: Option<String> = Expr::col(Column::HostSource),
        outcome: String = Expr::col(Column::Outcome),
        review: Option<String> = Expr::col(Column::Reason),
        booking: Option<BookingRef> = Expr::col(Column::BookingRef),
        starts_ms: Option<i64> = Expr::col(Column::StartsMs),
        decided_ms: i64 = Expr::col(Column::DecidedMs),
    }
}

/// Reads our rows for these appointments, without their payloads.
pub(super) async fn assignments(tx: &impl ConnectionTrait, ids: &[AppointmentId]) -> Result<Vec<Assignment>> {
    let mut select = Query::select();
    Decided::select(&mut select);
    select.from(Entity).and_where(Expr::col(Column::AppointmentId).is_in(ids.iter().copied()));
    let rows = tx.query_all(&select).await?;
    rows.iter().map(|row| Ok(assignment(Decided::read(row)?))).collect()
}

/// Does the same as [`assignments`], but with the payloads, as long as these are kept.
pub(super) async fn assignments_with_payload(
    tx: &impl ConnectionTrait,
    ids: &[AppointmentId],
) -> Result<Vec<Assignment>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let ids = pad_in_list(ids.iter().copied());
    let bookings: Vec<(AppointmentId, Option<String>)> = Entity::find()
        .select_only()
        .columns([Column::AppointmentId, Column::Payload])
        .filter(Column::AppointmentId.is_in(ids.iter().copied()))
        .into_tuple()
        .all(tx)
        .await?;
    let mut bookings: HashMap<AppointmentId, Option<String>> = bookings.into_iter().collect();
    let mut assignments = assignments(tx, &ids).await?;
    for assignment in &mut assignments {
        assignment.payload = bookings.remove(&assignment.appointment).flatten();
    }
    Ok(assignments)
}

fn assignment(row: Decided) -> Assignment {
    let newest = row.event.zip(row.event_time_ms).map(|(event, ms)| HostEvent {
        event,
        // A version before stored times of any year: such an appointment would be frozen. It counts as an event
        // that was stamped when it was decided.
        time: match ms > row.decided_ms.saturating_add(EventTime::MAX_AHEAD_MS) {
            true => EventTime { ms: row.decided_ms, is_inferred: true },
            false => EventTime { ms, is_inferred: row.event_stamped },
        },
        host_id: row.host_id.map(|host| host.0),
        host_email: row.host_email,
        source: row.host_source.unwrap_or_default(),
    });
    Assignment {
        appointment: row.appointment,
        company: row.company,
        staff: row.staff,
        found: row.found,
        observed: row.observed.and_then(|text| text.parse().ok()),
        mapping: row.mapping.map(|mapping| MappingRef::Row(mapping.0)),
        strategy: row.strategy,
        confidence: row.confidence,
        evidence: row.evidence.and_then(|text| serde_json::from_str(&text).ok()),
        newest,
        outcome: row.outcome.parse().unwrap_or(Outcome::Ignored),
        review: row.review.and_then(|text| text.parse().ok()),
        booking: row.booking,
        starts_ms: row.starts_ms,
        payload: None,
        decided_ms: row.decided_ms,
    }
}

/// Reads the inbox rows of these hosts. Columns are selected by name: a newer program may add one at any
/// time, and PostgreSQL refuses a prepared statement whose result type has changed.
pub(super) async fn inbox(
    tx: &impl ConnectionTrait,
    keys: &BTreeSet<HostKey>,
) -> Result<BTreeMap<HostKey, InboxRow>> {
    use inbox::Column;
    let hosts = any_host(Column::CompanyId, Column::HostId, keys.iter().copied());
    let rows = inbox::Entity::find().filter(hosts).all(tx).await?;
    Ok(rows.into_iter().map(inbox_row).map(|row| (row.key, row)).collect())
}

pub(super) fn inbox_row(row: inbox::Model) -> InboxRow {
    let state = row.state.parse().unwrap_or(InboxState::Open);
    let ignore_ended_ms =
        row.ignored_until_ms.filter(|until| state == InboxState::Ignored && *until <= now_ms());
    let host = Host {
        id: Some(row.host_id),
        name: row.name,
        email: row.email,
        display_email: None,
        username: row.username,
        time_zone: row.time_zone,
    };
    InboxRow {
        key: HostKey::new(row.company_id, row.host_id),
        host,
        event: row.event_id.unwrap_or_else(|| EventId::new("")),
        time: EventTime { ms: row.event_time_ms.unwrap_or_default(), is_inferred: row.event_stamped },
        first_seen_ms: row.first_seen_ms,
        last_seen_ms: row.last_seen_ms,
        review: row.kind.parse().ok(),
        suggestions: serde_json::from_str(&row.suggestions).unwrap_or_default(),
        state: if ignore_ended_ms.is_some() { InboxState::Open } else { state },
        state_changed_ms: ignore_ended_ms.unwrap_or(row.state_changed_ms),
    }
}

/// Returns the recorded outcomes of these events.
pub(super) async fn outcomes(
    tx: &impl ConnectionTrait,
    ids: &BTreeSet<&EventId>,
) -> Result<HashMap<EventId, String>> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    use event::Column;
    let recorded = event::Entity::find()
        .select_only()
        .columns([Column::EventId, Column::Outcome])
        .filter(Column::EventId.is_in(pad_in_list(ids.iter().map(|id| id.as_str()))));
    Ok(recorded.into_tuple::<(EventId, String)>().all(tx).await?.into_iter().collect())
}

/// Returns the name under which a review is stored in an inbox row; a host without any match is `unknown`.
pub(super) fn kind(review: Option<Review>) -> &'static str {
    review.map_or(InboxKind::Unknown.as_str(), Review::as_str)
}
