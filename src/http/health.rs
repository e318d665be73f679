//! What `/health/live` and `/health/ready` answer, for orchestrators, load balancers and people: of an edge,
//! beside its other routes, and of a worker, which has no others.
//!
//! A role says what it finds at this moment ([`Finding`]); it is asked every second, and a [`Record`] remembers
//! since when that has been so.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::server::{self, Limits};
use crate::runtime::locked;

/// After how long a connection ends on which nothing comes, and how large a head may be.
const LIMITS: Limits = Limits { idle: Duration::from_secs(5), head: 16 << 10 };

/// How often a role looks at itself.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// How a part of a role is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should be.
    Ok,
    /// It works, and somebody should look.
    Degraded,
    /// It does not work. It may again by itself.
    Failed,
    /// It does not work, and only another start of the process will help.
    Stuck,
}

/// What a role finds of one of its parts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The part, one of a closed list for each role.
    pub name: &'static str,
    /// How it is.
    pub state: State,
    /// Why, in words without secrets or personal data; nothing when all is well.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
}

impl Finding {
    /// Of a part that is as it should be when there are no `reasons`, and else in this state.
    pub fn new(name: &'static str, otherwise: State, reasons: Vec<String>) -> Self {
        let state = if reasons.is_empty() { State::Ok } else { otherwise };
        Self { name, state, reasons }
    }
}

/// A finding, and since when it has been so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// The role: `edge` or `worker`.
    pub role: &'static str,
    /// What is found.
    #[serde(flatten)]
    pub finding: Finding,
    /// Since when it has been in this state, to a second or so.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
}

/// Remembers since when the parts of a role are as they are.
#[derive(Debug)]
pub struct Record {
    role: &'static str,
    known: Mutex<BTreeMap<&'static str, (State, OffsetDateTime)>>,
}

impl Record {
    /// Of this role.
    pub fn new(role: &'static str) -> Self {
        Self { role, known: Mutex::default() }
    }

    /// What is found now, and since when it has been so.
    pub fn checks(&self, findings: Vec<Finding>) -> Vec<Check> {
        let now = OffsetDateTime::now_utc();
        let now = now.replace_nanosecond(0).unwrap_or(now);
        let mut known = locked(&self.known);
        let checks = findings.into_iter().map(|finding| {
            let since = match known.get(finding.name) {
                Some((before, since)) if *before == finding.state => *since,
                _ => now,
            };
            known.insert(finding.name, (finding.state, since));
            Check { role: self.role, finding, since }
        });
        checks.collect()
    }
}

/// Tells how each part of a role in this process is at this moment.
pub type Report = Arc<dyn Fn() -> Vec<Check> + Send + Sync>;

/// Looks again and again, so that it is known since when something is so. Never completes.
pub async fn keep<T>(look: impl Fn() -> T) {
    let mut ticks = interval(POLL_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        look();
    }
}

/// The answer of both routes; `more` stands beside the rest.
#[derive(Debug, Serialize)]
pub struct Health<T> {
    status: &'static str,
    version: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<String>,
    checks: Vec<Check>,
    #[serde(flatten)]
    more: Option<T>,
}

/// 200 and `live` while the process answers and none of it is stuck; else 503 and `stuck`.
pub fn live(checks: Vec<Check>) -> (StatusCode, Json<Health<()>>) {
    let stuck: Vec<&Check> = checks.iter().filter(|check| check.finding.state == State::Stuck).collect();
    let (code, status) = match stuck.is_empty() {
        true => (StatusCode::OK, "live"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "stuck"),
    };
    let reasons = stuck.into_iter().flat_map(|check| check.finding.reasons.clone()).collect();
    (code, answer(status, reasons, checks, None))
}

/// 200 while it `works`: `ready`, or `degraded` when there is reason to look all the same. Else
/// 503 and `not_ready`.
pub fn ready<T>(works: bool, checks: Vec<Check>, more: Option<T>) -> (StatusCode, Json<Health<T>>) {
    let reasons: Vec<String> = checks.iter().flat_map(|check| check.finding.reasons.clone()).collect();
    let (code, status) = match (works, reasons.is_empty()) {
        (true, true) => (StatusCode::OK, "ready"),
        (true, false) => (StatusCode::OK, "degraded"),
        (false, _) => (StatusCode::SERVICE_UNAVAILABLE, "not_ready"),
    };
    (code, answer(status, reasons, checks, more))
}

fn answer<T>(
    status: &'static str,
    reasons: Vec<String>,
    checks: Vec<Check>,
    more: Option<T>,
) -> Json<Health<T>> {
    Json(Health { status, version: env!("CARGO_PKG_VERSION"), reasons, checks, more })
}

/// Serves both routes for what `report` tells of (it works while each part does), and `more`; nothing else.
/// Never completes.
pub async fn serve(listener: TcpListener, report: Report, more: Router) {
    let (living, working) = (report.clone(), report.clone());
    let lives = move || std::future::ready(live(living()));
    let works = move || {
        let checks = working();
        let works = checks.iter().all(|check| matches!(check.finding.state, State::Ok | State::Degraded));
        std::future::ready(ready(works, checks, None::<()>))
    };
    let routes = Router::new().route("/health/live", get(lives)).route("/health/ready", get(works));
    tokio::join!(serve_only(listener, routes.merge(more)), keep(|| report()));
}

/// Serves these routes, and nothing else. Never completes.
pub async fn serve_only(listener: TcpListener, routes: Router) {
    server::serve(listener, routes, LIMITS, &CancellationToken::new()).await;
}
