//! Shows one booking: its appointment as it is now, its last decision, and what happened to it, oldest first.

use std::collections::BTreeMap;

use serde::Serialize;

use super::super::context::{Names, names};
use super::super::events::EventView;
use super::super::mappings;
use super::super::{AppContext, AppError, AuditFilter};
use super::list::{BookingView, views};
use crate::event::{AppointmentId, BookingRef, StaffId};
use crate::matching::{Confidence, Evidence, StaffSetBy, Target};
use crate::runtime::clock::as_rfc3339;
use crate::store::{self, AuditRow, BookingFilter, EventFilter, ItemState, RepairRow};

/// The maximum number of entries of each kind.
const MAX_ENTRIES: u64 = 500;

/// The number of the company's newest hand-overs that are searched.
const MAX_HAND_OVERS: u64 = 1_000;

/// A booking with its history. `docs/commands.md` describes it: its JSON is a contract.
#[derive(Debug, Serialize)]
pub struct BookingDetails {
    /// The booking.
    #[serde(flatten)]
    pub booking: BookingView,
    /// Who set the current member of staff: `nobody`, `hostmatch` or `somebody_else`.
    pub held_by: &'static str,
    /// The strategy, confidence and evidence of the last decision, if it found somebody.
    pub decision: Option<DecisionView>,
    /// What happened, oldest first.
    pub history: Vec<Entry>,
}

/// How the last decision found its member of staff.
#[derive(Debug, Serialize)]
pub struct DecisionView {
    /// The strategy.
    pub strategy: String,
    /// Its confidence.
    pub confidence: Option<Confidence>,
    /// What it compared.
    pub because: Option<Evidence>,
}

/// The kind of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// An event was decided, or became a dead letter.
    Event,
    /// A mapping of the host was changed.
    Mapping,
    /// A person gave the appointment a member of staff.
    Assigned,
    /// A repair assigned the appointment, or left it.
    Repair,
    /// The appointment was handed over.
    HandOver,
    /// An assignment by hand, a repair or a hand-over was undone.
    Undone,
}

/// Something that happened to a booking.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "the other names are clear")]
pub struct Entry {
    /// In ms since 1970.
    #[serde(serialize_with = "as_rfc3339")]
    pub at: i64,
    pub kind: EntryKind,
    /// The event's id, or the number of the change, repair, hand-over or assignment.
    pub id: String,
    /// Who did it. `None` for an event.
    pub by: Option<String>,
    pub what: String,
    /// The reason that a person gave.
    pub why: Option<String>,
}

/// Returns the booking with this reference (uid or id), or of this appointment. Fails if there is no such booking, or
/// if several appointments have the reference.
pub async fn show(
    context: &AppContext,
    booking: Result<AppointmentId, &BookingRef>,
) -> Result<BookingDetails, AppError> {
    let appointment = match booking {
        Ok(id) => id,
        Err(reference) => find(context, reference).await?,
    };
    let (db, schema, scope) = (context.connection(), &context.schema, &context.scope);
    let filter = BookingFilter { appointment: Some(appointment), ..BookingFilter::default() };
    let row = context.with_deadline(store::bookings(db, schema, scope, &filter, 1)).await?.pop();
    let row = row.ok_or_else(|| not_decided(context, appointment))?;
    let held_by = StaffSetBy::of(row.now.as_ref(), row.ours.as_ref()).into();
    let decision = row.strategy.clone().map(|strategy| DecisionView {
        strategy,
        confidence: row.confidence,
        because: row.evidence.as_deref().and_then(|text| serde_json::from_str(text).ok()),
    });
    let booking = views(context, vec![row]).await?.remove(0);
    let history = history(context, &booking).await?;
    Ok(BookingDetails { booking, held_by, decision, history })
}

async fn find(context: &AppContext, reference: &BookingRef) -> Result<AppointmentId, AppError> {
    let found = store::recorded_appointment(context.connection(), &context.schema, reference);
    match context.with_deadline(found).await? {
        Ok(found) => Ok(found.appointment),
        Err(Target::Several) => Err(AppError::Invalid(format!(
            "several appointments have the booking reference {reference}: name one of them with --appointment"
        ))),
        Err(_) => Err(context.not_found(format_args!("appointment with the booking reference {reference}"))),
    }
}

fn not_decided(context: &AppContext, appointment: AppointmentId) -> AppError {
    context.not_found(format_args!("appointment {appointment} about which an event has been decided"))
}

/// The members of staff by id.
struct People(Names);

impl People {
    fn label(&self, staff: &StaffId) -> String {
        match self.0.name(staff).filter(|name| !name.is_empty()) {
            Some(name) => format!("{name} (staff {staff})"),
            None => format!("staff {staff}"),
        }
    }

    fn label_or_nobody(&self, staff: Option<&StaffId>) -> String {
        staff.map_or_else(|| "nobody".to_owned(), |staff| self.label(staff))
    }
}

async fn history(context: &AppContext, booking: &BookingView) -> Result<Vec<Entry>, AppError> {
    let (db, scope, id) = (context.connection(), &context.scope, booking.appointment);
    let audits = match booking.host {
        Some(host) => {
            let filter = AuditFilter { host: Some(host), ..AuditFilter::default() };
            mappings::read_audits(context, &filter, MAX_ENTRIES).await?
        }
        None => Vec::new(),
    };
    let audits: Vec<AuditRow> =
        audits.into_iter().filter(|audit| audit.company == Some(booking.company)).collect();
    let manual = store::manual_assignments_of(db, scope, id, MAX_ENTRIES);
    let manual = context.with_deadline(manual).await?;
    let repairs = context.with_deadline(store::repairs_of(db, scope, id, MAX_ENTRIES)).await?;
    let mut hand_overs = Vec::new();
    for row in context.with_deadline(store::hand_overs(db, booking.company, MAX_HAND_OVERS)).await? {
        if store::handed_over(&row)?.iter().any(|one| one.appointment == id) {
            hand_overs.push(row);
        }
    }
    let named = audits.iter().filter_map(|audit| audit.staff.clone());
    let named = named.chain(repairs.iter().map(|(row, _)| row.staff.clone()));
    let named =
        named.chain(hand_overs.iter().flat_map(|row| [row.from_staff_id.clone(), row.to_staff_id.clone()]));
    let chosen =
        manual.iter().flat_map(|row| row.from_staff_id.clone().into_iter().chain([row.to_staff_id.clone()]));
    let people = People(names(context, named.chain(chosen)).await?);

    let mut entries = events(context, booking).await?;
    entries.extend(audits.into_iter().map(|audit| {
        let staff = people.label_or_nobody(audit.staff.as_ref());
        Entry {
            at: audit.at,
            kind: EntryKind::Mapping,
            id: audit.id.to_string(),
            by: audit.actor.as_ref().map(ToString::to_string),
            what: format!("mapping of the host to {staff}: {}", audit.action.to_string().replace('_', " ")),
            why: audit.reason,
        }
    }));
    for row in manual {
        let (from, to) = (row.from_staff_id.as_ref(), people.label(&row.to_staff_id));
        let what = format!("{} to {to}, by hand", people.label_or_nobody(from));
        let undone = format!("back to {}", people.label_or_nobody(from));
        let by = (row.made_by.to_string(), row.why);
        entries.push(entry(EntryKind::Assigned, (row.at_ms, row.id), by, what));
        entries.extend(undone_entry((row.undone_ms, row.id), (row.undone_by, row.undone_why), undone));
    }
    for (row, state) in repairs {
        entries.extend(repair_entries(row, state.known(), &people));
    }
    for row in hand_overs {
        let what = format!("{} to {}", people.label(&row.from_staff_id), people.label(&row.to_staff_id));
        let undone = format!("hand-over undone: back to {}", people.label(&row.from_staff_id));
        entries.push(entry(EntryKind::HandOver, (row.at_ms, row.id), (row.made_by, row.why), what));
        entries.extend(undone_entry((row.undone_ms, row.id), (row.undone_by, row.undone_why), undone));
    }
    entries.sort_by_key(|entry| entry.at);
    Ok(entries)
}

fn entry(kind: EntryKind, (at, id): (i64, i64), (by, why): (String, Option<String>), what: String) -> Entry {
    Entry { at, kind, id: id.to_string(), by: Some(by), what, why }
}

fn undone_entry(
    (at, id): (Option<i64>, i64),
    (by, why): (Option<impl ToString>, Option<String>),
    what: String,
) -> Option<Entry> {
    let by = by.map(|by| by.to_string()).unwrap_or_default();
    at.map(|at| entry(EntryKind::Undone, (at, id), (by, why), what))
}

fn repair_entries(row: RepairRow, state: Option<ItemState>, people: &People) -> Vec<Entry> {
    let staff = people.label(&row.staff);
    let what = match state {
        Some(ItemState::Done | ItemState::Undone | ItemState::Kept) => format!("assigned to {staff}"),
        Some(ItemState::Pending) => format!("to be assigned to {staff}"),
        Some(ItemState::Left) | None => format!("not assigned to {staff}: it no longer waited for the host"),
    };
    let undone = match state {
        Some(ItemState::Kept) => "repair undone, but this appointment had been changed since".to_owned(),
        _ => "repair undone: back to nobody".to_owned(),
    };
    let mut entries =
        vec![entry(EntryKind::Repair, (row.created, row.id), (row.made_by.to_string(), row.why), what)];
    entries.extend(undone_entry((row.undone, row.id), (row.undone_by, row.undone_why), undone));
    entries
}

/// Returns the events about this appointment, or with one of the references of its booking.
async fn events(context: &AppContext, booking: &BookingView) -> Result<Vec<Entry>, AppError> {
    let of_appointment =
        EventFilter { appointment_id: Some(booking.appointment.0), ..EventFilter::default() };
    let with_reference = booking.booking.as_ref().map(|reference| EventFilter {
        booking_ref: Some(reference.as_str().to_owned()),
        ..EventFilter::default()
    });
    let mut found = BTreeMap::new();
    for filter in std::iter::once(of_appointment).chain(with_reference) {
        let events = store::recorded_events(&context.database, &context.scope, &filter, MAX_ENTRIES);
        for event in context.with_deadline(events).await? {
            let is_of_other = event.appointment_id.is_some_and(|id| id != booking.appointment);
            if !is_of_other {
                found.insert(event.event_id.clone(), event);
            }
        }
    }
    let entry = |event: store::entity::event::Model| {
        let at = event.decided_ms;
        let event = EventView::from(event);
        let reason = event.reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
        let publisher = event.publisher.map(|name| format!(", from {name}")).unwrap_or_default();
        Entry {
            at,
            kind: EntryKind::Event,
            id: event.id,
            by: None,
            what: format!(
                "{}{publisher}, received {}: {}{reason}",
                event.event_type, event.received, event.outcome
            ),
            why: None,
        }
    };
    Ok(found.into_values().map(entry).collect())
}
