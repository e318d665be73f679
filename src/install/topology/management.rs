//! RabbitMQ's management API: what AMQP does not tell. Only ever asked, and only where
//! `queue.management_url` is set.

use std::collections::BTreeMap;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::config::QueueConfig;
use crate::http::client::Client;
use crate::queue::QueueError;
use crate::queue::amqp::Settings;

/// Why something could not be learned. Holds no password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManagementError {
    /// There is no answer, or none that is understood.
    #[error("the management API does not answer as it should: {0}")]
    Silent(String),
    /// User or password are not accepted, or the user may not see this.
    #[error("the management API does not let its user see {0}")]
    Refused(&'static str),
}

/// The API of one broker, as this user sees it. No `Debug`: it holds a password.
pub struct Management {
    client: Client,
    vhost: String,
}

/// The broker.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Overview {
    /// Such as `3.10.8`.
    pub rabbitmq_version: String,
    /// The name of the cluster.
    pub cluster_name: String,
}

/// A node of it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// It is up.
    pub running: bool,
    /// It is short of memory: nobody can publish.
    pub mem_alarm: bool,
    /// It is short of disk: nobody can publish.
    pub disk_free_alarm: bool,
}

/// An exchange.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ExchangeInfo {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) durable: bool,
    pub(super) internal: bool,
    #[serde(deserialize_with = "object")]
    pub(super) arguments: BTreeMap<String, Value>,
    pub(super) policy: Option<String>,
}

/// A queue.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct QueueInfo {
    #[serde(deserialize_with = "object")]
    pub(super) arguments: BTreeMap<String, Value>,
    #[serde(deserialize_with = "object")]
    pub(super) effective_policy_definition: BTreeMap<String, Value>,
    pub(super) policy: Option<String>,
    pub(super) operator_policy: Option<String>,
}

/// From where to where.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct BindingInfo {
    pub(super) routing_key: String,
}

/// A policy.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct PolicyInfo {
    #[serde(deserialize_with = "object")]
    pub(super) definition: BTreeMap<String, Value>,
}

/// An object with nothing in it comes as an empty list, or as null.
fn object<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, Value>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Object(map) => map.into_iter().collect(),
        _ => BTreeMap::new(),
    })
}

impl Management {
    /// The API that is configured; none where none is.
    ///
    /// # Errors
    /// [`QueueError::Url`], for a URL that is none.
    pub fn of(config: &QueueConfig) -> Result<Option<Self>, QueueError> {
        let base = config.management_url.expose();
        if base.is_empty() {
            return Ok(None);
        }
        let settings = Settings::of(config)?;
        let userinfo = &settings.address.authority.userinfo;
        let client = Client::new(base, config.connect_timeout)
            .map_err(|error| QueueError::Url(format!("queue.management_url {error}")))?
            .with_login(&userinfo.username, &userinfo.password);
        Ok(Some(Self { client, vhost: encoded(&settings.address.vhost) }))
    }

    /// Its address.
    pub fn base(&self) -> &str {
        self.client.base()
    }

    /// The broker. Whoever may see nothing else may see this.
    ///
    /// # Errors
    /// [`ManagementError`]
    pub async fn overview(&self) -> Result<Overview, ManagementError> {
        Ok(self.get("/api/overview", "anything").await?.unwrap_or_default())
    }

    /// Its nodes; the user needs the tag `monitoring` for that.
    ///
    /// # Errors
    /// [`ManagementError`]
    pub async fn nodes(&self) -> Result<Vec<Node>, ManagementError> {
        let what = "the nodes (it lacks the tag monitoring: rabbitmqctl set_user_tags USER monitoring)";
        Ok(self.get("/api/nodes", what).await?.unwrap_or_default())
    }

    pub(super) async fn exchange(&self, name: &str) -> Result<Option<ExchangeInfo>, ManagementError> {
        let path = format!("/api/exchanges/{}/{}", self.vhost, encoded(name));
        self.get(&path, VHOST).await
    }

    pub(super) async fn queue(&self, name: &str) -> Result<Option<QueueInfo>, ManagementError> {
        let path = format!("/api/queues/{}/{}", self.vhost, encoded(name));
        self.get(&path, VHOST).await
    }

    pub(super) async fn bindings(
        &self,
        exchange: &str,
        queue: &str,
    ) -> Result<Vec<BindingInfo>, ManagementError> {
        let path = format!("/api/bindings/{}/e/{}/q/{}", self.vhost, encoded(exchange), encoded(queue));
        Ok(self.get(&path, VHOST).await?.unwrap_or_default())
    }

    /// What a policy says; none where this user may not see policies.
    pub(super) async fn policy(&self, name: &str) -> Result<Option<PolicyInfo>, ManagementError> {
        let what =
            "policies (it lacks the tag policymaker: rabbitmqctl set_user_tags USER monitoring policymaker)";
        self.get(&format!("/api/policies/{}/{}", self.vhost, encoded(name)), what).await
    }

    /// None when there is no such thing.
    async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        what: &'static str,
    ) -> Result<Option<T>, ManagementError> {
        let answer =
            self.client.get(path).await.map_err(|error| ManagementError::Silent(error.to_string()))?;
        match answer.status().as_u16() {
            200 => match serde_json::from_slice(answer.body()) {
                Ok(found) => Ok(Some(found)),
                // The text of the error may quote the answer.
                Err(_) => Err(ManagementError::Silent(format!("{} is not RabbitMQ's", self.base()))),
            },
            404 => Ok(None),
            401 | 403 => Err(ManagementError::Refused(what)),
            status => Err(ManagementError::Silent(format!("{} answers {status}", self.base()))),
        }
    }
}

const VHOST: &str = "the virtual host of queue.url (it needs a tag such as management, and any permission there: \
                     rabbitmqctl set_user_tags USER monitoring)";

fn encoded(name: &str) -> String {
    utf8_percent_encode(name, NON_ALPHANUMERIC).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_encoded_and_empty_objects_may_be_lists() {
        assert_eq!(encoded("/"), "%2F");
        let queue: QueueInfo = serde_json::from_str(
            r#"{"arguments":[],"effective_policy_definition":{"expires":5},"policy":null}"#,
        )
        .unwrap();
        assert!(queue.arguments.is_empty() && queue.policy.is_none());
        assert_eq!(queue.effective_policy_definition["expires"], 5);
    }
}
