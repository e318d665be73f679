//! Publishes over AMQP as a program does that knows only the broker: with any headers and properties.

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection};

use super::cleanup::connect;

/// A connection of another program to the broker.
pub(crate) struct ForeignPublisher {
    channel: Channel,
    /// Dropping it would close the channel.
    _connection: Connection,
}

impl ForeignPublisher {
    pub(crate) async fn connect(url: &str) -> Self {
        let connection = connect(url).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        Self { channel, _connection: connection }
    }

    /// Publishes a message to an exchange (an empty name is the default exchange), and waits for its confirm.
    pub(crate) async fn publish(&self, exchange: &str, key: &str, body: &[u8], properties: BasicProperties) {
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let confirm =
            self.channel.basic_publish(exchange.into(), key.into(), options, body, properties).await;
        let confirmation = confirm.unwrap().await.unwrap();
        assert!(matches!(confirmation, Confirmation::Ack(None)), "{confirmation:?}");
    }
}

/// Returns properties with these headers, as strings.
pub(crate) fn with_headers(headers: &[(&str, &str)]) -> BasicProperties {
    let mut table = FieldTable::default();
    for (name, value) in headers {
        table.insert((*name).into(), AMQPValue::LongString((*value).into()));
    }
    BasicProperties::default().with_headers(table)
}
