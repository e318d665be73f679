//! An edge that runs somewhere else, as its callers see it.

use std::time::Duration;

use axum::http::StatusCode;
use serde::Deserialize;

use super::Report;
use super::code::Code;
use crate::http::client::Client;

const TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Default, Deserialize)]
#[serde(default)]
struct Health {
    status: String,
    reasons: Vec<String>,
}

/// Looks at the edge at this address.
pub(super) async fn look(url: &str, report: &mut Report) {
    report.looked(&[Code::EdgeUnreachable]);
    let client = match Client::new(url, TIMEOUT) {
        Ok(client) => client,
        Err(error) => return report.found(Code::EdgeUnreachable, "--edge", error.to_string()),
    };
    let subject = client.base().to_owned();
    match client.get("/health/live").await {
        Ok(answer) if answer.status() == StatusCode::OK => {}
        Ok(answer) => {
            let what = format!("/health/live answers {}", answer.status().as_u16());
            return report.found(Code::EdgeUnreachable, subject, what);
        }
        Err(error) => return report.found(Code::EdgeUnreachable, subject, error.to_string()),
    }
    report.looked(&[Code::EdgeNotReady]);
    match client.get("/health/ready").await {
        Ok(answer) => {
            let health: Health = serde_json::from_slice(answer.body()).unwrap_or_default();
            if answer.status() != StatusCode::OK || health.status != "ready" {
                let status = if health.status.is_empty() {
                    answer.status().as_u16().to_string()
                } else {
                    health.status
                };
                let what = format!("/health/ready: {status} {}", health.reasons.join("; "));
                report.found(Code::EdgeNotReady, subject, what.trim_end());
            }
        }
        Err(error) => report.found(Code::EdgeNotReady, subject, error.to_string()),
    }
}
