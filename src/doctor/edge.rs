//! An edge that runs somewhere else, as its callers see it.

use std::time::Duration;

use serde::Deserialize;

use super::Report;
use super::code::Code;
use crate::fetch::Fetcher;

const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Default, Deserialize)]
#[serde(default)]
struct Health {
    status: String,
    reasons: Vec<String>,
}

/// Looks at the edge at this address.
pub(super) async fn look(url: &str, report: &mut Report) {
    report.looked(&[Code::EdgeUnreachable]);
    let fetcher = match Fetcher::new(url, None, PATIENCE) {
        Ok(fetcher) => fetcher,
        Err(error) => return report.found(Code::EdgeUnreachable, "--edge", error.to_string()),
    };
    let subject = fetcher.base().to_owned();
    match fetcher.get("/health/live").await {
        Ok(answer) if answer.status == 200 => {}
        Ok(answer) => {
            let what = format!("/health/live answers {}", answer.status);
            return report.found(Code::EdgeUnreachable, subject, what);
        }
        Err(error) => return report.found(Code::EdgeUnreachable, subject, error.to_string()),
    }
    report.looked(&[Code::EdgeNotReady]);
    match fetcher.get("/health/ready").await {
        Ok(answer) => {
            let health: Health = serde_json::from_slice(&answer.body).unwrap_or_default();
            if answer.status != 200 || health.status != "ready" {
                let status = if health.status.is_empty() { answer.status.to_string() } else { health.status };
                let what = format!("/health/ready: {status} {}", health.reasons.join("; "));
                report.found(Code::EdgeNotReady, subject, what.trim_end());
            }
        }
        Err(error) => report.found(Code::EdgeNotReady, subject, error.to_string()),
    }
}
