//! Compares a broker's topology with the expected one, for `hostmatch topology` and `hostmatch doctor`.
//!
//! AMQP reports whether an object exists, and the first argument that differs; the management API reports all
//! arguments, the bindings and the policies. What neither reports is not checked.

mod reader;
mod greeting;
mod management;
mod comparison;

use serde_json::{Value, json};

use crate::config::QueueConfig;
use crate::queue::amqp::Settings;

pub(crate) use self::comparison::{Change, Comparison, Difference, FoundQueue, Object, compare};
pub(crate) use self::management::{Management, ManagementError};
pub(crate) use self::reader::{BrokerReader, PublishProbe, ReadError};
pub(crate) use crate::queue::QueueRole;
pub(crate) use crate::queue::topology::{BINDING_KEY, Topology};

/// The result of creating what was missing.
#[derive(Debug)]
pub(crate) struct Applied {
    pub(crate) made: Vec<Object>,
    /// The reasons why objects were not created.
    pub(crate) problems: Vec<String>,
}

/// Returns the virtual host in `queue.url`.
pub(crate) fn vhost(config: &QueueConfig) -> Result<String, ReadError> {
    Ok(Settings::of(config)?.address.vhost)
}

/// Returns the exchange, the queues and the binding in this virtual host as RabbitMQ definitions. They
/// contain nothing else, so that importing them changes nothing else.
pub(crate) fn definitions(topology: &Topology, vhost: &str) -> Value {
    let queues = topology.queues.iter().map(|queue| {
        json!({
            "name": queue.name, "vhost": vhost, "durable": true, "auto_delete": false,
            "arguments": queue.arguments,
        })
    });
    json!({
        "exchanges": [{
            "name": topology.exchange, "vhost": vhost, "type": "topic", "durable": true,
            "auto_delete": false, "internal": false, "arguments": {},
        }],
        "queues": queues.collect::<Vec<_>>(),
        "bindings": [{
            "source": topology.exchange, "vhost": vhost, "destination": topology.work,
            "destination_type": "queue", "routing_key": BINDING_KEY, "arguments": {},
        }],
    })
}

/// Compares a broker's topology with the expected one; with `applies`, first creates what is missing.
/// Returns an error only if the broker cannot be queried at all.
pub(crate) async fn diff(
    config: &QueueConfig,
    applies: bool,
) -> Result<(Comparison, Option<Applied>), ReadError> {
    let management = Management::of(config)?;
    let reader = BrokerReader::connect(config).await?;
    let done = async {
        let before = compare(&reader, management.as_ref()).await?;
        if !applies {
            return Ok((before, None));
        }
        let problems = reader.create_missing().await?;
        let after = compare(&reader, management.as_ref()).await?;
        let remaining: Vec<&Object> = after.differences().map(|one| &one.object).collect();
        let missing = before.differences().filter(|one| one.change == Change::Missing);
        let made = missing.map(|one| one.object.clone()).filter(|one| !remaining.contains(&one)).collect();
        // The broker refuses to create an object that differs; the difference is reported anyway.
        let is_reported =
            |text: &String| remaining.iter().any(|one| text.contains(&format!("{:?}", one.name())));
        let problems = problems.into_iter().filter(|text| !is_reported(text)).collect();
        Ok((after, Some(Applied { made, problems })))
    };
    let done = done.await;
    reader.close().await;
    done
}
