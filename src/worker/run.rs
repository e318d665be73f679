//! Runs a worker: its pipelines, the recorder and housekeeping, and stops them.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::task::JoinSet;

use super::health::{self, BatchProgress, WorkerHealth};
use super::heartbeat::Heartbeat;
use super::hold::Availability;
use super::housekeeping::{self, Backlog};
use super::pipeline::Pipeline;
use super::recorder::Recorder;
use super::sampler::Sampler;
use super::tally::Tally;
use crate::config::Config;
use crate::decide::Processor;
use crate::queue::{BatchLimits, Queue, QueueError, Source};
use crate::runtime::shutdown::Shutdown;
use crate::store::{Database, GatewaySchema};

/// The interval at which an idle worker checks whether the queue is empty (`--until-empty`).
const EMPTY_CHECK_EVERY: Duration = Duration::from_millis(250);

/// The limits of the dead letters that are recorded in one transaction.
const RECORDER_LIMITS: BatchLimits = BatchLimits { size: 50, bytes: 4 << 20 };

/// Why a worker ended without a shutdown.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The queue cannot be used, and a retry will not help.
    #[error("the worker cannot use its queue: {0}")]
    Queue(#[from] QueueError),
    /// A task of the worker failed; the log has the details.
    #[error("a task of the worker ended unexpectedly: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// A worker, ready to run. Clones share everything.
#[derive(Clone)]
pub struct Worker {
    pub(super) config: Arc<Config>,
    pub(super) processor: Arc<Processor>,
    pub(super) availability: Availability,
    pub(super) backlog: Backlog,
    pub(super) queue: Queue,
    pub(super) tally: Tally,
    /// The health of the worker, from its start on.
    pub(crate) health: WorkerHealth,
    /// The role of the process.
    pub(crate) role: &'static str,
}

impl Worker {
    /// Creates a worker for this database and this queue.
    pub fn new(config: Arc<Config>, database: Database, schema: GatewaySchema, queue: Queue) -> Self {
        let processor = Arc::new(Processor::new(database, schema, &config));
        let (availability, backlog) = (Availability::default(), Backlog::default());
        let (tally, health) = (Tally::default(), WorkerHealth::default());
        Self { config, processor, availability, backlog, queue, tally, health, role: "worker" }
    }

    /// Returns the counts so far.
    pub fn tally(&self) -> Tally {
        self.tally.clone()
    }

    /// Runs until shutdown or, with `until_empty`, until the work queue, its wait queues and the unrecorded
    /// dead letters are empty. Then it finishes the batches in progress, for at most
    /// `worker.shutdown_timeout`; deliveries that are not finished by then are delivered again.
    ///
    /// # Errors
    /// Returns [`WorkerError`]. An outage of the database or the broker is not an error.
    pub async fn run(&self, shutdown: Shutdown, until_empty: bool) -> Result<(), WorkerError> {
        let stop = shutdown.child_token();
        let config = &self.config.worker;
        self.processor.meters.register(self.config.matching.auto_accept, config.pipelines);
        let mut tasks: JoinSet<Result<(), WorkerError>> = JoinSet::new();
        let mut consumers = Vec::new();
        let mut new_consumer = |name: String, source, limits| {
            let consumer = self.queue.consumer(source, limits).stalled_after(config.stalled_after);
            let progress = BatchProgress::default();
            consumers.push((name, consumer.health(), progress.clone()));
            (consumer, progress)
        };
        let limits = BatchLimits { size: config.batch_size, bytes: config.batch_bytes };
        for number in 1..=config.pipelines {
            let (consumer, progress) =
                new_consumer(format!("pipeline {number} of the worker"), Source::Bookings, limits);
            let (number, worker, shutdown) = (usize::from(number), self.clone(), stop.clone());
            let pipeline = Pipeline { number, worker, consumer, progress, shutdown };
            tasks.spawn(async move { Ok(Box::pin(pipeline.run()).await?) });
        }
        let (consumer, progress) =
            new_consumer("the worker's recorder of dead letters".to_owned(), Source::Dead, RECORDER_LIMITS);
        let recorder = Recorder { worker: self.clone(), consumer, progress, shutdown: stop.clone() };
        tasks.spawn(async move { Ok(Box::pin(recorder.run()).await?) });
        self.health.set_running(self, consumers, stop.clone());
        let mut spawn = |task: BoxFuture<'static, ()>| {
            tasks.spawn(task.map(Ok));
        };
        spawn(Box::pin(health::watch(self.clone(), stop.clone())));
        let heartbeat = Arc::new(Heartbeat::new(self.clone()));
        let beats = heartbeat.clone().run(stop.clone());
        spawn(Box::pin(log_panic(beats, "`hostmatch status` no longer shows this worker")));
        let samples = Sampler::new(self.clone()).run(stop.clone());
        spawn(Box::pin(log_panic(samples, "the sampled metrics of this worker no longer change")));
        spawn(Box::pin(housekeeping::run(self.clone(), stop.clone())));
        if until_empty {
            spawn(Box::pin(self.clone().stop_when_empty(stop.clone())));
        }
        let ended = self.wait(tasks, stop).await;
        heartbeat.deregister().await;
        ended
    }

    /// Waits for the tasks. A task that fails stops the others.
    async fn wait(
        &self,
        mut tasks: JoinSet<Result<(), WorkerError>>,
        stop: Shutdown,
    ) -> Result<(), WorkerError> {
        let mut result = Ok(());
        let limit = async {
            stop.cancelled().await;
            tokio::time::sleep(self.config.worker.shutdown_timeout).await;
        };
        tokio::pin!(limit);
        loop {
            tokio::select! {
                () = &mut limit => {
                    tracing::warn!("some batches were not finished in time; their messages are delivered again");
                    tasks.shutdown().await;
                    return result;
                }
                ended = tasks.join_next() => match ended {
                    None => return result,
                    Some(ended) => if let Err(error) = ended.map_err(WorkerError::from).and_then(|done| done) {
                        result = result.and(Err(error));
                        stop.cancel();
                    }
                }
            }
        }
    }

    /// Cancels `stop` once two checks in a row find no waiting message and no batch in progress. One check is not
    /// enough: a message that moves from one queue to the next may briefly be in neither.
    async fn stop_when_empty(self, stop: Shutdown) {
        let mut batches_before = None;
        while !stop.is_cancelled() {
            let (busy, batches) = self.tally.activity();
            let depth = self.queue.depth().await;
            let empty = depth.is_ok_and(|d| d.ready + d.waiting + d.dead + d.in_flight.unwrap_or(0) == 0);
            match batches_before {
                Some(before) if empty && busy == 0 && before == batches => {
                    // Appointments that waited for a host are part of the work.
                    if self.backlog.clear(&self.processor).await.is_ok() {
                        stop.cancel();
                    }
                }
                _ => batches_before = (empty && busy == 0).then_some(batches),
            }
            stop.run_until_cancelled(tokio::time::sleep(EMPTY_CHECK_EVERY)).await;
        }
    }
}

/// Runs a task that only reports. Logs a panic in the task, so that a bug in it does not stop the worker.
async fn log_panic(task: impl Future<Output = ()>, consequence: &str) {
    if AssertUnwindSafe(task).catch_unwind().await.is_err() {
        tracing::error!(consequence, "a background task of this worker failed; the worker continues");
    }
}
