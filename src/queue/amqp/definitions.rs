//! The topology as RabbitMQ's definitions, for `rabbitmqctl import_definitions` and for a broker
//! that loads them when it starts.

use serde_json::{Value, json};

use super::topology::{EVERYTHING, Topology};
use super::{QueueConfig, QueueError, address};

/// The virtual host that `queue.url` names.
///
/// # Errors
/// [`QueueError::Url`]
pub fn vhost(config: &QueueConfig) -> Result<String, QueueError> {
    Ok(address::parse(config.url.expose())?.vhost)
}

/// Exchange, queues and binding in this virtual host; nothing else, so that importing them changes
/// nothing else.
pub fn definitions(topology: &Topology, vhost: &str) -> Value {
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
