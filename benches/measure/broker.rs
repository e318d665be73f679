//! The broker's side: a topology of one's own, events published into it, and what waits there.

use hostmatch::config::{QueueConfig, Secret, Topology};
use hostmatch::queue::{Queue, topology};
use lapin::options::{ExchangeDeleteOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties};
use std::time::Duration;
use uuid::Uuid;

use crate::Result;
use crate::address::server;

/// Where RabbitMQ is: as for the tests.
pub(crate) fn url() -> String {
    server("HOSTMATCH_TEST_AMQP_URL", "amqp://guest:guest@127.0.0.1:5672")
}

/// Queues under a prefix of their own, as the program declares them.
pub(crate) struct Broker {
    pub(crate) config: QueueConfig,
    pub(crate) connection: Connection,
    pub(crate) queue: Queue,
    look: Channel,
}

impl Broker {
    /// Declares them.
    ///
    /// # Errors
    /// When the broker cannot be used.
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
        };
        let queue = Queue::open(&config).await?;
        queue.depth().await?;
        let connection = Connection::connect(config.url.expose(), ConnectionProperties::default()).await?;
        let look = connection.create_channel().await?;
        Ok(Self { config, connection, queue, look })
    }

    /// What the program has to know to use them.
    pub(crate) fn settings(&self) -> Vec<(&'static str, String)> {
        vec![
            ("queue.url", self.config.url.expose().to_owned()),
            ("queue.prefix", self.config.prefix.clone()),
            ("queue.retry_delays", "5s".to_owned()),
        ]
    }

    /// The work queue: messages that are ready, and consumers.
    ///
    /// # Errors
    /// When the broker does not tell.
    pub(crate) async fn inspect(&self) -> Result<(u64, u32)> {
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let name = self.work_queue();
        let queue = self.look.queue_declare(name.as_str().into(), passive, FieldTable::default()).await?;
        Ok((queue.message_count().into(), queue.consumer_count()))
    }

    /// Its name.
    pub(crate) fn work_queue(&self) -> String {
        format!("{}.bookings", self.config.prefix)
    }

    /// Removes everything from the broker.
    ///
    /// # Errors
    /// When that is not possible.
    pub(crate) async fn remove(self) -> Result<()> {
        self.queue.close().await;
        let topology = topology::Topology::new(&self.config)?;
        for queue in topology.queues {
            self.look.queue_delete(queue.name.as_str().into(), QueueDeleteOptions::default()).await?;
        }
        let exchange = topology.exchange.as_str().into();
        self.look.exchange_delete(exchange, ExchangeDeleteOptions::default()).await?;
        self.connection.close(200, "measured".into()).await?;
        Ok(())
    }
}
