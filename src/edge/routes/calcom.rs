//! `POST /webhooks/calcom`: Cal.com's own webhooks.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;

use super::answer;
use crate::edge::auth;
use crate::edge::intake::{Arrived, deadline_of, read_body};
use crate::edge::state::{Edge, Place};
use crate::http::problem::Problem;

/// 200 once it is durably queued, or when there is nothing to do for its trigger (PING and those
/// that we do not know). What cannot be read is queued too: Cal.com sends nothing twice.
pub(in crate::edge) async fn calcom(
    State(edge): State<Arc<Edge>>,
    Extension(place): Extension<Place>,
    request: Request,
) -> Result<Response, Problem> {
    let (deadline, headers) = (deadline_of(&edge), request.headers().clone());
    let bytes = read_body(&edge, request, deadline).await?;
    auth::calcom(&edge, &headers, &bytes)?;
    let size = bytes.len();
    answer(&edge, place, Arrived::now(&headers, "calcom").take_anything(bytes), size, deadline).await
}
