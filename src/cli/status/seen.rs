//! What there is to be seen. `docs/commands.md` describes the JSON: its keys are a contract.

use std::collections::BTreeMap;

use serde::Serialize;

use super::super::output;
use super::verdict::{Assigning, Reason, State};
use crate::store::Waits;

/// Everything. A part that could not be looked at is null.
#[derive(Debug, Serialize)]
pub(super) struct Seen {
    pub(super) at: String,
    pub(super) company: Option<i64>,
    pub(super) state: State,
    pub(super) assigning: Assigning,
    pub(super) reasons: Vec<Reason>,
    /// What keeps the database from being looked at.
    #[serde(rename = "database_problem")]
    pub(super) database: Option<Trouble>,
    #[serde(rename = "queue_problem")]
    pub(super) queue_trouble: Option<Trouble>,
    pub(super) events: Option<Events>,
    pub(super) age: Option<Ages>,
    pub(super) queue: Option<Depth>,
    pub(super) unassigned: Option<Bookings>,
    pub(super) inbox: Option<Waiting>,
    pub(super) dead_letters: Option<Waiting>,
    pub(super) spool: Option<Spooled>,
    pub(super) workers: Option<Vec<Worker>>,
}

/// Why something could not be looked at.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Trouble {
    pub(super) message: String,
    /// It cannot be reached. Else it is there and something else is wrong.
    pub(super) is_away: bool,
}

/// Decided events in the last minute, quarter of an hour, hour and day.
#[derive(Debug, Serialize)]
pub(super) struct Events {
    pub(super) last_minute: Window,
    pub(super) last_15_minutes: Window,
    pub(super) last_hour: Window,
    pub(super) last_day: Window,
    /// When an event was decided last, of whatever company.
    pub(super) last_decided: Option<String>,
    #[serde(skip)]
    pub(super) last_decided_ms: Option<i64>,
}

impl Events {
    pub(super) fn windows(&self) -> [&Window; 4] {
        [&self.last_minute, &self.last_15_minutes, &self.last_hour, &self.last_day]
    }
}

/// Events that were decided within some time.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Window {
    pub(super) decided: i64,
    /// Of the events that were to give a booking its staff, those after which it had it. Dead letters and
    /// what needs a person count as not assigned.
    pub(super) assigned_percent: Option<f64>,
    pub(super) outcomes: BTreeMap<String, i64>,
}

impl Window {
    /// Of these outcomes together.
    pub(super) fn of(&self, names: &[&str]) -> i64 {
        names.iter().filter_map(|name| self.outcomes.get(*name)).sum()
    }

    /// Events that were to give a booking its staff.
    pub(super) fn to_assign(&self) -> i64 {
        self.of(&ASSIGNED) + self.of(&NOT_ASSIGNED)
    }
}

/// The booking has the member of staff that was found.
pub(super) const ASSIGNED: [&str; 2] = ["assigned", "unchanged"];

/// It has not. (Where somebody else decided, or a newer event, or nothing was to be done, neither.)
pub(super) const NOT_ASSIGNED: [&str; 5] =
    ["would_assign", "needs_review", "unmatched", "no_host", "dead_letter"];

/// How old events were when they were decided.
#[derive(Debug, Serialize)]
pub(super) struct Ages {
    pub(super) events: usize,
    pub(super) p50_ms: i64,
    pub(super) p95_ms: i64,
    pub(super) max_ms: i64,
}

impl Ages {
    /// Of all these; none of nothing.
    pub(super) fn of(mut ages: Vec<i64>) -> Option<Self> {
        ages.sort_unstable();
        let max_ms = *ages.last()?;
        // The smallest that so many percent do not exceed.
        let rank = |percent: usize| ages[(ages.len() * percent).div_ceil(100).max(1) - 1];
        Some(Self { events: ages.len(), p50_ms: rank(50), p95_ms: rank(95), max_ms })
    }
}

/// How many messages are where.
#[derive(Debug, Default, Serialize)]
pub(super) struct Depth {
    pub(super) ready: u64,
    pub(super) waiting: u64,
    pub(super) dead: u64,
    pub(super) in_hand: Option<u64>,
    pub(super) consumers: Option<u64>,
}

/// Bookings without staff that have not begun.
#[derive(Debug, Serialize)]
pub(super) struct Bookings {
    pub(super) within_24_hours: i64,
    pub(super) within_7_days: i64,
    pub(super) all: i64,
    pub(super) next: Option<String>,
    #[serde(skip)]
    pub(super) next_ms: Option<i64>,
}

/// What waits for a person.
#[derive(Debug, Serialize)]
pub(super) struct Waiting {
    pub(super) open: i64,
    pub(super) oldest: Option<String>,
    pub(super) by_reason: BTreeMap<String, i64>,
    #[serde(skip)]
    pub(super) oldest_ms: Option<i64>,
}

impl Waiting {
    pub(super) fn of(waits: impl IntoIterator<Item = (String, Waits)>) -> Self {
        let waits: BTreeMap<String, Waits> = waits.into_iter().collect();
        let all = crate::store::together(waits.values());
        Self {
            open: all.count,
            oldest: all.oldest_ms.map(output::moment),
            oldest_ms: all.oldest_ms,
            by_reason: waits.into_iter().map(|(reason, one)| (reason, one.count)).collect(),
        }
    }
}

/// What the edge on this machine has in its spool.
#[derive(Debug, Serialize)]
pub(super) struct Spooled {
    pub(super) messages: u64,
    pub(super) bytes: u64,
    pub(super) oldest_seconds: u64,
    pub(super) set_aside: u64,
}

/// A worker.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Worker {
    pub(super) host: String,
    pub(super) pid: u32,
    pub(super) role: String,
    pub(super) version: String,
    pub(super) revision: Option<String>,
    pub(super) mode: String,
    pub(super) pipelines: u32,
    /// It has told nothing of itself for some time, and did not take leave.
    pub(super) gone: bool,
    pub(super) up_seconds: u64,
    pub(super) seen_seconds: u64,
    pub(super) settled_seconds: Option<u64>,
    pub(super) finished: u64,
    pub(super) retried: u64,
    pub(super) failed: u64,
}

#[cfg(test)]
mod tests {
    use super::Ages;

    #[test]
    fn percentiles_are_values_that_occurred() {
        assert!(Ages::of(Vec::new()).is_none());
        let told = |ages: Vec<i64>| Ages::of(ages).map(|it| (it.p50_ms, it.p95_ms, it.max_ms));
        assert_eq!(told(vec![7]), Some((7, 7, 7)));
        assert_eq!(told((1..=100).rev().collect()), Some((50, 95, 100)));
        assert_eq!(told(vec![4, 1, 3, 2]), Some((2, 4, 4)));
    }
}
