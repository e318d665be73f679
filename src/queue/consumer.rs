//! Consumes from either queue: gathers batches and settles them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::amqp::{AmqpConsumer, AmqpSettler};
use super::embedded::{EmbeddedConsumer, EmbeddedSettler};
use super::{Backend, Delivery, Disposition, QueueError, RABBITMQ, SQLITE, dispatch};
use crate::runtime::locked;
use crate::runtime::shutdown::Shutdown;

/// The result of waiting for a batch.
pub enum Gathered {
    /// Deliveries, at least one.
    Batch(Batch),
    /// No message arrived in the time that the caller wanted to wait.
    Idle,
    /// The program is shutting down.
    Stopped,
}

/// Receives deliveries. A consumer is used by one task at a time, so create one for each pipeline.
pub struct Consumer(pub(super) Backend<AmqpConsumer, EmbeddedConsumer>);

/// Reports, for example to the readiness route, whether a consumer is subscribed.
#[derive(Clone, Debug, Default)]
pub struct ConsumerHealth(Arc<Mutex<Option<CancellationToken>>>);

impl ConsumerHealth {
    /// Returns whether the queue delivers to this consumer now. This is false as soon as a connection is
    /// lost, even while the caller processes a batch. After a stalled subscription it stays false until the
    /// next subscription has delivered something, or the queue was found empty.
    pub fn is_consuming(&self) -> bool {
        locked(&self.0).as_ref().is_some_and(|end| !end.is_cancelled())
    }

    /// Records that the consumer consumes until `end` is cancelled; `None` means that it is not consuming.
    pub(super) fn set(&self, end: Option<CancellationToken>) {
        *locked(&self.0) = end;
    }
}

/// Counts the batches whose retries and dead letters the queue does not accept now. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct WaitingCopies(Arc<AtomicUsize>);

impl WaitingCopies {
    /// Returns whether a batch waits until its copies are accepted. At its consumer's prefetch, its pipeline receives
    /// nothing more.
    pub fn is_any(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }

    /// Counts a batch until the result is dropped.
    pub(super) fn begin(&self) -> WaitingBatch {
        self.0.fetch_add(1, Ordering::Relaxed);
        WaitingBatch(self.clone())
    }
}

/// A batch that waits until its copies are accepted.
pub(super) struct WaitingBatch(WaitingCopies);

impl Drop for WaitingBatch {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Consumer {
    /// Sets the time to wait for a delivery before checking whether the broker has ready messages. If it has,
    /// and the subscription still delivers none, the consumer subscribes again on a new connection. This has
    /// no effect on a local file, which is polled.
    #[must_use]
    pub fn stalled_after(mut self, after: Duration) -> Self {
        if let Backend::Amqp(consumer) = &mut self.0 {
            consumer.watchdog.check_after = after;
        }
        self
    }

    /// Waits for one delivery, then adds those that have already arrived, up to the limits.
    ///
    /// A redelivered message is a batch of its own, because it may be one that makes processing fail. If no
    /// message arrives for `idle`, returns [`Gathered::Idle`]; once `shutdown` is cancelled, returns
    /// [`Gathered::Stopped`], even when deliveries are waiting. A lost connection is re-established, with
    /// unlimited retries. Dropping the future loses nothing.
    ///
    /// # Errors
    /// Returns [`QueueError::Closed`] if this program has closed the queue.
    pub async fn next_batch(
        &mut self,
        shutdown: &Shutdown,
        idle: Option<Duration>,
    ) -> Result<Gathered, QueueError> {
        dispatch!(&mut self.0, consumer => consumer.next_batch(shutdown, idle).await)
    }

    /// Stops consuming, and returns every unsettled delivery to the queue, including batches that the
    /// caller holds. The next `next_batch` consumes again.
    pub async fn pause(&mut self) {
        dispatch!(&mut self.0, consumer => consumer.pause().await);
    }

    /// Returns the source of the deliveries, for display: the kind of the queue, as OpenTelemetry names it,
    /// and its name.
    pub fn destination(&self) -> (&'static str, &str) {
        match &self.0 {
            Backend::Amqp(consumer) => (RABBITMQ, consumer.queue_name()),
            Backend::Embedded(consumer) => (SQLITE, consumer.source.as_str()),
        }
    }

    /// Returns whether the queue delivers to this consumer now.
    pub fn is_consuming(&self) -> bool {
        self.health().is_consuming()
    }

    /// Returns a handle that reports the same without the consumer itself.
    pub fn health(&self) -> ConsumerHealth {
        match &self.0 {
            Backend::Amqp(consumer) => consumer.watchdog.health.clone(),
            Backend::Embedded(consumer) => consumer.health.clone(),
        }
    }
}

/// Deliveries that were received together and are settled together.
///
/// A batch that is dropped unsettled is returned to the queue and delivered again. This counts towards
/// the delivery limit, because the task that dropped it may have crashed on it.
pub struct Batch {
    deliveries: Vec<Delivery>,
    /// The reason why no more deliveries were added.
    pub closed_by: ClosedBy,
    settler: Settler,
}

/// The reason why a batch has no more deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum ClosedBy {
    /// It has the maximum number of deliveries.
    Size,
    /// The next delivery would have exceeded the size limit.
    Bytes,
    /// No more deliveries had arrived.
    Drained,
    /// This delivery, or the next, is a redelivery, which is processed alone.
    #[strum(serialize = "alone")]
    Redelivery,
}

pub(super) type Settler = Backend<AmqpSettler, EmbeddedSettler>;

/// The number of deliveries of a batch that were settled in each way. The counts add up to the whole batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Acknowledged.
    pub acked: usize,
    /// Published for another attempt.
    pub retried: usize,
    /// Published to the dead-letter queue.
    pub dead: usize,
    /// Returned to the queue: on request, or because the copy could not be published.
    pub released: usize,
    /// Can no longer be settled (a lost connection, an expired lease): they are delivered again.
    pub lost: usize,
    /// The positions in the batch of those that were removed from the queue: acknowledged, retried or dead.
    pub removed: Vec<usize>,
}

impl Batch {
    pub(super) fn new(deliveries: Vec<Delivery>, closed_by: ClosedBy, settler: Settler) -> Self {
        Self { deliveries, closed_by, settler }
    }

    /// Returns the deliveries in the order of arrival; at least one.
    pub fn deliveries(&self) -> &[Delivery] {
        &self.deliveries
    }

    /// Moves the deliveries out, so that the caller can combine them with its own data before
    /// [`Batch::settle_taken`].
    pub fn take(&mut self) -> Vec<Delivery> {
        std::mem::take(&mut self.deliveries)
    }

    /// Settles each delivery according to its disposition. There is one disposition for each delivery, in
    /// order.
    ///
    /// Copies (retries, dead letters) are published and confirmed first; only then are their originals
    /// acknowledged. While copies cannot be published, publishing is retried for up to ten minutes, so that
    /// an outage does not count as a delivery; then the originals are returned to the queue. A caller that is
    /// stopping must set its own deadline; dropping the future at any point loses nothing.
    ///
    /// A delivery without a disposition is released.
    ///
    /// # Errors
    /// Fails if the local file cannot be written; then nothing is settled, and all deliveries are delivered
    /// again.
    pub async fn settle(mut self, mut dispositions: Vec<Disposition>) -> Result<Settled, QueueError> {
        let deliveries = self.take();
        dispositions.resize(deliveries.len(), Disposition::Release);
        self.settle_taken(&deliveries.iter().zip(&dispositions).collect::<Vec<_>>()).await
    }

    /// Settles deliveries that were moved out with [`Batch::take`]: all of them, in their order.
    ///
    /// # Errors
    /// Fails like [`Batch::settle`].
    pub async fn settle_taken(
        self,
        dispositions: &[(&Delivery, &Disposition)],
    ) -> Result<Settled, QueueError> {
        match self.settler {
            Backend::Amqp(settler) => Ok(settler.settle(dispositions).await),
            Backend::Embedded(settler) => settler.settle(dispositions).await,
        }
    }
}
