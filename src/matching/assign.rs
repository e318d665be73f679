//! Decides one appointment: whether the resolution may be written, and what our own row then records. A
//! decision by a person or another program is overwritten only if `appointments.overwrite` is `always`.

use std::borrow::Cow;
use std::cmp::Ordering;

use strum::IntoStaticStr;

use super::changes::{Assignment, HostEvent, Observed};
use super::directory::HostKey;
use super::kept_booking::kept_booking;
use super::outcome::Outcome;
use super::plan::{Plan, Verdict};
use super::resolver::Resolution;
use super::strategy::{Candidate, Origin};
use crate::config::Overwrite;
use crate::event::{AppointmentId, Booking, CompanyId, Host, HostId, StaffId};

/// The code of an outcome `stale`: another booking has replaced the one of the event.
pub const REPLACED: &str = "booking_replaced";

impl Plan<'_> {
    /// Records an event without a usable host on the appointment, unless the appointment already has an event
    /// with a usable host.
    pub(super) fn record_without_host(&mut self, id: AppointmentId, booking: &Booking, outcome: Outcome) {
        let Some(appointment) = self.state.appointments.get_mut(&id) else { return };
        if appointment.assignment.as_ref().is_none_or(|assignment| assignment.newest.is_none()) {
            appointment.assignment =
                Some(new_assignment(id, appointment.company, booking, None, outcome, self.policy.now_ms));
            self.assignments.insert(id);
        }
    }

    /// Decides a booking with a host, and records the host in the directory or the inbox.
    pub(super) fn decide(
        &mut self,
        id: AppointmentId,
        company: CompanyId,
        booking: &Booking,
        host: &Host,
        host_event: HostEvent,
    ) -> Verdict {
        let key = host.id.map(|id| HostKey::new(company, id));
        let known = key.and_then(|key| self.resolved.get(key, host));
        let mut resolution =
            known.unwrap_or_else(|| self.resolver.resolve(host, company, &self.state.directory));
        self.stats.count(&resolution);
        self.stats.missing.extend(booking.host_missing);
        let mut newly_matched = None;
        match (&mut resolution, key) {
            (Resolution::Matched { candidate, .. }, Some(key)) => {
                if let Origin::Match(source) = candidate.origin {
                    if self.observes() {
                        self.close_inbox(key);
                    } else {
                        self.resolved.forget(key);
                        candidate.origin = Origin::Mapping(self.learn(key, candidate, source, host));
                    }
                    newly_matched = Some(key);
                }
            }
            (Resolution::NeedsReview { review, suggestions }, Some(key)) => {
                self.add_to_inbox(key, host, &host_event, Some(*review), suggestions);
            }
            (Resolution::Unmatched, Some(key)) => self.add_to_inbox(key, host, &host_event, None, &[]),
            // A host without an id has no key for a mapping or an inbox row.
            (_, None) => {}
        }
        let verdict = match self.stale(id, booking, &host_event) {
            Some(why) => Verdict::Decided(Outcome::Stale, why.map(Cow::Borrowed)),
            None => self.apply(id, Some((booking, host_event)), &resolution),
        };
        match newly_matched {
            // While observing, no mapping exists that would give the waiting appointments the same result.
            Some(key) if self.observes() => self.redecide_with(key, &resolution),
            Some(key) => self.redecide(key),
            None => {}
        }
        verdict
    }

    /// Returns why an event is older than the appointment's newest one: the code [`REPLACED`], or `None` if its
    /// time is earlier. A booking that was replaced is over, whatever the times of its events.
    fn stale(
        &self,
        id: AppointmentId,
        booking: &Booking,
        host_event: &HostEvent,
    ) -> Option<Option<&'static str>> {
        let appointment = self.state.appointments.get(&id)?;
        let assignment = appointment.assignment.as_ref()?;
        let newest = assignment.newest.as_ref()?;
        let other = assignment.booking.as_ref();
        match other.map_or(Ordering::Equal, |other| appointment.references.compare(booking, other)) {
            Ordering::Less => Some(Some(REPLACED)),
            Ordering::Equal => (host_event.order() < newest.order()).then_some(None),
            Ordering::Greater => None,
        }
    }

    /// Applies a resolution to an appointment, as far as the guards allow. `newer`: the booking and the
    /// event that are decided now; `None`: the appointment's own newest event is decided again.
    fn apply(
        &mut self,
        id: AppointmentId,
        newer: Option<(&Booking, HostEvent)>,
        resolution: &Resolution,
    ) -> Verdict {
        let (overwrite, observes) = (self.policy.overwrite, self.observes());
        let Some(appointment) = self.state.appointments.get_mut(&id) else { return Verdict::NotYet };
        let before = (appointment.staff.clone(), appointment.host_id);
        let old = appointment.assignment.take();
        let ours = old.as_ref().and_then(|assignment| assignment.staff.clone());
        let previous = old.as_ref().and_then(|assignment| assignment.newest.clone());
        let set_by = StaffSetBy::of(appointment.staff.as_ref(), ours.as_ref());
        let is_repeat = newer.as_ref().is_some_and(|(_, host_event)| previous.as_ref() == Some(host_event));
        let observed = old.as_ref().and_then(|assignment| assignment.observed);

        let mut row = match (newer, old.clone()) {
            (Some((booking, host_event)), _) => {
                // We did not write a decision that was only observed.
                let our_host_id = previous.as_ref().filter(|_| observed.is_none()).and_then(|it| it.host_id);
                appointment.host_id = match host_event.host_id {
                    _ if observes => appointment.host_id,
                    Some(host_id) => Some(host_id),
                    // The newest host has no id: remove an id that we wrote earlier, but keep an id that the
                    // gateway wrote.
                    None if appointment.host_id == our_host_id => None,
                    None => appointment.host_id,
                };
                new_assignment(
                    id,
                    appointment.company,
                    booking,
                    Some(host_event),
                    Outcome::Unmatched,
                    self.policy.now_ms,
                )
            }
            (None, Some(old)) => {
                let unwritten = previous.as_ref().filter(|_| observed.is_some() && !observes);
                appointment.host_id = unwritten.and_then(|it| it.host_id).or(appointment.host_id);
                Assignment { decided_ms: self.policy.now_ms, ..old }
            }
            (None, None) => return Verdict::NotYet,
        };
        let other_host = match (&previous, &row.newest) {
            (Some(previous), Some(newest)) => {
                observed == Some(Observed::Withdrawal) || !previous.is_same_host(newest)
            }
            _ => false,
        };
        row.staff = ours;
        row.observed = observes.then_some(Observed::Decided);
        let change = record_resolution(
            &mut row,
            resolution,
            appointment.staff.as_ref(),
            set_by,
            other_host,
            overwrite,
        );
        match (change, resolution) {
            (Change::Set, _) if observes => row.outcome = Outcome::WouldAssign,
            (Change::Clear, _) if observes => row.observed = Some(Observed::Withdrawal),
            (Change::Set, Resolution::Matched { candidate, .. }) => {
                appointment.staff = Some(candidate.staff.clone());
                row.staff = Some(candidate.staff.clone());
            }
            (Change::Clear, _) => {
                appointment.staff = None;
                row.staff = None;
            }
            _ => {}
        }
        self.before.entry(id).or_insert(before);
        let (outcome, reason) = (row.outcome, row.review.map(|review| review.as_str().into()));
        if is_repeat && outcome == Outcome::Unchanged && (observes || observed.is_none()) {
            // A repeat of the same event has changed nothing, so keep the record of the first decision.
            appointment.assignment = old;
            return Verdict::Decided(outcome, reason);
        }
        let waits_for = row.waits_for();
        appointment.assignment = Some(row);
        self.assignments.insert(id);
        let waited_for = previous.and_then(|previous| self.key_of(id, &previous));
        if let Some(set) = waited_for.and_then(|key| self.waiting.get_mut(&key)) {
            set.remove(&id);
        }
        if let Some(key) = waits_for {
            self.waiting.entry(key).or_default().insert(id);
        }
        Verdict::Decided(outcome, reason)
    }

    fn key_of(&self, id: AppointmentId, host_event: &HostEvent) -> Option<HostKey> {
        let company = self.state.appointments.get(&id)?.company;
        host_event.host_id.and_then(HostId::new).map(|host| HostKey::new(company, host))
    }

    /// Decides the appointments that wait for this host again, now that it has a mapping.
    pub(super) fn redecide(&mut self, key: HostKey) {
        let resolution = self.resolver.resolve_by_id(key, &self.state.directory);
        self.redecide_with(key, &resolution);
    }

    fn redecide_with(&mut self, key: HostKey, resolution: &Resolution) {
        if resolution.is_match() {
            for id in self.waiting.remove(&key).unwrap_or_default() {
                self.apply(id, None, resolution);
            }
        }
    }
}

/// Creates the row of an appointment, without a decision.
fn new_assignment(
    appointment: AppointmentId,
    company: CompanyId,
    booking: &Booking,
    newest: Option<HostEvent>,
    outcome: Outcome,
    decided_ms: i64,
) -> Assignment {
    Assignment {
        appointment,
        company,
        staff: None,
        found: None,
        observed: None,
        mapping: None,
        strategy: None,
        confidence: None,
        evidence: None,
        newest,
        outcome,
        review: None,
        booking: booking.reference().cloned(),
        starts_ms: booking.starts_ms,
        payload: kept_booking(booking),
        decided_ms,
    }
}

/// Records the decision in the row, and returns the change to make to `staff_id`.
fn record_resolution(
    row: &mut Assignment,
    resolution: &Resolution,
    current: Option<&StaffId>,
    set_by: StaffSetBy,
    other_host: bool,
    overwrite: Overwrite,
) -> Change {
    let (outcome, change) = match resolution {
        Resolution::Matched { strategy, candidate } => {
            let Candidate { confidence, evidence, origin, staff } = candidate;
            row.found = Some(staff.clone());
            row.mapping = match origin {
                Origin::Mapping(mapping) => Some(*mapping),
                Origin::Match(_) => None,
            };
            row.strategy = Some((*strategy).to_owned());
            row.confidence = Some(*confidence);
            row.evidence = Some(evidence.clone());
            row.review = None;
            on_match(current, staff, set_by, overwrite)
        }
        Resolution::NeedsReview { review, .. } => {
            (row.review, row.found) = (Some(*review), None);
            on_no_match(set_by, other_host, Outcome::NeedsReview, overwrite)
        }
        Resolution::Unmatched => {
            (row.review, row.found) = (None, None);
            on_no_match(set_by, other_host, Outcome::Unmatched, overwrite)
        }
    };
    row.outcome = outcome;
    change
}

/// Who set the current `staff_id`, derived from the value that we wrote last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum StaffSetBy {
    /// `staff_id` is empty, and we have not set it.
    Nobody,
    /// We set it.
    #[strum(serialize = "hostmatch")]
    Us,
    /// A person or another program set it, or cleared what we had set.
    #[strum(serialize = "somebody_else")]
    Them,
}

impl StaffSetBy {
    /// Compares `current`, the appointment's value, with `ours`, the value that we wrote last (`None` if we
    /// never wrote one, or have withdrawn it).
    pub fn of(current: Option<&StaffId>, ours: Option<&StaffId>) -> Self {
        match (current, ours) {
            (None, None) => Self::Nobody,
            (current, ours) if current == ours => Self::Us,
            _ => Self::Them,
        }
    }
}

/// The change to make to `staff_id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Leave,
    Set,
    Clear,
}

/// Returns the outcome and the change for a host that resolved to `found`.
pub(super) fn on_match(
    current: Option<&StaffId>,
    found: &StaffId,
    set_by: StaffSetBy,
    overwrite: Overwrite,
) -> (Outcome, Change) {
    let may = match overwrite {
        Overwrite::Always => true,
        Overwrite::Ours => set_by != StaffSetBy::Them,
        Overwrite::Never => set_by == StaffSetBy::Nobody,
    };
    match current {
        // The appointment already has this member of staff; the set_by of `staff_id` does not change.
        Some(current) if current == found => (Outcome::Unchanged, Change::Leave),
        _ if may => (Outcome::Assigned, Change::Set),
        _ => (Outcome::Kept, Change::Leave),
    }
}

/// Returns the outcome and the change for a host that did not resolve. `unresolved` is `NeedsReview` or
/// `Unmatched`; `other_host`: the appointment's previous event with a host named another one.
pub(super) fn on_no_match(
    set_by: StaffSetBy,
    other_host: bool,
    unresolved: Outcome,
    overwrite: Overwrite,
) -> (Outcome, Change) {
    match set_by {
        StaffSetBy::Them => (Outcome::Kept, Change::Leave),
        // The member of staff that we set for another host is certainly wrong.
        StaffSetBy::Us if other_host && overwrite == Overwrite::Never => (Outcome::Kept, Change::Leave),
        StaffSetBy::Us if other_host => (unresolved, Change::Clear),
        StaffSetBy::Us | StaffSetBy::Nobody => (unresolved, Change::Leave),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANNA: StaffId = StaffId::Integer(1);
    const BORIS: StaffId = StaffId::Integer(2);
    const CARLA: StaffId = StaffId::Integer(3);

    /// current, ours, found → (ours, never, always)
    #[test]
    fn a_match_writes_only_what_the_policy_allows() {
        use Change::{Leave, Set};
        use Outcome::{Assigned, Kept, Unchanged};
        let table = [
            (None, None, [(Assigned, Set), (Assigned, Set), (Assigned, Set)]),
            (Some(ANNA), None, [(Unchanged, Leave); 3]),
            (Some(ANNA), Some(ANNA), [(Unchanged, Leave); 3]),
            (Some(BORIS), None, [(Kept, Leave), (Kept, Leave), (Assigned, Set)]),
            (Some(BORIS), Some(BORIS), [(Assigned, Set), (Kept, Leave), (Assigned, Set)]),
            (Some(BORIS), Some(CARLA), [(Kept, Leave), (Kept, Leave), (Assigned, Set)]),
            (None, Some(BORIS), [(Kept, Leave), (Kept, Leave), (Assigned, Set)]),
        ];
        for (current, ours, expected) in table {
            let set_by = StaffSetBy::of(current.as_ref(), ours.as_ref());
            let got = [Overwrite::Ours, Overwrite::Never, Overwrite::Always]
                .map(|overwrite| on_match(current.as_ref(), &ANNA, set_by, overwrite));
            assert_eq!(got, expected, "current {current:?}, ours {ours:?}");
        }
    }

    #[test]
    fn without_a_match_only_our_own_assignment_for_another_host_is_withdrawn() {
        use Overwrite::{Always, Never, Ours};
        let review = Outcome::NeedsReview;
        assert_eq!(on_no_match(StaffSetBy::Nobody, true, review, Ours), (review, Change::Leave));
        assert_eq!(on_no_match(StaffSetBy::Us, true, review, Ours), (review, Change::Clear));
        assert_eq!(on_no_match(StaffSetBy::Us, true, review, Always), (review, Change::Clear));
        assert_eq!(on_no_match(StaffSetBy::Us, true, review, Never), (Outcome::Kept, Change::Leave));
        assert_eq!(on_no_match(StaffSetBy::Us, false, review, Ours), (review, Change::Leave));
        for overwrite in [Ours, Never, Always] {
            assert_eq!(
                on_no_match(StaffSetBy::Them, true, review, overwrite),
                (Outcome::Kept, Change::Leave)
            );
        }
    }
}
