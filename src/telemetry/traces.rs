//! Traces the steps of processing a booking as spans, and passes their context on in headers (W3C Trace
//! Context), so that the spans of several processes form one trace.
//!
//! Without a configured collector there is no tracer: then every [`Span`] is empty, and beginning a span
//! costs one read of a variable. A span contains only what our code sets: ids, codes and numbers, no personal
//! data.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::OnceLock;
use std::time::SystemTime;

use futures_util::future::Either;
use opentelemetry::context::FutureExt as _;
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::{Link, SpanContext, SpanRef, Status, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, ContextGuard, KeyValue, Value};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracer;

pub use opentelemetry::trace::SpanKind;

/// The header with the ids of the trace and the parent span.
const TRACEPARENT: &str = "traceparent";
/// The header with data of other tracing systems.
const TRACESTATE: &str = "tracestate";

/// The maximum size of a `tracestate` that is passed on, in bytes: W3C's own limit.
const MAX_STATE: usize = 512;

/// The tracer; set once, if there is a collector.
pub(super) static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// Returns whether a collector is configured.
pub fn is_enabled() -> bool {
    TRACER.get().is_some()
}

/// The origin of a request or message: a span of this or another process, as its headers identify it.
#[derive(Clone, Debug, PartialEq)]
pub struct Origin(SpanContext);

impl Origin {
    /// Reads the headers with `get`, which finds them by name; `None` unless `traceparent` is exactly valid.
    pub fn read<'a>(get: impl Fn(&str) -> Option<&'a str>) -> Option<Self> {
        let parent = get(TRACEPARENT).map(str::trim).filter(|value| is_well_formed(value))?;
        let mut fields = HashMap::from([(TRACEPARENT.to_owned(), parent.to_owned())]);
        if let Some(state) = get(TRACESTATE).filter(|state| state.len() <= MAX_STATE) {
            fields.insert(TRACESTATE.to_owned(), state.to_owned());
        }
        let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &fields);
        let origin = context.span().span_context().clone();
        origin.is_valid().then_some(Self(origin))
    }

    /// Sets the headers.
    pub fn write(&self, headers: &mut BTreeMap<String, String>) {
        let mut fields = HashMap::new();
        TraceContextPropagator::new().inject_context(&self.as_parent(), &mut fields);
        headers.remove(TRACESTATE);
        headers.extend(fields.into_iter().filter(|(_, value)| !value.is_empty()));
    }

    fn as_parent(&self) -> Context {
        Context::new().with_remote_span_context(self.0.clone())
    }
}

/// Returns whether the value has four hex fields of the right lengths; a newer version may have more fields.
fn is_well_formed(value: &str) -> bool {
    let mut fields = value.split('-');
    let all = [2, 32, 16, 2].into_iter().all(|length| {
        fields
            .next()
            .is_some_and(|field| field.len() == length && field.bytes().all(|b| b.is_ascii_hexdigit()))
    });
    all && value.len() <= MAX_STATE
}

/// The parent of a span.
#[derive(Clone, Copy, Debug)]
pub enum Parent<'a> {
    /// No parent: the span begins a trace. It is kept if a span to which it links is kept; without links,
    /// `traces.sample_ratio` decides.
    None,
    /// The current span; if there is none, no span is created.
    Current,
    /// A span of another process or task.
    Origin(&'a Origin),
}

/// A span, which lasts until [`Span::end`] or until it is dropped; empty without a collector.
#[derive(Debug, Default)]
pub struct Span(Option<Context>);

impl Span {
    /// The empty span.
    pub const NONE: Self = Self(None);

    /// Begins the span of sending messages to a queue, or of processing them. The queue is identified by
    /// its system and name.
    pub fn messaging<'a>(
        parent: Parent<'_>,
        kind: SpanKind,
        operation: &'static str,
        (system, queue): (&'static str, &str),
        links: impl IntoIterator<Item = &'a Origin>,
    ) -> Self {
        let is_sent = kind == SpanKind::Producer;
        let span = Self::begin(parent, kind, format!("{operation} {queue}"), links);
        if span.is_recording() {
            span.set("messaging.system", system);
            span.set("messaging.destination.name", queue.to_owned());
            span.set("messaging.operation.name", operation);
            span.set("messaging.operation.type", if is_sent { "send" } else { "process" });
        }
        span
    }

    /// Begins a span. `name` must be one of few values; put ids into attributes.
    pub fn begin<'a>(
        parent: Parent<'_>,
        kind: SpanKind,
        name: impl Into<Cow<'static, str>>,
        links: impl IntoIterator<Item = &'a Origin>,
    ) -> Self {
        let links = links.into_iter().map(|origin| Link::with_context(origin.0.clone())).collect();
        Self::build(parent, kind, name.into(), links, None)
    }

    fn build(
        parent: Parent<'_>,
        kind: SpanKind,
        name: Cow<'static, str>,
        links: Vec<Link>,
        start: Option<SystemTime>,
    ) -> Self {
        let Some(tracer) = TRACER.get() else { return Self::NONE };
        let parent = match parent {
            Parent::None => Context::new(),
            Parent::Origin(origin) => origin.as_parent(),
            Parent::Current => {
                let current = Context::current();
                if !current.has_active_span() {
                    return Self::NONE;
                }
                current
            }
        };
        let mut builder = tracer.span_builder(name).with_kind(kind).with_links(links);
        builder.start_time = start;
        Self(Some(parent.with_span(tracer.build_with_context(builder, &parent))))
    }

    /// Begins a span that has lasted since `start`.
    pub fn begin_at(
        parent: Parent<'_>,
        kind: SpanKind,
        name: impl Into<Cow<'static, str>>,
        start: SystemTime,
    ) -> Self {
        Self::build(parent, kind, name.into(), Vec::new(), Some(start))
    }

    /// Begins a step within the current span; empty if that span is not kept.
    pub fn step(name: &'static str) -> Self {
        if is_enabled() && Context::map_current(|current| current.span().is_recording()) {
            Self::begin(Parent::Current, SpanKind::Internal, name, [])
        } else {
            Self::NONE
        }
    }

    /// Adds a step that has already ended.
    pub fn add_step(&self, name: &'static str, from: SystemTime, to: SystemTime) {
        let (Some(tracer), Some(context)) = (TRACER.get(), &self.0) else { return };
        if context.span().is_recording() {
            let builder = tracer.span_builder(name).with_start_time(from);
            context.with_span(tracer.build_with_context(builder, context)).span().end_with_timestamp(to);
        }
    }

    /// Returns the context of the span, for headers and links.
    pub fn origin(&self) -> Option<Origin> {
        let context = self.0.as_ref()?.span().span_context().clone();
        context.is_valid().then_some(Origin(context))
    }

    /// Returns whether the span is recorded, so that setting attributes has an effect.
    pub fn is_recording(&self) -> bool {
        self.0.as_ref().is_some_and(|context| context.span().is_recording())
    }

    /// Sets an attribute. It must not contain personal data, nor a string from a sender unless its form is known.
    pub fn set(&self, key: &'static str, value: impl Into<Value>) {
        self.update(|span| span.set_attribute(KeyValue::new(key, value)));
    }

    /// Links the span to another one.
    pub fn link(&self, to: &Origin) {
        self.update(|span| span.add_link(to.0.clone(), Vec::new()));
    }

    /// Marks the span as failed, with a code for the reason.
    pub fn mark_failed(&self, code: &'static str) {
        self.set("error.type", code);
        self.update(|span| span.set_status(Status::error(code)));
    }

    /// Ends the span now. Later changes have no effect.
    pub fn end(&self) {
        self.update(|span| span.end());
    }

    fn update(&self, change: impl FnOnce(SpanRef<'_>)) {
        if let Some(context) = &self.0 {
            change(context.span());
        }
    }

    /// Runs `work` within the span.
    pub fn instrument<F: Future>(&self, work: F) -> impl Future<Output = F::Output> + use<F> {
        match &self.0 {
            Some(context) => Either::Left(work.with_context(context.clone())),
            None => Either::Right(work),
        }
    }

    /// Enters the span on this thread until the guard is dropped, so that log lines contain its trace id.
    #[must_use]
    pub fn enter(&self) -> Option<ContextGuard> {
        self.0.clone().map(Context::attach)
    }
}

impl Drop for Span {
    /// Ends the span with its owner, although others may still have its context.
    fn drop(&mut self) {
        self.end();
    }
}

/// Returns the id of this thread's current trace, as 32 hex digits.
pub(super) fn current_trace() -> Option<String> {
    if !is_enabled() {
        return None;
    }
    Context::map_current(|current| {
        let span = current.span();
        let context = span.span_context();
        context.is_valid().then(|| context.trace_id().to_string())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(parent: &str, state: Option<&str>) -> Option<BTreeMap<String, String>> {
        let get = |name: &str| if name == TRACEPARENT { Some(parent) } else { state };
        let mut headers = BTreeMap::from([(TRACESTATE.to_owned(), "old=1".to_owned())]);
        Origin::read(get)?.write(&mut headers);
        Some(headers)
    }

    #[test]
    fn headers_are_written_as_they_were_read() {
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let written = read(parent, Some("vendor=a,other=b")).unwrap();
        assert_eq!(written[TRACEPARENT], parent);
        assert_eq!(written[TRACESTATE], "vendor=a,other=b");
        for state in [None, Some("no state"), Some("a=".repeat(600).as_str())] {
            assert_eq!(read(parent, state).unwrap().len(), 1, "{state:?}");
        }
    }

    #[test]
    fn an_invalid_traceparent_is_ignored() {
        for wrong in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-extra",
            "00-af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(read(wrong, None), None, "{wrong:?}");
        }
        let newer = "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more";
        assert!(read(newer, None).unwrap()[TRACEPARENT].ends_with("-b7ad6b7169203331-01"));
    }

    #[tokio::test]
    async fn without_a_collector_there_is_no_span() {
        let span = Span::begin(Parent::None, SpanKind::Server, "nothing", []);
        assert!(!is_enabled() && span.0.is_none() && !span.is_recording() && span.origin().is_none());
        let steps = span.instrument(async { Span::step("nothing").0.is_none() && current_trace().is_none() });
        assert!(steps.await);
    }
}
