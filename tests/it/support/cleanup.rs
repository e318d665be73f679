//! Removes what a test leaves on a broker or on disk when it ends, whether it passes or fails.

use std::time::Duration;

use hostmatch::config::QueueConfig;
use hostmatch::queue::topology;
use lapin::options::{ExchangeDeleteOptions, QueueDeleteOptions};
use lapin::{Connection, ConnectionProperties};
use tempfile::TempDir;

/// The things to remove when this is dropped.
pub(crate) enum Cleanup {
    /// Everything with this prefix on a broker.
    Broker(Box<QueueConfig>),
    Directory(#[expect(dead_code, reason = "dropping it removes the directory")] TempDir),
}

impl Drop for Cleanup {
    fn drop(&mut self) {
        if let Self::Broker(config) = self {
            let config = config.clone();
            // The test's runtime may be ending, so the cleanup uses its own.
            let _ = std::thread::spawn(move || {
                let runtime = tokio::runtime::Runtime::new().unwrap();
                runtime
                    .block_on(async { tokio::time::timeout(Duration::from_secs(30), clean(&config)).await })
            })
            .join();
        }
    }
}

pub(crate) async fn clean(config: &QueueConfig) {
    let Ok(connection) = connect(config.url.expose()).await else { return };
    let topology = topology::Topology::new(config).unwrap();
    let channel = connection.create_channel().await.unwrap();
    for queue in topology.queues.iter().rev() {
        let _ = channel.queue_delete(queue.name.as_str().into(), QueueDeleteOptions::default()).await;
    }
    let exchange = topology.exchange.as_str().into();
    let _ = channel.exchange_delete(exchange, ExchangeDeleteOptions::default()).await;
    let _ = connection.close(200, "bye".into()).await;
}

/// Opens a plain connection, for a test's changes that bypass the queue module.
pub(crate) async fn connect(url: &str) -> lapin::Result<Connection> {
    Connection::connect(url, ConnectionProperties::default()).await
}
