//! The webhooks, with one event each: `POST /webhooks/calcom` for Cal.com; `POST /api/retell/webhook` for
//! the gateway and for Retell.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use tokio::time::Instant;

use crate::edge::auth::{self, TokenCheck};
use crate::edge::content_encoding;
use crate::edge::intake::{Incoming, ReadEvent, deadline_of, publish, read_body};
use crate::edge::layers::RequestSummary;
use crate::edge::permits::RequestPermit;
use crate::edge::state::Edge;
use crate::http::problem::Problem;
use crate::http::tokens::Scope;

/// Responds with 200 once the event is durably queued, or if there is nothing to do for its trigger (PING
/// and unknown triggers). An unreadable event is queued too, because Cal.com does not resend it.
pub(in crate::edge) async fn calcom(
    State(edge): State<Arc<Edge>>,
    Extension(permit): Extension<Arc<RequestPermit>>,
    request: Request,
) -> Result<Response, Problem> {
    let (deadline, headers) = (deadline_of(&edge), request.headers().clone());
    let signature = auth::calcom_signature(&edge, &headers)?;
    let bytes = read_body(&edge, request, deadline).await?;
    auth::check_calcom(&edge, signature.as_deref(), &bytes)?;
    let (size, attributes) = (bytes.len(), content_encoding::attributes(&headers));
    let incoming = Incoming { attributes: &attributes, ..Incoming::now(&headers, "calcom") };
    respond(&edge, permit, incoming.read_leniently(bytes), size, deadline).await
}

/// Responds with 200 and the event's id once the event is durably queued, or if it contains no booking (like
/// Retell's own events). An unreadable event is queued too.
pub(in crate::edge) async fn retell(
    State(edge): State<Arc<Edge>>,
    Extension(permit): Extension<Arc<RequestPermit>>,
    request: Request,
) -> Result<Response, Problem> {
    let (deadline, headers) = (deadline_of(&edge), request.headers().clone());
    let from_retell = auth::is_from_retell(&headers);
    let token = if from_retell {
        TokenCheck::SignatureNeeded
    } else {
        auth::check_token(&edge, &headers, Scope::Retell).await?
    };
    let signature = match &token {
        TokenCheck::Valid(_) => {
            permit.keep();
            None
        }
        TokenCheck::SignatureNeeded if from_retell => auth::retell_signature(&edge, &headers)?,
        TokenCheck::SignatureNeeded => auth::gateway_signature(&edge, &headers)?,
    };
    let bytes = read_body(&edge, request, deadline).await?;
    let attributes = content_encoding::attributes(&headers);
    let publisher = if from_retell { "retell" } else { token.publisher() };
    let incoming = Incoming { attributes: &attributes, ..Incoming::now(&headers, publisher) };
    if from_retell {
        auth::check_retell(&edge, signature.as_deref(), &bytes, incoming.at_ms)?;
    } else {
        auth::check_gateway(&edge, signature.as_deref(), &bytes)?;
    }
    let size = bytes.len();
    let event = incoming.read_leniently(bytes);
    if event.message.is_some() {
        auth::check_company(&token, event.company)?;
    }
    respond(&edge, permit, event, size, deadline).await
}

/// Queues the one event of a webhook, and responds with 200 and its receipt.
async fn respond(
    edge: &Arc<Edge>,
    permit: Arc<RequestPermit>,
    event: ReadEvent,
    bytes: usize,
    deadline: Instant,
) -> Result<Response, Problem> {
    publish(edge, permit, event.message.into_iter().collect(), deadline).await?;
    let summary = RequestSummary::of(std::slice::from_ref(&event.receipt), bytes);
    let mut response = Json(event.receipt).into_response();
    response.extensions_mut().insert(summary);
    Ok(response)
}
