//! Consumes batches from the file.

use std::time::Duration;

use sea_orm::DbErr;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use uuid::Uuid;

use super::lease::{EmbeddedSettler, lease_end_ms};
use super::{Embedded, Inner, rows};
use crate::queue::consumer::Settler;
use crate::queue::{Batch, BatchLimits, ConsumerHealth, Gathered, QueueError, Source};
use crate::runtime::backoff::Delays;
use crate::runtime::clock::now_ms;
use crate::runtime::shutdown::Shutdown;

/// The interval of polling for messages that `ready_signal` does not announce: those that another process
/// published, those whose wait has ended, and those whose lease has expired.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

pub(in crate::queue) struct EmbeddedConsumer {
    queue: Embedded,
    pub(in crate::queue) source: Source,
    limits: BatchLimits,
    /// The prefix of the names of all its leases.
    id: String,
    /// The number of leases so far.
    leases: u64,
    ready_signal: watch::Receiver<()>,
    delays: Delays,
    /// The last problem that was logged.
    logged_problem: Option<String>,
    pub(in crate::queue) health: ConsumerHealth,
}

impl EmbeddedConsumer {
    pub(in crate::queue) fn new(queue: Embedded, source: Source, limits: BatchLimits) -> Self {
        let ready_signal = queue.0.ready_signal.subscribe();
        let id = format!("{}.", Uuid::new_v4());
        let delays = Delays::new(Duration::from_millis(200), Duration::from_secs(30));
        let health = ConsumerHealth::default();
        Self { queue, source, limits, id, leases: 0, ready_signal, delays, logged_problem: None, health }
    }

    pub(in crate::queue) async fn next_batch(
        &mut self,
        shutdown: &Shutdown,
        idle: Option<Duration>,
    ) -> Result<Gathered, QueueError> {
        let stop = self.queue.0.stop.clone();
        let until = idle.map(|idle| Instant::now() + idle);
        loop {
            if shutdown.is_cancelled() {
                return Ok(Gathered::Stopped);
            }
            if stop.is_cancelled() {
                self.health.set(None);
                return Err(QueueError::Closed);
            }
            self.ready_signal.mark_unchanged();
            let delay = match self.lease_batch().await {
                Ok(Some(batch)) => {
                    self.record_success();
                    return Ok(Gathered::Batch(batch));
                }
                Ok(None) => {
                    self.record_success();
                    POLL_INTERVAL
                }
                Err(error) => self.record_failure(&error),
            };
            let failed = self.logged_problem.is_some();
            tokio::select! {
                biased;
                () = shutdown.cancelled() => {}
                () = stop.cancelled() => {}
                Ok(()) = self.ready_signal.changed(), if !failed => {}
                () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {
                    return Ok(Gathered::Idle);
                }
                () = sleep(delay) => {}
            }
        }
    }

    pub(in crate::queue) async fn pause(&mut self) {
        self.health.set(None);
        let file = &self.queue.0.file;
        match file.write(async |db| rows::release_all(db, &self.id, false).await).await {
            Ok(()) => self.queue.notify(),
            Err(error) => {
                let problem = file.problem(&error);
                tracing::warn!(%problem, "the unsettled deliveries will be redelivered when their leases expire");
            }
        }
    }

    async fn lease_batch(&mut self) -> Result<Option<Batch>, DbErr> {
        let Inner { file, delivery_limit, .. } = &*self.queue.0;
        if !rows::has_available(&file.connection, self.source, now_ms()).await? {
            return Ok(None);
        }
        self.leases += 1;
        let mut settler = EmbeddedSettler::new(self.queue.clone(), format!("{}{}.", self.id, self.leases));
        let lease = async |db: &_| {
            let lease = (settler.lease.as_str(), lease_end_ms());
            rows::lease_batch(db, self.source, self.limits, *delivery_limit, lease, now_ms()).await
        };
        let leased = file.write(lease).await?;
        if leased.ids.is_empty() {
            settler.is_finished = true;
            return Ok(None);
        }
        settler.ids = leased.ids;
        Ok(Some(Batch::new(leased.deliveries, leased.closed_by, Settler::Embedded(settler))))
    }

    fn record_success(&mut self) {
        self.health.set(Some(self.queue.0.stop.clone()));
        if self.logged_problem.take().is_some() {
            tracing::info!("the queue file can be used again");
            self.delays.reset();
        }
    }

    /// Handles a file that cannot be used now (for example on a full disk): logs the problem once, and
    /// returns the delay before the next attempt.
    fn record_failure(&mut self, error: &DbErr) -> Duration {
        self.health.set(None);
        let problem = self.queue.0.file.problem(error).to_string();
        if self.logged_problem.as_ref() != Some(&problem) {
            tracing::error!(problem, "no messages can be read; trying again");
            self.logged_problem = Some(problem);
        }
        self.delays.next()
    }
}
