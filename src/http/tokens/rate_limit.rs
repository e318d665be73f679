//! Limits each token to a number of events per second. After a pause, the events of one second may arrive at
//! once. A request may have more events than that: it is accepted, and the token then waits for longer.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::file::Hash;
use crate::runtime::locked;

/// The rate limits of all tokens that have been used.
#[derive(Debug)]
pub(super) struct RateLimits {
    /// The time between two evenly spread events. `None` means no limit.
    interval: Option<Duration>,
    /// How early an event may come, compared with evenly spread events.
    burst_allowance: Duration,
    /// For each token, the time at which its next event would be due if its events were evenly spread.
    due: Mutex<HashMap<Hash, Instant>>,
}

impl RateLimits {
    /// Limits each token to `rate` events per second; 0 means no limit.
    pub(super) fn new(rate: u32) -> Self {
        let interval = (rate > 0).then(|| Duration::from_secs(1) / rate);
        let burst_allowance = interval.map(|interval| interval * (rate - 1)).unwrap_or_default();
        Self { interval, burst_allowance, due: Mutex::new(HashMap::new()) }
    }

    /// Counts the first event of a request, or returns the time to wait until it is allowed.
    pub(super) fn try_acquire(&self, token: Hash, now: Instant) -> Result<(), Duration> {
        self.count(token, 0, 1, now)
    }

    /// Counts the other events of a request whose first one is counted, or returns the time to wait, if other
    /// requests have meanwhile used up what is allowed.
    pub(super) fn try_acquire_rest(&self, token: Hash, rest: u32, now: Instant) -> Result<(), Duration> {
        self.count(token, 1, rest, now)
    }

    /// Counts `events` of a request, of which `counted` events have been counted before.
    fn count(&self, token: Hash, counted: u32, events: u32, now: Instant) -> Result<(), Duration> {
        let Some(interval) = self.interval else { return Ok(()) };
        let mut due = locked(&self.due);
        let due = due.entry(token).or_insert(now);
        let of_others = due.checked_sub(interval * counted).unwrap_or(now);
        let early = of_others.saturating_duration_since(now).saturating_sub(self.burst_allowance);
        if !early.is_zero() {
            return Err(early);
        }
        *due = (*due).max(now) + interval * events;
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

    #[test]
    fn every_event_of_a_request_counts() {
        let (limits, now, token) = (RateLimits::new(2), Instant::now(), [1; 32]);
        assert_eq!(limits.try_acquire(token, now), Ok(()));
        assert_eq!(limits.try_acquire_rest(token, 9, now), Ok(()), "more than are allowed at once");
        assert_eq!(limits.try_acquire(token, now), Err(Duration::from_millis(4500)), "ten events take 5 s");
        assert_eq!(limits.try_acquire(token, now + Duration::from_millis(4500)), Ok(()));
        let one_at_a_time = RateLimits::new(1);
        assert_eq!(one_at_a_time.try_acquire(token, now), Ok(()));
        assert_eq!(one_at_a_time.try_acquire_rest(token, 4, now), Ok(()), "the first event does not stop it");
        // Two requests at once: the second is refused when the first has used up everything.
        let limits = RateLimits::new(2);
        assert_eq!((limits.try_acquire(token, now), limits.try_acquire(token, now)), (Ok(()), Ok(())));
        assert_eq!(limits.try_acquire_rest(token, 9, now), Ok(()));
        assert_eq!(limits.try_acquire_rest(token, 9, now), Err(Duration::from_millis(4500)));
    }
}
