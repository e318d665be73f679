//! Measures the costs of a drain: time, CPU seconds by process, and memory.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::database::Engine;
use crate::usage::{cpu_seconds, listening_on};
use crate::{broker, port};

/// The CPU seconds that the measured processes have used so far.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Cpu {
    pub(crate) broker: f64,
    pub(crate) database: f64,
    pub(crate) worker: f64,
}

/// The processes that are measured. A process that cannot be seen counts as 0.
pub(crate) struct Watched {
    broker: Option<u32>,
    database: Option<u32>,
}

impl Watched {
    /// Finds the processes of the broker and of the database server.
    pub(crate) fn of(engine: Engine) -> Self {
        Self {
            broker: port(&broker::url()).and_then(listening_on),
            database: engine.server().and_then(|url| listening_on(port(&url)?)),
        }
    }

    /// Returns the CPU seconds that these processes and these workers have used so far.
    pub(crate) fn cpu(&self, workers: &[u32]) -> Cpu {
        Cpu {
            broker: self.broker.map_or(0.0, cpu_seconds),
            database: self.database.map_or(0.0, cpu_seconds),
            worker: workers.iter().copied().map(cpu_seconds).sum(),
        }
    }
}

/// The measurements of one drain.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Costs {
    pub(crate) events: u64,
    pub(crate) seconds: f64,
    pub(crate) per_second: f64,
    /// CPU seconds per 1,000 events.
    pub(crate) cpu_per_1000: Cpu,
    /// The peak memory of the largest worker; `None` for a floor, which runs in the benchmark itself.
    pub(crate) peak_memory: Option<u64>,
}

impl Costs {
    /// Computes the costs from the CPU seconds before and after.
    pub(crate) fn of(events: u64, took: Duration, before: Cpu, after: Cpu, peak_memory: Option<u64>) -> Self {
        let (seconds, thousands) = (took.as_secs_f64(), events as f64 / 1000.0);
        let each = |before: f64, after: f64| (after - before) / thousands;
        Self {
            events,
            seconds,
            per_second: events as f64 / seconds,
            cpu_per_1000: Cpu {
                broker: each(before.broker, after.broker),
                database: each(before.database, after.database),
                worker: each(before.worker, after.worker),
            },
            peak_memory,
        }
    }
}

/// Runs `work` in this process, and measures its costs.
///
/// # Errors
/// Fails if `work` fails.
pub(crate) async fn measure(
    events: u64,
    watched: &Watched,
    work: impl Future<Output = crate::Result<()>>,
) -> crate::Result<Costs> {
    let own = [std::process::id()];
    let (before, began) = (watched.cpu(&own), Instant::now());
    work.await?;
    let took = began.elapsed();
    Ok(Costs::of(events, took, before, watched.cpu(&own), None))
}
