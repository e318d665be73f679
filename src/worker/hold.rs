//! While the database is away: hold what is in hand and try again, counting nothing.
//!
//! After `worker.hold` the messages are given back, once, and nothing is taken until the database
//! answers: an outage uses up neither attempts nor delivery limits, however long it is.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::decide::Processor;
use crate::queue::QueueError;
use crate::runtime::backoff::Delays;
use crate::runtime::shutdown::Shutdown;
use crate::store::{self, StoreError};

const FIRST: Duration = Duration::from_millis(100);
const MOST: Duration = Duration::from_secs(5);

/// Holding on to one batch.
#[derive(Debug)]
pub(super) struct Hold {
    delays: Delays,
    until: tokio::time::Instant,
    told: bool,
}

impl Hold {
    pub(super) fn new(limit: Duration) -> Self {
        Self { delays: Delays::new(FIRST, MOST), until: tokio::time::Instant::now() + limit, told: false }
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
        tokio::select! {
            () = tokio::time::sleep_until(next) => true,
            () = shutdown.cancelled() => false,
        }
    }
}

impl Processor {
    /// Whether deciding is possible at all now: asked by doing it, and leaving nothing behind.
    ///
    /// # Errors
    /// What stands in the way.
    pub async fn probe(&self) -> Result<(), StoreError> {
        let probed = self.database().in_time(store::probe(self.database(), &self.schema, self.mode)).await;
        self.held.store(probed.is_err(), Ordering::Relaxed);
        probed
    }

    /// Whether what is in hand waits for the database.
    pub(super) fn is_held(&self) -> bool {
        self.held.load(Ordering::Relaxed)
    }
}

/// Waits until events can be decided again. False: asked to stop first.
pub(super) async fn until_back(processor: &Processor, shutdown: &Shutdown) -> bool {
    let mut delays = Delays::new(FIRST, MOST);
    loop {
        tokio::select! {
            () = tokio::time::sleep(delays.next()) => {}
            () = shutdown.cancelled() => return false,
        }
        tokio::select! {
            answer = processor.probe() => if answer.is_ok() {
                tracing::info!("the database can be used again");
                return true;
            },
            () = shutdown.cancelled() => return false,
        }
    }
}

/// A batch that could not be settled (a queue file on a full disk) comes again: that is no reason
/// to end. Only a queue that this program closed is.
pub(super) fn unless_closed(handled: Result<bool, QueueError>) -> Result<bool, QueueError> {
    match handled {
        Err(QueueError::Closed) => Err(QueueError::Closed),
        Err(error) => {
            tracing::error!(%error, "what was in hand could not be settled and comes again");
            Ok(false)
        }
        handled => handled,
    }
}
