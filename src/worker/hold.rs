//! Holds a batch while the database is unavailable, and retries without counting attempts.
//!
//! After `worker.hold` the messages are returned to the queue, once, and nothing is consumed until the
//! database answers: an outage of any length uses up neither attempts nor the delivery limit.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::decide::Processor;
use crate::queue::QueueError;
use crate::runtime::backoff::Delays;
use crate::runtime::shutdown::Shutdown;
use crate::store::{StoreError, StoreErrorKind};

const FIRST_DELAY: Duration = Duration::from_millis(100);
const MAX_DELAY: Duration = Duration::from_secs(5);

/// The state of holding one batch.
#[derive(Debug)]
pub(super) struct Hold {
    delays: Delays,
    deadline: tokio::time::Instant,
    has_waited: bool,
    is_logged: bool,
}

impl Hold {
    pub(super) fn new(limit: Duration) -> Self {
        Self {
            delays: Delays::new(FIRST_DELAY, MAX_DELAY),
            deadline: tokio::time::Instant::now() + limit,
            has_waited: false,
            is_logged: false,
        }
    }

    /// Waits before the next attempt. Returns false if the limit is reached, or on shutdown.
    pub(super) async fn wait(&mut self, why: &StoreError, shutdown: &Shutdown) -> bool {
        let is_conflict = why.kind() == StoreErrorKind::Conflict;
        // One deadlock, or one lock that was not free in time, is normal beside other sessions.
        let is_first = !std::mem::replace(&mut self.has_waited, true);
        if !(self.is_logged || is_conflict && is_first) {
            if is_conflict {
                tracing::warn!(
                    error = %why,
                    "another session keeps rows or tables locked: holding the batch without counting an attempt"
                );
            } else {
                tracing::warn!(
                    error = %why,
                    "the database cannot be used: holding the batch without counting an attempt"
                );
            }
            self.is_logged = true;
        }
        let next = tokio::time::Instant::now() + self.delays.next();
        if next >= self.deadline {
            return false;
        }
        shutdown.run_until_cancelled(tokio::time::sleep_until(next)).await.is_some()
    }
}

/// Whether the database could be used at the last attempt. Clones share it. The flag is true while it cannot.
#[derive(Clone, Debug, Default)]
pub(super) struct Availability(Arc<AtomicBool>);

impl Availability {
    /// Records whether the last attempt succeeded.
    pub(super) fn set(&self, is_available: bool) {
        self.0.store(!is_available, Ordering::Relaxed);
    }

    /// Returns whether the last attempt failed.
    pub(super) fn is_unavailable(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Waits until events can be decided again, or until shutdown.
    pub(super) async fn wait(&self, processor: &Processor, shutdown: &Shutdown) {
        let probes = async {
            let mut delays = Delays::new(FIRST_DELAY, MAX_DELAY);
            loop {
                tokio::time::sleep(delays.next()).await;
                let probed = processor.probe().await;
                self.set(probed.is_ok());
                if probed.is_ok() {
                    tracing::info!("the database can be used again");
                    return;
                }
            }
        };
        shutdown.run_until_cancelled(probes).await;
    }
}

/// Logs the failure to settle a batch (for example a queue file on a full disk) and continues; the batch is
/// delivered again. Only a queue that this program closed is an error.
pub(super) fn ignore_unless_closed(handled: Result<bool, QueueError>) -> Result<bool, QueueError> {
    match handled {
        Err(QueueError::Closed) => Err(QueueError::Closed),
        Err(error) => {
            tracing::error!(%error, "a batch could not be settled and is delivered again");
            Ok(false)
        }
        handled => handled,
    }
}
