//! The webhooks, with one event each: `POST /webhooks/calcom` for Cal.com; `POST /api/retell/webhook` for
//! the gateway and for Retell.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use tokio::time::Instant;

use crate::edge::auth::{self, TokenCheck};
use crate::edge::content_encoding;
use crate::edge::intake::{Incoming, deadline_of, publish, read_body};
use crate::edge::layers::RequestSummary;
use crate::edge::permits::RequestPermit;
use crate::edge::state::Edge;
use crate::edge::trace::{self, RequestSpan};
use crate::http::problem::Problem;
use crate::http::tokens::Scope;
use crate::runtime::clock::now_ms;

/// Responds with 200 once the event is durably queued, or if there is nothing to do for its trigger (PING
/// and unknown triggers). An unreadable event is queued too, because Cal.com does not resend it.
pub(in crate::edge) async fn calcom(
    State(edge): State<Arc<Edge>>,
    Extension(permit): Extension<Arc<RequestPermit>>,
    Extension(span): Extension<RequestSpan>,
    request: Request,
) -> Result<Response, Problem> {
    let (deadline, headers) = (deadline_of(&edge), request.headers().clone());
    let signature = auth::calcom_signature(&edge, &headers)?;
    let bytes = read_body(&edge, request, deadline).await?;
    auth::check_calcom(&edge, signature.as_deref(), &bytes)?;
    let origin = trace::origin(&headers);
    let span = span.begin(origin.as_ref());
    let mut incoming = Incoming::now("calcom", origin);
    incoming.attributes = content_encoding::attributes(&headers);
    span.instrument(accept(&edge, permit, incoming, (&TokenCheck::SignatureNeeded, bytes), deadline)).await
}

/// Responds with 200 and the event's id once the event is durably queued, or if it contains no booking (like
/// Retell's own events). An unreadable event is queued too.
pub(in crate::edge) async fn retell(
    State(edge): State<Arc<Edge>>,
    Extension(permit): Extension<Arc<RequestPermit>>,
    Extension(span): Extension<RequestSpan>,
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
    if from_retell {
        auth::check_retell(&edge, signature.as_deref(), &bytes, now_ms())?;
    } else {
        auth::check_gateway(&edge, signature.as_deref(), &bytes)?;
    }
    let origin = trace::origin(&headers);
    let span = span.begin(origin.as_ref());
    let mut incoming = Incoming::now(if from_retell { "retell" } else { token.publisher() }, origin);
    incoming.attributes = content_encoding::attributes(&headers);
    span.instrument(accept(&edge, permit, incoming, (&token, bytes), deadline)).await
}

/// Queues the one event of an authenticated webhook, and responds with 200 and its receipt.
async fn accept(
    edge: &Arc<Edge>,
    permit: Arc<RequestPermit>,
    incoming: Incoming,
    (token, body): (&TokenCheck, Bytes),
    deadline: Instant,
) -> Result<Response, Problem> {
    let size = body.len();
    let event = incoming.read_leniently(edge, body, deadline).await?;
    if event.message.is_some() {
        auth::check_company(token, event.company)?;
    }
    publish(edge, permit, event.message.into_iter().collect(), deadline).await?;
    let summary = RequestSummary::of(std::slice::from_ref(&event.receipt), size);
    let mut response = Json(event.receipt).into_response();
    response.extensions_mut().insert(summary);
    Ok(response)
}
