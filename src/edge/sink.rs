//! Where events go from here: straight to the queue, or by way of the spool.
//!
//! While anything waits in the spool, new events queue behind it, so that they arrive in the order
//! in which they were accepted. That is the circuit breaker as well: the first event that is not
//! confirmed goes into the spool, and nobody after it waits for the broker; `forward` does that,
//! until the spool is empty.

use std::sync::Mutex;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::RwLock;
use tokio::time::{Instant, timeout_at};

use crate::config::EdgeConfig;
use crate::http::health::{Finding, State};
use crate::queue::{Message, PublishError, Publisher, QueueError, Spool, SpoolError, SpoolLimits};
use crate::runtime::locked;

/// For so long the queue counts as one that does not take what is published, after it did not and
/// unless it has since. The forwarder tries again sooner.
const REFUSING: Duration = Duration::from_secs(15);

/// The way to the queue.
pub(super) struct Sink {
    publisher: Publisher,
    /// When the queue last did not take something, if it has taken nothing since.
    refused: Mutex<Option<Instant>>,
    /// None where none is configured, and where the queue is a local file itself.
    pub(super) spool: Option<Spool>,
    /// Shared by those that choose the way, or go into the spool; taken alone to forward the last
    /// ones. Without it the spool of an edge under load would never be found empty.
    pub(super) gate: RwLock<()>,
}

/// Why events were not accepted.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// The queue did not take them, and there is no spool.
    #[error(transparent)]
    Queue(#[from] PublishError),
    /// Neither did the spool.
    #[error("the queue did not confirm, and: {0}")]
    Spool(#[from] SpoolError),
}

/// Whether events are accepted, and what is not as it should be.
#[derive(Debug, Default)]
pub(super) struct SinkHealth {
    pub(super) accepts: bool,
    /// The way to the queue, and the spool where there is one.
    pub(super) findings: Vec<Finding>,
    pub(super) spool: Option<Depth>,
}

/// How much is in the spool.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Depth {
    messages: u64,
    bytes: u64,
    oldest_seconds: u64,
    set_aside: u64,
}

impl Sink {
    /// Only the queue.
    pub(super) fn direct(publisher: Publisher) -> Self {
        Self { publisher, refused: Mutex::default(), spool: None, gate: RwLock::default() }
    }

    /// With the spool that is configured, if the queue is one that can be away.
    ///
    /// # Errors
    /// When the spool's file cannot be used.
    pub(super) async fn open(config: &EdgeConfig, publisher: Publisher) -> Result<Self, QueueError> {
        if config.spool.as_os_str().is_empty() || publisher.is_local() {
            return Ok(Self::direct(publisher));
        }
        let max_bytes = u64::try_from(config.spool_max_bytes).unwrap_or(u64::MAX);
        let limits = SpoolLimits { max_bytes, max_age: config.spool_max_age };
        let spool = Spool::open(config.spool.clone(), limits).await?;
        Ok(Self { spool: Some(spool), ..Self::direct(publisher) })
    }

    /// Where events go.
    pub(super) fn destination(&self) -> (&'static str, &str) {
        self.publisher.destination()
    }

    /// Publishes, and remembers whether that is possible.
    ///
    /// # Errors
    /// Those of [`Publisher::publish`].
    pub(super) async fn publish(&self, messages: Vec<Message>) -> Result<(), PublishError> {
        let published = self.publisher.publish(messages).await;
        match &published {
            // It is the message's fault.
            Err(PublishError::Unfit(_)) => {}
            published => self.takes(published.is_ok()),
        }
        published
    }

    fn takes(&self, takes: bool) {
        let refused = (!takes).then(Instant::now);
        *locked(&self.refused) = refused;
    }

    /// Whether what is published now would be taken, as far as is known.
    fn is_taken(&self) -> Result<(), &'static str> {
        let refused = *locked(&self.refused);
        if !self.publisher.is_ready() {
            Err("there is no way to the queue; the log says why")
        } else if refused.is_some_and(|refused| refused.elapsed() < REFUSING) {
            Err("the queue did not take what was published last; the log says why")
        } else {
            Ok(())
        }
    }

    /// Returns when the messages are durably accepted: by the queue, or on the disk. The queue is
    /// waited for until half of the time is over; the disk for as long as it takes, and what is
    /// given to it is there then or not.
    ///
    /// # Errors
    /// When that is not sure. Some may be accepted all the same.
    pub(super) async fn accept(&self, messages: Vec<Message>, deadline: Instant) -> Result<(), Refusal> {
        let Some(spool) = &self.spool else { return Ok(self.publish(messages).await?) };
        let entry = self.gate.read().await;
        if spool.is_empty() && self.publisher.is_ready() {
            drop(entry);
            match timeout_at(half_way(deadline), self.publish(messages.clone())).await {
                Ok(Ok(())) => return Ok(()),
                // What no queue takes at all the spool refuses as well; what this broker does not take
                // (its limit may be raised) is set aside there.
                Ok(Err(error)) => tracing::warn!(%error, "not confirmed; it goes into the spool"),
                Err(_) => {
                    self.takes(false);
                    tracing::warn!("not confirmed in time; it goes into the spool");
                }
            }
            let _entry = self.gate.read().await;
            return Ok(spool.append(messages).await?);
        }
        match spool.append(messages.clone()).await {
            // Out of order is better than refused: nobody sends a refused webhook again.
            Err(SpoolError::Full { .. } | SpoolError::Old | SpoolError::File(_))
                if self.publisher.is_ready() =>
            {
                drop(entry);
                Ok(self.publish(messages).await?)
            }
            appended => Ok(appended?),
        }
    }

    /// How it stands. Publishes nothing.
    pub(super) fn health(&self) -> SinkHealth {
        let taken = self.is_taken();
        let mut health = SinkHealth { accepts: taken.is_ok(), ..SinkHealth::default() };
        let problem = taken.err().map(str::to_owned).into_iter().collect();
        health.findings.push(Finding::new("queue", State::Failed, problem));
        let Some(spool) = &self.spool else {
            // One that did not take the last event may take the next: to turn all away for a while would
            // make a stumble an outage.
            health.accepts = self.publisher.is_ready();
            return health;
        };
        let level = spool.level();
        let mut reasons = Vec::new();
        if level.messages > 0 {
            reasons.push("events wait in the spool".to_owned());
        }
        if level.set_aside > 0 {
            let reason = "events are set aside in the spool that the broker does not take; the log says why";
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
        let otherwise = if refusal.is_some() { State::Failed } else { State::Degraded };
        health.findings.push(Finding::new("spool", otherwise, reasons));
        health.spool = Some(Depth {
            messages: level.messages,
            bytes: level.bytes,
            oldest_seconds: level.age().as_secs(),
            set_aside: level.set_aside,
        });
        health
    }

    /// Closes the spool. What is in it stays for the next start.
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

/// From 80 % of a bound on: which one, and what to do.
pub(super) fn nearly_full(spool: &Spool) -> Option<String> {
    let (level, limits) = (spool.level(), spool.limits());
    if level.bytes >= limits.max_bytes / 5 * 4 {
        let (bytes, most) = (level.bytes, limits.max_bytes);
        return Some(format!("the spool has {bytes} of {most} bytes (edge.spool_max_bytes)"));
    }
    let old = level.age() >= limits.max_age / 5 * 4;
    old.then(|| "the oldest event in the spool nears edge.spool_max_age".to_owned())
}

/// What the broker does not confirm until then has half of the time left for the spool.
fn half_way(deadline: Instant) -> Instant {
    let now = Instant::now();
    now + deadline.saturating_duration_since(now) / 2
}
