//! The state that all requests share.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;

use super::sink::{Sink, SinkHealth};
use crate::config::EdgeConfig;
use crate::http::health::{self, Finding, Record, State};
use crate::http::tokens::Tokens;
use crate::runtime::shutdown::Shutdown;

/// The permit of a request that is in progress. It is held until all work for the request has ended, even if
/// the response was sent earlier, because that work keeps the body in memory.
pub(super) type RequestPermit = Arc<OwnedSemaphorePermit>;

/// The state of one edge, behind an `Arc`.
pub(super) struct Edge {
    pub(super) config: EdgeConfig,
    pub(super) sink: Sink,
    pub(super) tokens: Tokens,
    /// One permit for each request that may be in progress.
    pub(super) in_flight: Arc<Semaphore>,
    /// The tasks that publish. They continue when the client disconnects, because it may not send the event
    /// again.
    pub(super) publishing: TaskTracker,
    /// Records how long each part has been in its state.
    pub(super) record: Record,
    /// Reports the checks of the other role in this process.
    pub(super) other_role: Option<health::Report>,
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
            other_role: None,
            shutdown,
        }
    }

    /// Returns the state of each part: `running`, `queue`, and `spool` if there is one.
    pub(super) fn findings(&self, health: SinkHealth) -> Vec<Finding> {
        let stopping = self.shutdown.is_cancelled().then(|| "the edge is stopping".to_owned());
        let mut findings = vec![Finding::new("running", State::Failed, stopping.into_iter().collect())];
        findings.extend(health.findings);
        findings
    }
}
