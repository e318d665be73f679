//! Traces at the edge: the span of a request, the span of its publish, and the trace context in the headers
//! of a message.

use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use axum::extract::MatchedPath;
use axum::http::{HeaderMap, Method, StatusCode};

use crate::event::carried_context;
use crate::queue::Message;
use crate::telemetry::loggable_id;
use crate::telemetry::traces::{self, Origin, Parent, Span, SpanKind};

/// Reads the trace context of a request from the headers of this hop or, if it has none, from those of a
/// CloudEvent in binary mode. It counts only if the sender is authenticated.
pub(super) fn origin(headers: &HeaderMap) -> Option<Origin> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    Origin::read(header).or_else(|| Origin::read(|name| header(&format!("ce-{name}"))))
}

/// The span of a request. It begins when its sender is authenticated, because nobody else may choose the
/// trace, and so whether it is kept.
#[derive(Clone, Debug)]
pub(super) struct RequestSpan(Arc<PreparedSpan>);

#[derive(Debug)]
struct PreparedSpan {
    method: Method,
    route: Option<MatchedPath>,
    arrived: SystemTime,
    span: OnceLock<Span>,
}

impl RequestSpan {
    /// Prepares the span of a request that arrives now.
    pub(super) fn prepare(method: &Method, route: Option<&MatchedPath>) -> Self {
        let (method, route) = (method.clone(), route.cloned());
        Self(Arc::new(PreparedSpan { method, route, arrived: SystemTime::now(), span: OnceLock::new() }))
    }

    /// Returns the span, and begins it if it has not begun: as a part of the trace of an authenticated sender,
    /// or without an origin as a trace of its own.
    pub(super) fn begin(&self, origin: Option<&Origin>) -> &Span {
        let PreparedSpan { method, route, arrived, span } = &*self.0;
        span.get_or_init(|| begin_request(method, route.as_ref().map(MatchedPath::as_str), *arrived, origin))
    }
}

/// Begins the span of a request. The frequent requests for health and metrics get no span.
fn begin_request(method: &Method, route: Option<&str>, arrived: SystemTime, origin: Option<&Origin>) -> Span {
    if !traces::is_enabled()
        || route.is_some_and(|route| route.starts_with("/health/") || route == "/metrics")
    {
        return Span::NONE;
    }
    let method = match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "_OTHER",
    };
    let parent = origin.map_or(Parent::None, Parent::Origin);
    // The route, not the path: a client may choose any path.
    let name = route.map_or_else(|| method.to_owned(), |route| format!("{method} {route}"));
    let span = Span::begin_at(parent, SpanKind::Server, name, arrived);
    span.set("http.request.method", method);
    span.set("url.scheme", "http");
    if let Some(route) = route {
        span.set("http.route", route.to_owned());
    }
    span
}

/// Records a request's status.
pub(super) fn record_status(span: &Span, status: StatusCode) {
    span.set("http.response.status_code", i64::from(status.as_u16()));
    if status.is_server_error() {
        span.mark_failed(status.canonical_reason().unwrap_or("server error"));
    }
}

/// Begins the span of publishing these messages into the queue or the spool, and sets its context in them.
pub(super) fn begin_publish(destination: (&'static str, &str), messages: &mut [Message]) -> Span {
    if !traces::is_enabled() {
        return Span::NONE;
    }
    // A CloudEvent may have an earlier origin than the request that carries it.
    let carried: Vec<Origin> = messages.iter().filter_map(carried_origin).collect();
    let span = begin_messaging(Parent::Current, "publish", destination, &carried, messages);
    if let Some(origin) = span.origin() {
        messages.iter_mut().for_each(|message| origin.write(&mut message.headers));
    }
    span
}

/// Begins the span of forwarding these messages from the spool; they keep their own context.
pub(super) fn begin_forward(destination: (&'static str, &str), messages: &[Message]) -> Span {
    if !traces::is_enabled() {
        return Span::NONE;
    }
    let origins = messages
        .iter()
        .filter_map(|message| Origin::read(|name| message.headers.get(name).map(String::as_str)));
    begin_messaging(Parent::None, "forward", destination, &origins.collect::<Vec<_>>(), messages)
}

fn carried_origin(message: &Message) -> Option<Origin> {
    let carried = carried_context(&message.headers, &message.body);
    Origin::read(|name| carried.get(name).map(String::as_str))
}

fn begin_messaging(
    parent: Parent<'_>,
    operation: &'static str,
    destination: (&'static str, &str),
    links: &[Origin],
    messages: &[Message],
) -> Span {
    let span = Span::messaging(parent, SpanKind::Producer, operation, destination, links);
    if !span.is_recording() {
        return span;
    }
    match messages {
        [message] => {
            if let Some(id) = message.message_id.as_deref().and_then(loggable_id) {
                span.set("messaging.message.id", id.to_owned());
            }
        }
        _ => span.set("messaging.batch.message_count", i64::try_from(messages.len()).unwrap_or(i64::MAX)),
    }
    span
}
