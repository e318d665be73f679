//! The broker of a benchmark: its own topology, and the state of its queue.

use hostmatch::config::{QueueConfig, Secret, Topology};
use hostmatch::queue::{Queue, topology};
use lapin::options::{ExchangeDeleteOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties};
use std::time::Duration;
use uuid::Uuid;

use crate::Result;
use crate::address::server;

/// Returns the address of RabbitMQ, the same as for the tests.
pub(crate) fn url() -> String {
    server("HOSTMATCH_TEST_AMQP_URL", "amqp://guest:guest@127.0.0.1:5672")
}

/// Queues under their own prefix, as the program declares them.
pub(crate) struct Broker {
    pub(crate) config: QueueConfig,
    pub(crate) connection: Connection,
    pub(crate) queue: Queue,
    channel: Channel,
}

impl Broker {
    /// Declares the queues.
    ///
    /// # Errors
    /// Fails if the broker cannot be used.
    pub(crate) async fn open() -> Result<Self> {
        let config = QueueConfig {
            url: Secret::new(url()),
            url_file: std::path::PathBuf::new(),
            prefix: format!("bench-{}", Uuid::new_v4().simple()),
            topology: Topology::Declare,
            prefetch: 400,
            delivery_limit: 50,
            retry_delays: vec![Duration::from_secs(5)],
            confirm_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
            management_url: Secret::default(),
            management_url_file: std::path::PathBuf::new(),
            header_key: Vec::new(),
            header_key_file: std::path::PathBuf::new(),
        };
        let queue = Queue::open(&config).await?;
        queue.depth().await?;
        let connection = Connection::connect(config.url.expose(), ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        Ok(Self { config, connection, queue, channel })
    }

    /// Returns the program's settings for these queues.
    pub(crate) fn settings(&self) -> Vec<(&'static str, String)> {
        vec![
            ("queue.url", self.config.url.expose().to_owned()),
            ("queue.prefix", self.config.prefix.clone()),
            ("queue.retry_delays", "5s".to_owned()),
        ]
    }

    /// Returns the number of ready messages and the number of consumers of the work queue.
    ///
    /// # Errors
    /// Fails if the broker does not answer.
    pub(crate) async fn inspect(&self) -> Result<(u64, u32)> {
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let name = self.work_queue();
        let queue = self.channel.queue_declare(name.as_str().into(), passive, FieldTable::default()).await?;
        Ok((queue.message_count().into(), queue.consumer_count()))
    }

    /// Returns the name of the work queue.
    pub(crate) fn work_queue(&self) -> String {
        format!("{}.bookings", self.config.prefix)
    }

    /// Removes the queues and the exchange from the broker.
    ///
    /// # Errors
    /// Fails if they cannot be removed.
    pub(crate) async fn remove(self) -> Result<()> {
        self.queue.close().await;
        let topology = topology::Topology::new(&self.config)?;
        for queue in topology.queues {
            self.channel.queue_delete(queue.name.as_str().into(), QueueDeleteOptions::default()).await?;
        }
        let exchange = topology.exchange.as_str().into();
        self.channel.exchange_delete(exchange, ExchangeDeleteOptions::default()).await?;
        self.connection.close(200, "measured".into()).await?;
        Ok(())
    }
}
