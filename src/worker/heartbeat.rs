//! A worker tells in a table that it is there, for `hostmatch status`: who it is, and what it has done.
//!
//! That is for people. Work never waits for it and never ends by it: a table that is not there (yet, or any
//! more), or that this user may not write, is told in the log once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval, timeout};
use uuid::Uuid;

use super::run::Worker;
use crate::matching::DEAD_LETTER;
use crate::runtime::shutdown::Shutdown;
use crate::store::{self, StoreError, Work};

const EVERY: Duration = Duration::from_secs(10);

/// How long taking leave may take.
const LEAVING: Duration = Duration::from_secs(2);

/// Whoever has told nothing of itself for so long is forgotten.
pub(super) const FORGOTTEN_AFTER: Duration = Duration::from_secs(24 * 3600);

/// What this process tells.
pub(super) struct Heartbeat {
    me: store::Worker,
    since: Instant,
    worker: Worker,
}

impl Heartbeat {
    /// Of this process, which runs `worker` from now on.
    pub(super) fn new(worker: Worker) -> Self {
        let config = &worker.config.worker;
        let me = store::Worker {
            id: Uuid::new_v4(),
            host: whoami::hostname().unwrap_or_else(|_| "unknown".to_owned()),
            pid: std::process::id(),
            role: worker.role.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            revision: option_env!("HOSTMATCH_REVISION").map(str::to_owned),
            mode: config.mode.to_string(),
            pipelines: u32::from(config.pipelines),
        };
        Self { me, since: Instant::now(), worker }
    }

    /// Tells every few seconds, until asked to stop.
    pub(super) async fn run(self: Arc<Self>, shutdown: Shutdown) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut said = false;
        let beats = async {
            loop {
                ticks.tick().await;
                match self.write().await {
                    Ok(()) => said = false,
                    // An outage is told by whoever works.
                    Err(error) if said || matches!(error, StoreError::Unavailable { .. }) => {
                        tracing::debug!(%error, "this worker cannot be told of now");
                    }
                    Err(error) => {
                        tracing::warn!(
                            %error,
                            "this worker goes on, and `hostmatch status` does not show it: it cannot write the \
                             table hostmatch_workers; run `hostmatch migrate up`, and the grants of `hostmatch \
                             gateway grants`"
                        );
                        said = true;
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
            settled_seconds: tally.settled_ago().map(|ago| ago.as_secs()),
        };
        let database = &self.worker.processor.database;
        database.with_deadline(store::record_heartbeat(database, &self.me, self.since.elapsed(), work)).await
    }

    /// It has stopped: its row goes.
    pub(super) async fn leave(&self) {
        let db = self.worker.processor.database.connection();
        match timeout(LEAVING, store::remove_worker(db, self.me.id)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "this worker's row stays, as of one that is gone"),
            Err(_) => tracing::debug!("this worker's row stays, as of one that is gone"),
        }
    }
}
