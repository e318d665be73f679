//! The closed list of the edge's refusals (RFC 9457), with their names and statuses.

use crate::http::problem::ProblemKind;

/// Declares each kind with its status, name and title, and the condition under which it is returned.
macro_rules! problems {
    ($($constant:ident = $status:literal $name:literal, $title:literal, $when:literal;)*) => {
        $(
            #[doc = $when]
            pub const $constant: ProblemKind =
                ProblemKind { name: $name, status: $status, title: $title, when: $when };
        )*

        /// All kinds, by status.
        pub const ALL: [ProblemKind; 13] = [$($constant),*];
    };
}

problems! {
    MALFORMED = 400 "malformed-event", "The event cannot be read",
        "`/v1/events` only: an event cannot be read; `pointer` is a JSON pointer to the error, `errors` lists the unreadable events";
    INCOMPLETE_BODY = 400 "broken-off", "The body is incomplete",
        "the body is incomplete";
    UNAUTHORIZED = 401 "unauthorized", "The sender is not authenticated",
        "the token or signature is wrong, missing or expired; a request without one is refused before its body is read";
    FORBIDDEN = 403 "forbidden", "The token does not allow this",
        "the token does not allow this route, or the company of an event";
    NOT_FOUND = 404 "not-found", "There is no such route",
        "no such route";
    METHOD_NOT_ALLOWED = 405 "method-not-allowed", "The route does not have this method",
        "the route has other methods; `Allow` lists them";
    TOO_SLOW = 408 "too-slow", "The body arrived too slowly",
        "the body did not arrive within `edge.request_timeout`, or at less than `edge.body_min_rate`, or so slowly that a newer request took its place";
    TOO_LARGE = 413 "too-large", "The body is too large",
        "the body is larger than `edge.body_limit`, or has more events than `edge.events_limit`";
    UNSUPPORTED = 415 "unsupported-media-type", "The format is not supported",
        "`/v1/events` only: the body is compressed, or is neither JSON, NDJSON nor CloudEvents (`application/cloudevents+json`, `-batch+json`)";
    BUSY = 429 "busy", "Too many requests at once",
        "more requests than `edge.max_in_flight` are in progress, all complete or with a valid token, or too many requests with several events; `Retry-After` says when to try again";
    TOO_FAST = 429 "too-fast", "Too many events with this token",
        "the token has more events than `edge.token_rate`; `Retry-After` says when to try again";
    INTERNAL = 500 "internal", "The edge failed",
        "the edge failed, and may not have stored the events";
    UNAVAILABLE = 503 "unavailable", "Not accepted now",
        "neither the queue nor the spool can accept it now; `Retry-After` says when to try again";
}
