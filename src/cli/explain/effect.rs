//! What would become of an appointment and of a delivery, found by planning and writing nothing.

use serde::Serialize;

use crate::event::{AppointmentId, BookingEvent, CompanyId, HostId, StaffId};
use crate::matching::{
    Appointment, ChangeSet, Holder, HostKey, Item, Loaded, MappingChange, Outcome, Plan, Policy, Reason,
    Resolver, Target, Verdict,
};

/// What would follow if the event came now.
#[derive(Debug, Serialize)]
pub(super) struct Effect {
    /// The appointment; none when there is none, or several.
    pub appointment: Option<AppointmentId>,
    /// What would become of the delivery.
    pub delivery: Delivery,
    /// The outcome of a delivery that is done.
    pub outcome: Option<&'static str>,
    /// A code that says more: of a review, of a retry, of a dead letter.
    pub reason: Option<&'static str>,
    /// The same in words, where there are some.
    pub why: Option<String>,
    /// Whose doing the present `staff_id` is.
    pub held_by: Option<&'static str>,
    /// The appointment's columns as they are.
    pub before: Option<Columns>,
    /// The appointment's columns as they would be.
    pub after: Option<Columns>,
    /// What would be done to mappings.
    pub mappings: Vec<Mapped>,
    /// Other appointments that wait for this host and would be decided with it.
    pub also_decided: usize,
}

/// What would become of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Delivery {
    Done,
    Retry,
    DeadLetter,
}

/// What we write of an appointment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Columns {
    pub staff_id: Option<StaffId>,
    pub calcom_host_id: Option<i64>,
}

/// One change of a mapping.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Mapped {
    /// `made`, `switched_on`, `switched_off`.
    pub change: &'static str,
    pub staff: StaffId,
}

impl Effect {
    /// Of a message that carries nothing to act on.
    pub(super) fn ignored() -> Self {
        Self::done(None, Outcome::Ignored, None)
    }

    fn done(appointment: Option<AppointmentId>, outcome: Outcome, reason: Option<&'static str>) -> Self {
        Self {
            appointment,
            delivery: Delivery::Done,
            outcome: Some(outcome.as_str()),
            reason,
            why: None,
            held_by: None,
            before: None,
            after: None,
            mappings: Vec::new(),
            also_decided: 0,
        }
    }

    fn of(verdict: Verdict, target: Target) -> Self {
        let appointment = if let Target::Found(id) = target { Some(id) } else { None };
        let failed = |delivery, reason: Reason, why| Self {
            delivery,
            outcome: None,
            reason: Some(reason.as_str()),
            why,
            ..Self::done(appointment, Outcome::Ignored, None)
        };
        match verdict {
            Verdict::Decided(outcome, reason) => Self::done(appointment, outcome, reason),
            Verdict::NotYet => failed(Delivery::Retry, Reason::AppointmentNotFound, None),
            Verdict::Refused(reason, why) => failed(Delivery::DeadLetter, reason, Some(why)),
        }
    }

    /// Of a message that cannot be read.
    pub(super) fn unreadable(reason: Reason, why: String) -> Self {
        Self::of(Verdict::Refused(reason, why), Target::Missing)
    }

    /// What a person can do, where that does not depend on who the host is.
    pub(super) fn next(&self) -> Option<&'static str> {
        let reason = self.reason.filter(|_| self.delivery != Delivery::Done);
        if let Some(reason) = reason.and_then(|reason| reason.parse::<Reason>().ok()) {
            return Some(reason.remedy());
        }
        if self.reason == Some("several_appointments") {
            return Some("let only one appointment have this booking's reference, or send appointment_id");
        }
        match self.outcome?.parse().ok()? {
            Outcome::WouldAssign => Some("nothing: it is assigned once worker.mode is assign"),
            Outcome::Assigned | Outcome::Unchanged | Outcome::Recorded | Outcome::Ignored => Some("nothing"),
            Outcome::Kept => Some(
                "nothing, if that is right; clearing staff_id does not help, appointments.overwrite = \"always\" would",
            ),
            Outcome::Stale => Some("nothing: a newer event of this appointment counts"),
            Outcome::NoHost => {
                Some("see in Cal.com whom the booking is with, and let the gateway send its host")
            }
            Outcome::NeedsReview | Outcome::Unmatched => None,
        }
    }
}

/// A plan whose changes are looked at and dropped.
pub(super) struct Rehearsal<'r> {
    plan: Plan<'r>,
    before: std::collections::BTreeMap<AppointmentId, Appointment>,
}

impl<'r> Rehearsal<'r> {
    pub(super) fn new(loaded: Loaded, resolver: &'r Resolver, policy: Policy) -> Self {
        let before = loaded.appointments.clone();
        Self { plan: Plan::new(loaded, resolver, policy), before }
    }

    /// What would follow for each booking of the event.
    pub(super) fn of(mut self, event: &BookingEvent, targets: &[Target]) -> Vec<Effect> {
        let mut effects = Vec::new();
        for (booking, target) in event.bookings.iter().zip(targets) {
            // One by one, so that each booking has a verdict of its own.
            let one = BookingEvent { bookings: vec![booking.clone()], ..event.clone() };
            let targets = std::slice::from_ref(target);
            let item = Item {
                event: &one,
                targets,
                publisher: None,
                received_ms: booking.time.ms,
                may_be_unknown: false,
            };
            effects.push(Effect::of(self.plan.event(&item), *target));
        }
        let changes = self.plan.finish();
        for (effect, booking) in effects.iter_mut().zip(&event.bookings) {
            let Some(before) = effect.appointment.and_then(|id| self.before.get(&id)) else { continue };
            let host = booking.host.as_ref().and_then(|(host, _)| host.id);
            fill(effect, before, host.map(|host| HostKey::new(before.company, host)), &changes);
            effect.also_decided = host.map_or(0, |host| waiting(&changes, before.company, host, targets));
        }
        effects
    }
}

fn fill(effect: &mut Effect, before: &Appointment, key: Option<HostKey>, changes: &ChangeSet) {
    let ours = before.assignment.as_ref().and_then(|assignment| assignment.staff.as_ref());
    effect.held_by = Some(match Holder::of(before.staff.as_ref(), ours) {
        Holder::Nobody => "nobody",
        Holder::Us => "hostmatch",
        Holder::Them => "somebody_else",
    });
    let now = Columns { staff_id: before.staff.clone(), calcom_host_id: before.host_id };
    let write = changes.appointments.iter().find(|write| Some(write.id) == effect.appointment);
    effect.after = Some(write.map_or_else(
        || now.clone(),
        |write| Columns { staff_id: write.staff.clone(), calcom_host_id: write.host_id },
    ));
    effect.before = Some(now);
    let of_this_host = changes.mappings.iter().filter(|change| Some(change.audit().key) == key);
    effect.mappings = of_this_host
        .map(|change| Mapped {
            change: match change {
                MappingChange::Supersede { .. } => "switched_off",
                MappingChange::Insert { .. } => "made",
                MappingChange::Reactivate { .. } => "switched_on",
            },
            staff: change.audit().staff.clone(),
        })
        .collect();
}

/// Appointments beyond those of the event that would be decided because this host becomes known.
fn waiting(changes: &ChangeSet, company: CompanyId, host: HostId, targets: &[Target]) -> usize {
    let others = changes.assignments.iter().filter(|row| {
        let is_own = targets.contains(&Target::Found(row.appointment));
        let names = row.newest.as_ref().is_some_and(|newest| newest.host_id == Some(host.0));
        !is_own && names && row.company == company
    });
    others.count()
}
