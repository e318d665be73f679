//! The message queue: the same operations on RabbitMQ and on the embedded queue.
//!
//! The operations are: publish with confirms, receive a batch, and settle it (acknowledge, retry after a
//! delay, dead-letter). The two queues are a closed set, so this is an enum and not a trait.
//! `tests/it/queue/mod.rs` runs one conformance suite against both.
//!
//! Both queues guarantee that messages for which `publish` has returned `Ok` survive a crash, and that every
//! message is delivered again until it is settled. A message may be delivered twice, but is never lost.

mod message;
mod error;
mod copies;
mod consumer;
pub mod metrics;
pub(crate) mod amqp;
mod embedded;

use strum::{IntoStaticStr, VariantArray};

use crate::config::QueueConfig;
use crate::runtime::string_values;

pub use amqp::topology;
pub use consumer::{Batch, ClosedBy, Settled};
pub use consumer::{Consumer, ConsumerHealth, Gathered, WaitingCopies};
pub use copies::identity;
pub use embedded::{Spool, SpoolError, SpoolLevel, SpoolLimits, Spooled};
pub use error::{PublishError, QueueError};
pub use message::{Delivery, Disposition, Message, header};

string_values!(Source, QueueRole, ClosedBy);

/// The queue from which a consumer receives deliveries. Its string is the name of the queue in a local file; on
/// RabbitMQ the prefix precedes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Source {
    /// The work queue.
    Bookings,
    /// The dead letters that the recorder moves to the table `hostmatch_dead_letters`.
    Dead,
}

/// The kinds of queue, as values of OpenTelemetry's `messaging.system`.
const RABBITMQ: &str = "rabbitmq";
const SQLITE: &str = "sqlite";

/// The limits of one batch. A single message that is larger than `bytes` is still delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// Messages, at least 1.
    pub size: usize,
    /// Bytes of bodies.
    pub bytes: usize,
}

/// The number of messages in each state. While a message moves from one queue to the next, it may
/// briefly be counted in neither: a caller that waits for an empty queue must read twice, with a pause in between.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// In the work queue and not delivered.
    pub ready: u64,
    /// In a wait queue, until the next attempt.
    pub waiting: u64,
    /// In the dead-letter queue, neither recorded nor delivered.
    pub dead: u64,
    /// Delivered but not settled, in the work queue or the dead-letter queue. RabbitMQ does not report this
    /// number.
    pub in_flight: Option<u64>,
}

/// The purpose of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum QueueRole {
    /// Events that wait to be decided.
    Work,
    /// Events that wait for their next attempt.
    Retry,
    /// Dead letters that wait to be recorded.
    Dead,
}

/// The fill level of one queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Level {
    /// The name of the queue. All wait queues share one name.
    pub name: String,
    /// Its purpose.
    pub role: QueueRole,
    /// Messages that are not delivered.
    pub ready: u64,
    /// Messages that are delivered but not settled. RabbitMQ does not report them over AMQP.
    pub unacked: Option<u64>,
    /// The number of consumers of the queue; unknown for a file.
    pub consumers: Option<u64>,
}

/// A type of the queue on RabbitMQ, or its counterpart for a local file.
#[derive(Clone)]
enum Backend<A, E> {
    Amqp(A),
    Embedded(E),
}

/// Makes the same call on either backend.
macro_rules! dispatch {
    ($backend:expr, $inner:ident => $call:expr) => {
        match $backend {
            Backend::Amqp($inner) => $call,
            Backend::Embedded($inner) => $call,
        }
    };
}
use dispatch;

type QueueBackend = Backend<amqp::Amqp, embedded::Embedded>;

/// The queue, on RabbitMQ or in a local file. Cheap to clone; all clones share their connections.
#[derive(Clone)]
pub struct Queue(QueueBackend);

impl Queue {
    /// Opens the queue that `queue.url` names: `amqp://`, `amqps://` or `sqlite://path`.
    ///
    /// On RabbitMQ this does not wait for the broker: connections are established in the background, with
    /// unlimited retries. A local file is opened, and created if it does not exist.
    ///
    /// # Errors
    /// Returns [`QueueError::Config`] if the URL has another scheme or cannot be parsed, and
    /// [`QueueError::File`] if the local file cannot be used.
    pub async fn open(config: &QueueConfig) -> Result<Self, QueueError> {
        let url = config.url.expose();
        let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
        match scheme {
            "amqp" | "amqps" => amqp::Amqp::open(config).map(|queue| Self(Backend::Amqp(queue))),
            "sqlite" => embedded::Embedded::open(config).await.map(|queue| Self(Backend::Embedded(queue))),
            // Only the scheme is shown, because the URL may contain a password.
            other => Err(QueueError::Config(format!(
                "queue.url has an unsupported scheme, {other:?}; write amqp://, amqps:// or sqlite://path"
            ))),
        }
    }

    /// Returns a publisher. On RabbitMQ the first call starts connecting.
    pub fn publisher(&self) -> Publisher {
        if let Backend::Amqp(queue) = &self.0 {
            queue.publishing();
        }
        Publisher(self.0.clone())
    }

    /// Creates a consumer with its own batches. It consumes nothing before the first `next_batch`.
    pub fn consumer(&self, source: Source, limits: BatchLimits) -> Consumer {
        Consumer(match &self.0 {
            Backend::Amqp(queue) => Backend::Amqp(amqp::AmqpConsumer::new(queue.clone(), source, limits)),
            Backend::Embedded(queue) => {
                Backend::Embedded(embedded::EmbeddedConsumer::new(queue.clone(), source, limits))
            }
        })
    }

    /// Returns a count of the batches whose retries and dead letters wait until the queue accepts them. In a local
    /// file they never wait.
    pub fn waiting_copies(&self) -> WaitingCopies {
        match &self.0 {
            Backend::Amqp(queue) => queue.waiting_copies(),
            Backend::Embedded(_) => WaitingCopies::default(),
        }
    }

    /// Counts the messages in each state. This also checks whether the queue can be used: on RabbitMQ it waits
    /// up to `queue.connect_timeout` for the connection.
    ///
    /// # Errors
    /// Returns [`QueueError::Unavailable`] with the newest problem (an unavailable broker, a queue with
    /// different arguments, missing permissions).
    pub async fn depth(&self) -> Result<Depth, QueueError> {
        let levels = self.levels().await?;
        let ready = |role| levels.iter().filter(|level| level.role == role).map(|level| level.ready).sum();
        let in_flight = levels.iter().map(|level| level.unacked).sum();
        Ok(Depth {
            ready: ready(QueueRole::Work),
            waiting: ready(QueueRole::Retry),
            dead: ready(QueueRole::Dead),
            in_flight,
        })
    }

    /// Returns the fill level of each queue and the number of its consumers.
    ///
    /// # Errors
    /// Fails like [`Queue::depth`].
    pub async fn levels(&self) -> Result<Vec<Level>, QueueError> {
        dispatch!(&self.0, queue => queue.levels().await)
    }

    /// Closes the connections; unsettled deliveries are delivered again. This takes at most a few seconds,
    /// whatever the broker does. Clones of this queue are closed with it.
    pub async fn close(&self) {
        dispatch!(&self.0, queue => queue.close().await);
    }
}

/// Publishes with confirms. Cheap to clone, and may be used by many tasks at once.
#[derive(Clone)]
pub struct Publisher(QueueBackend);

impl Publisher {
    /// Publishes the messages in order and returns when all of them are durably accepted.
    ///
    /// # Errors
    /// Fails if a message was not accepted, or if this is unknown. Publish all of them again then, or messages
    /// could be lost; those that were accepted become duplicates. Waits at most `queue.confirm_timeout` for
    /// every few hundred messages.
    pub async fn publish(&self, messages: Vec<Message>) -> Result<(), PublishError> {
        messages.iter().try_for_each(copies::check)?;
        dispatch!(&self.0, queue => queue.publish(messages).await)
    }

    /// Publishes the messages, in order, directly to the work queue and not to other queues of the exchange.
    /// Use it for messages that have already been published to the exchange once.
    ///
    /// # Errors
    /// Fails like [`Publisher::publish`].
    pub async fn publish_to_work(&self, messages: Vec<Message>) -> Result<(), PublishError> {
        let messages: Vec<Message> = messages.into_iter().map(copies::work_copy).collect();
        messages.iter().try_for_each(copies::check)?;
        match &self.0 {
            Backend::Amqp(queue) => queue.publish_to_work(messages).await,
            Backend::Embedded(queue) => queue.publish(messages).await,
        }
    }

    /// Returns the destination of messages, for display: the kind of the queue, as OpenTelemetry names it,
    /// and the name of the exchange or queue.
    pub fn destination(&self) -> (&'static str, &str) {
        match &self.0 {
            Backend::Amqp(queue) => (RABBITMQ, queue.exchange()),
            Backend::Embedded(_) => (SQLITE, Source::Bookings.as_str()),
        }
    }

    /// Returns whether the queue is a local file, which is never unavailable.
    pub fn is_local(&self) -> bool {
        matches!(self.0, Backend::Embedded(_))
    }

    /// Checks whether the broker accepts no messages, because it is short of memory or disk. It reports this only
    /// to a connection that publishes, so this publishes an empty message that reaches no queue. Returns false if
    /// this is unknown, after at most twice `queue.connect_timeout`, and for a local file.
    pub async fn is_blocked(&self) -> bool {
        match &self.0 {
            Backend::Amqp(queue) => queue.is_blocked().await,
            Backend::Embedded(_) => false,
        }
    }

    /// Returns whether the connection is ready to publish now. Publishes nothing.
    pub fn is_ready(&self) -> bool {
        dispatch!(&self.0, queue => queue.is_ready())
    }
}
