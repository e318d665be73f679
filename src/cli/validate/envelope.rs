//! What travels outside the body of a message, on the command line.

use std::collections::BTreeMap;

use crate::contract::CONTENT_TYPES;
use crate::event::Envelope;
use crate::runtime::clock::now_ms;

/// What travels outside the body.
#[derive(Debug, clap::Args)]
pub(super) struct Outside {
    /// A header, such as ce-type=appointment.created (repeatable)
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = pair)]
    headers: Vec<(String, String)>,
    /// The routing key
    #[arg(long, value_name = "KEY", default_value = "")]
    routing_key: String,
    /// The content type. What a message is, its bytes decide; but the edge takes some only
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// The AMQP property type
    #[arg(long, value_name = "TYPE")]
    message_type: Option<String>,
    /// The AMQP property message_id
    #[arg(long, value_name = "ID")]
    message_id: Option<String>,
    /// The AMQP property correlation_id
    #[arg(long, value_name = "ID")]
    correlation_id: Option<String>,
    /// The AMQP property timestamp, in seconds since 1970
    #[arg(long, value_name = "SECONDS")]
    timestamp: Option<i64>,
}

impl Outside {
    /// Whether `POST /v1/events` does not take this content type.
    pub(super) fn is_refused_by_the_edge(&self) -> bool {
        self.content_type.as_ref().is_some_and(|given| {
            let given = given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
            !CONTENT_TYPES.contains(&given.as_str())
        })
    }

    /// What `with` makes of this body within it, as if it came now.
    pub(super) fn around<T>(&self, body: &[u8], with: impl FnOnce(&Envelope<'_>) -> T) -> T {
        let headers: BTreeMap<String, String> = self.headers.iter().cloned().collect();
        with(&Envelope {
            headers: &headers,
            routing_key: &self.routing_key,
            message_type: self.message_type.as_deref(),
            message_id: self.message_id.as_deref(),
            correlation_id: self.correlation_id.as_deref(),
            timestamp_ms: self.timestamp.map(|seconds| seconds.saturating_mul(1000)),
            ..Envelope::new(body, now_ms())
        })
    }
}

// The value may be anything, and is not repeated.
fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| "write NAME=VALUE".to_owned())?;
    Ok((name.to_owned(), value.to_owned()))
}
