//! Records each worker in a table, for `hostmatch status`: its identity and its counts.
//!
//! The table is for information only. Work never waits for it and never stops because of it: if the table
//! does not exist, or this user may not write to it, the failure is logged once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval, timeout};
use uuid::Uuid;

use super::run::Worker;
use crate::matching::DEAD_LETTER;
use crate::runtime::shutdown::Shutdown;
use crate::store::{self, StoreError, Work};

const INTERVAL: Duration = Duration::from_secs(10);

/// The time limit for removing the row on exit.
const DEREGISTER_TIMEOUT: Duration = Duration::from_secs(2);

/// The row of a worker without a heartbeat for this long is removed.
pub(super) const EXPIRES_AFTER: Duration = Duration::from_secs(24 * 3600);

/// The heartbeat of this process.
pub(super) struct Heartbeat {
    identity: store::Worker,
    started: Instant,
    worker: Worker,
}

impl Heartbeat {
    /// Creates the heartbeat of this process, which runs `worker` from now on.
    pub(super) fn new(worker: Worker) -> Self {
        let config = &worker.config.worker;
        let identity = store::Worker {
            id: Uuid::new_v4(),
            host: whoami::hostname().unwrap_or_else(|_| "unknown".to_owned()),
            pid: std::process::id(),
            role: worker.role.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            revision: option_env!("HOSTMATCH_REVISION").map(str::to_owned),
            mode: config.mode.to_string(),
            pipelines: u32::from(config.pipelines),
        };
        Self { identity, started: Instant::now(), worker }
    }

    /// Writes the heartbeat every few seconds, until `shutdown`.
    pub(super) async fn run(self: Arc<Self>, shutdown: Shutdown) {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_logged = false;
        let beats = async {
            loop {
                ticks.tick().await;
                match self.write().await {
                    Ok(()) => is_logged = false,
                    // The pipelines log an outage.
                    Err(error)
                        if is_logged
                            || matches!(error, StoreError::Unavailable { .. } | StoreError::Full(_)) =>
                    {
                        tracing::debug!(%error, "this worker's heartbeat could not be written");
                    }
                    Err(error) => {
                        tracing::warn!(
                            %error,
                            "cannot write to the table hostmatch_workers, so `hostmatch status` does not show this \
                             worker; run `hostmatch migrate up`, and the GRANT statements that `hostmatch \
                             gateway grants` prints"
                        );
                        is_logged = true;
                    }
                }
            }
        };
        shutdown.run_until_cancelled(beats).await;
    }

    async fn write(&self) -> Result<(), StoreError> {
        let tally = &self.worker.tally;
        let counts = tally.counts();
        let count = |name: &str| counts.get(name).copied().unwrap_or(0);
        let work = Work {
            finished: tally.finished(),
            retried: count("retry"),
            failed: count(DEAD_LETTER),
            settled_seconds: tally.time_since_settled().map(|time| time.as_secs()),
        };
        let database = &self.worker.processor.database;
        database
            .with_deadline(store::record_heartbeat(database, &self.identity, self.started.elapsed(), work))
            .await
    }

    /// Removes the row of this worker, which has stopped.
    pub(super) async fn deregister(&self) {
        let db = self.worker.processor.database.connection();
        match timeout(DEREGISTER_TIMEOUT, store::remove_worker(db, self.identity.id)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "this worker's row could not be removed"),
            Err(_) => tracing::debug!("this worker's row could not be removed"),
        }
    }
}
