//! The webhooks, with one event each: `POST /webhooks/calcom` for Cal.com; `POST /api/retell/webhook` for
//! the gateway and for Retell.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use tokio::time::Instant;

use crate::edge::auth::{self, Before};
use crate::edge::intake::{Arrival, Arrived, deadline_of, publish, read_body};
use crate::edge::layers::RequestSummary;
use crate::edge::state::{Edge, Place};
use crate::http::problem::Problem;
use crate::http::tokens::Scope;

/// Answers 200 once the event is durably queued, or when there is nothing to do for its trigger (PING
/// and unknown triggers). An unreadable event is queued too: Cal.com does not send anything twice.
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

/// Answers 200 with the event's id once it is durably queued, or when it carries no booking (like
/// Retell's own events). An unreadable event is queued too.
pub(in crate::edge) async fn retell(
    State(edge): State<Arc<Edge>>,
    Extension(place): Extension<Place>,
    request: Request,
) -> Result<Response, Problem> {
    let (deadline, headers) = (deadline_of(&edge), request.headers().clone());
    let from_retell = auth::is_from_retell(&headers);
    let before =
        if from_retell { Before::Unproven } else { auth::bearer(&edge, &headers, Scope::Retell).await? };
    let bytes = read_body(&edge, request, deadline).await?;
    let arrived = Arrived::now(&headers, if from_retell { "retell" } else { before.publisher() });
    if from_retell {
        auth::retell(&edge, &headers, &bytes, arrived.at_ms)?;
    } else if before == Before::Unproven {
        auth::gateway(&edge, &headers, &bytes)?;
    }
    let size = bytes.len();
    let arrival = arrived.take_anything(bytes);
    if arrival.message.is_some() {
        auth::company(&before, arrival.company)?;
    }
    answer(&edge, place, arrival, size, deadline).await
}

/// Queues a webhook's one event and answers 200 with its receipt.
async fn answer(
    edge: &Arc<Edge>,
    place: Place,
    arrival: Arrival,
    bytes: usize,
    deadline: Instant,
) -> Result<Response, Problem> {
    publish(edge, place, arrival.message.into_iter().collect(), deadline).await?;
    let summary = RequestSummary::of(std::slice::from_ref(&arrival.receipt), bytes);
    let mut response = Json(arrival.receipt).into_response();
    response.extensions_mut().insert(summary);
    Ok(response)
}
