//! One file for each route.

mod retell;
mod calcom;
mod events;
mod health;
mod openapi;

use std::sync::Arc;

use axum::Json;
use axum::response::{IntoResponse as _, Response};

use super::intake::{Arrival, publish};
use super::layers::RequestSummary;
use super::state::{Edge, Place};
use crate::http::problem::Problem;

pub(super) use calcom::calcom;
pub(super) use events::events;
pub(super) use health::{live, ready};
pub(super) use openapi::openapi;
pub(super) use retell::retell;

/// Queues a webhook's one event and answers 200 with its receipt.
async fn answer(
    edge: &Arc<Edge>,
    place: Place,
    arrival: Arrival,
    bytes: usize,
    deadline: tokio::time::Instant,
) -> Result<Response, Problem> {
    publish(edge, place, arrival.message.into_iter().collect(), deadline).await?;
    let summary = RequestSummary::one(&arrival.receipt, bytes);
    let mut response = Json(arrival.receipt).into_response();
    response.extensions_mut().insert(summary);
    Ok(response)
}
