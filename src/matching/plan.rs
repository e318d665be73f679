//! Processes the events of a batch in order and plans what to write.
//!
//! Each event sees the changes of those before it, so it makes no difference how a stream is split into
//! batches. When a host gets a mapping, the appointments that waited for it are decided again at
//! once, so the order of arrival makes no difference either.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::changes::{
    AppointmentWrite, Assignment, ChangeSet, EventReading, EventRow, HostEvent, InboxRow, ReferenceRow,
};
use super::directory::{Directory, HostKey};
use super::found_by::FoundBy;
use super::match_stats::MatchStats;
use super::outcome::{DEAD_LETTER, Outcome, Reason};
use super::references::References;
use super::resolver::{Resolved, Resolver};
use super::values::Stored;
use crate::config::{Mode, Overwrite};
use crate::event::{
    AppointmentId, Booking, BookingEvent, BookingRef, CompanyId, EventId, EventKind, Ignored, StaffId,
};

/// Everything that was loaded for a batch. The plan changes its own copy.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// Mappings and staff.
    pub directory: Directory,
    /// The appointments of the batch, and those that wait for its unmapped hosts.
    pub appointments: BTreeMap<AppointmentId, Appointment>,
    /// Inbox rows of the batch's unmapped hosts.
    pub inbox: BTreeMap<HostKey, InboxRow>,
    /// Recorded outcomes of the batch's events, as stored (`dead_letter` included).
    pub events: HashMap<EventId, String>,
}

impl Loaded {
    /// Adds the data that was loaded for more events. Existing values are kept, because a plan may have
    /// changed them.
    pub fn add_missing(&mut self, more: Self) {
        self.directory.add_missing(more.directory);
        for (id, appointment) in more.appointments {
            self.appointments.entry(id).or_insert(appointment);
        }
        for (key, row) in more.inbox {
            self.inbox.entry(key).or_insert(row);
        }
        for (id, outcome) in more.events {
            self.events.entry(id).or_insert(outcome);
        }
    }
}

/// One appointment of the gateway, and our own row for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Appointment {
    /// Its company.
    pub company: CompanyId,
    /// The current `staff_id`.
    pub staff: Option<StaffId>,
    /// The current `calcom_host_id`.
    pub host_id: Option<i64>,
    /// Our record of the appointment.
    pub assignment: Option<Assignment>,
    /// The references of its bookings.
    pub references: References,
}

impl Appointment {
    /// Creates an appointment of this company about which nothing else is known.
    pub fn of(company: CompanyId) -> Self {
        Self { company, staff: None, host_id: None, assignment: None, references: References::default() }
    }
}

/// The appointment that a booking refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// This appointment, found by this reference.
    Found(AppointmentId, FoundBy),
    /// No appointment yet.
    Missing,
    /// Several appointments have this reference, so none of them is chosen.
    Several,
    /// An appointment that belongs to no company.
    NoCompany,
}

impl Target {
    /// Returns the appointment, if there is exactly one.
    pub fn found(&self) -> Option<AppointmentId> {
        if let Self::Found(id, _) = self { Some(*id) } else { None }
    }

    /// Returns the reference by which the appointment was found.
    pub fn found_by(&self) -> Option<FoundBy> {
        if let Self::Found(_, by) = self { Some(*by) } else { None }
    }
}

/// An event of the batch, and the appointments that its bookings refer to.
#[derive(Clone, Copy, Debug)]
pub struct Item<'a> {
    /// The event.
    pub event: &'a BookingEvent,
    /// The appointment of each booking.
    pub targets: &'a [Target],
    /// The publisher, if known.
    pub publisher: Option<&'a str>,
    /// When the event was first received, in ms since 1970.
    pub received_ms: i64,
    /// Whether the event is ignored instead of retried if the appointment is missing.
    pub ignore_if_missing: bool,
}

/// The plan's result for an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The event is decided; the code has more detail.
    Decided(Outcome, Option<Cow<'static, str>>),
    /// An appointment does not exist yet: the delivery is retried. The other bookings are decided.
    NotYet,
    /// A permanent failure. The other bookings are decided.
    Refused(Reason, String),
}

/// The settings and the time that decisions depend on, besides the data.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Whether appointments and mappings are written, or decisions are only recorded.
    pub mode: Mode,
    /// Which `staff_id` may be overwritten.
    pub overwrite: Overwrite,
    /// The current time, ms since 1970.
    pub now_ms: i64,
}

/// A batch that is being planned.
#[derive(Debug)]
pub struct Plan<'r> {
    pub(super) resolver: &'r Resolver,
    pub(super) policy: Policy,
    pub(super) resolved: Resolved,
    pub(super) state: Loaded,
    /// The previous `staff_id` and `calcom_host_id` of the appointments that were changed.
    pub(super) before: BTreeMap<AppointmentId, (Option<StaffId>, Option<i64>)>,
    pub(super) waiting: HashMap<HostKey, BTreeSet<AppointmentId>>,
    pub(super) changes: ChangeSet,
    pub(super) assignments: BTreeSet<AppointmentId>,
    pub(super) inbox: BTreeSet<HostKey>,
    pub(super) stats: MatchStats,
    events: BTreeMap<EventId, EventRow>,
    /// The references to write, of the appointments in `state`.
    references: BTreeSet<(BookingRef, AppointmentId)>,
}

impl<'r> Plan<'r> {
    /// Starts a plan from the loaded data.
    pub fn new(state: Loaded, resolver: &'r Resolver, policy: Policy) -> Self {
        let mut plan = Self {
            resolver,
            policy,
            resolved: Resolved::default(),
            state,
            before: BTreeMap::new(),
            waiting: HashMap::new(),
            changes: ChangeSet::default(),
            assignments: BTreeSet::new(),
            inbox: BTreeSet::new(),
            stats: MatchStats::default(),
            events: BTreeMap::new(),
            references: BTreeSet::new(),
        };
        for (id, appointment) in &plan.state.appointments {
            let waits = appointment.assignment.as_ref().and_then(Assignment::waits_for);
            // An appointment that has moved to another company does not wait there.
            if let Some(key) = waits.filter(|key| key.company == appointment.company) {
                plan.waiting.entry(key).or_default().insert(*id);
            }
        }
        plan
    }

    /// Adds host resolutions computed from the same directory.
    #[must_use]
    pub fn with_resolutions(self, resolved: Resolved) -> Self {
        Self { resolved, ..self }
    }

    /// Returns mappings and staff, including new mappings.
    pub fn directory(&self) -> &Directory {
        &self.state.directory
    }

    /// Returns the appointments in their current state.
    pub fn appointments(&self) -> &BTreeMap<AppointmentId, Appointment> {
        &self.state.appointments
    }

    pub(super) fn observes(&self) -> bool {
        self.policy.mode == Mode::Observe
    }

    /// Decides one event. The row of the event is written unless the delivery is retried or dead-lettered.
    pub fn decide_event(&mut self, item: &Item<'_>) -> Verdict {
        let event = item.event;
        let mut verdict: Option<Verdict> = None;
        for (booking, target) in event.bookings.iter().zip(item.targets) {
            let next = match self.decide_booking(event, booking, *target) {
                Verdict::NotYet if item.ignore_if_missing => {
                    Verdict::Decided(Outcome::Ignored, Some(Reason::AppointmentNotFound.as_str().into()))
                }
                next => next,
            };
            verdict = Some(match (verdict, next) {
                (None, next) => next,
                (Some(Verdict::NotYet), _) | (_, Verdict::NotYet) => Verdict::NotYet,
                (Some(refused @ Verdict::Refused(..)), _) | (_, refused @ Verdict::Refused(..)) => refused,
                (Some(Verdict::Decided(one, why)), Verdict::Decided(two, _))
                    if one.more_important(two) == one =>
                {
                    Verdict::Decided(one, why)
                }
                (_, next) => next,
            });
        }
        let verdict = verdict.unwrap_or(Verdict::Decided(Outcome::Ignored, None));
        if let Verdict::Decided(outcome, reason) = &verdict {
            let appointment = item.targets.iter().find_map(Target::found);
            let company = appointment.and_then(|id| self.state.appointments.get(&id)).map(|a| a.company);
            self.record(EventRow {
                id: event.id.clone(),
                event_type: event.event_type.clone(),
                shape: event.shape.as_str(),
                publisher: item.publisher.map(str::to_owned),
                booking: event.bookings.first().and_then(|b| b.reference().cloned()),
                company: company.or(event.company),
                appointment,
                outcome: *outcome,
                reason: reason.clone(),
                reading: Some(EventReading {
                    found_by: item.targets.iter().find_map(Target::found_by).map(Stored::Known),
                    notes: event.form_notes.iter().map(ToString::to_string).collect(),
                }),
                received_ms: item.received_ms,
                decided_ms: self.policy.now_ms,
            });
        }
        verdict
    }

    /// Records a message with nothing to act on.
    pub fn record_ignored(&mut self, ignored: &Ignored, publisher: Option<&str>, received_ms: i64) {
        self.record(EventRow {
            id: ignored.id.clone(),
            event_type: ignored.event_type.clone(),
            shape: ignored.shape.as_str(),
            publisher: publisher.map(str::to_owned),
            booking: None,
            company: None,
            appointment: None,
            outcome: Outcome::Ignored,
            reason: None,
            reading: None,
            received_ms,
            decided_ms: self.policy.now_ms,
        });
    }

    /// Decides the loaded appointments that wait for hosts that now have a mapping.
    pub fn redecide_waiting(&mut self) {
        let mut keys: Vec<HostKey> = self.waiting.keys().copied().collect();
        keys.sort_unstable();
        for key in keys {
            self.redecide(key);
        }
    }

    /// Returns the state that later events would find once the plan is written.
    pub fn into_state(self) -> Loaded {
        self.state
    }

    /// Takes the statistics so far, and resets them.
    pub fn take_stats(&mut self) -> MatchStats {
        std::mem::take(&mut self.stats)
    }

    /// Returns the rows to write.
    pub fn finish(mut self) -> ChangeSet {
        for (id, before) in &self.before {
            let Some(now) = self.state.appointments.get(id) else { continue };
            if (&now.staff, &now.host_id) != (&before.0, &before.1) {
                let (staff, host_id) = (now.staff.clone(), now.host_id);
                self.changes.appointments.push(AppointmentWrite { id: *id, staff, host_id });
            }
        }
        let Loaded { appointments, inbox, .. } = &mut self.state;
        let rows = self.assignments.iter().filter_map(|id| appointments.get_mut(id)?.assignment.take());
        self.changes.assignments = rows.collect();
        self.changes.inbox = self.inbox.iter().filter_map(|key| inbox.remove(key)).collect();
        self.changes.events = self.events.into_values().collect();
        let row = |(reference, appointment): (BookingRef, AppointmentId)| {
            let replaced_by = appointments.get(&appointment)?.references.replaced_by(&reference).cloned();
            Some(ReferenceRow { reference, appointment, replaced_by })
        };
        self.changes.references = self.references.into_iter().filter_map(row).collect();
        self.changes
    }

    /// Records an event. When the same event was recorded before, the new outcome replaces the recorded one
    /// only if it is `assigned` and the recorded one is not. Otherwise a redelivery would turn every
    /// `assigned` into `unchanged`.
    fn record(&mut self, row: EventRow) {
        let known = self.state.events.get(&row.id).map(String::as_str);
        let assigned = Outcome::Assigned.as_str();
        let is_new = match known {
            None | Some(DEAD_LETTER) => true,
            Some(known) => row.outcome == Outcome::Assigned && known != assigned,
        };
        if is_new {
            self.state.events.insert(row.id.clone(), row.outcome.to_string());
            self.events.insert(row.id.clone(), row);
        }
    }

    fn decide_booking(&mut self, event: &BookingEvent, booking: &Booking, target: Target) -> Verdict {
        let host = match (event.kind, booking.is_cancelled, &booking.host) {
            (EventKind::Records, ..) | (_, true, _) => Err(Outcome::Recorded),
            (_, _, None) => Err(Outcome::NoHost),
            (_, _, Some((host, source))) => Ok((host, *source)),
        };
        if let Err(Outcome::NoHost) = host {
            self.stats.missing.extend(booking.host_missing);
        }
        let appointment = match (target, &host) {
            (Target::Found(id, _), _) => id,
            // Events that cannot assign never wait for an appointment, and never need a person's decision.
            (_, Err(outcome)) => return Verdict::Decided(*outcome, missing_host(*outcome, booking)),
            (Target::Missing, Ok(_)) => return Verdict::NotYet,
            (Target::Several, _) => {
                return Verdict::Decided(Outcome::NeedsReview, Some("several_appointments".into()));
            }
            (Target::NoCompany, _) => {
                let why = "the appointment belongs to no company; set appointments.company_id, then replay the event";
                return Verdict::Refused(Reason::NoCompany, why.to_owned());
            }
        };
        let Some(company) = self.state.appointments.get(&appointment).map(|a| a.company) else {
            return Verdict::NotYet;
        };
        if let Some(claimed) = event.company.filter(|claimed| *claimed != company) {
            let why = format!(
                "the event names company {claimed}, but appointment {appointment} belongs to company {company}"
            );
            return Verdict::Refused(Reason::TenantMismatch, why);
        }
        if let Some(found) = self.state.appointments.get_mut(&appointment) {
            let learned = found.references.learn(booking);
            self.references.extend(learned.into_iter().map(|reference| (reference, appointment)));
        }
        match host {
            Err(outcome) => {
                self.record_without_host(appointment, booking, outcome);
                Verdict::Decided(outcome, missing_host(outcome, booking))
            }
            Ok((host, source)) => {
                let host_event = HostEvent::new(&event.id, booking.time, host, source);
                self.decide(appointment, company, booking, host, host_event)
            }
        }
    }
}

/// The length of the column of an event's reason.
const MAX_REASON: usize = 64;

/// Returns why a booking has no host and where it may be, if that is the outcome.
fn missing_host(outcome: Outcome, booking: &Booking) -> Option<Cow<'static, str>> {
    let mut why = booking.describe_missing_host().filter(|_| outcome == Outcome::NoHost)?;
    why.truncate(why.floor_char_boundary(MAX_REASON));
    Some(why.into())
}
