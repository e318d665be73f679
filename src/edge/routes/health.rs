//! `GET /health/ready` of the edge. Publishes nothing.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;

use crate::edge::sink::Depth;
use crate::edge::state::Edge;
use crate::health::{self, Health};

/// What is told besides the reasons.
#[derive(Serialize)]
pub(in crate::edge) struct Spooled {
    spool: Depth,
}

/// 200 while what is posted now would be durably accepted: `degraded`, with the reasons, when that
/// is not the usual way, or when who works alongside in this process has a problem. A load balancer
/// must go on sending then.
pub(in crate::edge) async fn ready(State(edge): State<Arc<Edge>>) -> (StatusCode, Json<Health<Spooled>>) {
    let mut standing = edge.sink.standing();
    if edge.shutdown.is_cancelled() {
        standing.accepts = false;
        standing.reasons.push("the edge is stopping".to_owned());
    }
    standing.reasons.extend(edge.alongside.iter().flat_map(|report| report()));
    let spooled = standing.spool.filter(|_| !standing.reasons.is_empty()).map(|spool| Spooled { spool });
    health::ready(standing.accepts, standing.reasons, spooled)
}
