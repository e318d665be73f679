//! Defines the exchange and the queues as plain data, and creates or checks them on a broker.
//!
//! This is a public contract: publishers know the exchange, and an administrator who creates the
//! queues by hand must create exactly these queues.

use std::collections::BTreeMap;
use std::time::Duration;

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ExchangeKind};
use serde_json::Value;

use crate::config::{self, QueueConfig};
use crate::queue::{QueueError, QueueRole};

/// The delivery limit of the dead-letter queue, which is unlimited in effect. Without the argument the limit
/// would be 20 on RabbitMQ 4, and with `-1` RabbitMQ 3.10 loses the message at once.
const DEAD_DELIVERY_LIMIT: i64 = 1_000_000_000;

/// The binding key of the work queue: it matches every routing key.
pub const BINDING_KEY: &str = "#";

/// The maximum length of the prefix, in bytes: the longest name derived from it must fit an AMQP short string.
const MAX_PREFIX: usize = 200;

/// The exchange and the queues that must exist on the broker. All of them are durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    /// The topic exchange that publishers write to.
    pub exchange: String,
    /// The name of the work queue, bound to the exchange with `#`.
    pub work: String,
    /// The name of the dead-letter queue.
    pub dead: String,
    /// The wait queues: each delay and the name of its queue, shortest first.
    pub wait_queues: Vec<(Duration, String)>,
    /// All queues, in the order in which they are declared: a dead-letter target before its source.
    pub queues: Vec<QueueSpec>,
}

/// One queue and its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueSpec {
    /// Its full name.
    pub name: String,
    /// Its purpose.
    pub role: QueueRole,
    /// Its arguments (`x-…`): strings and integers.
    pub arguments: BTreeMap<&'static str, Value>,
}

impl Topology {
    /// Returns the topology for a configuration.
    ///
    /// # Errors
    /// Fails if the prefix is empty or longer than 200 bytes.
    pub fn new(config: &QueueConfig) -> Result<Self, QueueError> {
        let prefix = &config.prefix;
        if prefix.is_empty() || prefix.len() > MAX_PREFIX {
            let problem = format!("queue.prefix must be 1 to {MAX_PREFIX} bytes long");
            return Err(QueueError::Config(problem));
        }
        let (work, dead) = (format!("{prefix}.bookings"), format!("{prefix}.dead"));
        let mut wait_queues: Vec<_> = config
            .retry_delays
            .iter()
            .map(|delay| (*delay, format!("{prefix}.bookings.retry.{}", delay.as_millis())))
            .collect();
        wait_queues.sort();
        wait_queues.dedup();
        let mut queues = vec![
            QueueSpec::quorum(&dead, QueueRole::Dead, "x-delivery-limit", DEAD_DELIVERY_LIMIT),
            QueueSpec::quorum(&work, QueueRole::Work, "x-delivery-limit", config.delivery_limit.into())
                .dead_lettering_to(&dead),
        ];
        for (delay, name) in &wait_queues {
            let ttl = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
            let wait = QueueSpec::quorum(name, QueueRole::Retry, "x-message-ttl", ttl);
            queues.push(wait.dead_lettering_to(&work));
        }
        Ok(Self { exchange: format!("{prefix}.events"), work, dead, wait_queues, queues })
    }

    /// Returns the queue in which a message waits for about `after`: the one with the shortest delay of at
    /// least `after`, or with the longest delay if all are shorter. Without configured delays, returns the
    /// work queue.
    pub fn wait_queue(&self, after: Duration) -> &str {
        let long_enough = self.wait_queues.iter().find(|(delay, _)| *delay >= after);
        long_enough.or(self.wait_queues.last()).map_or(&self.work, |(_, name)| name)
    }

    pub(crate) async fn declare_exchange(&self, channel: &Channel) -> lapin::Result<()> {
        let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        let exchange = self.exchange.as_str().into();
        channel.exchange_declare(exchange, ExchangeKind::Topic, durable, FieldTable::default()).await
    }

    /// Binds the work queue to the exchange, so that it receives every event.
    pub(crate) async fn bind(&self, channel: &Channel) -> lapin::Result<()> {
        let (work, exchange) = (self.work.as_str().into(), self.exchange.as_str().into());
        let options = QueueBindOptions::default();
        channel.queue_bind(work, exchange, BINDING_KEY.into(), options, FieldTable::default()).await
    }
}

impl QueueSpec {
    fn quorum(name: &str, role: QueueRole, argument: &'static str, value: i64) -> Self {
        let arguments = BTreeMap::from([("x-queue-type", "quorum".into()), (argument, value.into())]);
        Self { name: name.to_owned(), role, arguments }
    }

    /// Dead-letters to `target` with the strategy `at-least-once`: with the default strategy a message can be
    /// lost between two queues, and without `reject-publish` the broker silently falls back to that default.
    fn dead_lettering_to(mut self, target: &str) -> Self {
        let strings = [
            ("x-dead-letter-exchange", ""),
            ("x-dead-letter-routing-key", target),
            ("x-dead-letter-strategy", "at-least-once"),
            ("x-overflow", "reject-publish"),
        ];
        self.arguments.extend(strings.map(|(key, value)| (key, value.into())));
        self
    }

    /// Declares the queue.
    pub(crate) async fn declare(&self, channel: &Channel) -> lapin::Result<()> {
        let name = self.name.as_str().into();
        channel.queue_declare(name, QueueDeclareOptions::durable(), self.table()).await.map(drop)
    }

    pub(crate) fn table(&self) -> FieldTable {
        let mut table = FieldTable::default();
        for (name, value) in &self.arguments {
            let value = match value.as_i64() {
                Some(number) => AMQPValue::LongLongInt(number),
                None => AMQPValue::LongString(value.as_str().unwrap_or_default().into()),
            };
            table.insert((*name).into(), value);
        }
        table
    }
}

/// Declares the exchange, the queues and the binding, or only checks that they exist, depending on `mode`.
pub(super) async fn ensure(
    connection: &Connection,
    topology: &Topology,
    mode: config::Topology,
) -> lapin::Result<()> {
    let channel = connection.create_channel().await?;
    if mode == config::Topology::Declare {
        topology.declare_exchange(&channel).await?;
        for queue in &topology.queues {
            queue.declare(&channel).await?;
        }
        return topology.bind(&channel).await;
    }
    let options = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
    let exchange = topology.exchange.as_str().into();
    let checked =
        channel.exchange_declare(exchange, ExchangeKind::Topic, options, FieldTable::default()).await;
    ignore_forbidden(checked)?;
    for queue in &topology.queues {
        let channel = connection.create_channel().await?;
        ignore_forbidden(inspect(&channel, &queue.name).await.map(|_| ()))?;
    }
    Ok(())
}

/// Ignores a missing permission, because RabbitMQ 4.3 requires `configure` even to check whether a queue exists.
/// A missing queue is then detected when it is used.
fn ignore_forbidden(checked: lapin::Result<()>) -> lapin::Result<()> {
    match checked {
        Err(error) if super::problem::code(&error) == Some(403) => Ok(()),
        checked => checked,
    }
}

/// Counts the messages that are ready in a queue, and its consumers; fails when the queue does not exist.
pub(super) async fn inspect(channel: &Channel, queue: &str) -> lapin::Result<(u32, u32)> {
    let options = QueueDeclareOptions::durable().passive();
    let queue = channel.queue_declare(queue.into(), options, FieldTable::default()).await?;
    Ok((queue.message_count(), queue.consumer_count()))
}
