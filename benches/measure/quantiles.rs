//! Quantiles of durations.

use std::time::Duration;

use serde::Serialize;

/// Quantiles of many durations, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Quantiles {
    pub(crate) p50_ms: f64,
    pub(crate) p95_ms: f64,
    pub(crate) p99_ms: f64,
}

impl Quantiles {
    /// Computes the quantiles of these durations.
    pub(crate) fn of(mut all: Vec<Duration>) -> Self {
        all.sort_unstable();
        let at = |percent: usize| {
            let index = (all.len() * percent / 100).min(all.len().saturating_sub(1));
            all.get(index).map_or(0.0, |one| one.as_secs_f64() * 1e3)
        };
        Self { p50_ms: at(50), p95_ms: at(95), p99_ms: at(99) }
    }
}
