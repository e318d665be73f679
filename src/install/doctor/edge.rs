//! An edge that runs somewhere else, as its callers see it.

use std::time::Duration;

use super::{Code, Report};
use crate::install::health::ask;

const TIMEOUT: Duration = Duration::from_secs(10);

/// Looks at the edge at this address.
pub(super) async fn check(url: &str, report: &mut Report) {
    report.looked(&[Code::EdgeUnreachable]);
    match ask(url, "/health/live", TIMEOUT).await {
        Ok(live) if live.well => {}
        Ok(live) => return report.found(Code::EdgeUnreachable, &live.url, live.words()),
        Err(error) => return report.found(Code::EdgeUnreachable, "--edge", error.to_string()),
    }
    report.looked(&[Code::EdgeNotReady]);
    match ask(url, "/health/ready", TIMEOUT).await {
        Ok(ready) if ready.well && ready.status == "ready" => {}
        Ok(ready) => report.found(Code::EdgeNotReady, &ready.url, ready.words()),
        Err(error) => report.found(Code::EdgeNotReady, url, error.to_string()),
    }
}
