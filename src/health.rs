//! What `/health/live` and `/health/ready` answer, for orchestrators and load balancers: of an edge,
//! beside its other routes, and of a worker, which has no others.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::connections::{self, Bounds};

/// After how long a connection ends on which nothing comes, and how large a head may be.
const BOUNDS: Bounds = Bounds { idle: Duration::from_secs(5), head: 16 << 10 };

/// Tells what keeps a part of this process from its work at this moment; nothing when all is well.
pub type Report = Arc<dyn Fn() -> Vec<String> + Send + Sync>;

/// The answer of both routes; `more` stands beside status and reasons.
#[derive(Debug, Serialize)]
pub struct Health<T> {
    status: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<String>,
    #[serde(flatten)]
    more: Option<T>,
}

/// The process answers.
pub async fn live() -> Json<Health<()>> {
    Json(Health { status: "live", reasons: Vec::new(), more: None })
}

/// 200 while it `works`: `ready`, or `degraded` when there are reasons to look all the same. Else
/// 503 and `not_ready`.
pub fn ready<T>(works: bool, reasons: Vec<String>, more: Option<T>) -> (StatusCode, Json<Health<T>>) {
    let (code, status) = match (works, reasons.is_empty()) {
        (true, true) => (StatusCode::OK, "ready"),
        (true, false) => (StatusCode::OK, "degraded"),
        (false, _) => (StatusCode::SERVICE_UNAVAILABLE, "not_ready"),
    };
    (code, Json(Health { status, reasons, more }))
}

/// Serves both routes for what `report` tells of, and `more`; nothing else. Never completes.
pub async fn serve(listener: TcpListener, report: Report, more: Router) {
    let told = move || {
        let reasons = report();
        std::future::ready(ready(reasons.is_empty(), reasons, None::<()>))
    };
    let routes = Router::new().route("/health/live", get(live)).route("/health/ready", get(told));
    serve_only(listener, routes.merge(more)).await;
}

/// Serves these routes, and nothing else. Never completes.
pub async fn serve_only(listener: TcpListener, routes: Router) {
    connections::serve(listener, routes, BOUNDS, &CancellationToken::new()).await;
}
