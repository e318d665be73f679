//! Checks whether the broker accepts messages. It reports that it is short of memory or disk only to a connection
//! that publishes.

use std::time::Duration;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Connection};
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use super::publisher::Publishing;

/// How often a publish that may be blocked is checked.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// How long the broker may take to report that it accepts no messages, after it has received one.
const BLOCK_NOTICE: Duration = Duration::from_millis(500);

/// The response to a publish.
pub(crate) enum PublishAnswer<T> {
    /// The broker accepts no messages from this connection: it is short of memory or disk.
    Blocked,
    /// No response in time.
    Missing,
    /// The result of the publish.
    Result(T),
}

/// Waits for `publish`, which publishes on this connection, for at most `limit`.
pub(crate) async fn wait_unless_blocked<T>(
    connection: &Connection,
    publish: impl Future<Output = T>,
    limit: Duration,
) -> PublishAnswer<T> {
    let mut publish = Box::pin(publish);
    let until = Instant::now() + limit;
    let is_blocked = || connection.status().blocked();
    let answer = loop {
        match timeout(POLL_INTERVAL, &mut publish).await {
            Ok(answer) => break PublishAnswer::Result(answer),
            Err(_) if is_blocked() || Instant::now() >= until => break PublishAnswer::Missing,
            Err(_) => {}
        }
    };
    // The broker may answer the first publish before it reports that the connection is blocked.
    let notice = Instant::now() + BLOCK_NOTICE;
    let mut open = Box::pin(connection.create_channel());
    while !is_blocked() && Instant::now() < notice {
        if timeout(POLL_INTERVAL, &mut open).await.is_ok() {
            break;
        }
    }
    if is_blocked() { PublishAnswer::Blocked } else { answer }
}

impl Publishing {
    /// Checks whether the broker accepts no messages from this connection, with an empty message that reaches no
    /// queue. Returns false if this is unknown.
    pub(super) async fn is_blocked(&self) -> bool {
        let limit = self.settings.connect_timeout;
        let Ok(connection) = self.manager.wait_until_connected_by(Instant::now() + limit).await else {
            return false;
        };
        // What is published on a blocked connection waits, and would accumulate.
        if connection.is_blocked() {
            return true;
        }
        let unbound_key = Uuid::new_v4().simple().to_string();
        let publish = async {
            let channel = connection.inner.create_channel().await?;
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
            let properties = BasicProperties::default();
            channel.basic_publish("".into(), unbound_key.into(), options, &[], properties).await?.await?;
            channel.close(200, "probed".into()).await
        };
        matches!(wait_unless_blocked(&connection.inner, publish, limit).await, PublishAnswer::Blocked)
    }
}
