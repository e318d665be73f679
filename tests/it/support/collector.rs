//! A trace collector that receives spans by OTLP over HTTP, on its own port, and keeps them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::{Span, status};
use prost::Message as _;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use super::{Stack, eventually};

const WAIT_TIMEOUT: Duration = Duration::from_secs(60);

/// A span as it was received.
#[derive(Clone, Debug)]
pub(crate) struct ReceivedSpan {
    pub(crate) name: String,
    pub(crate) kind: i32,
    pub(crate) trace: String,
    pub(crate) id: String,
    /// Empty if the span is the root of its trace.
    pub(crate) parent: String,
    /// Trace id and span id of each link.
    pub(crate) links: Vec<(String, String)>,
    pub(crate) attributes: BTreeMap<String, String>,
    /// The resource attributes of the process that sent the span.
    pub(crate) resource: BTreeMap<String, String>,
    pub(crate) failed: bool,
    pub(crate) nanos: std::ops::Range<u64>,
}

impl ReceivedSpan {
    /// Returns the ids by which other spans link to this one.
    pub(crate) fn link_ids(&self) -> (String, String) {
        (self.trace.clone(), self.id.clone())
    }

    pub(crate) fn attribute(&self, key: &str) -> &str {
        self.attributes.get(key).map_or("", String::as_str)
    }
}

/// A collector that runs until it is dropped.
#[derive(Clone, Default)]
pub(crate) struct Collector {
    address: String,
    received: Arc<Received>,
}

#[derive(Default)]
struct Received {
    spans: Mutex<Vec<ReceivedSpan>>,
    bytes: Mutex<Vec<u8>>,
    headers: Mutex<HeaderMap>,
    requests: AtomicUsize,
}

impl Collector {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let collector = Self { address, received: Arc::default() };
        let routes = collector.routes();
        tokio::spawn(async move { axum::serve(listener, routes).await });
        collector
    }

    /// Starts a collector that uses TLS with this certificate and key; returns it with its port.
    pub(crate) async fn start_with_tls(certificate: &Path, key: &Path) -> (Self, u16) {
        let certificate = CertificateDer::from_pem_file(certificate).unwrap();
        let key = PrivateKeyDer::from_pem_file(key).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
        let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let acceptor = TlsAcceptor::from(Arc::new(config.with_single_cert(vec![certificate], key).unwrap()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let collector = Self::default();
        let routes = collector.routes();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, service) = (acceptor.clone(), TowerToHyperService::new(routes.clone()));
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        (collector, port)
    }

    fn routes(&self) -> Router {
        Router::new().route("/v1/traces", post(receive)).with_state(self.received.clone())
    }

    /// Makes all processes that `stack` starts from now on send their spans here, with a short delay.
    pub(crate) fn collect_from(&self, stack: &mut Stack) {
        stack.set("traces.endpoint", &format!("http://{}", self.address));
        stack.set_variable("OTEL_BSP_SCHEDULE_DELAY", "100");
    }

    pub(crate) fn spans(&self) -> Vec<ReceivedSpan> {
        self.received.spans.lock().unwrap().clone()
    }

    /// Returns all received bodies, unchanged.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.received.bytes.lock().unwrap().clone()
    }

    /// Returns the headers of the newest request.
    pub(crate) fn headers(&self) -> HeaderMap {
        self.received.headers.lock().unwrap().clone()
    }

    pub(crate) fn requests(&self) -> usize {
        self.received.requests.load(Ordering::SeqCst)
    }

    /// Waits for a span with this name for which `matches` is true; `what` describes it in the panic.
    pub(crate) async fn span(
        &self,
        what: &str,
        name: &str,
        matches: impl Fn(&ReceivedSpan) -> bool,
    ) -> ReceivedSpan {
        let what = format!("the span {name:?} ({what})");
        eventually(&what, WAIT_TIMEOUT, async || {
            self.spans().into_iter().find(|span| span.name == name && matches(span))
        })
        .await
    }
}

async fn receive(State(received): State<Arc<Received>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    received.requests.fetch_add(1, Ordering::SeqCst);
    let Ok(request) = ExportTraceServiceRequest::decode(body.clone()) else { return StatusCode::BAD_REQUEST };
    received.bytes.lock().unwrap().extend_from_slice(&body);
    *received.headers.lock().unwrap() = headers;
    for resource_spans in request.resource_spans {
        let resource = attributes_of(resource_spans.resource.unwrap_or_default().attributes);
        let spans = resource_spans.scope_spans.into_iter().flat_map(|scope| scope.spans);
        received.spans.lock().unwrap().extend(spans.map(|span| received_span(span, &resource)));
    }
    StatusCode::OK
}

fn received_span(span: Span, resource: &BTreeMap<String, String>) -> ReceivedSpan {
    ReceivedSpan {
        name: span.name,
        kind: span.kind,
        trace: hex::encode(span.trace_id),
        id: hex::encode(span.span_id),
        parent: hex::encode(span.parent_span_id),
        links: span
            .links
            .iter()
            .map(|link| (hex::encode(&link.trace_id), hex::encode(&link.span_id)))
            .collect(),
        attributes: attributes_of(span.attributes),
        resource: resource.clone(),
        failed: span.status.is_some_and(|status| status.code() == status::StatusCode::Error),
        nanos: span.start_time_unix_nano..span.end_time_unix_nano,
    }
}

fn attributes_of(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    attributes.into_iter().map(|one| (one.key, string_of(one.value))).collect()
}

fn string_of(value: Option<AnyValue>) -> String {
    match value.and_then(|value| value.value) {
        Some(any_value::Value::StringValue(value)) => value,
        Some(any_value::Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}
