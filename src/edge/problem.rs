//! Creates the problem documents with which the edge refuses requests.

use std::time::Duration;

use crate::contract::problem;
use crate::http::problem::{ErrorItem, Problem};

/// The challenge on the routes to which the gateway posts.
pub(super) const BEARER: &str = "Bearer realm=\"hostmatch\"";

/// How long a client should wait while the queue is unreachable.
const QUEUE_RETRY_AFTER: Duration = Duration::from_secs(5);

/// The maximum number of unreadable events that a refusal lists.
const MAX_ERRORS: usize = 100;

/// 400: the value at this JSON pointer is invalid.
pub(super) fn malformed(pointer: impl Into<String>, detail: impl Into<String>) -> Problem {
    Problem::new(&problem::MALFORMED, detail).at(pointer)
}

/// 400: these events of a batch of `total` cannot be read. `errors` must not be empty.
pub(super) fn malformed_batch(mut errors: Vec<ErrorItem>, total: usize) -> Problem {
    let (first, count) = (errors.first().cloned(), errors.len());
    errors.truncate(MAX_ERRORS);
    let detail = match (&first, count) {
        (Some(first), 1) => first.detail.clone(),
        (Some(first), _) => {
            format!("{count} of {total} events cannot be read; the first one: {}", first.detail)
        }
        (None, _) => String::new(),
    };
    let pointer = first.map(|first| first.pointer).unwrap_or_default();
    malformed(pointer, format!("{detail}; nothing was queued")).with_errors(errors)
}

/// 400: the body is incomplete.
pub(super) fn incomplete_body() -> Problem {
    let detail = "the body is incomplete; send the request again";
    Problem::new(&problem::INCOMPLETE_BODY, detail)
}

/// 401, with the challenge that names the expected credential.
pub(super) fn unauthorized(challenge: &'static str, detail: impl Into<String>) -> Problem {
    Problem::new(&problem::UNAUTHORIZED, detail).with_challenge(challenge)
}

/// 403: the sender is authenticated, but not allowed.
pub(super) fn forbidden(detail: impl Into<String>) -> Problem {
    Problem::new(&problem::FORBIDDEN, detail)
}

/// 404: there is no such route.
pub(super) fn not_found() -> Problem {
    let detail = "there is no such route; post events to /v1/events, /api/retell/webhook or /webhooks/calcom";
    Problem::new(&problem::NOT_FOUND, detail)
}

/// 405: the route does not allow this method.
pub(super) fn method_not_allowed() -> Problem {
    let detail = "this route does not support this method; the Allow header lists those that it supports";
    Problem::new(&problem::METHOD_NOT_ALLOWED, detail)
}

/// 408: the body did not arrive in time.
pub(super) fn too_slow() -> Problem {
    let detail = "the body did not arrive within edge.request_timeout, or at less than edge.body_min_rate, or \
                  so slowly that a newer request took its place; send the request again";
    Problem::new(&problem::TOO_SLOW, detail)
}

/// 413: the body is larger than `limit` bytes.
pub(super) fn too_large(limit: usize) -> Problem {
    let detail =
        format!("the body is larger than {limit} bytes (edge.body_limit); send fewer events in one request");
    Problem::new(&problem::TOO_LARGE, detail)
}

/// 415: the content type or encoding is not supported.
pub(super) fn unsupported(detail: impl Into<String>) -> Problem {
    Problem::new(&problem::UNSUPPORTED, detail)
}

/// 429: `edge.max_in_flight` requests are in progress.
pub(super) fn busy() -> Problem {
    let detail = "too many requests are in progress; send the request again after the time in Retry-After";
    Problem::new(&problem::BUSY, detail).retry_after(Duration::from_secs(1))
}

/// 413: the request has more events than `limit`.
pub(super) fn too_many_events(count: usize, limit: usize) -> Problem {
    let detail = format!(
        "the request has {count} events, and at most {limit} are accepted at once (edge.events_limit); send fewer \
         in one request; nothing was queued"
    );
    Problem::new(&problem::TOO_LARGE, detail)
}

/// 429: this token has had too many events; the next one is allowed after `wait`.
pub(super) fn too_fast(wait: Duration) -> Problem {
    let detail = "too many events with this token (edge.token_rate); send the request again after the time \
                  in Retry-After";
    Problem::new(&problem::TOO_FAST, detail).retry_after(wait)
}

/// 500: a fault of the edge itself.
pub(super) fn internal() -> Problem {
    let detail = "the edge failed, and may not have stored the events; send the request again, and \
                  check the edge's log";
    Problem::new(&problem::INTERNAL, detail)
}

/// 503: the request could not be accepted now.
pub(super) fn unavailable(detail: impl Into<String>) -> Problem {
    Problem::new(&problem::UNAVAILABLE, detail).retry_after(QUEUE_RETRY_AFTER)
}
