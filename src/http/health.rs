//! The routes `/health/live` and `/health/ready` for orchestrators, load balancers and operators. An edge has
//! them in addition to its other routes; a worker has only these.
//!
//! A role reports its current state as [`Finding`]s. The state is polled every second, and a [`Record`]
//! keeps the time at which each part entered its state.

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

/// The limits of the connections. Few clients connect: an orchestrator, a load balancer, Prometheus.
const LIMITS: Limits = Limits {
    idle: Duration::from_secs(5),
    head: 16 << 10,
    write: Duration::from_secs(5),
    connections: 32,
    per_address: 0,
    on_close: |_| {},
};

/// How often a role's state is polled.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The state of a part of a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// The part works.
    Ok,
    /// The part works, but needs attention.
    Degraded,
    /// The part does not work, but may recover by itself.
    Failed,
    /// The part does not work, and only a restart of the process will help.
    Stuck,
}

/// The current state of one part of a role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The part, one of a closed list for each role.
    pub name: &'static str,
    /// Its state.
    pub state: State,
    /// The reasons for the state, without secrets or personal data; empty if the part is ok.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
}

impl Finding {
    /// Creates a finding: the part is ok if there are no `reasons`, otherwise it is in `problem_state`.
    pub fn new(name: &'static str, problem_state: State, reasons: Vec<String>) -> Self {
        let state = if reasons.is_empty() { State::Ok } else { problem_state };
        Self { name, state, reasons }
    }
}

/// A finding, and the time at which the part entered this state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// The role: `edge` or `worker`.
    pub role: &'static str,
    /// The part's state.
    #[serde(flatten)]
    pub finding: Finding,
    /// The time at which the part entered this state, accurate to about a second.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
}

/// Records the time at which each part of a role entered its state.
#[derive(Debug)]
pub struct Record {
    role: &'static str,
    known: Mutex<BTreeMap<&'static str, (State, OffsetDateTime)>>,
}

impl Record {
    /// Creates an empty record for this role.
    pub fn new(role: &'static str) -> Self {
        Self { role, known: Mutex::default() }
    }

    /// Records these findings, and returns each with the time at which its state began.
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

/// Reports the current state of each part of a role in this process.
pub type Report = Arc<dyn Fn() -> Vec<Check> + Send + Sync>;

/// Polls `report` regularly, so that the record knows when a state began. Never completes.
pub async fn poll<T>(report: impl Fn() -> T) {
    let mut ticks = interval(POLL_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        report();
    }
}

/// The response of both routes, with the fields of `extra` added.
#[derive(Debug, Serialize)]
pub struct Health<T> {
    status: &'static str,
    version: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<String>,
    checks: Vec<Check>,
    #[serde(flatten)]
    extra: Option<T>,
}

/// Responds with 200 and `live` while no part is stuck; otherwise with 503 and `stuck`.
pub fn live(checks: Vec<Check>) -> (StatusCode, Json<Health<()>>) {
    let stuck: Vec<&Check> = checks.iter().filter(|check| check.finding.state == State::Stuck).collect();
    let (code, status) = match stuck.is_empty() {
        true => (StatusCode::OK, "live"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "stuck"),
    };
    let reasons = stuck.into_iter().flat_map(|check| check.finding.reasons.clone()).collect();
    (code, respond(status, reasons, checks, None))
}

/// Responds with 200 while the role `works`, and with the status `ready`, or `degraded` if a part has a
/// problem. Otherwise responds with 503 and `not_ready`.
pub fn ready<T>(works: bool, checks: Vec<Check>, extra: Option<T>) -> (StatusCode, Json<Health<T>>) {
    let reasons: Vec<String> = checks.iter().flat_map(|check| check.finding.reasons.clone()).collect();
    let (code, status) = match (works, reasons.is_empty()) {
        (true, true) => (StatusCode::OK, "ready"),
        (true, false) => (StatusCode::OK, "degraded"),
        (false, _) => (StatusCode::SERVICE_UNAVAILABLE, "not_ready"),
    };
    (code, respond(status, reasons, checks, extra))
}

fn respond<T>(
    status: &'static str,
    reasons: Vec<String>,
    checks: Vec<Check>,
    extra: Option<T>,
) -> Json<Health<T>> {
    Json(Health { status, version: env!("CARGO_PKG_VERSION"), reasons, checks, extra })
}

/// Serves both routes from `report`, and `other_routes`. The role works while each of its parts works.
/// Never completes.
pub async fn serve(listener: TcpListener, report: Report, other_routes: Router) {
    let (live_report, ready_report) = (report.clone(), report.clone());
    let live_route = move || std::future::ready(live(live_report()));
    let ready_route = move || {
        let checks = ready_report();
        let works = checks.iter().all(|check| matches!(check.finding.state, State::Ok | State::Degraded));
        std::future::ready(ready(works, checks, None::<()>))
    };
    let routes =
        Router::new().route("/health/live", get(live_route)).route("/health/ready", get(ready_route));
    tokio::join!(serve_only(listener, routes.merge(other_routes)), poll(|| report()));
}

/// Serves these routes only. Never completes.
pub async fn serve_only(listener: TcpListener, routes: Router) {
    server::serve(listener, routes, LIMITS, &CancellationToken::new()).await;
}
