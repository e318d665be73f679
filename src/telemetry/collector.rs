//! Sends spans to a collector, with OTLP over HTTP, from a separate thread.
//!
//! If the collector is slow or unreachable, spans may be lost, but bookings are never delayed: spans wait in
//! a bounded queue, and spans that do not fit or are not accepted are dropped and counted, with one log line.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::{Request, Response};
use bytes::Bytes;
use opentelemetry::trace::{Link, SpanKind, TraceContextExt as _, TraceId, TracerProvider as _};
use opentelemetry::{Context, Key, KeyValue};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SamplingResult, SdkTracerProvider, ShouldSample, Span,
    SpanData, SpanExporter, SpanProcessor,
};
use tokio::runtime::Handle;

use super::logs::TelemetryError;
use super::traces::TRACER;
use crate::config::TracesConfig;
use crate::http::client::Client;
use crate::runtime::locked;

/// The maximum number of spans that wait to be sent; further spans are dropped.
const MAX_QUEUED: usize = 8192;
/// How long one request to the collector may take, including all its attempts.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// How long unsent spans may delay the exit of the program.
const DRAIN_GRACE: Duration = Duration::from_secs(3);
/// The maximum size of the collector's response, in bytes.
const MAX_RESPONSE: usize = 1 << 20;
/// The maximum number of links of a span, which is the maximum number of messages in a batch.
const MAX_LINKS: u32 = 10_000;

/// The running export of spans, until [`TraceExport::shutdown`].
#[must_use = "unsent spans are lost without a shutdown"]
#[derive(Debug)]
pub struct TraceExport(Option<(SdkTracerProvider, Arc<Stats>)>);

/// Starts to create and send spans, if a collector is configured. Call this once, early; `role` is the role
/// of this process.
///
/// # Errors
/// Fails if the exporter cannot be created.
pub fn start_export(config: &TracesConfig, role: &'static str) -> Result<TraceExport, TelemetryError> {
    if config.endpoint.is_empty() {
        return Ok(TraceExport(None));
    }
    let failed = |error: &dyn std::fmt::Display| TelemetryError::Traces(error.to_string());
    let endpoint = traces_endpoint(&config.endpoint);
    let headers = config.headers.iter().filter_map(|header| header.expose().split_once('='));
    let headers: HashMap<String, String> =
        headers.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned())).collect();
    let stats = Arc::new(Stats::default());
    let client = Client::new(&endpoint, REQUEST_TIMEOUT).map_err(|error| failed(&error))?;
    let client = client.with_max_response(MAX_RESPONSE);
    let client = CollectorClient { client, runtime: Handle::current(), stats: stats.clone() };
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(&endpoint)
        .with_timeout(REQUEST_TIMEOUT)
        .with_headers(headers)
        .with_http_client(client)
        .build()
        .map_err(|error| failed(&error))?;
    let exporter = ReportingExporter { exporter, endpoint, stats: stats.clone() };
    // The standard's own variables (OTEL_BSP_SCHEDULE_DELAY) may set the interval at which batches are sent.
    let batch_config = BatchConfigBuilder::default().with_max_queue_size(MAX_QUEUED).build();
    let batches = BatchSpanProcessor::builder(exporter).with_batch_config(batch_config).build();
    let provider = SdkTracerProvider::builder()
        .with_span_processor(BoundedProcessor { batches, stats: stats.clone() })
        .with_sampler(LinkSampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(
            config.sample_ratio,
        )))))
        .with_max_links_per_span(MAX_LINKS)
        .with_resource(resource(role))
        .build();
    TRACER.set(provider.tracer("hostmatch")).map_err(|_| TelemetryError::AlreadySet)?;
    Ok(TraceExport(Some((provider, stats))))
}

fn traces_endpoint(base: &str) -> String {
    let base = base.trim_end_matches('/');
    if base.ends_with("/v1/traces") { base.to_owned() } else { format!("{base}/v1/traces") }
}

/// Describes this process as the origin of spans; `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` take precedence.
fn resource(role: &'static str) -> Resource {
    let from_environment = Resource::builder().build();
    let is_unset =
        |key: &Key| from_environment.get(key).is_none_or(|name| name.as_str().starts_with("unknown_service"));
    let defaults = [
        KeyValue::new("service.name", "hostmatch"),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", uuid::Uuid::new_v4().to_string()),
        KeyValue::new("hostmatch.role", role),
    ];
    Resource::builder().with_attributes(defaults.into_iter().filter(|default| is_unset(&default.key))).build()
}

impl TraceExport {
    /// Sends the remaining spans, for a few seconds at most, and logs how many were lost.
    pub async fn shutdown(self) {
        let Some((provider, stats)) = self.0 else { return };
        let shutdown = move || provider.shutdown_with_timeout(DRAIN_GRACE);
        let is_complete = tokio::task::spawn_blocking(shutdown).await.is_ok_and(|result| result.is_ok());
        let lost = stats.lost.load(Ordering::Relaxed);
        let unsent = stats.waiting.load(Ordering::Relaxed);
        if lost > 0 || unsent > 0 || !is_complete {
            tracing::warn!(lost, unsent, "not all spans reached the trace collector");
        }
    }
}

/// The client for the collector. The exporting thread has no runtime, so requests run on the program's
/// runtime.
#[derive(Debug)]
struct CollectorClient {
    client: Client,
    runtime: Handle,
    stats: Arc<Stats>,
}

#[async_trait::async_trait]
impl HttpClient for CollectorClient {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        let sent = async {
            let request = reqwest::Request::try_from(request)?;
            Ok(self.runtime.spawn(async move { client.execute(request).await }).await??)
        };
        let sent: Result<_, HttpError> = sent.await;
        // The exporter itself reports only the failure, not the reason.
        *locked(&self.stats.cause) = sent.as_ref().err().map(ToString::to_string);
        sent
    }
}

/// Counts of waiting and lost spans, and what has been logged about them.
#[derive(Debug, Default)]
struct Stats {
    /// The number of spans that have ended, but have been neither sent nor dropped yet.
    waiting: AtomicUsize,
    /// The number of spans that have been dropped since the start.
    lost: AtomicU64,
    /// Why the latest request failed.
    cause: Mutex<Option<String>>,
    /// Whether it has been logged that the collector does not accept spans.
    warned_refused: AtomicBool,
    /// Whether it has been logged that the queue is full.
    warned_full: AtomicBool,
}

/// Adds spans to the queue while there is room.
#[derive(Debug)]
struct BoundedProcessor {
    batches: BatchSpanProcessor,
    stats: Arc<Stats>,
}

impl SpanProcessor for BoundedProcessor {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if !span.span_context.is_sampled() {
            return;
        }
        let Stats { waiting, lost, warned_full, .. } = &*self.stats;
        if waiting.fetch_add(1, Ordering::Relaxed) < MAX_QUEUED {
            return self.batches.on_end(span);
        }
        waiting.fetch_sub(1, Ordering::Relaxed);
        lost.fetch_add(1, Ordering::Relaxed);
        if !warned_full.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                waiting = MAX_QUEUED,
                "spans are dropped: the trace collector does not keep up; bookings are not delayed"
            );
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.batches.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.batches.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.batches.set_resource(resource);
    }
}

/// Sends spans. Logs once when sending fails, and once when it works again.
#[derive(Debug)]
struct ReportingExporter<E> {
    exporter: E,
    endpoint: String,
    stats: Arc<Stats>,
}

impl<E: SpanExporter> SpanExporter for ReportingExporter<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len();
        let sent = self.exporter.export(batch).await;
        let Stats { waiting, lost, warned_refused, warned_full, .. } = &*self.stats;
        waiting.fetch_sub(count, Ordering::Relaxed);
        let endpoint = &self.endpoint;
        match &sent {
            Ok(()) => {
                warned_full.store(false, Ordering::Relaxed);
                if warned_refused.swap(false, Ordering::Relaxed) {
                    let lost = lost.load(Ordering::Relaxed);
                    tracing::info!(endpoint, lost, "the collector accepts traces again");
                }
            }
            Err(error) => {
                lost.fetch_add(u64::try_from(count).unwrap_or(u64::MAX), Ordering::Relaxed);
                if !warned_refused.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        endpoint,
                        %error,
                        problem = locked(&self.stats.cause).as_deref(),
                        "the collector does not accept traces: spans are dropped; bookings are not affected"
                    );
                }
            }
        }
        sent
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn shutdown(&self) -> OTelSdkResult {
        self.exporter.shutdown()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

/// Decides which traces are kept. A span with a parent is kept if the parent is; a root span
/// with links, if a linked span is kept; any other span, according to the configured ratio.
#[derive(Clone, Debug)]
struct LinkSampler(Sampler);

impl ShouldSample for LinkSampler {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let is_root = parent.is_none_or(|parent| !parent.span().span_context().is_valid());
        let links_sampler = if links.iter().any(|link| link.span_context.is_sampled()) {
            Sampler::AlwaysOn
        } else {
            Sampler::AlwaysOff
        };
        let sampler = if is_root && !links.is_empty() { &links_sampler } else { &self.0 };
        sampler.should_sample(parent, trace, name, kind, attributes, links)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_added_only_once() {
        for (base, endpoint) in [
            ("http://collector:4318", "http://collector:4318/v1/traces"),
            ("http://collector:4318/", "http://collector:4318/v1/traces"),
            ("https://traces.example/otlp", "https://traces.example/otlp/v1/traces"),
            ("https://traces.example/otlp/v1/traces", "https://traces.example/otlp/v1/traces"),
        ] {
            assert_eq!(traces_endpoint(base), endpoint);
        }
    }
}
