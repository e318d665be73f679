//! Problem documents (RFC 9457): how every refusal is told.

use axum::Json;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// What a client is challenged with where the gateway posts.
pub(super) const BEARER: &str = "Bearer realm=\"hostmatch\"";

/// How long a client should wait while the queue is away, in seconds.
const QUEUE_RETRY_SECONDS: u32 = 5;

/// A refusal: its kind, its status, and in `detail` what failed and what to do. Holds nothing of
/// what was sent.
#[derive(Debug)]
pub(super) struct Problem {
    kind: &'static str,
    status: StatusCode,
    title: &'static str,
    detail: String,
    pointer: Option<String>,
    retry_after: Option<u32>,
    challenge: Option<&'static str>,
}

impl Problem {
    fn new(status: StatusCode, kind: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self { kind, status, title, detail, pointer: None, retry_after: None, challenge: None }
    }

    /// 400: what stands at this JSON pointer is not as it must be.
    pub(super) fn malformed(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        let problem =
            Self::new(StatusCode::BAD_REQUEST, "malformed-event", "The event cannot be read", detail);
        Self { pointer: Some(pointer.into()), ..problem }
    }

    /// 400: the request broke off.
    pub(super) fn broken_off() -> Self {
        let detail = "the body ended before its announced end; send it again";
        Self::new(StatusCode::BAD_REQUEST, "broken-off", "The body is incomplete", detail)
    }

    /// 401, with the challenge that says what is wanted.
    pub(super) fn unauthorized(challenge: &'static str, detail: impl Into<String>) -> Self {
        let problem =
            Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "Who sends this is not proven", detail);
        Self { challenge: Some(challenge), ..problem }
    }

    /// 404.
    pub(super) fn not_found() -> Self {
        let detail = "events go to POST /v1/events, /api/retell/webhook or /webhooks/calcom";
        Self::new(StatusCode::NOT_FOUND, "not-found", "There is nothing here", detail)
    }

    /// 405.
    pub(super) fn method_not_allowed() -> Self {
        let detail = "the header Allow names the methods that this route has";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Not with this method", detail)
    }

    /// 408: the body did not come in time.
    pub(super) fn too_slow() -> Self {
        let detail = "the body did not arrive within edge.request_timeout; send it again";
        Self::new(StatusCode::REQUEST_TIMEOUT, "too-slow", "The body came too slowly", detail)
    }

    /// 413: over `limit` bytes.
    pub(super) fn too_large(limit: usize) -> Self {
        let detail = format!("a body may have up to {limit} bytes (edge.body_limit); send smaller batches");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The body is too large", detail)
    }

    /// 415.
    pub(super) fn unsupported(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "Not in this format", detail)
    }

    /// 429: as many requests are in progress as may be.
    pub(super) fn busy() -> Self {
        let detail = "too many requests are in progress; send it again after the time in Retry-After";
        let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "busy", "Too many requests at once", detail);
        Self { retry_after: Some(1), ..problem }
    }

    /// 500: a fault of ours.
    pub(super) fn internal() -> Self {
        let detail = "nothing is known to have been accepted; send it again, and look into the edge's log";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "The edge failed", detail)
    }

    /// 503: it could not be accepted now.
    pub(super) fn unavailable(detail: impl Into<String>) -> Self {
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Not accepted now", detail);
        Self { retry_after: Some(QUEUE_RETRY_SECONDS), ..problem }
    }
}

/// The members of the document.
#[derive(Serialize)]
struct Document<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pointer: Option<&'a str>,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let document = Document {
            r#type: format!("urn:hostmatch:problem:{}", self.kind),
            title: self.title,
            status: self.status.as_u16(),
            detail: &self.detail,
            pointer: self.pointer.as_deref(),
        };
        let mut response = (self.status, Json(document)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(challenge) = self.challenge {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response
    }
}
