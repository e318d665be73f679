//! Counts results since the worker started, for the final log line, the progress bar and tests.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::decide::{InFlight, Settlement};
use crate::matching::DEAD_LETTER;
use crate::runtime::locked;

/// Counts by name. Clones share the counts.
#[derive(Clone, Debug, Default)]
pub struct Tally(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    by_name: Mutex<BTreeMap<&'static str, u64>>,
    /// Pipelines with a batch in progress.
    busy: AtomicUsize,
    /// Batches settled.
    batches: AtomicU64,
    /// When the last batch was settled.
    settled: Mutex<Option<Instant>>,
}

impl Tally {
    /// Returns the counts: outcomes, `retry`, `put_off`, `dead_letter`, `recorded_dead_letter`.
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        locked(&self.0.by_name).clone()
    }

    /// Returns the number of deliveries that are finished: decided or dead-lettered.
    pub fn finished(&self) -> u64 {
        self.counts()
            .iter()
            .filter(|(name, _)| !matches!(**name, "retry" | "put_off" | "recorded_dead_letter"))
            .map(|(_, n)| n)
            .sum()
    }

    /// Returns the time since a batch was last settled.
    pub(super) fn time_since_settled(&self) -> Option<Duration> {
        locked(&self.0.settled).map(|at| at.elapsed())
    }

    pub(super) fn add(&self, name: &'static str, count: u64) {
        if count > 0 {
            *locked(&self.0.by_name).entry(name).or_default() += count;
        }
    }

    /// Counts these settled deliveries by result.
    pub(super) fn count_settled<'f>(&self, flights: impl Iterator<Item = &'f InFlight>) {
        for flight in flights {
            *locked(&self.0.settled) = Some(Instant::now());
            match flight.settlement() {
                Settlement::Decided(outcome) => self.add(outcome.as_str(), 1),
                Settlement::Deferred => self.add("put_off", 1),
                Settlement::Retried(_) => self.add("retry", 1),
                Settlement::DeadLettered(_) => self.add(DEAD_LETTER, 1),
            }
        }
    }

    pub(super) fn begin_batch(&self) {
        self.0.busy.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn end_batch(&self) {
        self.0.batches.fetch_add(1, Ordering::SeqCst);
        self.0.busy.fetch_sub(1, Ordering::SeqCst);
    }

    /// Returns the batches in progress, and the batches settled so far.
    pub(super) fn activity(&self) -> (usize, u64) {
        (self.0.busy.load(Ordering::SeqCst), self.0.batches.load(Ordering::SeqCst))
    }
}
