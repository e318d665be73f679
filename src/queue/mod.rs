//! The outside world of messages: one set of operations on RabbitMQ and on the embedded queue.
//!
//! Publish confirmed, receive a batch, settle it (acknowledge, retry after a delay, dead-letter).
//! The two are a closed set, so this is an enum and not a trait. `tests/it/queue/mod.rs` runs one
//! conformance suite against both.
//!
//! The promise of both: what `publish` has answered `Ok` to survives a crash, and every message
//! is handed out until somebody settles it. A message may come twice, never not at all.

mod message;
mod error;
mod copies;
mod consumer;
pub mod metrics;
pub(crate) mod amqp;
mod embedded;

use strum::{IntoStaticStr, VariantArray};

use crate::config::QueueConfig;
use crate::runtime::words;

pub use amqp::topology;
pub use consumer::{Batch, ClosedBy, Settled};
pub use consumer::{Consumer, ConsumerHealth, Gathered};
pub use copies::identity;
pub use embedded::{Spool, SpoolError, SpoolLevel, SpoolLimits, Spooled};
pub use error::{PublishError, QueueError};
pub use message::{Delivery, Disposition, Message, header};

words!(Source, Part, ClosedBy);

/// Where a consumer takes its deliveries from. Its name in the embedded queue; on RabbitMQ with the prefix before
/// it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Source {
    /// The work queue.
    Bookings,
    /// The dead letters, on their way into the table `hostmatch_dead_letters`.
    Dead,
}

/// The kinds of queue, as OpenTelemetry's `messaging.system` has them.
const RABBITMQ: &str = "rabbitmq";
const SQLITE: &str = "sqlite";

/// How much one batch may hold. A single message that is larger than `bytes` is still delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// Messages, at least 1.
    pub size: usize,
    /// Bytes of bodies.
    pub bytes: usize,
}

/// How many messages are where. While a message moves from one queue to the next it may for a
/// moment be counted in neither: who waits for "empty" looks twice, a little apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// In the work queue and in nobody's hand.
    pub ready: u64,
    /// In a wait queue: to be tried again later.
    pub waiting: u64,
    /// Among the dead letters, not yet recorded and in nobody's hand.
    pub dead: u64,
    /// Handed out and not settled, of work and of dead letters. RabbitMQ does not tell.
    pub in_flight: Option<u64>,
}

/// What a queue is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Part {
    /// Events that wait to be decided.
    Work,
    /// Events that wait for their next attempt.
    Retry,
    /// Dead letters on their way into the table.
    Dead,
}

/// How full one queue is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Level {
    /// Its name. All wait queues together have one.
    pub name: String,
    /// What it is for.
    pub part: Part,
    /// Messages in nobody's hand.
    pub ready: u64,
    /// Messages that were handed out and are not settled. RabbitMQ does not tell over AMQP.
    pub unacked: Option<u64>,
    /// Who consumes from it. A file does not know.
    pub consumers: Option<u64>,
}

/// Something of the queue on RabbitMQ, or its counterpart of the one in a local file.
#[derive(Clone)]
enum On<A, E> {
    Amqp(A),
    Embedded(E),
}

/// The same call on whichever of the two it is.
macro_rules! either {
    ($on:expr, $one:ident => $call:expr) => {
        match $on {
            On::Amqp($one) => $call,
            On::Embedded($one) => $call,
        }
    };
}
use either;

type Backend = On<amqp::Amqp, embedded::Embedded>;

/// The queue, on RabbitMQ or in a local file. Cheap to clone; all clones share their connections.
#[derive(Clone)]
pub struct Queue(Backend);

impl Queue {
    /// Opens what `queue.url` names: `amqp://`, `amqps://` or `sqlite://path`.
    ///
    /// On RabbitMQ this does not wait for the broker: connections are made in the background and
    /// made again for ever. A local file is opened, and created if it is not there.
    ///
    /// # Errors
    /// [`QueueError::Url`] when the URL is none of these or cannot be read,
    /// [`QueueError::File`] when the local file cannot be used.
    pub async fn open(config: &QueueConfig) -> Result<Self, QueueError> {
        let url = config.url.expose();
        let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
        match scheme {
            "amqp" | "amqps" => amqp::Amqp::open(config).map(|queue| Self(On::Amqp(queue))),
            "sqlite" => embedded::Embedded::open(config).await.map(|queue| Self(On::Embedded(queue))),
            // The URL may hold a password: only its scheme is shown.
            other => Err(QueueError::Url(format!(
                "queue.url has the scheme {other:?}; write amqp://, amqps:// or sqlite://path"
            ))),
        }
    }

    /// A publisher. On RabbitMQ the first one starts connecting.
    pub fn publisher(&self) -> Publisher {
        if let On::Amqp(queue) = &self.0 {
            queue.publishing();
        }
        Publisher(self.0.clone())
    }

    /// A consumer with batches of its own. It takes nothing before the first `next_batch`.
    pub fn consumer(&self, source: Source, limits: BatchLimits) -> Consumer {
        Consumer(match &self.0 {
            On::Amqp(queue) => On::Amqp(amqp::AmqpConsumer::new(queue.clone(), source, limits)),
            On::Embedded(queue) => {
                On::Embedded(embedded::EmbeddedConsumer::new(queue.clone(), source, limits))
            }
        })
    }

    /// How many messages are where; also the way to ask whether the queue can be used at all:
    /// on RabbitMQ it waits up to `queue.connect_timeout` for the connection.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`] with the newest problem in words (a broker that is away, a
    /// queue with other arguments, missing rights).
    pub async fn depth(&self) -> Result<Depth, QueueError> {
        let levels = self.levels().await?;
        let ready = |part| levels.iter().filter(|level| level.part == part).map(|level| level.ready).sum();
        let in_flight = levels.iter().map(|level| level.unacked).sum();
        Ok(Depth {
            ready: ready(Part::Work),
            waiting: ready(Part::Retry),
            dead: ready(Part::Dead),
            in_flight,
        })
    }

    /// How full each queue is, and who consumes.
    ///
    /// # Errors
    /// As [`Queue::depth`].
    pub async fn levels(&self) -> Result<Vec<Level>, QueueError> {
        either!(&self.0, queue => queue.levels().await)
    }

    /// Closes the connections; what is in hand and not settled comes again. Takes a few seconds
    /// at most, whatever the broker does. Clones of this queue are closed with it.
    pub async fn close(&self) {
        either!(&self.0, queue => queue.close().await);
    }
}

/// Publishes with confirmation. Cheap to clone, and meant to be used by many at once.
#[derive(Clone)]
pub struct Publisher(Backend);

impl Publisher {
    /// Publishes the messages in order and returns when all of them are durably accepted.
    ///
    /// # Errors
    /// When one of them was not, or not surely. Some may have been accepted all the same, so
    /// publishing them again makes duplicates; that is the price of losing none. Waits at most
    /// `queue.confirm_timeout` for every few hundred messages.
    pub async fn publish(&self, messages: Vec<Message>) -> Result<(), PublishError> {
        messages.iter().try_for_each(copies::check)?;
        either!(&self.0, queue => queue.publish(messages).await)
    }

    /// Publishes the messages, in order, to the work queue itself: to nobody else who listens to the
    /// exchange. For what was published there once already.
    ///
    /// # Errors
    /// As [`Publisher::publish`].
    pub async fn publish_to_work(&self, messages: Vec<Message>) -> Result<(), PublishError> {
        let messages: Vec<Message> = messages.into_iter().map(copies::for_work).collect();
        messages.iter().try_for_each(copies::check)?;
        match &self.0 {
            On::Amqp(queue) => queue.publish_to_work(messages).await,
            On::Embedded(queue) => queue.publish(messages).await,
        }
    }

    /// Where messages go, for whoever shows it: the kind of the queue, as OpenTelemetry calls it, and a
    /// name in it.
    pub fn destination(&self) -> (&'static str, &str) {
        match &self.0 {
            On::Amqp(queue) => (RABBITMQ, queue.exchange()),
            On::Embedded(_) => (SQLITE, Source::Bookings.as_str()),
        }
    }

    /// Whether the queue is a file on this machine, which is never away.
    pub fn is_local(&self) -> bool {
        matches!(self.0, On::Embedded(_))
    }

    /// Whether a publish would find an open way now. Publishes nothing.
    pub fn is_ready(&self) -> bool {
        either!(&self.0, queue => queue.is_ready())
    }
}
