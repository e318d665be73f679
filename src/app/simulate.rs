//! What another threshold, or another order of strategies, would have decided on the bookings that were recorded.
//! Writes nothing and locks nothing. `docs/commands.md` describes the JSON: its keys are a contract.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{AppContext, AppError};
use crate::decide::Trial;
use crate::event::{AppointmentId, BookingEvent, CompanyId, HostId, StaffId};
use crate::matching::{Confidence, Outcome, Resolver};
use crate::runtime::clock::{now_ms, rfc3339};
use crate::store::{Decided, Period, decided, recorded};

/// Bookings read at once.
const PAGE: u64 = 200;

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// Bookings decided from this moment on, in ms since 1970.
    pub since_ms: i64,
    /// Before this one; none: now.
    pub until_ms: Option<i64>,
    /// A new match is taken from this confidence on; none: as configured.
    pub auto_accept: Option<u8>,
    /// These strategies alone, in this order; none: all.
    pub order: Vec<String>,
    /// So many differences are listed.
    pub max_differences: usize,
}

/// What the simulation says: the period, the company asked for, the threshold and strategies, what was counted.
#[derive(Debug, Serialize)]
pub struct SimulationView {
    pub(crate) since: String,
    pub(crate) until: String,
    pub(crate) company: Option<CompanyId>,
    pub(crate) auto_accept: u8,
    pub(crate) order: Vec<&'static str>,
    #[serde(flatten)]
    pub(crate) counts: Counts,
}

/// Decides the recorded bookings once more, as if it had been so from the beginning: mappings that matching
/// made are left out, those of people are in force, staff are those of today. A strategy that is not known is
/// an error.
pub async fn simulate(context: &AppContext, question: &Question) -> Result<SimulationView, AppError> {
    let auto_accept = question.auto_accept.unwrap_or(context.config.matching.auto_accept);
    let usual: Vec<String> = Resolver::new(auto_accept).order().into_iter().map(str::to_owned).collect();
    let order = if question.order.is_empty() { &usual } else { &question.order };
    let resolver = Resolver::ordered(auto_accept, order).map_err(AppError::Invalid)?;
    let order = resolver.order();
    let others: Vec<&str> = order.iter().copied().filter(|name| *name != "manual").collect();
    let without_people = Resolver::ordered(auto_accept, &others).ok();
    let processor = context.processor().with(resolver);
    let mut dry_run = processor.dry_run();

    let until_ms = question.until_ms.unwrap_or_else(now_ms);
    let period = Period { since_ms: question.since_ms, until_ms };
    let (db, mut counts, mut after) = (context.connection(), Counts::default(), (i64::MIN, i64::MIN));
    loop {
        let page = context.with_deadline(decided(db, &context.scope, period, after, PAGE)).await?;
        let Some(last) = page.last() else { break };
        after = (last.decided_ms, last.appointment.0);
        let mut events = context.with_deadline(recorded(db, &page)).await?;
        let event = |one: &Decided| {
            Some(BookingEvent { company: Some(one.company), ..events.remove(&one.appointment)? })
        };
        let events: Vec<BookingEvent> = page.iter().filter_map(event).collect();
        let trials = dry_run.try_from_the_beginning(&events, without_people.as_ref()).await?;
        for one in &page {
            match trials.get(&one.appointment) {
                Some(trial) => counts.add(one, trial, question.max_differences),
                None => counts.not_kept += u64::from(one.host.is_some() || one.found.is_some()),
            }
        }
    }
    let [since, until] = [period.since_ms, until_ms].map(rfc3339);
    Ok(SimulationView { since, until, company: context.scope.only(), auto_accept, order, counts })
}

/// How many bookings were matched, and how many were not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Tally {
    matched: u64,
    needs_review: u64,
    unmatched: u64,
}

/// One strategy of the trial.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct ByStrategy {
    pub(crate) matched: u64,
    /// Of those, the ones that nobody was found for.
    pub(crate) more: u64,
    /// Of those, the ones for which a person decided otherwise.
    pub(crate) against_people: u64,
}

/// How the trial agrees with what people decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct People {
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
pub(crate) struct Difference {
    pub(crate) appointment: AppointmentId,
    company: CompanyId,
    host: Option<HostId>,
    /// `more`, `fewer`, `another`, `against_mapping`, `against_appointment`
    pub(crate) what: &'static str,
    pub(crate) recorded: Option<StaffId>,
    pub(crate) simulated: Option<StaffId>,
    /// Whom a person decided for.
    pub(crate) people: Option<StaffId>,
    /// The strategy that finds somebody.
    pub(crate) strategy: Option<String>,
    confidence: Option<Confidence>,
}

/// Everything that is counted. Its size does not grow with the number of bookings.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Counts {
    /// Bookings that were decided once more.
    pub(crate) bookings: u64,
    /// Left out: their booking is not kept any more.
    pub(crate) not_kept: u64,
    recorded: Tally,
    simulated: Tally,
    /// Matched that were not.
    pub(crate) more: u64,
    /// Not matched that were.
    pub(crate) fewer: u64,
    /// Matched to somebody else.
    pub(crate) another: u64,
    pub(crate) strategies: BTreeMap<String, ByStrategy>,
    pub(crate) people: People,
    /// The first of those that differ.
    pub(crate) differences: Vec<Difference>,
}

impl Counts {
    /// Counts one booking; of differences the first `most` are kept.
    fn add(&mut self, was: &Decided, trial: &Trial, most: usize) {
        let Trial { decided: is, by_person, without_people } = trial;
        self.bookings += 1;
        let recorded = was.found.clone().or_else(|| {
            // An earlier version did not note whom it found, only whom it assigned.
            was.ours.clone().filter(|_| was.outcome() == Some(Outcome::Assigned))
        });
        let review = was.review.is_some() || was.outcome() == Some(Outcome::NeedsReview);
        self.recorded.add(recorded.is_some(), review);
        let simulated = is.found.clone();
        self.simulated.add(simulated.is_some(), is.outcome == Outcome::NeedsReview);
        let mut differences: Vec<(&'static str, Option<StaffId>)> = Vec::new();
        let difference = match (&recorded, &simulated) {
            (None, Some(_)) => Some(("more", &mut self.more)),
            (Some(_), None) => Some(("fewer", &mut self.fewer)),
            (Some(one), Some(two)) if one != two => Some(("another", &mut self.another)),
            _ => None,
        };
        if let Some((what, count)) = difference {
            *count += 1;
            differences.push((what, None));
        }
        let mut against = false;
        if let Some(person) = by_person {
            match without_people {
                Some(other) if other == person => self.people.mappings_same += 1,
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
        if let Some(strategy) = &is.strategy {
            let row = self.strategies.entry(strategy.clone()).or_default();
            row.matched += 1;
            row.more += u64::from(recorded.is_none());
            row.against_people += u64::from(against);
        }
        for (what, people) in differences {
            if self.differences.len() < most {
                let found = if what == "against_mapping" { without_people } else { &simulated };
                self.differences.push(Difference {
                    appointment: was.appointment,
                    company: was.company,
                    host: was.host,
                    what,
                    recorded: recorded.clone(),
                    simulated: found.clone(),
                    people,
                    strategy: is.strategy.clone(),
                    confidence: is.confidence,
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
