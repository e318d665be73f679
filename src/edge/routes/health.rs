//! `GET /health/live` and `GET /health/ready` of the edge. They publish nothing.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;

use crate::edge::sink::{Depth, SinkHealth};
use crate::edge::state::Edge;
use crate::http::health::{self, Check, Health};

/// What is told besides the checks.
#[derive(Serialize)]
pub(in crate::edge) struct Spooled {
    spool: Depth,
}

/// 503 when who works alongside in this process is stuck, else 200.
pub(in crate::edge) async fn live(State(edge): State<Arc<Edge>>) -> (StatusCode, Json<Health<()>>) {
    health::live(checks(&edge, edge.sink.health()))
}

/// 200 while what is posted now would be durably accepted: `degraded`, with the reasons, when that
/// is not the usual way, or when who works alongside in this process has a problem. A load balancer
/// must go on sending then.
pub(in crate::edge) async fn ready(State(edge): State<Arc<Edge>>) -> (StatusCode, Json<Health<Spooled>>) {
    let health = edge.sink.health();
    let accepts = health.accepts && !edge.shutdown.is_cancelled();
    let spool = health.spool;
    let checks = checks(&edge, health);
    let all_is_well = checks.iter().all(|check| check.reasons.is_empty());
    let spooled = spool.filter(|_| !all_is_well).map(|spool| Spooled { spool });
    health::ready(accepts, checks, spooled)
}

fn checks(edge: &Edge, health: SinkHealth) -> Vec<Check> {
    let mut checks = edge.record.checks(edge.findings(health));
    checks.extend(edge.alongside.iter().flat_map(|report| report()));
    checks
}
