//! In the background: what one transaction was too small for, and retention times.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::heartbeat::FORGOTTEN_AFTER;
use super::run::Worker;
use crate::config::RetentionConfig;
use crate::decide::{Processor, redecide_waiting, write_observed};
use crate::runtime::clock::now_ms;
use crate::runtime::shutdown::Shutdown;
use crate::store::{
    StoreError, purge_closed_letters, purge_events, purge_payloads, purge_replays, purge_workers,
};

const REDECIDE_EVERY: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_secs(300);
const PURGE_EVERY: Duration = Duration::from_secs(3600);

/// Whether appointments may wait for a host that has become known, which no transaction was large enough for. Clones
/// share it.
#[derive(Clone, Debug)]
pub(super) struct Backlog(Arc<AtomicBool>);

impl Default for Backlog {
    /// There may be one at the start: an earlier process may have died between two transactions.
    fn default() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }
}

impl Backlog {
    /// Some may wait now.
    pub(super) fn grows(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Decides what waits, if any may.
    pub(super) async fn clear(&self, processor: &Processor) -> Result<(), StoreError> {
        if self.0.swap(false, Ordering::SeqCst) {
            redecide_waiting(processor).await.inspect_err(|_| self.grows())?;
        }
        Ok(())
    }
}

/// Runs until asked to stop. Nothing here is urgent: what fails is tried again the next time.
pub(super) async fn run(worker: Worker, shutdown: Shutdown) {
    let Worker { config, processor, backlog, .. } = worker;
    let mut redecide = tokio::time::interval(REDECIDE_EVERY);
    let mut look = tokio::time::interval(LOOK_EVERY);
    let mut purge = tokio::time::interval(PURGE_EVERY);
    loop {
        let result = tokio::select! {
            () = shutdown.cancelled() => return,
            _ = look.tick() => {
                backlog.grows();
                // Also later than at the start: a worker that observes may end after this one has begun.
                write_observed(&processor).await.map(|_| ())
            }
            _ = redecide.tick() => backlog.clear(&processor).await,
            _ = purge.tick() => self::purge(&processor, &config.retention).await,
        };
        if let Err(error) = result {
            tracing::debug!(%error, "housekeeping is put off");
        }
    }
}

async fn purge(processor: &Processor, retention: &RetentionConfig) -> Result<(), StoreError> {
    let before = |age: Duration| now_ms() - i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
    let database = &processor.database;
    let payloads = purge_payloads(database, before(retention.payloads)).await?;
    let events = purge_events(database, before(retention.events)).await?;
    let dead_letters = purge_closed_letters(database, before(retention.dead_letters)).await?;
    let replays = purge_replays(database, before(retention.replays)).await?;
    if payloads + events + dead_letters + replays > 0 {
        tracing::info!(payloads, events, dead_letters, replays, "purged what was kept for its time");
    }
    // Last: a table that is not there keeps nobody from the others.
    let workers = purge_workers(database, FORGOTTEN_AFTER).await?;
    tracing::debug!(workers, "forgot workers that are gone");
    Ok(())
}
