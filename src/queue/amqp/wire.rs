//! Converts between AMQP properties and a [`Message`].

use std::collections::BTreeMap;

use lapin::BasicProperties;
use lapin::message::Delivery as Received;
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use uuid::Uuid;

use super::Settings;
use super::header_keys::HeaderKeys;
use crate::event::ENCODING_HEADER;
use crate::queue::message::{Delivery, Message, header, is_own_header};
use crate::queue::{Source, copies};

/// The namespace of the ids of messages that the broker itself dead-lettered.
const BROKER_DEAD_LETTERS: Uuid = Uuid::from_u128(0x5e1f_0c9a_7c55_4f0e_9d0b_3a61_d2b8_44c7);

const PERSISTENT: u8 = 2;

/// Converts a string to an AMQP short string. [`copies::check`] has refused longer strings, on which lapin would
/// panic.
pub(super) fn short_string(value: &str) -> ShortString {
    ShortString::try_new(value).unwrap_or_default()
}

/// The reason of a dead letter whose headers are not proven.
const UNVERIFIED: &str = "unverified";

/// The `app_id` of the messages that we publish.
const APP_ID: &str = "hostmatch";

/// Returns the properties with which a message is published: always persistent, with the proof that our headers
/// are our own.
pub(super) fn properties(message: &Message, keys: &HeaderKeys) -> BasicProperties {
    let mut headers = FieldTable::default();
    let mut insert = |name, value: &str| {
        headers.insert(short_string(name), AMQPValue::LongString(LongString::from(value.as_bytes())));
    };
    for (name, value) in &message.headers {
        insert(name, value);
    }
    if let Some(proof) = keys.sign(&message.headers, &message.body) {
        insert(header::MAC, &proof);
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

/// Returns the size of the frame with these properties, which cannot be split, in bytes. It is exact for
/// properties from [`properties`].
pub(super) fn header_frame_size(properties: &BasicProperties) -> usize {
    // Type, channel, size and end of the frame; class, weight, size of the body and flags.
    const FIXED: usize = (1 + 2 + 4 + 1) + (2 + 2 + 8 + 2);
    const DELIVERY_MODE: usize = 1;
    const TIMESTAMP: usize = 8;
    let texts = [
        properties.content_type(),
        properties.kind(),
        properties.message_id(),
        properties.correlation_id(),
        properties.app_id(),
    ];
    let texts: usize = texts.into_iter().flatten().map(|text| 1 + text.as_str().len()).sum();
    let header = |(name, value): (&ShortString, &AMQPValue)| {
        1 + name.as_str().len() + 1 + 4 + value.as_long_string().map_or(0, |value| value.as_bytes().len())
    };
    let headers =
        properties.headers().as_ref().map_or(0, |table| 4 + table.into_iter().map(header).sum::<usize>());
    FIXED + DELIVERY_MODE + TIMESTAMP + texts + headers
}

/// Converts a received message, without the broker's own headers, and without our own unless they are proven. A
/// message in the dead-letter queue that no worker put there, as far as is known, gets a reason and an id.
pub(super) fn receive(received: Received, source: Source, settings: &Settings) -> Delivery {
    let properties = received.properties;
    let string = |value: &Option<ShortString>| value.as_ref().map(|value| value.as_str().to_owned());
    let empty = FieldTable::default();
    let table = properties.headers().as_ref().unwrap_or(&empty);
    let mut message = Message {
        headers: table
            .into_iter()
            .filter(|(name, _)| !copies::is_brokers_own(name.as_str()))
            .filter_map(|(name, value)| Some((name.as_str().to_owned(), as_string(value)?)))
            .collect(),
        routing_key: received.routing_key.as_str().to_owned(),
        message_type: string(properties.kind()),
        message_id: string(properties.message_id()),
        correlation_id: string(properties.correlation_id()),
        content_type: string(properties.content_type()),
        timestamp_ms: properties.timestamp().and_then(|s| i64::try_from(s.saturating_mul(1000)).ok()),
        body: received.data.into(),
    };
    if let Some(encoding) = string(properties.content_encoding()) {
        message.headers.insert(ENCODING_HEADER.to_owned(), encoding);
    }
    let unproven = remove_unproven(&mut message, &settings.header_keys);
    let sender = string(properties.app_id()).or_else(|| string(properties.user_id()));
    // A message that hostmatch itself published names its original publisher, if known, in the header.
    if !message.headers.contains_key(header::PUBLISHER)
        && let Some(name) = sender.filter(|name| name != APP_ID)
    {
        message.headers.insert(header::PUBLISHER.to_owned(), name);
    }
    let topology = &settings.topology;
    let death = if source == Source::Dead && !message.headers.contains_key(header::REASON) {
        Some(Death::of_work_queue(table, &topology.work))
    } else {
        None
    };
    if let Some(Some(Death { routing_key: Some(routing_key), .. })) = &death {
        message.routing_key.clone_from(routing_key);
    }
    // The copies of a version without proofs have the name of a queue as their routing key. The header says no
    // more than the routing key itself, which a publisher chooses too.
    if [&topology.work, &topology.dead].contains(&&message.routing_key)
        && let Some(routing_key) =
            unproven.get(header::ROUTING_KEY).filter(|key| key.len() <= copies::MAX_SHORT)
    {
        message.routing_key.clone_from(routing_key);
    }
    match death {
        None => {}
        Some(Some(death)) => {
            let id = Uuid::new_v5(&BROKER_DEAD_LETTERS, &fingerprint(&message, death.time));
            copies::mark_dead_lettered(&mut message, death.reason, id);
        }
        Some(None) => mark_unverified(&mut message, &unproven),
    }
    copies::receive(message, received.redelivered)
}

/// Removes our own headers unless they are proven, and returns those that are not.
fn remove_unproven(message: &mut Message, keys: &HeaderKeys) -> BTreeMap<String, String> {
    let proof = message.headers.remove(header::MAC);
    let mut own: BTreeMap<_, _> = message.headers.extract_if(.., |name, _| is_own_header(name)).collect();
    if proof.is_some_and(|proof| keys.verify(&proof, &own, &message.body)) {
        message.headers.append(&mut own);
    }
    own
}

/// Marks a dead letter whose headers are not proven: one of an earlier version or with another key, or one that
/// another program published. Its id is the one that a worker would give it.
fn mark_unverified(message: &mut Message, unproven: &BTreeMap<String, String>) {
    let is_code = |text: &&String| {
        text.len() <= 32 && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    };
    let claim = unproven.get(header::REASON).filter(is_code);
    let claim = claim.map(|reason| format!("; they give the reason {reason}")).unwrap_or_default();
    let explanation = format!(
        "it is not known why this is a dead letter: its x-hostmatch headers were set by an earlier version, with \
         another queue.header_key, or by another program{claim}"
    );
    let id = copies::identity(message);
    copies::mark_dead_lettered(message, (UNVERIFIED, &explanation), id);
}

/// One entry of `x-death`: why and when the broker dead-lettered a message, and its routing key.
struct Death {
    /// One of the broker's own reasons, with an explanation.
    reason: (&'static str, &'static str),
    routing_key: Option<String>,
    time: u64,
}

impl Death {
    /// Returns the entry for the work queue, or else the newest entry. Most other entries are for wait queues,
    /// where messages expire by design. Before RabbitMQ 4 a publisher can write entries too, so only reasons
    /// that the broker gives count.
    fn of_work_queue(headers: &FieldTable, work_queue: &str) -> Option<Self> {
        let deaths = headers.inner().get("x-death")?.as_array()?.as_slice();
        let mut deaths = deaths.iter().filter_map(AMQPValue::as_field_table);
        let in_work_queue = deaths
            .clone()
            .find(|death| death.inner().get("queue").and_then(as_string).as_deref() == Some(work_queue));
        let death = in_work_queue.or_else(|| deaths.next())?.inner();
        let reason = death.get("reason").and_then(as_string)?;
        let keys = death.get("routing-keys").and_then(AMQPValue::as_array);
        Some(Self {
            reason: copies::QUEUE_REASONS.into_iter().find(|(name, _)| *name == reason)?,
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

/// Returns a number in the notation that needs less memory: `decimal` of a tiny or huge one has hundreds of digits.
fn short_number(decimal: String, number: f64) -> String {
    if decimal.len() > 32 { format!("{number:e}") } else { decimal }
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
        AMQPValue::Float(value) => short_number(value.to_string(), f64::from(*value)),
        AMQPValue::Double(value) => short_number(value.to_string(), *value),
        AMQPValue::Timestamp(value) => value.to_string(),
        AMQPValue::DecimalValue(_)
        | AMQPValue::FieldArray(_)
        | AMQPValue::FieldTable(_)
        | AMQPValue::Void => return None,
    })
}
