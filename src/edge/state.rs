//! What all requests share.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;

use super::sink::{Sink, SinkHealth};
use crate::config::EdgeConfig;
use crate::http::health::{self, Finding, Record, State};
use crate::http::tokens::Tokens;
use crate::runtime::shutdown::Shutdown;

/// A request's place among those that may be in progress. It is taken until the last of what was
/// begun for the request has ended, also when it has been answered before: that still holds its body.
pub(super) type Place = Arc<OwnedSemaphorePermit>;

/// One for each edge, behind an `Arc`.
pub(super) struct Edge {
    pub(super) config: EdgeConfig,
    pub(super) sink: Sink,
    pub(super) tokens: Tokens,
    /// One permit for each request that may be in progress.
    pub(super) in_flight: Arc<Semaphore>,
    /// Publishes go on when the client hangs up: what was sent once may not be sent again.
    pub(super) publishing: TaskTracker,
    /// Remembers since when its parts are as they are.
    pub(super) record: Record,
    /// Tells of whoever else works in this process.
    pub(super) alongside: Option<health::Report>,
    pub(super) shutdown: Shutdown,
}

impl Edge {
    pub(super) fn new(config: &EdgeConfig, sink: Sink, shutdown: Shutdown) -> Self {
        Self {
            tokens: Tokens::new(&config.tokens_file, config.token_rate),
            in_flight: Arc::new(Semaphore::new(config.max_in_flight.min(Semaphore::MAX_PERMITS))),
            publishing: TaskTracker::new(),
            config: config.clone(),
            sink,
            record: Record::new("edge"),
            alongside: None,
            shutdown,
        }
    }

    /// How its parts are: `running`, `queue`, and `spool` where there is one.
    pub(super) fn findings(&self, health: SinkHealth) -> Vec<Finding> {
        let stopping = self.shutdown.is_cancelled().then(|| "the edge is stopping".to_owned());
        let mut findings = vec![Finding::new("running", State::Failed, stopping.into_iter().collect())];
        findings.extend(health.findings);
        findings
    }
}
