//! Taking deliveries, a batch at a time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::amqp::AmqpConsumer;
use super::embedded::EmbeddedConsumer;
use super::{Batch, QueueError, RABBITMQ, SQLITE};
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
pub struct Consumer(Kind);

enum Kind {
    Amqp(Box<AmqpConsumer>),
    Embedded(Box<EmbeddedConsumer>),
}

/// Tells others (the readiness route) whether a consumer is really subscribed.
#[derive(Clone, Debug, Default)]
pub struct ConsumerHealth(Arc<Mutex<Option<CancellationToken>>>);

impl ConsumerHealth {
    /// Whether the queue will hand deliveries to this consumer now. A lost connection shows here
    /// at once, also while the consumer is busy with a batch; one that stalled shows until a
    /// delivery has come over its successor, or there is none to come.
    pub fn is_consuming(&self) -> bool {
        let ends = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ends.as_ref().is_some_and(|end| !end.is_cancelled())
    }

    /// Consuming until `end` is cancelled; `None`: not consuming.
    pub(super) fn set(&self, end: Option<CancellationToken>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = end;
    }
}

impl Consumer {
    pub(super) fn amqp(consumer: AmqpConsumer) -> Self {
        Self(Kind::Amqp(Box::new(consumer)))
    }

    pub(super) fn embedded(consumer: EmbeddedConsumer) -> Self {
        Self(Kind::Embedded(Box::new(consumer)))
    }

    /// How long nothing may come before the broker is asked whether there is anything: a
    /// subscription that is open and over which nothing comes, although messages are ready, is
    /// made again on a new connection. (A local file is looked into all the time.)
    #[must_use]
    pub fn stalled_after(mut self, after: Duration) -> Self {
        if let Kind::Amqp(consumer) = &mut self.0 {
            consumer.stalled_after(after);
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
        match &mut self.0 {
            Kind::Amqp(consumer) => consumer.next_batch(shutdown, idle).await,
            Kind::Embedded(consumer) => consumer.next_batch(shutdown, idle).await,
        }
    }

    /// Stops taking, and gives back once everything that was handed out and not settled, batches
    /// in the caller's hands included. The next `next_batch` consumes again.
    pub async fn pause(&mut self) {
        match &mut self.0 {
            Kind::Amqp(consumer) => consumer.pause().await,
            Kind::Embedded(consumer) => consumer.pause().await,
        }
    }

    /// Where deliveries come from, for whoever shows it: the kind of the queue, as OpenTelemetry calls
    /// it, and its name.
    pub fn destination(&self) -> (&'static str, &str) {
        match &self.0 {
            Kind::Amqp(consumer) => (RABBITMQ, consumer.queue_name()),
            Kind::Embedded(consumer) => (SQLITE, consumer.queue_name()),
        }
    }

    /// Whether the queue hands deliveries to this consumer now.
    pub fn is_consuming(&self) -> bool {
        self.health().is_consuming()
    }

    /// The same, for somebody who has not the consumer itself.
    pub fn health(&self) -> ConsumerHealth {
        match &self.0 {
            Kind::Amqp(consumer) => consumer.health(),
            Kind::Embedded(consumer) => consumer.health(),
        }
    }
}
