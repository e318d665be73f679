//! A worker process: its pipelines, the recorder, housekeeping, and how they stop.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::task::JoinSet;

use super::health::{Part, WorkerHealth};
use super::heartbeat::Heartbeat;
use super::hold::Availability;
use super::housekeeping::{self, Backlog};
use super::pipeline::Pipeline;
use super::recorder::Recorder;
use super::sampler::Sampler;
use super::tally::Tally;
use crate::config::Config;
use crate::decide::Processor;
use crate::queue::{BatchLimits, Consumer, Queue, QueueError, Source};
use crate::runtime::shutdown::Shutdown;
use crate::store::{Database, GatewaySchema};

/// How often an otherwise idle queue is asked whether it is empty (`--until-empty`).
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Dead letters recorded in one transaction.
const LETTERS: BatchLimits = BatchLimits { size: 50, bytes: 4 << 20 };

/// Why a worker ended other than by being asked to.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The queue cannot be used, and trying again will not help.
    #[error("the worker cannot use its queue: {0}")]
    Queue(#[from] QueueError),
    /// A part of it failed; the log says where.
    #[error("a part of the worker ended unexpectedly: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// A worker, ready to run.
#[derive(Clone)]
pub struct Worker {
    config: Arc<Config>,
    processor: Arc<Processor>,
    backlog: Backlog,
    queue: Queue,
    tally: Tally,
    health: WorkerHealth,
    /// What the process serves.
    role: &'static str,
}

impl Worker {
    /// A worker on this database and this queue.
    pub fn new(config: Arc<Config>, database: Database, schema: GatewaySchema, queue: Queue) -> Self {
        let processor = Arc::new(Processor::new(database, schema, &config));
        let (tally, health) = (Tally::default(), WorkerHealth::default());
        Self { config, processor, backlog: Backlog::default(), queue, tally, health, role: "worker" }
    }

    /// As a part of a process that serves this.
    #[must_use]
    pub fn with_role(self, role: &'static str) -> Self {
        Self { role, ..self }
    }

    /// Tells `health` how it is, from its start on.
    #[must_use]
    pub fn with_health(self, health: WorkerHealth) -> Self {
        Self { health, ..self }
    }

    /// The running counts.
    pub fn tally(&self) -> Tally {
        self.tally.clone()
    }

    /// Runs until asked to stop, or, with `until_empty`, until the work queue, its wait queues and
    /// the unrecorded dead letters are empty. Then what is in hand is finished, for at most
    /// `worker.shutdown_timeout`; what is not finished by then comes again.
    ///
    /// # Errors
    /// [`WorkerError`]. An outage of database or broker is none.
    pub async fn run(&self, shutdown: Shutdown, until_empty: bool) -> Result<(), WorkerError> {
        let stop = shutdown.child_token();
        self.processor.meters().begins(self.config.matching.auto_accept, self.config.worker.pipelines);
        let mut tasks: JoinSet<Result<(), WorkerError>> = JoinSet::new();
        let limits =
            BatchLimits { size: self.config.worker.batch_size, bytes: self.config.worker.batch_bytes };
        let (hold, availability) = (self.config.worker.hold, Availability::default());
        let consumer = |source, limits| {
            self.queue.consumer(source, limits).stalled_after(self.config.worker.stalled_after)
        };
        let mut parts = Vec::new();
        let mut part = |name: String, consumer: &Consumer| {
            let part = Part::default();
            parts.push((name, consumer.health(), part.clone()));
            part
        };
        for number in 1..=self.config.worker.pipelines {
            let consumer = consumer(Source::Bookings, limits);
            let pipeline = Pipeline {
                part: part(format!("pipeline {number} of the worker"), &consumer),
                number: usize::from(number),
                consumer,
                processor: self.processor.clone(),
                availability: availability.clone(),
                backlog: self.backlog.clone(),
                tally: self.tally.clone(),
                hold,
                shutdown: stop.clone(),
            };
            tasks.spawn(async move { Ok(Box::pin(pipeline.run()).await?) });
        }
        let dead_letters = consumer(Source::Dead, LETTERS);
        let recorder = Recorder {
            part: part("the worker's recorder of dead letters".to_owned(), &dead_letters),
            consumer: dead_letters,
            processor: self.processor.clone(),
            availability: availability.clone(),
            tally: self.tally.clone(),
            hold,
            shutdown: stop.clone(),
        };
        tasks.spawn(async move { Ok(recorder.run().await?) });
        self.health.runs(&self.config, availability.clone(), parts, stop.clone());
        let (worker, until, available) = (self.clone(), stop.clone(), availability.clone());
        tasks.spawn(async move {
            let patience = worker.config.database.acquire_timeout;
            worker.health.watch((&worker.processor, &available), patience, &until).await;
            Ok(())
        });
        let heartbeat =
            Arc::new(Heartbeat::new(self.role, &self.config, self.processor.clone(), self.tally.clone()));
        let (told, until) = (heartbeat.clone(), stop.clone());
        tasks.spawn(async move {
            // That is for people: not even a defect in it stops the work.
            if AssertUnwindSafe(told.run(&until)).catch_unwind().await.is_err() {
                tracing::error!("this worker works on, and is not shown by `hostmatch status` any more");
            }
            Ok(())
        });
        let sampler = Sampler::new(
            self.processor.clone(),
            availability,
            self.queue.clone(),
            self.config.database.max_connections,
        );
        let (every, until) = (self.config.metrics.sample_every, stop.clone());
        tasks.spawn(async move {
            // Nor does one in what is only told.
            if AssertUnwindSafe(sampler.run(every, until)).catch_unwind().await.is_err() {
                tracing::error!("this worker works on, and its sampled metrics stay as they are");
            }
            Ok(())
        });
        let (processor, backlog) = (self.processor.clone(), self.backlog.clone());
        let (retention, until) = (self.config.retention.clone(), stop.clone());
        tasks.spawn(async move {
            housekeeping::run(processor, backlog, retention, until).await;
            Ok(())
        });
        if until_empty {
            let (worker, stop) = (self.clone(), stop.clone());
            tasks.spawn(async move {
                worker.stop_when_empty(stop).await;
                Ok(())
            });
        }
        let ended = self.wait(tasks, stop).await;
        heartbeat.leave().await;
        ended
    }

    /// Waits for the parts. One that fails stops the others.
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
                    tracing::warn!("not everything in hand was finished in time; the rest comes again");
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

    /// Cancels `stop` once nothing is waiting and nothing was in hand, twice in a row: while a
    /// message moves from one queue to the next it may be in neither.
    async fn stop_when_empty(&self, stop: Shutdown) {
        let mut quiet_since = None;
        while !stop.is_cancelled() {
            let (busy, batches) = self.tally.activity();
            let depth = self.queue.depth().await;
            let empty = depth.is_ok_and(|d| d.ready + d.waiting + d.dead + d.in_flight.unwrap_or(0) == 0);
            match quiet_since {
                Some(then) if empty && busy == 0 && then == batches => {
                    // Appointments that waited for a host are part of the work.
                    if self.backlog.clear(&self.processor).await.is_ok() {
                        stop.cancel();
                    }
                }
                _ => quiet_since = (empty && busy == 0).then_some(batches),
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = stop.cancelled() => {}
            }
        }
    }
}
