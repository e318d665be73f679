//! Consuming, on either queue: what one consumer has in hand, and the end of it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::amqp::{AmqpConsumer, AmqpHold};
use super::embedded::{EmbeddedConsumer, EmbeddedHold};
use super::{Delivery, Disposition, On, QueueError, RABBITMQ, SQLITE, either};
use crate::runtime::locked;
use crate::runtime::shutdown::Shutdown;

/// What came of waiting for a batch.
pub enum Gathered {
    /// Deliveries, at least one.
    Batch(Batch),
    /// Nothing came for as long as the caller wanted to wait.
    Idle,
    /// Somebody asked to stop.
    Stopped,
}

/// Takes deliveries. Used by one task at a time; make one for each pipeline.
pub struct Consumer(pub(super) On<AmqpConsumer, EmbeddedConsumer>);

/// Tells others (the readiness route) whether a consumer is really subscribed.
#[derive(Clone, Debug, Default)]
pub struct ConsumerHealth(Arc<Mutex<Option<CancellationToken>>>);

impl ConsumerHealth {
    /// Whether the queue will hand deliveries to this consumer now. A lost connection shows here
    /// at once, also while the consumer is busy with a batch; one that stalled shows until a
    /// delivery has come over its successor, or there is none to come.
    pub fn is_consuming(&self) -> bool {
        locked(&self.0).as_ref().is_some_and(|end| !end.is_cancelled())
    }

    /// Consuming until `end` is cancelled; `None`: not consuming.
    pub(super) fn set(&self, end: Option<CancellationToken>) {
        *locked(&self.0) = end;
    }
}

impl Consumer {
    /// How long nothing may come before the broker is asked whether there is anything: a
    /// subscription that is open and over which nothing comes, although messages are ready, is
    /// made again on a new connection. (A local file is looked into all the time.)
    #[must_use]
    pub fn stalled_after(mut self, after: Duration) -> Self {
        if let On::Amqp(consumer) = &mut self.0 {
            consumer.watch.after = after;
        }
        self
    }

    /// Waits for one delivery, then takes what is already here, up to the limits.
    ///
    /// A redelivered delivery is a batch of its own: it may be a poison. When nothing comes for
    /// `idle`, the answer is [`Gathered::Idle`]; once `shutdown` is cancelled it is
    /// [`Gathered::Stopped`], also when deliveries are waiting. A lost connection is made again,
    /// for ever. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`QueueError::Closed`] when the queue was closed by this program.
    pub async fn next_batch(
        &mut self,
        shutdown: &Shutdown,
        idle: Option<Duration>,
    ) -> Result<Gathered, QueueError> {
        either!(&mut self.0, consumer => consumer.next_batch(shutdown, idle).await)
    }

    /// Stops taking, and gives back once everything that was handed out and not settled, batches
    /// in the caller's hands included. The next `next_batch` consumes again.
    pub async fn pause(&mut self) {
        either!(&mut self.0, consumer => consumer.pause().await);
    }

    /// Where deliveries come from, for whoever shows it: the kind of the queue, as OpenTelemetry calls
    /// it, and its name.
    pub fn destination(&self) -> (&'static str, &str) {
        match &self.0 {
            On::Amqp(consumer) => (RABBITMQ, consumer.queue_name()),
            On::Embedded(consumer) => (SQLITE, consumer.source.as_str()),
        }
    }

    /// Whether the queue hands deliveries to this consumer now.
    pub fn is_consuming(&self) -> bool {
        self.health().is_consuming()
    }

    /// The same, for somebody who has not the consumer itself.
    pub fn health(&self) -> ConsumerHealth {
        match &self.0 {
            On::Amqp(consumer) => consumer.watch.health.clone(),
            On::Embedded(consumer) => consumer.health.clone(),
        }
    }
}

/// Deliveries that were taken together and are settled together.
///
/// Dropped without being settled, it is given back and comes again, and that counts as a
/// delivery: whoever dropped it may have crashed on it.
pub struct Batch {
    deliveries: Vec<Delivery>,
    /// Why there are no more in it.
    pub closed_by: ClosedBy,
    hold: Hold,
}

/// Why a batch has no more deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum ClosedBy {
    /// It has as many as it may have.
    Size,
    /// The next one would have made it larger than it may be.
    Bytes,
    /// There were no more.
    Drained,
    /// This one, or the next, was handed out before, and is handled alone.
    Alone,
}

pub(super) type Hold = On<AmqpHold, EmbeddedHold>;

/// How many deliveries of a batch ended how. Together they are all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Done and gone.
    pub acked: usize,
    /// Accepted for another attempt.
    pub retried: usize,
    /// Accepted among the dead letters.
    pub dead: usize,
    /// Given back: as asked, or because its copy could not be published.
    pub released: usize,
    /// No longer ours (a lost connection, an expired lease): they come again.
    pub lost: usize,
    /// The places in the batch of those that are gone: done, retried or dead.
    pub gone: Vec<usize>,
}

impl Batch {
    pub(super) fn new(deliveries: Vec<Delivery>, closed_by: ClosedBy, hold: Hold) -> Self {
        Self { deliveries, closed_by, hold }
    }

    /// What is in hand, in the order of arrival; at least one.
    pub fn deliveries(&self) -> &[Delivery] {
        &self.deliveries
    }

    /// Takes the deliveries out, for who keeps more with each of them; [`Batch::settle_taken`] settles them then.
    pub fn take(&mut self) -> Vec<Delivery> {
        std::mem::take(&mut self.deliveries)
    }

    /// Does what the dispositions say, one for each delivery, in order.
    ///
    /// Copies (retries, dead letters) are published and confirmed first; only then are their
    /// originals acknowledged. While copies cannot be published this waits and tries again, for
    /// up to ten minutes, so that an outage costs no delivery; then it gives them back. Give it a
    /// deadline of your own when stopping: dropped half-way it loses nothing.
    ///
    /// A delivery without a disposition is released.
    ///
    /// # Errors
    /// When the local file cannot be written; nothing is settled then and all of it comes again.
    pub async fn settle(mut self, mut dispositions: Vec<Disposition>) -> Result<Settled, QueueError> {
        let deliveries = self.take();
        dispositions.resize(deliveries.len(), Disposition::Release);
        self.settle_taken(&deliveries.iter().zip(&dispositions).collect::<Vec<_>>()).await
    }

    /// The same for the deliveries that were taken out: all of them, in their order.
    ///
    /// # Errors
    /// As [`Batch::settle`].
    pub async fn settle_taken(self, ends: &[(&Delivery, &Disposition)]) -> Result<Settled, QueueError> {
        match self.hold {
            On::Amqp(hold) => Ok(hold.settle(ends).await),
            On::Embedded(hold) => hold.settle(ends).await,
        }
    }
}
