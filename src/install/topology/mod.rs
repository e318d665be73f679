//! What a broker has against what is wanted: for `hostmatch topology` and `hostmatch doctor`.
//!
//! AMQP tells whether a thing is there and the first argument that differs; the management API
//! tells all arguments, the bindings and the policies. What neither tells is not checked.

mod reader;
mod greeting;
mod management;
mod comparison;

use serde_json::{Value, json};

use crate::config::QueueConfig;
use crate::queue::amqp::Settings;

pub(crate) use self::comparison::{Change, Comparison, Difference, FoundQueue, Object, compare};
pub(crate) use self::management::{Management, ManagementError};
pub(crate) use self::reader::{BrokerReader, LookError, Written};
pub(crate) use crate::queue::Part;
pub(crate) use crate::queue::topology::{EVERYTHING, Topology};

/// What became of making what was missing.
#[derive(Debug)]
pub(crate) struct Applied {
    pub(crate) made: Vec<Object>,
    /// Why something was not.
    pub(crate) problems: Vec<String>,
}

/// The virtual host that `queue.url` names.
pub(crate) fn vhost(config: &QueueConfig) -> Result<String, LookError> {
    Ok(Settings::of(config)?.address.vhost)
}

/// Exchange, queues and binding in this virtual host, as RabbitMQ's definitions; nothing else, so that
/// importing them changes nothing else.
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
            "destination_type": "queue", "routing_key": EVERYTHING, "arguments": {},
        }],
    })
}

/// Compares what a broker has with what is wanted, and with `makes` makes what is missing first. An error only when the
/// broker cannot be asked at all.
pub(crate) async fn diff(
    config: &QueueConfig,
    makes: bool,
) -> Result<(Comparison, Option<Applied>), LookError> {
    let management = Management::of(config)?;
    let reader = BrokerReader::at(config).await?;
    let done = async {
        let before = compare(&reader, management.as_ref()).await?;
        if !makes {
            return Ok((before, None));
        }
        let problems = reader.make().await?;
        let after = compare(&reader, management.as_ref()).await?;
        let left: Vec<&Object> = after.differences().map(|one| &one.object).collect();
        let missing = before.differences().filter(|one| one.change == Change::Missing);
        let made = missing.map(|one| one.object.clone()).filter(|one| !left.contains(&one)).collect();
        // What differs was refused, and is told with the differences.
        let is_told = |text: &String| left.iter().any(|one| text.contains(&format!("{:?}", one.name())));
        let problems = problems.into_iter().filter(|text| !is_told(text)).collect();
        Ok((after, Some(Applied { made, problems })))
    };
    let done = done.await;
    reader.close().await;
    done
}
