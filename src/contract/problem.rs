//! The closed list of refusals of the edge (RFC 9457): what each is called, and with which status.

use crate::http::problem::ProblemKind;

/// Each by its status and name, its title, and when it is given.
macro_rules! problems {
    ($($constant:ident = $status:literal $name:literal, $title:literal, $when:literal;)*) => {
        $(
            #[doc = $when]
            pub const $constant: ProblemKind =
                ProblemKind { name: $name, status: $status, title: $title, when: $when };
        )*

        /// All of them, by status.
        pub const ALL: [ProblemKind; 13] = [$($constant),*];
    };
}

problems! {
    MALFORMED = 400 "malformed-event", "The event cannot be read",
        "`/v1/events` only: an event cannot be read; `pointer` is a JSON pointer to the place, `errors` has every event that cannot";
    BROKEN_OFF = 400 "broken-off", "The body is incomplete",
        "the body ended too early";
    UNAUTHORIZED = 401 "unauthorized", "Who sends this is not proven",
        "the token or signature is wrong, missing or expired";
    FORBIDDEN = 403 "forbidden", "Not with this token",
        "the token is not for this route, or not for the company of an event";
    NOT_FOUND = 404 "not-found", "There is nothing here",
        "no such route";
    METHOD_NOT_ALLOWED = 405 "method-not-allowed", "Not with this method",
        "the route has other methods, which `Allow` names";
    TOO_SLOW = 408 "too-slow", "The body came too slowly",
        "the body did not arrive within `edge.request_timeout`";
    TOO_LARGE = 413 "too-large", "The body is too large",
        "the body is over `edge.body_limit`";
    UNSUPPORTED = 415 "unsupported-media-type", "Not in this format",
        "`/v1/events` only: neither JSON, NDJSON nor CloudEvents (`application/cloudevents+json`, `-batch+json`), or compressed";
    BUSY = 429 "busy", "Too many requests at once",
        "over `edge.max_in_flight`; `Retry-After` says when to try again";
    TOO_FAST = 429 "too-fast", "Too many requests with this token",
        "the token is over `edge.token_rate`; `Retry-After` says when to try again";
    INTERNAL = 500 "internal", "The edge failed",
        "a fault of the edge's; nothing is known to be accepted";
    UNAVAILABLE = 503 "unavailable", "Not accepted now",
        "neither the queue nor the spool can take it now; `Retry-After` says when to try again";
}
