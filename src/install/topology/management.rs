//! RabbitMQ's management API: what AMQP does not tell. Only ever asked, and only where
//! `queue.management_url` is set.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::config::QueueConfig;
use crate::http::client::Client;
use crate::queue::QueueError;
use crate::queue::amqp::Settings;

/// Why something could not be learned. Holds no password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ManagementError {
    /// There is no answer, or none that is understood.
    #[error("the management API does not answer as it should: {0}")]
    Silent(String),
    /// User or password are not accepted, or the user may not see this.
    #[error("the management API does not let its user see {0}")]
    Refused(&'static str),
}

/// The API of one broker, as this user sees it. No `Debug`: it holds a password.
pub(crate) struct Management(Client);

impl Management {
    /// The API that is configured; none where none is. An error for a URL that is none.
    pub(crate) fn of(config: &QueueConfig) -> Result<Option<Self>, QueueError> {
        let base = config.management_url.expose();
        if base.is_empty() {
            return Ok(None);
        }
        let settings = Settings::of(config)?;
        let userinfo = &settings.address.authority.userinfo;
        let client = Client::new(base, config.connect_timeout)
            .map_err(|error| QueueError::Url(format!("queue.management_url {error}")))?;
        Ok(Some(Self(client.with_login(&userinfo.username, &userinfo.password))))
    }

    pub(crate) fn base(&self) -> &str {
        self.0.base()
    }

    /// What stands under this path, such as `["queues", "/", "hostmatch.dead"]`; none when there is no such thing.
    /// Whoever may see nothing else may see the `overview`.
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
        let answer = self.0.get(&format!("/api{path}")).await;
        let answer = answer.map_err(|error| ManagementError::Silent(error.to_string()))?;
        match answer.status().as_u16() {
            // The text of the error may quote the answer.
            200 => serde_json::from_slice(answer.body())
                .map(Some)
                .map_err(|_| ManagementError::Silent(format!("{} is not RabbitMQ's", self.base()))),
            404 => Ok(None),
            401 | 403 => Err(ManagementError::Refused(what)),
            status => Err(ManagementError::Silent(format!("{} answers {status}", self.base()))),
        }
    }
}
