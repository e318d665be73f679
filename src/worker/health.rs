//! The health of a worker, for the health routes.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::hold::Availability;
use super::run::Worker;
use crate::config::Config;
use crate::http::health::{Finding, State};
use crate::queue::{ConsumerHealth, WaitingCopies};
use crate::runtime::locked;
use crate::runtime::shutdown::Shutdown;

/// The interval of pings to the database, and of messages that check the broker.
const PING_INTERVAL: Duration = Duration::from_secs(5);

/// A batch counts as stuck after this many times the sum of all limits on its processing.
const STUCK_FACTOR: u32 = 5;

/// The health of a worker, even before it has started. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct WorkerHealth(Arc<Mutex<Option<Running>>>);

#[derive(Debug)]
struct Running {
    consumers: Vec<(String, ConsumerHealth, BatchProgress)>,
    availability: Availability,
    waiting_copies: WaitingCopies,
    /// A batch that has been in progress for longer than this is stuck.
    stuck_after: Duration,
    /// Whether the database did not answer the last ping.
    is_unresponsive: bool,
    /// Whether the broker accepts no messages.
    is_queue_blocked: bool,
    stop: Shutdown,
}

/// When the batch in progress of a pipeline, or of the recorder, began. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct BatchProgress(Arc<Mutex<Option<Instant>>>);

impl BatchProgress {
    /// Records the start of a batch.
    pub(super) fn begin_batch(&self) {
        *locked(&self.0) = Some(Instant::now());
    }

    /// Records the end of a batch.
    pub(super) fn end_batch(&self) {
        *locked(&self.0) = None;
    }
}

impl WorkerHealth {
    /// Returns the findings `running`, `database`, `consumers`, `publishing` and `progress`.
    pub fn findings(&self) -> Vec<Finding> {
        let state = locked(&self.0);
        let failed = |name, problem: Option<&str>| {
            Finding::new(name, State::Failed, problem.map(str::to_owned).into_iter().collect())
        };
        let Some(running) = &*state else {
            let why = "the worker has not started yet; the log says what it waits for";
            return vec![failed("running", Some(why))];
        };
        let is_stopping = running.stop.is_cancelled();
        let mut findings = vec![failed("running", is_stopping.then_some("the worker is stopping"))];
        findings.push(failed(
            "database",
            match (running.is_unresponsive, running.availability.is_unavailable()) {
                (true, _) => Some("the database does not answer; see the log"),
                (false, true) => Some("the worker waits until the database can be used; see the log"),
                (false, false) => None,
            },
        ));
        let idle =
            running.consumers.iter().filter(|(_, consumer, _)| !consumer.is_consuming() && !is_stopping);
        let idle = idle.map(|(name, ..)| format!("{name} receives nothing; see the log"));
        findings.push(Finding::new("consumers", State::Failed, idle.collect()));
        let waits = running.waiting_copies.is_any();
        let why = "retries and dead letters wait until the broker accepts them; see the log";
        let blocked = "the broker accepts no messages, because it is short of memory or disk";
        let blocked = running.is_queue_blocked.then(|| blocked.to_owned());
        findings.push(match waits {
            true => failed("publishing", Some(why)),
            false => Finding::new("publishing", State::Degraded, blocked.into_iter().collect()),
        });
        let stuck = running.consumers.iter().filter_map(|(name, _, progress)| {
            let since = (*locked(&progress.0))?.elapsed();
            (since > running.stuck_after).then(|| {
                format!(
                    "{name} has been processing one batch for {} s, which must not exceed {} s: restart the \
                     process, and report its log",
                    since.as_secs(),
                    running.stuck_after.as_secs()
                )
            })
        });
        findings.push(Finding::new("progress", State::Stuck, stuck.collect()));
        findings
    }

    /// Records that the worker runs with these consumers until `stop`.
    pub(super) fn set_running(
        &self,
        worker: &Worker,
        consumers: Vec<(String, ConsumerHealth, BatchProgress)>,
        stop: Shutdown,
    ) {
        let (availability, waiting_copies) = (worker.availability.clone(), worker.queue.waiting_copies());
        *locked(&self.0) = Some(Running {
            consumers,
            availability,
            waiting_copies,
            stuck_after: stuck_after(&worker.config),
            is_unresponsive: false,
            is_queue_blocked: false,
            stop,
        });
    }
}

/// Pings the database at intervals until `stop`, and checks whether the broker accepts messages. While a batch
/// waits for the database, also checks whether events can be decided.
pub(super) async fn watch(worker: Worker, stop: Shutdown) {
    let Worker { config, processor, availability, health, queue, .. } = worker;
    let pings = async {
        loop {
            let ping = timeout(config.database.acquire_timeout, processor.database.ping());
            let answers = matches!(ping.await, Ok(Ok(())));
            if let Some(running) = &mut *locked(&health.0) {
                running.is_unresponsive = !answers;
            }
            if answers && availability.is_unavailable() {
                availability.set(processor.probe().await.is_ok());
            }
            tokio::time::sleep(PING_INTERVAL).await;
        }
    };
    let publisher = queue.publisher();
    let publishes = async {
        loop {
            let is_blocked = publisher.is_blocked().await;
            if let Some(running) = &mut *locked(&health.0) {
                running.is_queue_blocked = is_blocked;
            }
            tokio::time::sleep(PING_INTERVAL).await;
        }
    };
    // On the heap, because the futures are large.
    stop.run_until_cancelled(Box::pin(async { tokio::join!(pings, publishes) })).await;
}

/// Returns the duration after which a batch counts as stuck. A batch is held for `worker.hold` while the
/// database is unavailable; each transaction, and each publish, has its own limit.
fn stuck_after(config: &Config) -> Duration {
    let database = config.database.acquire_timeout + config.database.statement_timeout * 2;
    (config.worker.hold + database + config.queue.confirm_timeout) * STUCK_FACTOR
}
