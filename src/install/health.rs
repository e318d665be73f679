//! Queries the health routes of an edge or a worker over HTTP.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::http::client::{Client, ClientError};

/// The result of a health query. `docs/commands.md` describes it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Health {
    pub(crate) url: String,
    pub(crate) well: bool,
    /// The status that the server reports, or the reason why there is none.
    pub(crate) status: String,
    /// Why the server is not ready, or is degraded.
    pub(crate) reasons: Vec<String>,
    #[serde(skip)]
    pub(crate) answered: bool,
}

#[derive(Deserialize)]
struct HealthDocument {
    status: String,
    #[serde(default)]
    reasons: Vec<String>,
}

impl Health {
    /// Returns the status and the reasons in one line.
    pub(crate) fn summary(&self) -> String {
        let reasons = self.reasons.join("; ");
        if reasons.is_empty() { self.status.clone() } else { format!("{}: {reasons}", self.status) }
    }
}

/// Gets this health route from the server at `base`. Fails only if `base` is not a URL.
pub(crate) async fn get_health(base: &str, path: &str, timeout: Duration) -> Result<Health, ClientError> {
    let client = Client::new(base, timeout)?;
    let url = format!("{}{path}", client.base());
    Ok(match client.get(path).await {
        Ok(response) => {
            let health: Option<HealthDocument> = serde_json::from_slice(response.body()).ok();
            let well = response.status().is_success() && health.is_some();
            let (status, reasons) = match health {
                Some(health) => (health.status, health.reasons),
                None => (format!("no health route: {}", response.status().as_u16()), Vec::new()),
            };
            Health { url, well, status, reasons, answered: true }
        }
        Err(error) => {
            // A server that accepts the connection but does not respond is running, but not well.
            let answered = !matches!(error, ClientError::ConnectFailed(_));
            let why = match error {
                ClientError::ConnectFailed(_) => "nothing listens there".to_owned(),
                ClientError::Timeout(_) => format!("no response within {} s", timeout.as_secs()),
                other => other.to_string(),
            };
            let reasons = vec![format!("{url}: {why}")];
            Health { url, well: false, status: "unreachable".to_owned(), reasons, answered }
        }
    })
}
