//! `POST /api/retell/webhook`: the gateway's own event, or a webhook of Retell's.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;

use super::answer;
use crate::edge::auth::{self, Before};
use crate::edge::intake::{Arrived, deadline_of, read_body};
use crate::edge::state::{Edge, Place};
use crate::http::problem::Problem;
use crate::http::tokens::Scope;

/// 200 with the event's id once it is durably queued, or when it carries no booking (as Retell's
/// own events do). What cannot be read is queued too.
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
