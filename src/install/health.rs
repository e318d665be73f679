//! Asking the health routes of an edge or a worker, as its callers do.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::http::client::{Client, ClientError};

/// What came of asking. `docs/commands.md` describes it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Health {
    pub(crate) url: String,
    pub(crate) well: bool,
    /// In its words, or why there are none.
    pub(crate) status: String,
    /// Why it is not well, or only in part.
    pub(crate) reasons: Vec<String>,
    #[serde(skip)]
    pub(crate) answered: bool,
}

#[derive(Deserialize)]
struct Answer {
    status: String,
    #[serde(default)]
    reasons: Vec<String>,
}

impl Health {
    /// In one line.
    pub(crate) fn words(&self) -> String {
        let reasons = self.reasons.join("; ");
        if reasons.is_empty() { self.status.clone() } else { format!("{}: {reasons}", self.status) }
    }
}

/// Asks at this address for this route. An error when the address is no URL.
pub(crate) async fn ask(base: &str, path: &str, timeout: Duration) -> Result<Health, ClientError> {
    let client = Client::new(base, timeout)?;
    let url = format!("{}{path}", client.base());
    Ok(match client.get(path).await {
        Ok(answer) => {
            let told: Option<Answer> = serde_json::from_slice(answer.body()).ok();
            let well = answer.status().is_success() && told.is_some();
            let (status, reasons) = match told {
                Some(told) => (told.status, told.reasons),
                None => (format!("no health route: {}", answer.status().as_u16()), Vec::new()),
            };
            Health { url, well, status, reasons, answered: true }
        }
        Err(error) => {
            // Somebody who listens and says nothing is of this machine, and not well.
            let answered = !matches!(error, ClientError::Unconnected(_));
            let why = match error {
                ClientError::Unconnected(_) => "nobody listens there".to_owned(),
                ClientError::Timeout(_) => format!("no answer within {} s", timeout.as_secs()),
                other => other.to_string(),
            };
            let reasons = vec![format!("{url}: {why}")];
            Health { url, well: false, status: "unreachable".to_owned(), reasons, answered }
        }
    })
}
