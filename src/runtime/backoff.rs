//! Computes the delays between retries, which grow and have jitter.
//!
//! This is the only module that uses the `backoff` crate, and only to compute: nothing here sleeps. The
//! delays are used for reconnecting to the broker, and for retrying while the database is unreachable.

use std::time::Duration;

use backoff::{ExponentialBackoff, backoff::Backoff as _};

/// An endless sequence of delays that grows from `first` to `max`, each randomized by up to half.
///
/// Jitter keeps the replicas of one installation from retrying in step.
#[derive(Debug)]
pub struct Delays {
    max: Duration,
    policy: ExponentialBackoff,
}

impl Delays {
    /// Creates delays that start at about `first`, double each time, and are never longer than `max`.
    pub fn new(first: Duration, max: Duration) -> Self {
        let policy = ExponentialBackoff {
            initial_interval: first,
            current_interval: first,
            multiplier: 2.0,
            randomization_factor: 0.5,
            max_interval: max,
            // backoff gives up after 15 minutes by default; an outage has no such limit.
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        };
        Self { max, policy }
    }

    /// Returns the next delay. The crate adds its jitter after the cap, so the cap is applied again.
    #[expect(clippy::should_implement_trait, reason = "an iterator may end; this never does")]
    pub fn next(&mut self) -> Duration {
        self.policy.next_backoff().unwrap_or(self.max).min(self.max)
    }

    /// Starts again from the first delay; call this after a success.
    pub fn reset(&mut self) {
        self.policy.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_up_to_the_cap_and_start_over_after_a_reset() {
        let (first, max) = (Duration::from_millis(100), Duration::from_secs(5));
        let mut delays = Delays::new(first, max);
        let start = delays.next();
        assert!(start >= first / 2 && start <= first * 3 / 2, "{start:?}");
        let later: Vec<_> = (0..1000).map(|_| delays.next()).collect();
        assert!(later.iter().all(|d| *d <= max));
        assert!(later[20..].iter().all(|d| *d >= max / 2), "the cap is reached and kept");
        assert!(later[20..].iter().any(|d| *d != later[20]), "there is jitter");
        delays.reset();
        assert!(delays.next() <= first * 3 / 2);
    }
}
