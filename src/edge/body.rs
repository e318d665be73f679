//! Taking in a body: all of it, up to a size, before a deadline.

use axum::body::Bytes;
use axum::extract::{FromRequest as _, Request};
use axum::http::StatusCode;
use tokio::time::{Instant, timeout_at};

use super::problem;
use super::state::Edge;
use crate::http::problem::Problem;

/// When this request must have its answer.
pub(super) fn deadline(edge: &Edge) -> Instant {
    Instant::now() + edge.config.request_timeout
}

/// The bytes as they were sent. The router has set the limit.
///
/// # Errors
/// 413, 408, or 400 when the client hung up half-way.
pub(super) async fn read(edge: &Edge, request: Request, deadline: Instant) -> Result<Bytes, Problem> {
    match timeout_at(deadline, Bytes::from_request(request, &())).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(rejection)) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            Err(problem::too_large(edge.config.body_limit))
        }
        Ok(Err(_)) => Err(problem::broken_off()),
        Err(_) => Err(problem::too_slow()),
    }
}
