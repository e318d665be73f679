//! Throttles a log line that one cause would repeat for each request.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::locked;

/// The least time between two lines.
const INTERVAL: Duration = Duration::from_secs(10);

/// Lets one line through in 10 s, and counts those that it holds back.
#[derive(Debug, Default)]
pub(crate) struct Throttle(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    last: Option<Instant>,
    suppressed: u64,
}

impl Throttle {
    /// Returns the number of lines held back since the last one, if a line may be written now.
    pub(crate) fn admit(&self) -> Option<u64> {
        self.admit_at(Instant::now())
    }

    fn admit_at(&self, now: Instant) -> Option<u64> {
        let mut held = locked(&self.0);
        if held.last.is_some_and(|last| now.duration_since(last) < INTERVAL) {
            held.suppressed += 1;
            return None;
        }
        held.last = Some(now);
        Some(std::mem::take(&mut held.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_passes_in_each_interval_and_the_others_are_counted() {
        let (throttle, start) = (Throttle::default(), Instant::now());
        let admit = |after| throttle.admit_at(start + after);
        let early = INTERVAL - Duration::from_millis(1);
        assert_eq!([admit(Duration::ZERO), admit(Duration::ZERO), admit(early)], [Some(0), None, None]);
        assert_eq!([admit(INTERVAL), admit(INTERVAL + early)], [Some(2), None]);
    }
}
