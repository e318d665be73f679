//! How long to wait before trying again: growing delays with jitter.
//!
//! The one place that uses the `backoff` crate, and only as a calculator: nothing here sleeps.
//! Used for reconnecting to the broker and for holding on while the database is away.

use std::time::Duration;

use backoff::{ExponentialBackoff, backoff::Backoff as _};

/// A sequence of delays that grows from `first` to `most`, each off by up to half, without end.
///
/// Jitter keeps the replicas of one installation from knocking in step.
#[derive(Debug)]
pub struct Delays {
    most: Duration,
    policy: ExponentialBackoff,
}

impl Delays {
    /// Delays that start at about `first`, double each time, and are never longer than `most`.
    pub fn new(first: Duration, most: Duration) -> Self {
        let policy = ExponentialBackoff {
            initial_interval: first,
            current_interval: first,
            multiplier: 2.0,
            randomization_factor: 0.5,
            max_interval: most,
            // backoff gives up after 15 minutes by default; an outage has no such limit.
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        };
        Self { most, policy }
    }

    /// The next delay. The crate adds its jitter after the cap, so the cap is applied again.
    #[expect(clippy::should_implement_trait, reason = "an iterator may end; this never does")]
    pub fn next(&mut self) -> Duration {
        self.policy.next_backoff().unwrap_or(self.most).min(self.most)
    }

    /// Start again from the first delay: call it after a success.
    pub fn reset(&mut self) {
        self.policy.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_stay_under_the_cap_and_start_over() {
        let (first, most) = (Duration::from_millis(100), Duration::from_secs(5));
        let mut delays = Delays::new(first, most);
        let start = delays.next();
        assert!(start >= first / 2 && start <= first * 3 / 2, "{start:?}");
        let later: Vec<_> = (0..1000).map(|_| delays.next()).collect();
        assert!(later.iter().all(|d| *d <= most));
        assert!(later[20..].iter().all(|d| *d >= most / 2), "the cap is reached and kept");
        assert!(later[20..].iter().any(|d| *d != later[20]), "there is jitter");
        delays.reset();
        assert!(delays.next() <= first * 3 / 2);
    }
}
