//! The closed list of refusals of the edge (RFC 9457): what each is called, and with which status.

/// The kinds.
pub mod problem {
    use crate::http::problem::ProblemKind;

    const fn of(status: u16, name: &'static str, title: &'static str, when: &'static str) -> ProblemKind {
        ProblemKind { name, status, title, when }
    }

    /// An event cannot be read.
    pub const MALFORMED: ProblemKind = of(
        400,
        "malformed-event",
        "The event cannot be read",
        "`/v1/events` only: an event cannot be read; `pointer` is a JSON pointer to the place, `errors` has every event that cannot",
    );
    /// The body ended too early.
    pub const BROKEN_OFF: ProblemKind =
        of(400, "broken-off", "The body is incomplete", "the body ended too early");
    /// The proof of the sender is wrong or missing.
    pub const UNAUTHORIZED: ProblemKind = of(
        401,
        "unauthorized",
        "Who sends this is not proven",
        "the token or signature is wrong, missing or expired",
    );
    /// The token is right, and not for this.
    pub const FORBIDDEN: ProblemKind = of(
        403,
        "forbidden",
        "Not with this token",
        "the token is not for this route, or not for the company of an event",
    );
    /// No such route.
    pub const NOT_FOUND: ProblemKind = of(404, "not-found", "There is nothing here", "no such route");
    /// Not with this method.
    pub const METHOD_NOT_ALLOWED: ProblemKind = of(
        405,
        "method-not-allowed",
        "Not with this method",
        "the route has other methods, which `Allow` names",
    );
    /// The body did not come in time.
    pub const TOO_SLOW: ProblemKind = of(
        408,
        "too-slow",
        "The body came too slowly",
        "the body did not arrive within `edge.request_timeout`",
    );
    /// The body is over the limit.
    pub const TOO_LARGE: ProblemKind =
        of(413, "too-large", "The body is too large", "the body is over `edge.body_limit`");
    /// Neither JSON nor NDJSON.
    pub const UNSUPPORTED: ProblemKind = of(
        415,
        "unsupported-media-type",
        "Not in this format",
        "`/v1/events` only: neither JSON, NDJSON nor CloudEvents (`application/cloudevents+json`, `-batch+json`), or compressed",
    );
    /// Too many requests at once.
    pub const BUSY: ProblemKind = of(
        429,
        "busy",
        "Too many requests at once",
        "over `edge.max_in_flight`; `Retry-After` says when to try again",
    );
    /// Too many requests of one token.
    pub const TOO_FAST: ProblemKind = of(
        429,
        "too-fast",
        "Too many requests with this token",
        "the token is over `edge.token_rate`; `Retry-After` says when to try again",
    );
    /// A fault of the edge's.
    pub const INTERNAL: ProblemKind =
        of(500, "internal", "The edge failed", "a fault of the edge's; nothing is known to be accepted");
    /// It cannot be kept now.
    pub const UNAVAILABLE: ProblemKind = of(
        503,
        "unavailable",
        "Not accepted now",
        "neither the queue nor the spool can take it now; `Retry-After` says when to try again",
    );

    /// All of them, by status.
    pub const ALL: [ProblemKind; 13] = [
        MALFORMED,
        BROKEN_OFF,
        UNAUTHORIZED,
        FORBIDDEN,
        NOT_FOUND,
        METHOD_NOT_ALLOWED,
        TOO_SLOW,
        TOO_LARGE,
        UNSUPPORTED,
        BUSY,
        TOO_FAST,
        INTERNAL,
        UNAVAILABLE,
    ];
}
