//! A client for RabbitMQ's management API, which reports what AMQP does not. The client only reads, and is
//! used only if `queue.management_url` is set.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::config::QueueConfig;
use crate::http::client::Client;
use crate::queue::QueueError;
use crate::queue::amqp::Settings;

/// Why a request to the API failed. The text contains no password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ManagementError {
    /// There is no response, or none of RabbitMQ's.
    #[error("the management API does not answer as expected: {0}")]
    Unavailable(String),
    /// The user or the password is not accepted, or the user may not see this.
    #[error("the user of the management API may not see {0}")]
    Refused(&'static str),
}

/// The API of one broker, as this user sees it. It has no `Debug`, because it contains a password.
pub(crate) struct Management(Client);

impl Management {
    /// Creates a client for the configured API; `None` if no API is configured. Fails if the URL is invalid.
    pub(crate) fn of(config: &QueueConfig) -> Result<Option<Self>, QueueError> {
        let base = config.management_url.expose();
        if base.is_empty() {
            return Ok(None);
        }
        let settings = Settings::of(config)?;
        let userinfo = &settings.address.authority.userinfo;
        let client = Client::new(base, config.connect_timeout)
            .map_err(|error| QueueError::Config(format!("queue.management_url: {error}")))?;
        Ok(Some(Self(client.with_login(&userinfo.username, &userinfo.password))))
    }

    pub(crate) fn base(&self) -> &str {
        self.0.base()
    }

    /// Gets this path, such as `["queues", "/", "hostmatch.dead"]`; `None` if it does not exist. Every user of
    /// the API may see the `overview`.
    pub(crate) async fn get(&self, path: &[&str]) -> Result<Option<Value>, ManagementError> {
        let what = match path.first() {
            Some(&"overview") => "anything",
            Some(&"nodes") => {
                "the nodes (it lacks the tag monitoring: rabbitmqctl set_user_tags USER monitoring)"
            }
            Some(&"policies") => {
                "policies (it lacks the tag policymaker: rabbitmqctl set_user_tags USER monitoring policymaker)"
            }
            _ => {
                "the virtual host of queue.url (it needs a tag such as management, and any permission there: \
                 rabbitmqctl set_user_tags USER monitoring)"
            }
        };
        let path: String =
            path.iter().map(|part| format!("/{}", utf8_percent_encode(part, NON_ALPHANUMERIC))).collect();
        let response = self.0.get(&format!("/api{path}")).await;
        let response = response.map_err(|error| ManagementError::Unavailable(error.to_string()))?;
        match response.status().as_u16() {
            // The text of the error may quote the response.
            200 => serde_json::from_slice(response.body())
                .map(Some)
                .map_err(|_| ManagementError::Unavailable(format!("{} is not RabbitMQ's", self.base()))),
            404 => Ok(None),
            401 | 403 => Err(ManagementError::Refused(what)),
            status => Err(ManagementError::Unavailable(format!("{} answers {status}", self.base()))),
        }
    }
}
