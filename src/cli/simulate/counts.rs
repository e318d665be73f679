//! What would have been different. `docs/commands.md` describes the JSON: its keys are a contract.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::event::{HostId, StaffId};
use crate::matching::{Outcome, Resolution, Simulated};
use crate::store::Decided;

/// How many bookings were matched, and how many were not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Tally {
    matched: u64,
    needs_review: u64,
    unmatched: u64,
}

/// One strategy of the trial.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct ByStrategy {
    /// Bookings that it would have matched.
    pub(super) matched: u64,
    /// Of those, the ones that nobody was found for.
    pub(super) more: u64,
    /// Of those, the ones for which a person decided otherwise.
    pub(super) against_people: u64,
}

/// How the trial agrees with what people decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct People {
    /// Bookings of hosts that a person mapped, whom the chain alone would have found just so.
    mappings_same: u64,
    /// The same, found otherwise.
    mappings_differ: u64,
    /// The same, found by nobody else.
    mappings_only: u64,
    /// Appointments that somebody else has given to the person that would have been found.
    appointments_same: u64,
    /// To another one.
    appointments_differ: u64,
}

/// One booking that would have been decided otherwise.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Difference {
    pub(super) appointment: i64,
    pub(super) company: i64,
    pub(super) host: Option<HostId>,
    /// `more`, `fewer`, `another`, `against_mapping`, `against_appointment`
    pub(super) what: &'static str,
    pub(super) recorded: Option<StaffId>,
    pub(super) simulated: Option<StaffId>,
    pub(super) people: Option<StaffId>,
    pub(super) strategy: Option<&'static str>,
    pub(super) confidence: Option<u8>,
}

/// Everything that is counted. Its size does not grow with the number of bookings.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) bookings: u64,
    pub(super) not_kept: u64,
    pub(super) recorded: Tally,
    pub(super) simulated: Tally,
    pub(super) more: u64,
    pub(super) fewer: u64,
    pub(super) another: u64,
    pub(super) strategies: BTreeMap<&'static str, ByStrategy>,
    pub(super) people: People,
    pub(super) differences: Vec<Difference>,
}

impl Counts {
    /// Counts one booking; of differences the first `most` are kept.
    pub(super) fn add(&mut self, was: &Decided, is: &Simulated, most: usize) {
        self.bookings += 1;
        let recorded = was.found.clone().or_else(|| {
            // An earlier version did not note whom it found, only whom it assigned.
            was.ours.clone().filter(|_| was.outcome() == Some(Outcome::Assigned))
        });
        let review = was.review.is_some() || was.outcome() == Some(Outcome::NeedsReview);
        self.recorded.add(recorded.is_some(), review);
        let review = matches!(is.resolution, Resolution::NeedsReview { .. });
        let matched = is.matched();
        self.simulated.add(matched.is_some(), review);
        let simulated = matched.map(|(staff, ..)| staff.clone());
        let mut differences: Vec<(&'static str, Option<StaffId>)> = Vec::new();
        match (&recorded, &simulated) {
            (None, Some(_)) => {
                self.more += 1;
                differences.push(("more", None));
            }
            (Some(_), None) => {
                self.fewer += 1;
                differences.push(("fewer", None));
            }
            (Some(one), Some(two)) if one != two => {
                self.another += 1;
                differences.push(("another", None));
            }
            _ => {}
        }
        let mut against = false;
        if let Some(person) = &is.by_person {
            match &is.alone {
                Some(alone) if alone == person => self.people.mappings_same += 1,
                Some(_) => {
                    self.people.mappings_differ += 1;
                    differences.push(("against_mapping", Some(person.clone())));
                }
                None => self.people.mappings_only += 1,
            }
        }
        if let (Some(theirs), Some(found)) =
            (was.now.as_ref().filter(|now| Some(*now) != was.ours.as_ref()), &simulated)
        {
            if theirs == found {
                self.people.appointments_same += 1;
            } else {
                against = true;
                self.people.appointments_differ += 1;
                differences.push(("against_appointment", Some(theirs.clone())));
            }
        }
        if let Some((_, strategy, _)) = matched {
            let row = self.strategies.entry(strategy).or_default();
            row.matched += 1;
            row.more += u64::from(recorded.is_none());
            row.against_people += u64::from(against);
        }
        for (what, people) in differences {
            if self.differences.len() < most {
                self.differences.push(Difference {
                    appointment: was.appointment.0,
                    company: was.company.0,
                    host: was.host,
                    what,
                    recorded: recorded.clone(),
                    simulated: if what == "against_mapping" { is.alone.clone() } else { simulated.clone() },
                    people,
                    strategy: matched.map(|(_, strategy, _)| strategy),
                    confidence: matched.map(|(.., confidence)| confidence.0),
                });
            }
        }
    }
}

impl Tally {
    fn add(&mut self, matched: bool, review: bool) {
        match (matched, review) {
            (true, _) => self.matched += 1,
            (false, true) => self.needs_review += 1,
            (false, false) => self.unmatched += 1,
        }
    }
}
