//! The status: whether and how fast bookings are assigned, and how many messages, hosts and dead letters wait.
//! `docs/commands.md` describes the JSON: its keys are a contract.

mod assess;
mod read;

use std::collections::BTreeMap;

use serde::Serialize;

pub(crate) use assess::{Assigning, State, running, span};
pub(crate) use read::StatusReader;

use super::report::percent;
use crate::event::CompanyId;
use crate::matching::{DEAD_LETTER, Outcome};
use crate::runtime::clock::as_rfc3339;
use crate::store::{Unassigned, WaitingCount, WorkerRow, sum_waiting};
use assess::Reason;

/// The status, as JSON. A part that could not be read is null.
#[derive(Default, Serialize)]
pub(crate) struct StatusView {
    #[serde(serialize_with = "as_rfc3339")]
    pub(crate) at: i64,
    pub(crate) company: Option<CompanyId>,
    pub(crate) state: State,
    pub(crate) assigning: Assigning,
    pub(crate) reasons: Vec<Reason>,
    /// Why the database cannot be read, or only in part.
    pub(crate) database_problem: Option<Problem>,
    pub(crate) queue_problem: Option<Problem>,
    /// Why the database server accepts no writes; `None` if it accepts them.
    #[serde(skip)]
    read_only: Option<String>,
    /// Whether the broker accepts no messages.
    #[serde(skip)]
    is_queue_blocked: bool,
    /// The companies whose inbox is full.
    #[serde(skip)]
    full_inboxes: Vec<CompanyId>,
    pub(crate) events: Option<Events>,
    pub(crate) age: Option<Ages>,
    pub(crate) queue: Option<Depth>,
    pub(crate) unassigned: Option<Unassigned>,
    pub(crate) inbox: Option<Waiting>,
    pub(crate) dead_letters: Option<Waiting>,
    pub(crate) spool: Option<Spooled>,
    pub(crate) workers: Option<Vec<WorkerRow>>,
}

/// Why something could not be read.
#[derive(Serialize)]
pub(crate) struct Problem {
    pub(crate) message: String,
    /// Whether the server cannot be reached. If false, the server responds, but refuses the query.
    pub(crate) is_unreachable: bool,
}

/// Decided events in the last minute, quarter of an hour, hour and day.
#[derive(Serialize)]
pub(crate) struct Events {
    pub(crate) last_minute: Window,
    pub(crate) last_15_minutes: Window,
    pub(crate) last_hour: Window,
    pub(crate) last_day: Window,
    /// When an event of any company was last decided.
    #[serde(serialize_with = "as_rfc3339")]
    pub(crate) last_decided: Option<i64>,
}

/// Events that were decided within one time window.
#[derive(Serialize)]
pub(crate) struct Window {
    pub(crate) decided: i64,
    /// The percentage of assigned bookings among the events that should assign one. Dead letters and events
    /// that need a person count as not assigned.
    pub(crate) assigned_percent: Option<f64>,
    pub(crate) outcomes: BTreeMap<String, i64>,
}

impl Window {
    fn of(mut outcomes: BTreeMap<String, i64>) -> Self {
        outcomes.retain(|_, count| *count > 0);
        let mut window = Self { decided: outcomes.values().sum(), assigned_percent: None, outcomes };
        let [assigned, all] = [window.count(Outcome::is_assigned), window.to_assign()];
        window.assigned_percent = percent(assigned.unsigned_abs(), all.unsigned_abs());
        window
    }

    /// Counts the events whose outcome matches.
    pub(crate) fn count(&self, matches: impl Fn(Outcome) -> bool) -> i64 {
        let matching = self.outcomes.iter().filter(|(outcome, _)| outcome.parse().is_ok_and(&matches));
        matching.map(|(_, count)| count).sum()
    }

    /// Counts the events that became dead letters.
    pub(crate) fn dead_letters(&self) -> i64 {
        self.outcomes.get(DEAD_LETTER).copied().unwrap_or(0)
    }

    /// Counts the events that should assign a booking.
    fn to_assign(&self) -> i64 {
        self.count(Outcome::should_assign) + self.dead_letters()
    }
}

/// The ages of events when they were decided.
#[derive(Serialize)]
pub(crate) struct Ages {
    pub(crate) events: usize,
    pub(crate) p50_ms: i64,
    pub(crate) p95_ms: i64,
    pub(crate) max_ms: i64,
}

impl Ages {
    /// Computes the percentiles. `None` without ages.
    fn of(mut ages: Vec<i64>) -> Option<Self> {
        ages.sort_unstable();
        let max_ms = *ages.last()?;
        // The smallest age that at least this percentage of the ages do not exceed.
        let rank = |percent: usize| ages[(ages.len() * percent).div_ceil(100).max(1) - 1];
        Some(Self { events: ages.len(), p50_ms: rank(50), p95_ms: rank(95), max_ms })
    }
}

/// The numbers of messages in the queues.
#[derive(Default, Serialize)]
pub(crate) struct Depth {
    pub(crate) ready: u64,
    pub(crate) waiting: u64,
    pub(crate) dead: u64,
    pub(crate) in_hand: Option<u64>,
    pub(crate) consumers: Option<u64>,
}

/// Hosts or dead letters that wait for a person.
#[derive(Serialize)]
pub(crate) struct Waiting {
    pub(crate) open: i64,
    #[serde(serialize_with = "as_rfc3339")]
    pub(crate) oldest: Option<i64>,
    pub(crate) by_reason: BTreeMap<String, i64>,
}

impl Waiting {
    fn of<K: ToString>(waits: BTreeMap<K, WaitingCount>) -> Self {
        let WaitingCount { count: open, oldest_ms: oldest } = sum_waiting(waits.values());
        let by_reason = waits.into_iter().map(|(reason, one)| (reason.to_string(), one.count)).collect();
        Self { open, oldest, by_reason }
    }
}

/// The contents of the spool of the edge on this machine.
#[derive(Serialize)]
pub(crate) struct Spooled {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    pub(crate) oldest_seconds: u64,
    pub(crate) set_aside: u64,
}

#[cfg(test)]
mod tests {
    use super::Ages;

    #[test]
    fn percentiles_are_values_that_occurred() {
        assert!(Ages::of(Vec::new()).is_none());
        let percentiles = |ages: Vec<i64>| Ages::of(ages).map(|it| (it.p50_ms, it.p95_ms, it.max_ms));
        assert_eq!(percentiles(vec![7]), Some((7, 7, 7)));
        assert_eq!(percentiles((1..=100).rev().collect()), Some((50, 95, 100)));
        assert_eq!(percentiles(vec![4, 1, 3, 2]), Some((2, 4, 4)));
    }
}
