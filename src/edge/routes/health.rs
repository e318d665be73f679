//! `GET /health/live` and `/health/ready`: for orchestrators and load balancers. Neither publishes
//! anything.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;

use crate::edge::state::Edge;

/// The answer of both.
#[derive(Serialize)]
pub(in crate::edge) struct Health {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

/// The process answers.
pub(in crate::edge) async fn live() -> Json<Health> {
    Json(Health { status: "live", reason: None })
}

/// What is posted now can be durably accepted; 503 with the reason when it cannot.
pub(in crate::edge) async fn ready(State(edge): State<Arc<Edge>>) -> (StatusCode, Json<Health>) {
    let reason = if edge.shutdown.is_cancelled() {
        Some("the edge is stopping")
    } else if !edge.publisher.is_ready() {
        Some("there is no way to the queue; the log says why")
    } else {
        None
    };
    match reason {
        None => (StatusCode::OK, Json(Health { status: "ready", reason })),
        Some(_) => (StatusCode::SERVICE_UNAVAILABLE, Json(Health { status: "not_ready", reason })),
    }
}
