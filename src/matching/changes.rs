//! The rows that a batch writes, as data. Committing the same set twice leaves the same rows.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use strum::{AsRefStr, Display, EnumString, IntoStaticStr, VariantArray};
use uuid::Uuid;

use super::directory::HostKey;
use super::found_by::FoundBy;
use super::kept_booking::read_kept_booking;
use super::outcome::Outcome;
use super::resolver::{Review, Suggestion};
use super::strategy::{Confidence, Evidence};
use super::values::{AuditAction, MappingSource, Stored, string_values};
use crate::event::{
    AppointmentId, Booking, BookingEvent, BookingLinks, BookingRef, CompanyId, EventId, EventKind,
    EventOrder, EventTime, Host, HostId, HostSource, Shape, StaffId,
};

/// The effect of a batch, each list in key order: workers that take locks in the same order
/// cannot deadlock each other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChangeSet {
    /// Changes to `calcom_host_mappings`, with an audit row for each.
    pub mappings: Vec<MappingChange>,
    /// Changes to the gateway's `appointments`.
    pub appointments: Vec<AppointmentWrite>,
    /// Our own row for each appointment.
    pub assignments: Vec<Assignment>,
    /// Hosts about which a person has to decide, or no longer has to.
    pub inbox: Vec<InboxRow>,
    /// One small row for each event.
    pub events: Vec<EventRow>,
    /// References that led to an appointment and were not recorded yet, or have been replaced since.
    pub references: Vec<ReferenceRow>,
}

/// A row of `hostmatch_booking_references`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReferenceRow {
    /// A `uid` or an `id` of a booking.
    pub reference: BookingRef,
    /// The appointment of the booking.
    pub appointment: AppointmentId,
    /// The booking that replaced it.
    pub replaced_by: Option<BookingRef>,
}

/// Refers to a mapping: to its row, or to the one that this batch creates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MappingRef {
    /// `calcom_host_mappings.id`
    Row(i64),
    /// A mapping that this batch creates. Its key identifies it, because only one mapping of a key can be
    /// active.
    New(HostKey),
}

/// One change of one mapping. The audit row identifies the mapping.
#[derive(Clone, Debug, PartialEq)]
pub struct MappingChange {
    /// Its audit row.
    pub audit: Audit,
    /// The write.
    pub write: MappingWrite,
}

/// The write to a mapping.
#[derive(Clone, Debug, PartialEq)]
pub enum MappingWrite {
    /// Switch off the mapping: its member of staff is no longer valid, and another mapping replaces it.
    Supersede,
    /// Create the mapping.
    Insert {
        /// The host as given in the event.
        host: Box<Host>,
        /// `mapping_source`
        source: MappingSource,
        /// `confidence_score`
        confidence: Confidence,
        /// `metadata`; the audit's `change_key` in it identifies the row as ours.
        metadata: Value,
    },
    /// Switch on again a mapping that a match created; its company may have changed.
    Reactivate {
        /// `mapping_source`
        source: MappingSource,
        /// `confidence_score`
        confidence: Confidence,
    },
}

/// A row of `calcom_host_mapping_audits`: one for each real change.
#[derive(Clone, Debug, PartialEq)]
pub struct Audit {
    /// Identifies the change and the state that it starts from: the same change made twice, by a redelivery
    /// or by two workers from the same state, has the same key and leaves one row.
    pub change_key: Uuid,
    /// The mapping.
    pub mapping: MappingRef,
    /// The company and the host, which outlive the mapping.
    pub key: HostKey,
    /// The member of staff, which also outlives the mapping.
    pub staff: StaffId,
    /// The action.
    pub action: AuditAction,
    /// The fields before.
    pub old_values: Option<Value>,
    /// The fields after.
    pub new_values: Value,
    /// The reason, as text.
    pub reason: Option<String>,
}

/// The new values of one appointment of the gateway. `updated_at` comes from the database's clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppointmentWrite {
    pub(crate) id: AppointmentId,
    /// `staff_id`
    pub(crate) staff: Option<StaffId>,
    /// `calcom_host_id`
    pub(crate) host_id: Option<i64>,
}

/// A row of `hostmatch_assignments`: our record of one appointment.
#[derive(Clone, Debug, PartialEq)]
pub struct Assignment {
    /// The appointment.
    pub appointment: AppointmentId,
    /// Its company.
    pub company: CompanyId,
    /// The member of staff that we assigned last; `None` if we never assigned one, or have withdrawn it. A
    /// decision that was only observed does not set it.
    pub staff: Option<StaffId>,
    /// The member of staff that the last decision found, whether or not it was written.
    pub found: Option<StaffId>,
    /// What remains to be written, if the last decision was made while observing.
    pub observed: Option<Observed>,
    /// The mapping that the last decision used or created.
    pub mapping: Option<MappingRef>,
    /// The strategy of the last decision that found a member of staff.
    pub strategy: Option<String>,
    /// Its confidence.
    pub confidence: Option<Confidence>,
    /// Its evidence.
    pub evidence: Option<Evidence>,
    /// The newest event with a host.
    pub newest: Option<HostEvent>,
    /// The outcome of that event (or, without one, of the last event).
    pub outcome: Outcome,
    /// The reason why a person has to decide.
    pub review: Option<Review>,
    /// The booking's reference.
    pub booking: Option<BookingRef>,
    /// When the booking starts, in ms since 1970.
    pub starts_ms: Option<i64>,
    /// The booking as received; in short form if it is large.
    pub payload: Option<String>,
    /// When the appointment was last decided, in ms since 1970.
    pub decided_ms: i64,
}

impl Assignment {
    /// Returns the host for which the appointment waits, if its outcome waits and we have assigned no staff.
    pub fn waits_for(&self) -> Option<HostKey> {
        let waits = self.outcome.waits() && self.staff.is_none();
        let host = self.newest.as_ref()?.host_id.and_then(HostId::new)?;
        waits.then_some(HostKey::new(self.company, host))
    }

    /// Returns the newest event with a host; `None` if no event had one. While the booking is kept
    /// (`retention.payloads`) the event has the whole host, afterwards only the host's id and address.
    pub fn newest_event(&self) -> Option<BookingEvent> {
        let newest = self.newest.as_ref()?;
        let known_host = || {
            let email = newest.host_email.clone();
            let host = Host { id: newest.host_id.and_then(HostId::new), email, ..Host::default() };
            host.is_usable().then_some((host, HostSource::Hosts))
        };
        let stored = self.payload.as_deref().and_then(read_kept_booking);
        let form_notes = stored.as_ref().map(|event| event.form_notes.clone()).unwrap_or_default();
        let (host, raw) = match stored.and_then(|event| event.bookings.into_iter().next()) {
            Some(booking) => (booking.host.or_else(known_host), booking.raw),
            None => (known_host(), None),
        };
        let booking = Booking {
            uid: self.booking.clone(),
            id: None,
            replaces: None,
            links: BookingLinks::default(),
            host,
            host_missing: None,
            host_missing_at: None,
            is_cancelled: false,
            time: newest.time,
            time_note: None,
            starts_ms: self.starts_ms,
            raw,
        };
        Some(BookingEvent {
            id: newest.event.clone(),
            // The type is not stored, and not needed here.
            event_type: String::new(),
            kind: EventKind::Assigns,
            shape: Shape::Native,
            content: Shape::Native,
            company: None,
            appointment: Some(self.appointment),
            bookings: vec![booking],
            form_notes,
        })
    }
}

string_values!(Observed, InboxState);

/// The changes that a decision did not write because the worker only observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[derive(AsRefStr, Display, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Observed {
    /// The appointment is decided again, and the result is written, once workers assign.
    Decided,
    /// In addition, our earlier assignment has to be withdrawn, because it was for another host.
    Withdrawal,
}

/// An event with a usable host, of a kind that may assign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostEvent {
    pub(crate) event: EventId,
    pub(crate) time: EventTime,
    /// The host's id, if it has one.
    pub host_id: Option<i64>,
    /// The host's first address, normalised.
    pub(crate) host_email: Option<String>,
    /// The field of the event in which the host was found.
    pub(crate) source: String,
}

impl HostEvent {
    pub(super) fn new(event: &EventId, time: EventTime, host: &Host, source: HostSource) -> Self {
        let host_id = host.id.map(|id| id.0);
        // The address is cut to the length of its column here, so that comparisons use the stored value.
        let host_email = host.emails().into_iter().next().map(|email| email.chars().take(255).collect());
        Self { event: event.clone(), time, host_id, host_email, source: source.as_str().to_owned() }
    }

    /// Returns the position of this event among those of its appointment.
    pub fn order(&self) -> EventOrder {
        EventOrder::new(self.time, &self.event)
    }

    /// Returns whether the hosts of two events are the same: their ids are equal, or, if one of them has no id, their
    /// addresses.
    pub fn is_same_host(&self, other: &Self) -> bool {
        match (self.host_id, other.host_id) {
            (Some(one), Some(two)) => one == two,
            _ => self.host_email.is_some() && self.host_email == other.host_email,
        }
    }
}

/// A row of `hostmatch_inbox`: a host about which a person has to decide, or had to.
#[derive(Clone, Debug, PartialEq)]
pub struct InboxRow {
    pub(crate) key: HostKey,
    /// The host as given in the newest event.
    pub(crate) host: Host,
    /// The newest event. Later events with the same content within the hour are not recorded.
    pub(crate) event: EventId,
    pub(crate) time: EventTime,
    /// The hour of the earliest event, ms since 1970.
    pub(crate) first_seen_ms: i64,
    /// The hour of the latest event, ms since 1970.
    pub(crate) last_seen_ms: i64,
    /// The reason why a person has to decide; `None` if nobody was found.
    pub(crate) review: Option<Review>,
    /// The members of staff that a person may accept.
    pub(crate) suggestions: Vec<Suggestion>,
    /// Whether a person still has to decide.
    pub(crate) state: InboxState,
    /// When the state last changed, ms since 1970.
    pub(crate) state_changed_ms: i64,
}

/// Whether a person still has to decide about a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[derive(AsRefStr, Display, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum InboxState {
    /// A person has to decide.
    Open,
    /// A person chose to ignore the host.
    Ignored,
    /// The host has a mapping.
    Resolved,
}

/// How an event was read: kept with it as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EventReading {
    /// The reference by which its (first) appointment was found.
    pub found_by: Option<Stored<FoundBy>>,
    /// Notes about values in an unusual form, without the values.
    pub notes: Vec<String>,
}

impl EventReading {
    /// The most notes that are kept of an event.
    const MAX_NOTES: usize = 20;

    /// Returns it as JSON, with a limited number of notes.
    pub(crate) fn to_json(&self) -> String {
        let notes = self.notes.iter().take(Self::MAX_NOTES).collect::<Vec<_>>();
        json!({ "found_by": self.found_by, "notes": notes }).to_string()
    }
}

/// A row of `hostmatch_events`: the result of one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRow {
    /// The id of the event, which identifies repeats.
    pub(crate) id: EventId,
    pub(crate) event_type: String,
    pub(crate) shape: &'static str,
    /// The publisher, if known.
    pub(crate) publisher: Option<String>,
    /// Its (first) booking.
    pub(crate) booking: Option<BookingRef>,
    pub(crate) company: Option<CompanyId>,
    /// The (first) appointment.
    pub(crate) appointment: Option<AppointmentId>,
    /// The worst outcome of its bookings.
    pub(crate) outcome: Outcome,
    /// A code with more detail about the outcome.
    pub(crate) reason: Option<Cow<'static, str>>,
    /// How it was read; `None` if there was nothing to act on.
    pub(crate) reading: Option<EventReading>,
    /// When the event was first received, in ms since 1970.
    pub(crate) received_ms: i64,
    /// When the event was decided, in ms since 1970.
    pub(crate) decided_ms: i64,
}
