//! Inspects a broker over AMQP, for `hostmatch doctor` and `hostmatch topology`: what exists, and what our
//! user may do with it. It does not move messages, and only [`BrokerReader::create_missing`] creates
//! anything.
//!
//! It tests permissions with requests that the broker always refuses, for a reason that it checks only after
//! the permission: a publish whose `expiration` is not a number and whose `user_id` is not ours, and a consumer
//! whose priority is not a number. "Access refused" then means that the permission is missing, and "precondition
//! failed" that it is granted.

use std::time::Duration;

use lapin::options::{
    BasicCancelOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    ExchangeDeclareOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ExchangeKind};
use tokio::time::timeout;
use uuid::Uuid;

use super::greeting::{self, Server};
use crate::config::{self, QueueConfig};
use crate::queue::QueueError;
use crate::queue::amqp::{Problem, PublishAnswer, Settings, code, open, wait_unless_blocked};
use crate::queue::topology::QueueSpec;

/// Why a broker cannot be inspected. The text says what failed, and what to do next.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// The broker's address is invalid.
    #[error(transparent)]
    Config(#[from] QueueError),
    /// The broker refuses the login.
    #[error("{0}")]
    Refused(String),
    /// The broker is unreachable, or does not respond in time.
    #[error("{0}")]
    Unreachable(String),
}

/// The result of looking up an exchange or queue by name.
pub(super) enum Lookup {
    Missing,
    /// Our user may not even inspect the object.
    Hidden,
    Existing(Existing),
}

/// An exchange or queue that exists.
#[derive(Default)]
pub(super) struct Existing {
    /// For a queue: the number of ready messages and the number of consumers.
    pub(super) messages: u32,
    pub(super) consumers: u32,
    /// The broker's description of the first difference from what we expect, if there is one.
    pub(super) differs: Option<String>,
    /// Whether it was compared with what we expect, which needs the configure permission.
    pub(super) compared: bool,
}

/// The result of a publish that the broker must refuse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PublishProbe {
    /// A publish with valid properties would be accepted.
    Allowed,
    /// Our user lacks the write permission.
    Denied,
    /// The broker accepts no messages of this size. Contains its error text, which gives both sizes.
    TooLarge(String),
    Missing,
    /// The broker accepts no messages now: it is short of memory or disk.
    Blocked,
    NoAnswer,
}

/// A connection that only reads.
pub(crate) struct BrokerReader {
    pub(crate) settings: Settings,
    connection: Connection,
}

impl BrokerReader {
    /// Connects once, without waiting for a broker that is unreachable.
    pub(crate) async fn connect(config: &QueueConfig) -> Result<Self, ReadError> {
        let settings = Settings::of(config)?;
        let connection = with_deadline(&settings, open("look", &settings)).await?;
        let connection = connection.map_err(|error| refusal(&error, &settings))?;
        Ok(Self { settings, connection })
    }

    /// Returns whether hostmatch itself creates what is missing.
    pub(crate) fn declares(&self) -> bool {
        self.settings.mode == config::Topology::Declare
    }

    pub(crate) fn address(&self) -> String {
        address(&self.settings)
    }

    pub(crate) fn vhost(&self) -> &str {
        &self.settings.address.vhost
    }

    pub(crate) fn user(&self) -> &str {
        &self.settings.address.authority.userinfo.username
    }

    /// Returns the number of channels that the broker allows per connection.
    pub(crate) fn channels(&self) -> u16 {
        self.connection.configuration().channel_max()
    }

    pub(crate) async fn server(&self) -> Option<Server> {
        greeting::read_greeting(self.settings.address.clone(), self.settings.connect_timeout).await
    }

    pub(super) async fn exchange(&self) -> Result<Lookup, ReadError> {
        let name = self.settings.topology.exchange.as_str();
        let passive = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
        let lookup = async {
            let table = FieldTable::default();
            let channel = self.channel().await?;
            channel.exchange_declare(name.into(), ExchangeKind::Topic, passive, table).await?;
            Ok(Existing::default())
        };
        let declare = async { self.settings.topology.declare_exchange(&self.channel().await?).await };
        self.inspect(lookup, declare).await
    }

    pub(super) async fn queue(&self, spec: &QueueSpec) -> Result<Lookup, ReadError> {
        let lookup = async {
            let passive = QueueDeclareOptions::durable().passive();
            let channel = self.channel().await?;
            let queue =
                channel.queue_declare(spec.name.as_str().into(), passive, FieldTable::default()).await?;
            let (messages, consumers) = (queue.message_count(), queue.consumer_count());
            Ok(Existing { messages, consumers, ..Existing::default() })
        };
        let declare = async { spec.declare(&self.channel().await?).await };
        self.inspect(lookup, declare).await
    }

    /// Checks whether our user may publish a message of this many bytes to this exchange (`""` is the default
    /// exchange), and whether the broker currently accepts messages. The message does not reach a queue.
    pub(crate) async fn probe_publish(
        &self,
        exchange: &str,
        bytes: usize,
    ) -> Result<PublishProbe, ReadError> {
        let unbound_key = Uuid::new_v4().simple().to_string();
        let refused = BasicProperties::default().with_expiration("never".into()).with_user_id("-".into());
        let body = vec![0; bytes];
        let publish = async {
            let channel = self.channel().await?;
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            let options = BasicPublishOptions::default();
            let sent =
                channel.basic_publish(exchange.into(), unbound_key.into(), options, &body, refused).await?;
            sent.await.map(drop)
        };
        match wait_unless_blocked(&self.connection, publish, self.settings.connect_timeout).await {
            PublishAnswer::Blocked => Ok(PublishProbe::Blocked),
            PublishAnswer::Missing => Ok(PublishProbe::NoAnswer),
            PublishAnswer::Result(Ok(())) => Ok(PublishProbe::Allowed),
            PublishAnswer::Result(Err(error)) => match code(&error) {
                Some(403) => Ok(PublishProbe::Denied),
                Some(404) => Ok(PublishProbe::Missing),
                Some(406) if broker_text(&error).contains("size") => {
                    Ok(PublishProbe::TooLarge(broker_text(&error)))
                }
                Some(406) => Ok(PublishProbe::Allowed),
                _ => Err(refusal(&error, &self.settings)),
            },
        }
    }

    /// Returns whether our user lacks the permission to read this queue. Consumes nothing.
    pub(crate) async fn is_read_denied(&self, queue: &str) -> Result<bool, ReadError> {
        let consume = async {
            let channel = self.channel().await?;
            channel.basic_qos(1, BasicQosOptions::default()).await?;
            let mut refused = FieldTable::default();
            refused.insert("x-priority".into(), AMQPValue::LongString("none".into()));
            refused.insert("x-cancel-on-ha-failover".into(), AMQPValue::LongString("none".into()));
            let tag = "look";
            channel.basic_consume(queue.into(), tag.into(), BasicConsumeOptions::default(), refused).await?;
            // The broker unexpectedly accepted the consumer, so cancel it; nothing was acknowledged.
            channel.basic_cancel(tag.into(), BasicCancelOptions::default()).await
        };
        match with_deadline(&self.settings, consume).await? {
            Ok(()) => Ok(false),
            Err(error) => match code(&error) {
                Some(403) => Ok(true),
                Some(404 | 406) => Ok(false),
                _ => Err(refusal(&error, &self.settings)),
            },
        }
    }

    /// Creates the missing parts of the topology, each separately, so that one failure does not prevent the
    /// others. Returns the problems as texts. Fails if the broker becomes unreachable.
    pub(crate) async fn create_missing(&self) -> Result<Vec<String>, ReadError> {
        let (settings, topology) = (&self.settings, &self.settings.topology);
        let mut results = Vec::new();
        let exchange = async { topology.declare_exchange(&self.channel().await?).await };
        results.push(with_deadline(settings, exchange).await?);
        for queue in &topology.queues {
            results
                .push(with_deadline(settings, async { queue.declare(&self.channel().await?).await }).await?);
        }
        results.push(with_deadline(settings, async { topology.bind(&self.channel().await?).await }).await?);
        Ok(results
            .into_iter()
            .filter_map(Result::err)
            .map(|error| Problem::of(&error, settings).text)
            .collect())
    }

    pub(crate) async fn close(self) {
        // A blocked broker does not respond; dropping the connection loses nothing.
        let _closed = timeout(Duration::from_secs(2), self.connection.close(200, "bye".into())).await;
    }

    async fn channel(&self) -> lapin::Result<Channel> {
        self.connection.create_channel().await
    }

    /// Returns the object if it exists. Also declares it in the form that we expect: this changes nothing,
    /// but makes the broker compare the two.
    async fn inspect(
        &self,
        lookup: impl Future<Output = lapin::Result<Existing>>,
        declare: impl Future<Output = lapin::Result<()>>,
    ) -> Result<Lookup, ReadError> {
        let differs = |error: &lapin::Error, existing| {
            Lookup::Existing(Existing { differs: Some(broker_text(error)), compared: true, ..existing })
        };
        let existing = match with_deadline(&self.settings, lookup).await? {
            Ok(existing) => existing,
            Err(error) => match code(&error) {
                Some(404) => return Ok(Lookup::Missing),
                Some(403) => return Ok(Lookup::Hidden),
                // The queue is exclusive to another connection.
                Some(405) => return Ok(differs(&error, Existing::default())),
                _ => return Err(refusal(&error, &self.settings)),
            },
        };
        match with_deadline(&self.settings, declare).await? {
            Ok(()) => Ok(Lookup::Existing(Existing { compared: true, ..existing })),
            Err(error) => match code(&error) {
                Some(403) => Ok(Lookup::Existing(existing)),
                Some(406) => Ok(differs(&error, existing)),
                _ => Err(refusal(&error, &self.settings)),
            },
        }
    }
}

async fn with_deadline<T>(settings: &Settings, request: impl Future<Output = T>) -> Result<T, ReadError> {
    let message = || format!("{} did not answer within queue.connect_timeout", address(settings));
    timeout(settings.connect_timeout, request).await.map_err(|_| ReadError::Unreachable(message()))
}

fn address(settings: &Settings) -> String {
    let authority = &settings.address.authority;
    format!("{}:{}", authority.host, authority.port)
}

fn refusal(error: &lapin::Error, settings: &Settings) -> ReadError {
    let Problem { text, configuration } = Problem::of(error, settings);
    if configuration { ReadError::Refused(text) } else { ReadError::Unreachable(text) }
}

/// Returns the broker's own text.
fn broker_text(error: &lapin::Error) -> String {
    match error.kind() {
        lapin::ErrorKind::ProtocolError(error) => error.get_message().to_string(),
        _ => error.to_string(),
    }
}
