//! Consumes batches from the file.

use std::time::Duration;

use sea_orm::DbErr;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use uuid::Uuid;

use super::lease::{EmbeddedHold, until_ms};
use super::{Embedded, Inner, rows};
use crate::queue::consumer::Hold;
use crate::queue::{Batch, BatchLimits, ConsumerHealth, Gathered, QueueError, Source};
use crate::runtime::backoff::Delays;
use crate::runtime::clock::now_ms;
use crate::runtime::shutdown::Shutdown;

/// The interval of polling for messages that the bell does not announce: those of another process, those
/// whose wait has ended, and those with an expired lease.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

pub(in crate::queue) struct EmbeddedConsumer {
    queue: Embedded,
    pub(in crate::queue) source: Source,
    limits: BatchLimits,
    /// The prefix of the names of all its leases.
    id: String,
    leases: u64,
    bell: watch::Receiver<()>,
    delays: Delays,
    /// The last problem that was logged.
    logged: Option<String>,
    pub(in crate::queue) health: ConsumerHealth,
}

impl EmbeddedConsumer {
    pub(in crate::queue) fn new(queue: Embedded, source: Source, limits: BatchLimits) -> Self {
        let bell = queue.0.bell.subscribe();
        let id = format!("{}.", Uuid::new_v4());
        let delays = Delays::new(Duration::from_millis(200), Duration::from_secs(30));
        let health = ConsumerHealth::default();
        Self { queue, source, limits, id, leases: 0, bell, delays, logged: None, health }
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
            self.bell.mark_unchanged();
            let next = match self.take().await {
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
            let failed = self.logged.is_some();
            tokio::select! {
                biased;
                () = shutdown.cancelled() => {}
                () = stop.cancelled() => {}
                Ok(()) = self.bell.changed(), if !failed => {}
                () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {
                    return Ok(Gathered::Idle);
                }
                () = sleep(next) => {}
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
                tracing::warn!(%problem, "the unsettled deliveries are redelivered when their lease expires");
            }
        }
    }

    async fn take(&mut self) -> Result<Option<Batch>, DbErr> {
        let Inner { file, delivery_limit, .. } = &*self.queue.0;
        if !rows::has_available(&file.connection, self.source, now_ms()).await? {
            return Ok(None);
        }
        self.leases += 1;
        let mut hold = EmbeddedHold::new(self.queue.clone(), format!("{}{}.", self.id, self.leases));
        let take = async |db: &_| {
            let lease = (hold.lease.as_str(), until_ms());
            rows::take(db, self.source, self.limits, *delivery_limit, lease, now_ms()).await
        };
        let taken = file.write(take).await?;
        if taken.ids.is_empty() {
            hold.over = true;
            return Ok(None);
        }
        hold.ids = taken.ids;
        Ok(Some(Batch::new(taken.deliveries, taken.closed_by, Hold::Embedded(hold))))
    }

    fn record_success(&mut self) {
        self.health.set(Some(self.queue.0.stop.clone()));
        if self.logged.take().is_some() {
            tracing::info!("the queue file can be used again");
            self.delays.reset();
        }
    }

    /// Handles a file that cannot be used now (for example on a full disk): logs the problem once, and
    /// returns the delay before the next attempt.
    fn record_failure(&mut self, error: &DbErr) -> Duration {
        self.health.set(None);
        let problem = self.queue.0.file.problem(error).to_string();
        if self.logged.as_ref() != Some(&problem) {
            tracing::error!(problem, "no messages can be read; trying again");
            self.logged = Some(problem);
        }
        self.delays.next()
    }
}
