//! Runs in the background: finishes decisions that did not fit into one transaction, and enforces retention times.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::heartbeat::EXPIRES_AFTER;
use super::run::Worker;
use crate::config::RetentionConfig;
use crate::decide::{Processor, redecide_waiting, write_observed};
use crate::runtime::clock::now_ms;
use crate::runtime::shutdown::Shutdown;
use crate::store::{
    MAX_INBOX_HOSTS, StoreError, bound_inbox, purge_closed_letters, purge_events, purge_inbox,
    purge_payloads, purge_replays, purge_workers,
};

const REDECIDE_EVERY: Duration = Duration::from_secs(1);
const WRITE_OBSERVED_EVERY: Duration = Duration::from_secs(300);
const PURGE_EVERY: Duration = Duration::from_secs(3600);
const BOUND_INBOX_EVERY: Duration = Duration::from_secs(60);

/// Whether appointments may still wait for a host that now has a mapping, because they did not all fit into one
/// transaction. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Backlog(Arc<AtomicBool>);

impl Default for Backlog {
    /// Starts with a backlog: an earlier process may have died between two transactions.
    fn default() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }
}

impl Backlog {
    /// Records that appointments may wait.
    pub(super) fn mark_pending(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Decides the waiting appointments, if there may be any.
    pub(super) async fn clear(&self, processor: &Processor) -> Result<(), StoreError> {
        if self.0.swap(false, Ordering::SeqCst) {
            redecide_waiting(processor).await.inspect_err(|_| self.mark_pending())?;
        }
        Ok(())
    }
}

/// Runs until shutdown. Nothing here is urgent, so failures are retried the next time.
pub(super) async fn run(worker: Worker, shutdown: Shutdown) {
    let Worker { config, processor, backlog, .. } = worker;
    let mut redecide = tokio::time::interval(REDECIDE_EVERY);
    let mut observed = tokio::time::interval(WRITE_OBSERVED_EVERY);
    let mut purge = tokio::time::interval(PURGE_EVERY);
    let mut bound = tokio::time::interval(BOUND_INBOX_EVERY);
    loop {
        let result = tokio::select! {
            () = shutdown.cancelled() => return,
            _ = observed.tick() => {
                backlog.mark_pending();
                // Repeated, not only at the start, because a worker in the mode `observe` may stop after this
                // one has started.
                write_observed(&processor).await.map(|_| ())
            }
            _ = redecide.tick() => backlog.clear(&processor).await,
            _ = bound.tick() => bound_inboxes(&processor).await,
            _ = purge.tick() => self::purge(&processor, &config.retention).await,
        };
        if let Err(error) = result {
            tracing::debug!(%error, "housekeeping failed; trying again later");
        }
    }
}

/// Removes the oldest hosts from the inbox of each company with too many of them.
async fn bound_inboxes(processor: &Processor) -> Result<(), StoreError> {
    for (company, hosts) in bound_inbox(&processor.database, MAX_INBOX_HOSTS).await? {
        tracing::warn!(
            company = company.0,
            hosts,
            "a company has too many hosts in its inbox: those named longest ago were removed"
        );
    }
    Ok(())
}

async fn purge(processor: &Processor, retention: &RetentionConfig) -> Result<(), StoreError> {
    let before = |age: Duration| now_ms() - i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
    let database = &processor.database;
    let payloads = purge_payloads(database, before(retention.payloads)).await?;
    let events = purge_events(database, before(retention.events)).await?;
    let dead_letters = purge_closed_letters(database, before(retention.dead_letters)).await?;
    let replays = purge_replays(database, before(retention.replays)).await?;
    let hosts = purge_inbox(database, before(retention.inbox)).await?;
    if payloads + events + dead_letters + replays + hosts > 0 {
        tracing::info!(payloads, events, dead_letters, replays, hosts, "purged data past its retention time");
    }
    // This comes last, so that a missing table does not prevent the other purges.
    let workers = purge_workers(database, EXPIRES_AFTER).await?;
    tracing::debug!(workers, "removed the rows of stopped workers");
    Ok(())
}
