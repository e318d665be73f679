//! Measures quantities of this process, and checks whether they grew.

use std::time::Duration;

use hostmatch::queue::Queue;
use hostmatch::runtime::shutdown::Shutdown;
use serde::Serialize;
use tokio::time::{Instant, sleep};

/// The maximum number of samples; few enough not to affect the memory themselves.
const MAX_SAMPLES: u32 = 200;
const MIN_INTERVAL: Duration = Duration::from_millis(200);

const KIB: u64 = 1024;

/// One quantity over time.
#[derive(Clone, Debug)]
pub(super) struct Gauge {
    name: &'static str,
    /// The amount by which the quantity may grow for harmless reasons (buffers, idle connections).
    slack: u64,
    values: Vec<u64>,
}

/// The result for one quantity.
#[derive(Debug, Serialize)]
pub(crate) struct Measured {
    pub(super) name: &'static str,
    pub(super) first: Option<u64>,
    pub(super) last: Option<u64>,
    pub(super) peak: Option<u64>,
    pub(super) bound: Option<u64>,
    pub(super) grew: bool,
}

impl Gauge {
    fn new(name: &'static str, slack: u64) -> Self {
        Self { name, slack, values: Vec::new() }
    }

    /// Returns the result.
    pub(super) fn result(&self) -> Measured {
        Measured {
            name: self.name,
            first: self.values.first().copied(),
            last: self.values.last().copied(),
            peak: self.values.iter().max().copied(),
            bound: self.bound(),
            grew: self.grew(),
        }
    }

    /// Returns the limit for the last quarter of the values: the median of the second quarter (by then everything
    /// has been used once), plus a quarter of this median, plus the slack.
    fn bound(&self) -> Option<u64> {
        let quarter = self.values.len() / 4;
        let usual = median(self.values.get(quarter..quarter * 2)?)?;
        Some(usual + usual / 4 + self.slack)
    }

    /// Returns whether the quantity exceeded its bound.
    fn grew(&self) -> bool {
        let end = self.values.get(self.values.len() - self.values.len() / 4..).and_then(median);
        matches!((end, self.bound()), (Some(end), Some(bound)) if end > bound)
    }
}

fn median(values: &[u64]) -> Option<u64> {
    let mut values = values.to_vec();
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}

/// All quantities.
pub(super) struct Gauges {
    queue: Queue,
    pub(super) all: [Gauge; 5],
}

impl Gauges {
    /// Creates the gauges of this process and this queue.
    pub(super) fn new(queue: Queue) -> Self {
        let all = [
            Gauge::new("memory (KiB)", 32 * KIB),
            Gauge::new("file descriptors", 32),
            Gauge::new("threads", 16),
            Gauge::new("tasks", 64),
            Gauge::new("queued", 2_000),
        ];
        Self { queue, all }
    }

    /// Measures at intervals until the end.
    pub(super) async fn watch(&mut self, began: Instant, length: Duration, stop: &Shutdown) {
        let every = (length / MAX_SAMPLES).max(MIN_INTERVAL);
        while began.elapsed() < length && !stop.is_cancelled() {
            self.measure().await;
            tokio::select! {
                () = sleep(every) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    /// Measures once. A value that the system does not report is left out.
    pub(super) async fn measure(&mut self) {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        };
        let descriptors = std::fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count() as u64);
        let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks() as u64;
        let queued = self.queue.depth().await.ok();
        let queued = queued.map(|d| d.ready + d.waiting + d.dead + d.in_flight.unwrap_or_default());
        let values = [field("VmRSS"), descriptors, field("Threads"), Some(tasks), queued];
        for (gauge, value) in self.all.iter_mut().zip(values) {
            gauge.values.extend(value);
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn lasting_growth_is_reported_and_a_peak_is_not() {
        fn gauge(values: impl IntoIterator<Item = u64>) -> super::Gauge {
            super::Gauge { values: values.into_iter().collect(), ..super::Gauge::new("some", 10) }
        }
        assert!(!gauge([]).grew() && !gauge([1]).grew());
        assert!(!gauge((0..100).map(|n| if n < 20 { n } else { 200 })).grew(), "growth while warming up");
        assert!(!gauge((0..100).map(|n| if n == 90 { 9_000 } else { 200 })).grew(), "a peak");
        assert!(gauge((0..100).map(|n| 200 + n * 3)).grew(), "a leak");
        assert_eq!(gauge((0..100).map(|_| 200)).bound(), Some(260));
    }
}
