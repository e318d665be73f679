//! The state that all requests share.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::permits::Permits;
use super::sink::{Sink, SinkHealth};
use crate::config::EdgeConfig;
use crate::http::health::{self, Finding, Record, State};
use crate::http::server::max_connections;
use crate::http::tokens::Tokens;
use crate::runtime::shutdown::Shutdown;
use crate::runtime::throttle::Throttle;

/// How many requests with as many events as `edge.events_limit` allows may be in progress.
const FULL_REQUESTS: usize = 16;

/// How many large bodies may be decoded at the same time: each may take many times its size while it is decoded.
const MAX_DECODING: usize = 2;

/// The state of one edge, behind an `Arc`.
pub(super) struct Edge {
    pub(super) config: EdgeConfig,
    pub(super) sink: Sink,
    pub(super) tokens: Tokens,
    /// One permit for each request that may be in progress.
    pub(super) permits: Permits,
    /// One permit for each event, after the first one, of the requests in progress: its message takes memory in
    /// addition to the body.
    pub(super) more_events: Arc<Semaphore>,
    /// One permit for each large body that is being decoded.
    pub(super) decoding: Arc<Semaphore>,
    /// The tasks that publish. They continue when the client disconnects, because it may not send the event
    /// again.
    pub(super) publishing: TaskTracker,
    /// Records how long each part has been in its state.
    pub(super) record: Record,
    /// Reports the checks of the other role in this process.
    pub(super) other_role: Option<health::Report>,
    pub(super) shutdown: Shutdown,
    /// Throttles the log of requests that failed.
    pub(super) failures: Throttle,
    /// Throttles the log of events that were not accepted.
    pub(super) refusals: Throttle,
}

impl Edge {
    pub(super) fn new(config: &EdgeConfig, sink: Sink, shutdown: Shutdown) -> Self {
        // Requests in progress must not take all connections: a further one has to get as far as its head.
        let requests = config.max_in_flight.min(max_connections(config.max_connections).div_ceil(2));
        Self {
            tokens: Tokens::new(&config.tokens_file, config.token_rate),
            permits: Permits::new(requests, config.body_min_rate),
            more_events: Arc::new(Semaphore::new(FULL_REQUESTS * config.events_limit)),
            decoding: Arc::new(Semaphore::new(MAX_DECODING)),
            publishing: TaskTracker::new(),
            config: config.clone(),
            sink,
            record: Record::new("edge"),
            other_role: None,
            shutdown,
            failures: Throttle::default(),
            refusals: Throttle::default(),
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
