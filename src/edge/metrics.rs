//! The metrics of an edge: its requests, their results, and its spool.

use std::sync::{Arc, Weak};
use std::time::Duration;

use axum::extract::MatchedPath;
use axum::http::{Method, StatusCode};
use strum::VariantArray as _;

use super::state::Edge;
use crate::contract::problem;
use crate::http::problem::Refused;
use crate::http::server::Closed;
use crate::telemetry::metrics::{Kind, Series, Values, float, on_scrape};

const REQUESTS: &str = "hostmatch_http_requests_total";
const DURATION: &str = "hostmatch_http_request_duration_seconds";
const REJECTED: &str = "hostmatch_webhooks_rejected_total";

/// The routes to which events are posted, each with its status code for success.
const POST_ROUTES: [(&str, &str); 3] =
    [("/api/retell/webhook", "200"), ("/webhooks/calcom", "200"), ("/v1/events", "202")];

/// Every route, and the label for a path that matches none.
const ROUTES: [&str; 7] = [
    POST_ROUTES[0].0,
    POST_ROUTES[1].0,
    POST_ROUTES[2].0,
    "/health/live",
    "/health/ready",
    "/openapi.json",
    NO_ROUTE,
];
const NO_ROUTE: &str = "none";

const ROUTE: (&str, Values) = ("route", Values::Closed(|| ROUTES.to_vec()));
const SECONDS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

const SPOOL_EVENTS: Series = Series::new(
    "hostmatch_spool_events",
    Kind::Gauge,
    "Events in the spool, without those that are set aside",
);
const SPOOL_BYTES: Series = Series::new(
    "hostmatch_spool_bytes",
    Kind::Gauge,
    "Bytes in the spool, as edge.spool_max_bytes counts them",
);
const SPOOL_AGE: Series = Series::new(
    "hostmatch_spool_oldest_event_age_seconds",
    Kind::Gauge,
    "How long the oldest event in the spool has waited; 0 when the spool is empty",
);
const SPOOL_SET_ASIDE: Series = Series::new(
    "hostmatch_spool_set_aside_events",
    Kind::Gauge,
    "Events in the spool that are set aside because the broker will not accept them",
);

const CLOSED: Series = Series::new(
    "hostmatch_connections_closed_total",
    Kind::Counter,
    "Connections on edge.listen that the edge closed: there were too many (in total, or from one address), or a response was not read",
)
.with_labels(&[(
    "reason",
    Values::Closed(|| Closed::VARIANTS.iter().map(|reason| reason.as_str()).collect()),
)]);

/// The metrics of an edge.
pub const SERIES: [Series; 8] = [
    Series::new(REQUESTS, Kind::Counter, "Answered requests").with_labels(&[
        ROUTE,
        ("method", Values::Described("`GET`, `HEAD`, `POST`, `other`")),
        ("code", Values::Described("the status")),
    ]),
    Series::new(DURATION, Kind::Histogram(SECONDS), "Time until the response").with_labels(&[ROUTE]),
    Series::new(REJECTED, Kind::Counter, "Refused POST requests, by the kind of refusal")
        .with_labels(&[("reason", Values::Closed(|| problem::ALL.iter().map(|kind| kind.name).collect()))]),
    CLOSED,
    SPOOL_EVENTS,
    SPOOL_BYTES,
    SPOOL_AGE,
    SPOOL_SET_ASIDE,
];

/// Registers the metrics of an edge: the counters of POST requests start at 0, and each scrape reads the
/// spool.
pub(super) fn register(edge: &Arc<Edge>) {
    for (route, accepted) in POST_ROUTES {
        for code in [accepted, "401", "503"] {
            metrics::counter!(REQUESTS, "route" => route, "method" => "POST", "code" => code).absolute(0);
        }
    }
    let edge: Weak<Edge> = Arc::downgrade(edge);
    let (events, bytes, age, set_aside) =
        (SPOOL_EVENTS.gauges(), SPOOL_BYTES.gauges(), SPOOL_AGE.gauges(), SPOOL_SET_ASIDE.gauges());
    on_scrape(move || {
        let edge = edge.upgrade();
        let Some(spool) = edge.as_ref().and_then(|edge| edge.sink.spool.as_ref()) else { return };
        let level = spool.level();
        events.set([], float(level.messages));
        bytes.set([], float(level.bytes));
        age.set([], level.age().as_secs_f64());
        set_aside.set([], float(level.set_aside));
    });
}

/// Counts a connection that the server closed.
pub(super) fn count_closed(reason: Closed) {
    metrics::counter!(CLOSED.name, "reason" => reason.as_str()).increment(1);
}

/// Counts an answered request.
pub(super) fn count_request(
    method: &Method,
    route: Option<&MatchedPath>,
    status: StatusCode,
    refused: Option<&Refused>,
    took: Duration,
) {
    let route = route.and_then(|path| ROUTES.into_iter().find(|known| *known == path.as_str()));
    let route = route.unwrap_or(NO_ROUTE);
    let method = match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        _ => "other",
    };
    let code = status.as_str().to_owned();
    metrics::counter!(REQUESTS, "route" => route, "method" => method, "code" => code).increment(1);
    metrics::histogram!(DURATION, "route" => route).record(took);
    if let Some(Refused(reason)) = refused.filter(|_| POST_ROUTES.iter().any(|(post, _)| *post == route)) {
        metrics::counter!(REJECTED, "reason" => *reason).increment(1);
    }
}
