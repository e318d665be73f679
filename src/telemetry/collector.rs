//! Sending spans to a collector, by OTLP over HTTP, from a thread of its own.
//!
//! A collector that is slow or away costs spans, never bookings: they wait in a bounded queue, and
//! what does not fit or is not taken is dropped, counted, and told once.

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

/// Spans that wait to be sent; more are dropped.
const QUEUE: usize = 8192;
/// How long one request to the collector may take, all its attempts together.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the end of the program may be held up by what is still to be sent.
const DRAIN_GRACE: Duration = Duration::from_secs(3);
/// Bytes of an answer of the collector's that are read.
const MAX_ANSWER: usize = 1 << 20;
/// The most links of one span: a batch has no more messages.
const LINKS: u32 = 10_000;

/// Sends spans until it is told to end.
#[must_use = "what was not sent yet is lost without an end"]
#[derive(Debug)]
pub struct Collecting(Option<(SdkTracerProvider, Arc<Stats>)>);

/// Begins to make spans and to send them, if a collector is configured. Call it once, early; `role` is
/// what this process does.
///
/// # Errors
/// When the exporter cannot be made.
pub fn collect(config: &TracesConfig, role: &'static str) -> Result<Collecting, TelemetryError> {
    if config.endpoint.is_empty() {
        return Ok(Collecting(None));
    }
    let failed = |error: &dyn std::fmt::Display| TelemetryError::Traces(error.to_string());
    let endpoint = traces_endpoint(&config.endpoint);
    let headers = config.headers.iter().filter_map(|header| header.expose().split_once('='));
    let headers: HashMap<String, String> =
        headers.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned())).collect();
    let stats = Arc::new(Stats::default());
    let client = Client::new(&endpoint, REQUEST_TIMEOUT).map_err(|error| failed(&error))?;
    let client = client.with_max_answer(MAX_ANSWER);
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
    // The pace may be set by the standard's own variables (OTEL_BSP_SCHEDULE_DELAY).
    let pace = BatchConfigBuilder::default().with_max_queue_size(QUEUE).build();
    let batches = BatchSpanProcessor::builder(exporter).with_batch_config(pace).build();
    let provider = SdkTracerProvider::builder()
        .with_span_processor(BoundedProcessor { batches, stats: stats.clone() })
        .with_sampler(LinkSampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(
            config.sample_ratio,
        )))))
        .with_max_links_per_span(LINKS)
        .with_resource(resource(role))
        .build();
    TRACER.set(provider.tracer("hostmatch")).map_err(|_| TelemetryError::AlreadySet)?;
    Ok(Collecting(Some((provider, stats))))
}

fn traces_endpoint(base: &str) -> String {
    let base = base.trim_end_matches('/');
    if base.ends_with("/v1/traces") { base.to_owned() } else { format!("{base}/v1/traces") }
}

/// What this process is; `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` win.
fn resource(role: &'static str) -> Resource {
    let given = Resource::builder().build();
    let is_ours = |key: &Key| given.get(key).is_none_or(|name| name.as_str().starts_with("unknown_service"));
    let ours = [
        KeyValue::new("service.name", "hostmatch"),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", uuid::Uuid::new_v4().to_string()),
        KeyValue::new("hostmatch.role", role),
    ];
    Resource::builder().with_attributes(ours.into_iter().filter(|one| is_ours(&one.key))).build()
}

impl Collecting {
    /// Sends what is still to be sent, for a few seconds at most, and says how many spans were lost.
    pub async fn end(self) {
        let Some((provider, stats)) = self.0 else { return };
        let shut = move || provider.shutdown_with_timeout(DRAIN_GRACE);
        let ended = tokio::task::spawn_blocking(shut).await.is_ok_and(|ended| ended.is_ok());
        let lost = stats.lost.load(Ordering::Relaxed);
        let unsent = stats.waiting.load(Ordering::Relaxed);
        if lost > 0 || unsent > 0 || !ended {
            tracing::warn!(lost, unsent, "not all spans reached the collector of traces");
        }
    }
}

/// Asks the collector. The thread that exports has no runtime: requests are made on that of the program.
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
        // The exporter says no more than that it did not work.
        *locked(&self.stats.cause) = sent.as_ref().err().map(ToString::to_string);
        sent
    }
}

/// What is on its way, and what was lost.
#[derive(Debug, Default)]
struct Stats {
    /// Ended, and neither sent nor dropped yet.
    waiting: AtomicUsize,
    /// Dropped since the start.
    lost: AtomicU64,
    /// Why the newest request did not get through.
    cause: Mutex<Option<String>>,
    /// It has been said that the collector takes nothing.
    warned_refused: AtomicBool,
    /// It has been said that there are too many.
    warned_full: AtomicBool,
}

/// Lets spans into the queue while there is room.
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
        if waiting.fetch_add(1, Ordering::Relaxed) < QUEUE {
            return self.batches.on_end(span);
        }
        waiting.fetch_sub(1, Ordering::Relaxed);
        lost.fetch_add(1, Ordering::Relaxed);
        if !warned_full.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                waiting = QUEUE,
                "spans are dropped: the collector of traces does not keep up; bookings do not wait for it"
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

/// Sends, and tells once when that does not work, and once when it does again.
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
                    tracing::info!(endpoint, lost, "the collector takes traces again");
                }
            }
            Err(error) => {
                lost.fetch_add(u64::try_from(count).unwrap_or(u64::MAX), Ordering::Relaxed);
                if !warned_refused.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        endpoint,
                        %error,
                        problem = locked(&self.stats.cause).as_deref(),
                        "the collector does not take traces: spans are dropped until it does; bookings are not affected"
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

/// Which traces are kept: those of a parent as it says; one that begins here and is about others as they
/// are; any other by its share.
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
        let begins = parent.is_none_or(|parent| !parent.span().span_context().is_valid());
        let by_links = if links.iter().any(|link| link.span_context.is_sampled()) {
            Sampler::AlwaysOn
        } else {
            Sampler::AlwaysOff
        };
        let sampler = if begins && !links.is_empty() { &by_links } else { &self.0 };
        sampler.should_sample(parent, trace, name, kind, attributes, links)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_added_once() {
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
