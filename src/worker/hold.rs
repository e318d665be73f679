//! While the database is away: hold what is in hand and try again, counting nothing.
//!
//! After `worker.hold` the messages are given back, once, and nothing is taken until the database
//! answers: an outage uses up neither attempts nor delivery limits, however long it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::decide::Processor;
use crate::queue::QueueError;
use crate::runtime::backoff::Delays;
use crate::runtime::shutdown::Shutdown;
use crate::store::StoreError;

const FIRST_DELAY: Duration = Duration::from_millis(100);
const MAX_DELAY: Duration = Duration::from_secs(5);

/// Holding on to one batch.
#[derive(Debug)]
pub(super) struct Hold {
    delays: Delays,
    until: tokio::time::Instant,
    told: bool,
}

impl Hold {
    pub(super) fn new(limit: Duration) -> Self {
        Self {
            delays: Delays::new(FIRST_DELAY, MAX_DELAY),
            until: tokio::time::Instant::now() + limit,
            told: false,
        }
    }

    /// Waits before the next attempt. False: held long enough, or asked to stop.
    pub(super) async fn wait(&mut self, why: &StoreError, shutdown: &Shutdown) -> bool {
        if !self.told {
            tracing::warn!(error = %why, "the database cannot be used: holding on, nothing is counted");
            self.told = true;
        }
        let next = tokio::time::Instant::now() + self.delays.next();
        if next >= self.until {
            return false;
        }
        shutdown.run_until_cancelled(tokio::time::sleep_until(next)).await.is_some()
    }
}

/// Whether events could be decided when it was tried last. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Availability(Arc<AtomicBool>);

impl Availability {
    /// It was tried, with this success.
    pub(super) fn set(&self, is_available: bool) {
        self.0.store(!is_available, Ordering::Relaxed);
    }

    /// Whether what is in hand waits for the database.
    pub(super) fn is_held(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Waits until events can be decided again, or asked to stop.
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

/// A batch that could not be settled (a queue file on a full disk) comes again: that is no reason
/// to end. Only a queue that this program closed is.
pub(super) fn ignore_unless_closed(handled: Result<bool, QueueError>) -> Result<bool, QueueError> {
    match handled {
        Err(QueueError::Closed) => Err(QueueError::Closed),
        Err(error) => {
            tracing::error!(%error, "what was in hand could not be settled and comes again");
            Ok(false)
        }
        handled => handled,
    }
}
