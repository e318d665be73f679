//! Simulates another threshold or order of strategies on the recorded bookings. Writes nothing and locks
//! nothing. `docs/commands.md` describes the JSON: its keys are a contract.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{AppContext, AppError};
use crate::decide::Trial;
use crate::event::{AppointmentId, BookingEvent, CompanyId, HostId, StaffId};
use crate::matching::{Confidence, Outcome, Resolver};
use crate::runtime::clock::{now_ms, rfc3339};
use crate::store::{Decided, Period, decided, newest_events};

/// The number of bookings read at a time.
const PAGE: u64 = 200;

/// The input of a simulation.
#[derive(Clone, Debug)]
pub struct SimulationInput {
    /// The start of the period in which bookings were decided, in ms since 1970.
    pub since_ms: i64,
    /// The end of the period, exclusive, in ms since 1970. `None`: now.
    pub until_ms: Option<i64>,
    /// The minimum confidence to accept a new match. `None`: as configured.
    pub auto_accept: Option<u8>,
    /// The only strategies to use, in this order. Empty: all.
    pub order: Vec<String>,
    /// The maximum number of listed differences.
    pub max_differences: usize,
}

/// The result of a simulation: its period, company, threshold, strategies and counts.
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

/// Decides the recorded bookings again, as if these settings had always been in force: uses people's mappings
/// and today's staff, but no mapping that matching created. Fails for an unknown strategy.
pub async fn simulate(context: &AppContext, input: &SimulationInput) -> Result<SimulationView, AppError> {
    let auto_accept = input.auto_accept.unwrap_or(context.config.matching.auto_accept);
    let default_order: Vec<String> =
        Resolver::new(auto_accept).order().into_iter().map(str::to_owned).collect();
    let order = if input.order.is_empty() { &default_order } else { &input.order };
    let resolver = Resolver::ordered(auto_accept, order).map_err(AppError::Invalid)?;
    let order = resolver.order();
    let others: Vec<&str> = order.iter().copied().filter(|name| *name != "manual").collect();
    let without_people = Resolver::ordered(auto_accept, &others).ok();
    let processor = context.processor().with_resolver(resolver);
    let mut dry_run = processor.dry_run();

    let until_ms = input.until_ms.unwrap_or_else(now_ms);
    let period = Period { since_ms: input.since_ms, until_ms };
    let (db, mut counts, mut after) = (context.connection(), Counts::default(), (i64::MIN, i64::MIN));
    loop {
        let page = context.with_deadline(decided(db, &context.scope, period, after, PAGE)).await?;
        let Some(last) = page.last() else { break };
        after = (last.decided_ms, last.appointment.0);
        let mut events = context.with_deadline(newest_events(db, &page)).await?;
        let event = |one: &Decided| {
            Some(BookingEvent { company: Some(one.company), ..events.remove(&one.appointment)? })
        };
        let events: Vec<BookingEvent> = page.iter().filter_map(event).collect();
        let trials = dry_run.simulate(&events, without_people.as_ref()).await?;
        for one in &page {
            match trials.get(&one.appointment) {
                Some(trial) => counts.add(one, trial, input.max_differences),
                None => counts.not_kept += u64::from(one.host.is_some() || one.found.is_some()),
            }
        }
    }
    let [since, until] = [period.since_ms, until_ms].map(rfc3339);
    Ok(SimulationView { since, until, company: context.scope.only(), auto_accept, order, counts })
}

/// The numbers of bookings that were matched and not matched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Tally {
    matched: u64,
    needs_review: u64,
    unmatched: u64,
}

/// The matches of one strategy in the simulation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct ByStrategy {
    pub(crate) matched: u64,
    /// Matched in the simulation, but not in the record.
    pub(crate) more: u64,
    /// Matched, but somebody else assigned the appointment to another member of staff.
    pub(crate) against_people: u64,
}

/// How well the simulation agrees with people's decisions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct People {
    /// Bookings of hosts that a person mapped, for which the other strategies find the same member of staff.
    mappings_same: u64,
    /// Such bookings for which they find another member of staff.
    mappings_differ: u64,
    /// Such bookings for which they find no member of staff.
    mappings_only: u64,
    /// Appointments that somebody else assigned to the member of staff whom the simulation finds.
    appointments_same: u64,
    /// Appointments that somebody else assigned to another member of staff.
    appointments_differ: u64,
}

/// One booking that would have been decided differently.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Difference {
    pub(crate) appointment: AppointmentId,
    company: CompanyId,
    host: Option<HostId>,
    /// `more`, `fewer`, `another`, `against_mapping`, `against_appointment`
    pub(crate) what: &'static str,
    pub(crate) recorded: Option<StaffId>,
    pub(crate) simulated: Option<StaffId>,
    /// The member of staff that a person chose.
    pub(crate) people: Option<StaffId>,
    /// The strategy that matched.
    pub(crate) strategy: Option<String>,
    confidence: Option<Confidence>,
}

/// The counts of a simulation. Their size does not grow with the number of bookings.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Counts {
    /// Bookings that were decided again.
    pub(crate) bookings: u64,
    /// Decisions that were left out because their booking is no longer stored.
    pub(crate) not_kept: u64,
    recorded: Tally,
    simulated: Tally,
    /// Matched only in the simulation.
    pub(crate) more: u64,
    /// Matched only in the record.
    pub(crate) fewer: u64,
    /// Matched to different members of staff.
    pub(crate) another: u64,
    pub(crate) strategies: BTreeMap<String, ByStrategy>,
    pub(crate) people: People,
    /// The first differences.
    pub(crate) differences: Vec<Difference>,
}

impl Counts {
    /// Counts one booking. Keeps the first `max_differences` differences.
    fn add(&mut self, past: &Decided, trial: &Trial, max_differences: usize) {
        let Trial { decided: simulated_decision, by_person, without_people } = trial;
        self.bookings += 1;
        let recorded = past.found.clone().or_else(|| {
            // An earlier version did not record whom it found, only whom it assigned.
            past.ours.clone().filter(|_| past.outcome() == Some(Outcome::Assigned))
        });
        let review = past.review.is_some() || past.outcome() == Some(Outcome::NeedsReview);
        self.recorded.add(recorded.is_some(), review);
        let simulated = simulated_decision.found.clone();
        self.simulated.add(simulated.is_some(), simulated_decision.outcome == Outcome::NeedsReview);
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
            (past.now.as_ref().filter(|now| Some(*now) != past.ours.as_ref()), &simulated)
        {
            if theirs == found {
                self.people.appointments_same += 1;
            } else {
                against = true;
                self.people.appointments_differ += 1;
                differences.push(("against_appointment", Some(theirs.clone())));
            }
        }
        if let Some(strategy) = &simulated_decision.strategy {
            let row = self.strategies.entry(strategy.clone()).or_default();
            row.matched += 1;
            row.more += u64::from(recorded.is_none());
            row.against_people += u64::from(against);
        }
        for (what, people) in differences {
            if self.differences.len() < max_differences {
                let found = if what == "against_mapping" { without_people } else { &simulated };
                self.differences.push(Difference {
                    appointment: past.appointment,
                    company: past.company,
                    host: past.host,
                    what,
                    recorded: recorded.clone(),
                    simulated: found.clone(),
                    people,
                    strategy: simulated_decision.strategy.clone(),
                    confidence: simulated_decision.confidence,
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
