//! Converts between AMQP properties and a [`Message`].

use std::collections::BTreeMap;

use lapin::BasicProperties;
use lapin::message::Delivery as Received;
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use uuid::Uuid;

use crate::queue::Source;
use crate::queue::copies;
use crate::queue::message::{Delivery, Message, header};

/// The namespace of the ids of messages that the broker itself dead-lettered.
const BROKER_DEAD_LETTERS: Uuid = Uuid::from_u128(0x5e1f_0c9a_7c55_4f0e_9d0b_3a61_d2b8_44c7);

const PERSISTENT: u8 = 2;

/// Converts a string to an AMQP short string. [`copies::check`] has refused longer strings, on which lapin would
/// panic.
pub(super) fn short_string(value: &str) -> ShortString {
    ShortString::try_new(value).unwrap_or_default()
}

/// The `app_id` of the messages that we publish.
const APP_ID: &str = "hostmatch";

/// Returns the properties with which a message is published: always persistent.
pub(super) fn properties(message: &Message) -> BasicProperties {
    let mut headers = FieldTable::default();
    for (name, value) in &message.headers {
        headers.insert(short_string(name), AMQPValue::LongString(LongString::from(value.as_bytes())));
    }
    let mut properties = BasicProperties::default().with_delivery_mode(PERSISTENT).with_app_id(APP_ID.into());
    if !message.headers.is_empty() {
        properties = properties.with_headers(headers);
    }
    if let Some(value) = &message.message_type {
        properties = properties.with_type(short_string(value));
    }
    if let Some(value) = &message.message_id {
        properties = properties.with_message_id(short_string(value));
    }
    if let Some(value) = &message.correlation_id {
        properties = properties.with_correlation_id(short_string(value));
    }
    if let Some(value) = &message.content_type {
        properties = properties.with_content_type(short_string(value));
    }
    if let Some(seconds) = message.timestamp_ms.and_then(|millis| u64::try_from(millis / 1000).ok()) {
        properties = properties.with_timestamp(seconds);
    }
    properties
}

/// Converts a received message, without the broker's own headers. A message that the broker itself
/// dead-lettered gets its reason, its routing key and an id.
pub(super) fn receive(received: Received, source: Source, work_queue: &str) -> Delivery {
    let properties = received.properties;
    let string = |value: &Option<ShortString>| value.as_ref().map(|value| value.as_str().to_owned());
    let empty = FieldTable::default();
    let table = properties.headers().as_ref().unwrap_or(&empty);
    let mut headers: BTreeMap<String, String> = table
        .into_iter()
        .filter(|(name, _)| !copies::is_brokers_own(name.as_str()))
        .filter_map(|(name, value)| Some((name.as_str().to_owned(), as_string(value)?)))
        .collect();
    let sender = string(properties.app_id()).or_else(|| string(properties.user_id()));
    // A message that hostmatch itself published names its original publisher, if known, in the header.
    if !headers.contains_key(header::PUBLISHER)
        && let Some(name) = sender.filter(|name| name != APP_ID)
    {
        headers.insert(header::PUBLISHER.to_owned(), name);
    }
    let mut message = Message {
        headers,
        routing_key: received.routing_key.as_str().to_owned(),
        message_type: string(properties.kind()),
        message_id: string(properties.message_id()),
        correlation_id: string(properties.correlation_id()),
        content_type: string(properties.content_type()),
        timestamp_ms: properties.timestamp().and_then(|s| i64::try_from(s.saturating_mul(1000)).ok()),
        body: received.data.into(),
    };
    if source == Source::Dead
        && !message.headers.contains_key(header::REASON)
        && let Some(death) = Death::of_work_queue(table, work_queue)
    {
        if let Some(routing_key) = death.routing_key {
            message.routing_key = routing_key;
        }
        let id = Uuid::new_v5(&BROKER_DEAD_LETTERS, &fingerprint(&message, death.time));
        copies::mark_dead_lettered(&mut message, &death.reason, id);
    }
    copies::receive(message, received.redelivered)
}

/// One entry of `x-death`: why and when the broker dead-lettered a message, and its routing key.
struct Death {
    reason: String,
    routing_key: Option<String>,
    time: u64,
}

impl Death {
    /// Returns the entry for the work queue, or else the newest entry. Most other entries are for wait queues,
    /// where messages expire by design.
    fn of_work_queue(headers: &FieldTable, work_queue: &str) -> Option<Self> {
        let deaths = headers.inner().get("x-death")?.as_array()?.as_slice();
        let mut deaths = deaths.iter().filter_map(AMQPValue::as_field_table);
        let in_work_queue = deaths
            .clone()
            .find(|death| death.inner().get("queue").and_then(as_string).as_deref() == Some(work_queue));
        let death = in_work_queue.or_else(|| deaths.next())?.inner();
        let keys = death.get("routing-keys").and_then(AMQPValue::as_array);
        Some(Self {
            reason: death.get("reason").and_then(as_string)?,
            routing_key: keys.and_then(|keys| keys.as_slice().first()).and_then(as_string),
            time: death.get("time").and_then(AMQPValue::as_timestamp).unwrap_or_default(),
        })
    }
}

/// Returns the same bytes for every delivery of one dead letter, so that recording it twice creates one row.
fn fingerprint(message: &Message, time: u64) -> Vec<u8> {
    let mut bytes = time.to_be_bytes().to_vec();
    bytes.extend_from_slice(message.message_id.as_deref().unwrap_or_default().as_bytes());
    bytes.push(0);
    bytes.extend_from_slice(&message.body);
    bytes
}

/// Returns a simple header value as a string; `None` for tables, arrays, decimals and bytes that are not UTF-8.
fn as_string(value: &AMQPValue) -> Option<String> {
    Some(match value {
        AMQPValue::LongString(value) => String::from_utf8(value.as_bytes().to_vec()).ok()?,
        AMQPValue::ByteArray(bytes) => String::from_utf8(bytes.as_slice().to_vec()).ok()?,
        AMQPValue::ShortString(value) => value.as_str().to_owned(),
        AMQPValue::Boolean(value) => value.to_string(),
        AMQPValue::ShortShortInt(value) => value.to_string(),
        AMQPValue::ShortShortUInt(value) => value.to_string(),
        AMQPValue::ShortInt(value) => value.to_string(),
        AMQPValue::ShortUInt(value) => value.to_string(),
        AMQPValue::LongInt(value) => value.to_string(),
        AMQPValue::LongUInt(value) => value.to_string(),
        AMQPValue::LongLongInt(value) => value.to_string(),
        AMQPValue::Float(value) => value.to_string(),
        AMQPValue::Double(value) => value.to_string(),
        AMQPValue::Timestamp(value) => value.to_string(),
        AMQPValue::DecimalValue(_)
        | AMQPValue::FieldArray(_)
        | AMQPValue::FieldTable(_)
        | AMQPValue::Void => return None,
    })
}
