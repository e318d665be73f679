//! Problem documents (RFC 9457): how every refusal is told.

use std::time::Duration;

use axum::Json;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::contract::{ProblemKind, problem};

/// What a client is challenged with where the gateway posts.
pub(super) const BEARER: &str = "Bearer realm=\"hostmatch\"";

/// How long a client should wait while the queue is away, in seconds.
const QUEUE_RETRY_SECONDS: u64 = 5;

/// A refusal: its kind, and in `detail` what failed and what to do. Holds nothing of what was sent.
#[derive(Debug)]
pub(super) struct Problem {
    kind: &'static ProblemKind,
    detail: String,
    pointer: Option<String>,
    errors: Vec<Misfit>,
    retry_after: Option<u64>,
    challenge: Option<&'static str>,
}

/// Stands with an answer that refuses: the name of its kind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refused(pub(super) &'static str);

/// One event of several that cannot be taken.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Misfit {
    /// A JSON pointer into the body.
    pub(super) pointer: String,
    /// What is wrong there.
    pub(super) detail: String,
}

/// How many of them are told.
const MISFITS: usize = 100;

impl Problem {
    fn new(kind: &'static ProblemKind, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self { kind, detail, pointer: None, errors: Vec::new(), retry_after: None, challenge: None }
    }

    /// 400: what stands at this JSON pointer is not as it must be.
    pub(super) fn malformed(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { pointer: Some(pointer.into()), ..Self::new(&problem::MALFORMED, detail) }
    }

    /// 400: these events of a batch cannot be read. There is at least one.
    pub(super) fn misfits(mut misfits: Vec<Misfit>, of: usize) -> Self {
        let (first, count) = (misfits.first().cloned(), misfits.len());
        misfits.truncate(MISFITS);
        let detail = match (&first, count) {
            (Some(first), 1) => first.detail.clone(),
            (Some(first), _) => {
                format!("{count} of {of} events cannot be read, the first one because {}", first.detail)
            }
            (None, _) => String::new(),
        };
        let problem = Self::malformed(
            first.map(|first| first.pointer).unwrap_or_default(),
            format!("{detail}; nothing was queued"),
        );
        Self { errors: misfits, ..problem }
    }

    /// 400: the request broke off.
    pub(super) fn broken_off() -> Self {
        Self::new(&problem::BROKEN_OFF, "the body ended before its announced end; send it again")
    }

    /// 401, with the challenge that says what is wanted.
    pub(super) fn unauthorized(challenge: &'static str, detail: impl Into<String>) -> Self {
        Self { challenge: Some(challenge), ..Self::new(&problem::UNAUTHORIZED, detail) }
    }

    /// 403: who it is is proven, and they may not.
    pub(super) fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(&problem::FORBIDDEN, detail)
    }

    /// The same, because of what stands at this JSON pointer.
    pub(super) fn at(self, pointer: String) -> Self {
        Self { pointer: Some(pointer), ..self }
    }

    /// 404.
    pub(super) fn not_found() -> Self {
        Self::new(
            &problem::NOT_FOUND,
            "events go to POST /v1/events, /api/retell/webhook or /webhooks/calcom",
        )
    }

    /// 405.
    pub(super) fn method_not_allowed() -> Self {
        Self::new(&problem::METHOD_NOT_ALLOWED, "the header Allow names the methods that this route has")
    }

    /// 408: the body did not come in time.
    pub(super) fn too_slow() -> Self {
        Self::new(&problem::TOO_SLOW, "the body did not arrive within edge.request_timeout; send it again")
    }

    /// 413: over `limit` bytes.
    pub(super) fn too_large(limit: usize) -> Self {
        let detail = format!("a body may have up to {limit} bytes (edge.body_limit); send smaller batches");
        Self::new(&problem::TOO_LARGE, detail)
    }

    /// 415.
    pub(super) fn unsupported(detail: impl Into<String>) -> Self {
        Self::new(&problem::UNSUPPORTED, detail)
    }

    /// 429: as many requests are in progress as may be.
    pub(super) fn busy() -> Self {
        let detail = "too many requests are in progress; send it again after the time in Retry-After";
        Self { retry_after: Some(1), ..Self::new(&problem::BUSY, detail) }
    }

    /// 429: this token has been used too often; there is room again after `wait`.
    pub(super) fn too_fast(wait: Duration) -> Self {
        let detail = "too many requests with this token (edge.token_rate); send it again after the time in \
                      Retry-After, or several events in one request";
        // Whole seconds, and never too few.
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        Self { retry_after: Some(seconds.max(1)), ..Self::new(&problem::TOO_FAST, detail) }
    }

    /// 500: a fault of ours.
    pub(super) fn internal() -> Self {
        let detail = "nothing is known to have been accepted; send it again, and look into the edge's log";
        Self::new(&problem::INTERNAL, detail)
    }

    /// 503: it could not be accepted now.
    pub(super) fn unavailable(detail: impl Into<String>) -> Self {
        Self { retry_after: Some(QUEUE_RETRY_SECONDS), ..Self::new(&problem::UNAVAILABLE, detail) }
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
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [Misfit],
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let document = Document {
            r#type: self.kind.urn(),
            title: self.kind.title,
            status: self.kind.status,
            detail: &self.detail,
            pointer: self.pointer.as_deref(),
            errors: &self.errors,
        };
        let status = StatusCode::from_u16(self.kind.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(document)).into_response();
        response.extensions_mut().insert(Refused(self.kind.name));
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
