//! Stores the edge's events: directly in the queue, or first in the spool.
//!
//! While the spool holds events, new events are appended to it, so that all arrive in the order
//! in which they were accepted. The spool also acts as a circuit breaker: the first event that is not
//! confirmed goes into the spool, and later requests do not wait for the broker; only the
//! forwarder does, until the spool is empty.

use std::sync::Mutex;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::RwLock;
use tokio::time::{Instant, timeout_at};

use crate::config::EdgeConfig;
use crate::http::health::{Finding, State};
use crate::queue::{Message, PublishError, Publisher, QueueError, Spool, SpoolError, SpoolLimits};
use crate::runtime::locked;

/// How long the queue is reported as refusing messages after it has refused one, unless it accepts one
/// before then. The forwarder tries again sooner.
const REFUSING_PERIOD: Duration = Duration::from_secs(15);

/// How long an event waits for room in the spool before it is published out of order.
const MAX_ROOM_WAIT: Duration = Duration::from_secs(1);

/// The path of events into the queue.
pub(super) struct Sink {
    publisher: Publisher,
    /// When the queue last refused a message, if it has accepted none since.
    refused: Mutex<Option<Instant>>,
    /// `None` if no spool is configured, or if the queue itself is a local file.
    pub(super) spool: Option<Spool>,
    /// Requests take this lock shared while they choose the path or append to the spool. The forwarder takes
    /// it exclusively to forward the last events; otherwise new events would keep the spool of a busy edge
    /// from ever becoming empty.
    pub(super) gate: RwLock<()>,
}

/// The reason why events were not accepted.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// The queue did not accept them, and there is no spool.
    #[error(transparent)]
    Queue(#[from] PublishError),
    /// Neither the queue nor the spool accepted them.
    #[error("the queue did not confirm the events, and the spool did not accept them: {0}")]
    Spool(#[from] SpoolError),
}

/// Whether events are accepted, and any problems.
#[derive(Debug, Default)]
pub(super) struct SinkHealth {
    pub(super) accepts: bool,
    /// The state of the queue, and of the spool if there is one.
    pub(super) findings: Vec<Finding>,
    pub(super) spool: Option<Depth>,
}

/// How full the spool is.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Depth {
    messages: u64,
    bytes: u64,
    oldest_seconds: u64,
    set_aside: u64,
}

impl Sink {
    /// Creates a sink without a spool.
    pub(super) fn direct(publisher: Publisher) -> Self {
        Self { publisher, refused: Mutex::default(), spool: None, gate: RwLock::default() }
    }

    /// Opens the configured spool, unless the queue is a local file, which is always reachable.
    ///
    /// # Errors
    /// Fails if the spool file cannot be used.
    pub(super) async fn open(config: &EdgeConfig, publisher: Publisher) -> Result<Self, QueueError> {
        if config.spool.as_os_str().is_empty() || publisher.is_local() {
            return Ok(Self::direct(publisher));
        }
        let max_bytes = u64::try_from(config.spool_max_bytes).unwrap_or(u64::MAX);
        let limits = SpoolLimits { max_bytes, max_age: config.spool_max_age };
        let spool = Spool::open(config.spool.clone(), limits).await?;
        Ok(Self { spool: Some(spool), ..Self::direct(publisher) })
    }

    /// Returns the destination of events, for traces.
    pub(super) fn destination(&self) -> (&'static str, &str) {
        self.publisher.destination()
    }

    /// Publishes, and records whether the queue accepts messages.
    ///
    /// # Errors
    /// Fails like [`Publisher::publish`].
    pub(super) async fn publish(&self, messages: Vec<Message>) -> Result<(), PublishError> {
        let published = self.publisher.publish(messages).await;
        match &published {
            // The message is at fault, not the queue.
            Err(PublishError::ExceedsLimit(_)) => {}
            published => self.record_result(published.is_ok()),
        }
        published
    }

    fn record_result(&self, accepted: bool) {
        let refused = (!accepted).then(Instant::now);
        *locked(&self.refused) = refused;
    }

    /// Checks whether, as far as is known, the queue would accept a message now.
    fn check_queue(&self) -> Result<(), &'static str> {
        let refused = *locked(&self.refused);
        if !self.publisher.is_ready() && self.publisher.is_local() {
            Err("the queue file cannot be written; see the log")
        } else if !self.publisher.is_ready() {
            Err("there is no connection to the queue; see the log")
        } else if refused.is_some_and(|refused| refused.elapsed() < REFUSING_PERIOD) {
            Err("the queue did not accept the last message; see the log")
        } else {
            Ok(())
        }
    }

    /// Waits until the messages are stored durably: in the queue or, if the queue does not confirm them in half
    /// of the time until `deadline`, in the spool. Waits for the disk even after the deadline, because only the
    /// end of a write shows whether it succeeded.
    ///
    /// # Errors
    /// Fails if it is uncertain whether all messages were accepted; some may have been.
    pub(super) async fn accept(&self, messages: Vec<Message>, deadline: Instant) -> Result<(), Refusal> {
        let Some(spool) = &self.spool else { return Ok(self.publish(messages).await?) };
        let room_by = Instant::now() + MAX_ROOM_WAIT;
        loop {
            let permit = self.gate.read().await;
            if spool.is_empty() && self.publisher.is_ready() {
                drop(permit);
                return self.publish_or_spool(spool, messages, deadline).await;
            }
            match spool.append(messages.clone()).await {
                Err(SpoolError::Full { .. } | SpoolError::TooOld | SpoolError::File(_))
                    if self.publisher.is_ready() => {}
                appended => return Ok(appended?),
            }
            drop(permit);
            // The forwarder makes room, and behind the events that wait the order is kept.
            if timeout_at(room_by, spool.wait_for_removal()).await.is_err() {
                // Publishing out of order is better than refusing, because a refused webhook is not sent again.
                return Ok(self.publish(messages).await?);
            }
        }
    }

    /// Publishes while the spool is empty; appends to the spool what is not confirmed in time.
    async fn publish_or_spool(
        &self,
        spool: &Spool,
        messages: Vec<Message>,
        deadline: Instant,
    ) -> Result<(), Refusal> {
        match timeout_at(broker_deadline(deadline), self.publish(messages.clone())).await {
            Ok(Ok(())) => return Ok(()),
            // The spool refuses a message that no broker can accept. A message that only this broker
            // refuses is set aside in the spool, because the broker's limit may be raised.
            Ok(Err(error)) => {
                tracing::warn!(%error, "the queue did not confirm events; they go into the spool");
            }
            Err(_) => {
                self.record_result(false);
                tracing::warn!("the queue did not confirm events in time; they go into the spool");
            }
        }
        let _permit = self.gate.read().await;
        Ok(spool.append(messages).await?)
    }

    /// Returns the state of the queue and the spool, without publishing anything.
    pub(super) fn health(&self) -> SinkHealth {
        let queue = self.check_queue();
        let mut health = SinkHealth { accepts: queue.is_ok(), ..SinkHealth::default() };
        let problem = queue.err().map(str::to_owned).into_iter().collect();
        health.findings.push(Finding::new("queue", State::Failed, problem));
        let Some(spool) = &self.spool else {
            // A queue that refused the last event may accept the next: refusing all events for a while would
            // turn a brief fault into an outage.
            health.accepts = self.publisher.is_ready();
            return health;
        };
        let level = spool.level();
        let mut reasons = Vec::new();
        if level.messages > 0 {
            reasons.push("events wait in the spool".to_owned());
        }
        if level.set_aside > 0 {
            let reason = "the spool has set aside events that the broker does not accept; see the log";
            reasons.push(reason.to_owned());
        }
        let refusal = spool.refusal();
        match &refusal {
            Some(refusal) => reasons.push(refusal.to_string()),
            None => {
                health.accepts = true;
                reasons.extend(nearly_full(spool));
            }
        }
        let problem_state = if refusal.is_some() { State::Failed } else { State::Degraded };
        health.findings.push(Finding::new("spool", problem_state, reasons));
        health.spool = Some(Depth {
            messages: level.messages,
            bytes: level.bytes,
            oldest_seconds: level.age().as_secs(),
            set_aside: level.set_aside,
        });
        health
    }

    /// Closes the spool. Its events stay for the next start.
    pub(super) async fn close(&self) {
        let Some(spool) = &self.spool else { return };
        spool.close().await;
        let level = spool.level();
        if level.messages + level.set_aside > 0 {
            tracing::warn!(
                messages = level.messages,
                set_aside = level.set_aside,
                "events are left in the spool; they are forwarded when the edge runs again"
            );
        }
    }
}

/// Describes the limit of which the spool has used 80 % or more, if there is one.
pub(super) fn nearly_full(spool: &Spool) -> Option<String> {
    let (level, limits) = (spool.level(), spool.limits());
    if level.bytes >= limits.max_bytes / 5 * 4 {
        let (bytes, max) = (level.bytes, limits.max_bytes);
        return Some(format!("the spool uses {bytes} of {max} bytes (edge.spool_max_bytes)"));
    }
    let old = level.age() >= limits.max_age / 5 * 4;
    old.then(|| "the oldest event in the spool is close to edge.spool_max_age".to_owned())
}

/// Returns the time at which to stop waiting for the broker, which leaves half of the time for the spool.
fn broker_deadline(deadline: Instant) -> Instant {
    let now = Instant::now();
    now + deadline.saturating_duration_since(now) / 2
}
