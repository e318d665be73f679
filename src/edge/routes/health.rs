//! `GET /health/live` and `/health/ready`: for orchestrators and load balancers. Neither publishes
//! anything.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;

use crate::edge::sink::Depth;
use crate::edge::state::Edge;

/// The answer of both.
#[derive(Serialize)]
pub(in crate::edge) struct Health {
    status: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    spool: Option<Depth>,
}

/// The process answers.
pub(in crate::edge) async fn live() -> Json<Health> {
    Json(Health { status: "live", reasons: Vec::new(), spool: None })
}

/// 200 while what is posted now would be durably accepted: `degraded`, with the reasons, when that
/// is not the usual way. A load balancer must go on sending then.
pub(in crate::edge) async fn ready(State(edge): State<Arc<Edge>>) -> (StatusCode, Json<Health>) {
    let mut standing = edge.sink.standing();
    if edge.shutdown.is_cancelled() {
        standing.accepts = false;
        standing.reasons.push("the edge is stopping".to_owned());
    }
    let (code, status) = match (standing.accepts, standing.reasons.is_empty()) {
        (true, true) => (StatusCode::OK, "ready"),
        (true, false) => (StatusCode::OK, "degraded"),
        (false, _) => (StatusCode::SERVICE_UNAVAILABLE, "not_ready"),
    };
    let spool = standing.spool.filter(|_| status != "ready");
    (code, Json(Health { status, reasons: standing.reasons, spool }))
}
