//! Limits each token to a number of requests per second. After a pause, the requests of one second may arrive
//! at once.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::file::Hash;
use crate::runtime::locked;

/// The rate limits of all tokens that have been used.
#[derive(Debug)]
pub(super) struct RateLimits {
    /// The time between two evenly spread requests. `None` means no limit.
    interval: Option<Duration>,
    /// How early a request may come, compared with evenly spread requests.
    burst_allowance: Duration,
    /// For each token, the time at which its next request would be due if its requests were evenly spread.
    due: Mutex<HashMap<Hash, Instant>>,
}

impl RateLimits {
    /// Limits each token to `rate` requests per second; 0 means no limit.
    pub(super) fn new(rate: u32) -> Self {
        let interval = (rate > 0).then(|| Duration::from_secs(1) / rate);
        let burst_allowance = interval.map(|interval| interval * (rate - 1)).unwrap_or_default();
        Self { interval, burst_allowance, due: Mutex::new(HashMap::new()) }
    }

    /// Counts a request, or returns the time to wait until it is allowed.
    pub(super) fn try_acquire(&self, token: Hash, now: Instant) -> Result<(), Duration> {
        let Some(interval) = self.interval else { return Ok(()) };
        let mut due = locked(&self.due);
        let due = due.entry(token).or_insert(now);
        let from = (*due).max(now);
        let early = from.duration_since(now).saturating_sub(self.burst_allowance);
        if !early.is_zero() {
            return Err(early);
        }
        *due = from + interval;
        Ok(())
    }

    /// Forgets the tokens that are no longer `known`.
    pub(super) fn retain(&self, known: impl Fn(&Hash) -> bool) {
        locked(&self.due).retain(|token, _| known(token));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_token_has_a_burst_and_a_rate() {
        let (limits, now) = (RateLimits::new(4), Instant::now());
        let (one, other) = ([1; 32], [2; 32]);
        for _ in 0..4 {
            assert_eq!(limits.try_acquire(one, now), Ok(()));
        }
        assert_eq!(limits.try_acquire(one, now), Err(Duration::from_millis(250)));
        assert_eq!(limits.try_acquire(other, now), Ok(()), "another token has its own limit");
        let soon = now + Duration::from_millis(250);
        assert_eq!(limits.try_acquire(one, soon), Ok(()));
        assert!(limits.try_acquire(one, soon).is_err());
        let later = now + Duration::from_secs(60);
        let at_once = (0..9).filter(|_| limits.try_acquire(one, later).is_ok()).count();
        assert_eq!(at_once, 4, "after a pause, the requests of one second are allowed at once");
        assert!((0..99).all(|_| RateLimits::new(0).try_acquire(one, now).is_ok()));
        let slow = RateLimits::new(1);
        assert_eq!(
            (slow.try_acquire(one, now), slow.try_acquire(one, now)),
            (Ok(()), Err(Duration::from_secs(1)))
        );
    }
}
