//! What all requests share.

use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::sink::Sink;
use super::tokens::Tokens;
use crate::config::EdgeConfig;
use crate::shutdown::Shutdown;

/// One for each edge, behind an `Arc`.
pub(super) struct Edge {
    pub(super) config: EdgeConfig,
    pub(super) sink: Sink,
    pub(super) tokens: Tokens,
    /// One permit for each request that may be in progress.
    pub(super) in_flight: Semaphore,
    /// Publishes go on when the client hangs up: what was sent once may not be sent again.
    pub(super) publishing: TaskTracker,
    pub(super) shutdown: Shutdown,
}

impl Edge {
    pub(super) fn new(config: &EdgeConfig, sink: Sink, shutdown: Shutdown) -> Self {
        Self {
            tokens: Tokens::new(&config.tokens_file),
            in_flight: Semaphore::new(config.max_in_flight.min(Semaphore::MAX_PERMITS)),
            publishing: TaskTracker::new(),
            config: config.clone(),
            sink,
            shutdown,
        }
    }
}
