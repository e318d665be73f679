//! The edge's router and server.

use std::any::Any;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::normalize_path::NormalizePath;

use super::forward::{self, WriterFailed};
use super::problem;
use super::sink::Sink;
use super::state::Edge;
use super::{auth, layers, metrics, routes};
use crate::config::EdgeConfig;
use crate::http::health;
use crate::http::server::{self, Limits};
use crate::queue::{Publisher, QueueError};
use crate::runtime::shutdown::Shutdown;

/// How much longer a response may be written after its deadline.
const DRAIN_GRACE: Duration = Duration::from_secs(1);

/// Why the edge cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum EdgeError {
    /// The file with the bearer tokens cannot be read.
    #[error("edge.tokens_file {path:?} cannot be read: {source}; create it, or leave the key empty")]
    Tokens {
        /// The file as configured.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The file of the spool cannot be used.
    #[error(
        "edge.spool: {0}; set it to a path that this user may write to, or to \"\" to run without a spool"
    )]
    Spool(#[source] QueueError),
    /// The spool writer or the spool forwarder failed.
    #[error(
        "{0} ended unexpectedly: this is a bug in hostmatch, see the log; no accepted event is lost; \
         restart the edge"
    )]
    TaskFailed(String),
    /// The listening socket failed.
    #[error("the edge's listening socket failed: {0}")]
    Listen(#[from] std::io::Error),
}

/// Returns all routes of the edge, without the spool, for embedding in another server. Once `shutdown`
/// is cancelled, `/health/ready` reports that the edge is not ready.
pub fn router(config: &EdgeConfig, publisher: Publisher, shutdown: Shutdown) -> Router {
    routes(&Arc::new(Edge::new(config, Sink::direct(publisher), shutdown)))
}

/// Serves the edge on `listener` until `shutdown` is cancelled. The edge does not wait for the broker: while the
/// broker is unreachable, events go into the spool, and `/health/ready` reports the outage.
/// `/health/ready` also reports the problems of the `other_role` in this process.
///
/// A connection on which nothing arrives for `edge.idle_timeout` is closed, and so is one whose client does not
/// take a response within `edge.write_timeout`.
///
/// When the edge stops, it accepts no new connections. Requests in progress, and publishes whose client has
/// disconnected, may take up to `edge.request_timeout`. Spooled events stay for the next start. When a task
/// of the edge fails, the whole edge stops in the same way.
///
/// # Errors
/// Fails if at the start the tokens cannot be read or the spool cannot be used, if the socket fails, or if a
/// task of the edge fails. In the last case the supervisor must restart this process.
pub async fn serve(
    config: &EdgeConfig,
    publisher: Publisher,
    listener: TcpListener,
    other_role: Option<health::Report>,
    shutdown: Shutdown,
) -> Result<(), EdgeError> {
    let sink = Sink::open(config, publisher).await.map_err(EdgeError::Spool)?;
    // A child token, so that clients still get their responses when a task of the edge fails.
    let stop = shutdown.child_token();
    let edge = Arc::new(Edge { other_role, ..Edge::new(config, sink, stop.clone()) });
    let unreadable = |source| EdgeError::Tokens { path: config.tokens_file.clone(), source };
    metrics::register(&edge);
    edge.tokens.refresh().await.map_err(unreadable)?;
    if config.allow_unsigned {
        tracing::warn!("edge.allow_unsigned is on: anybody who can reach this port can post events");
    }
    for problem in auth::senders_without_credentials(config) {
        tracing::warn!(problem, "every request of this sender is refused");
    }
    let address = listener.local_addr()?;
    tracing::info!(%address, "the edge is listening");
    let drain_timeout = config.request_timeout + DRAIN_GRACE;
    let drain_deadline = async {
        stop.cancelled().await;
        tokio::time::sleep(drain_timeout).await;
    };
    let stop_forwarding = stop.child_token();
    let (forwarding_edge, stopped) = (Arc::clone(&edge), stop_forwarding.clone());
    let forwarder = tokio::spawn(async move { forward::run(&forwarding_edge.sink, &stopped).await });
    let serving = async {
        let limits = Limits {
            idle: config.idle_timeout,
            head: config.header_limit,
            write: config.write_timeout,
            connections: server::max_connections(config.max_connections),
            per_address: config.max_connections_per_address,
            on_close: metrics::count_closed,
        };
        server::serve(listener, routes(&edge), limits, &stop).await;
        stop_forwarding.cancel();
        edge.publishing.close();
        edge.publishing.wait().await;
    };
    let polling = health::poll(|| edge.record.checks(edge.findings(edge.sink.health())));
    let failure = OnceLock::new();
    // When asked to stop, the forwarder finishes on its own after the confirm that it is waiting for.
    let forwarding = async {
        let task = match forwarder.await {
            Ok(Ok(())) => return,
            Ok(Err(WriterFailed)) => "the spool writer".to_owned(),
            Err(error) => format!("the spool forwarder ({error})"),
        };
        failure.get_or_init(|| EdgeError::TaskFailed(task));
        stop.cancel();
    };
    tokio::select! {
        _ = async { tokio::join!(serving, forwarding) } => {}
        () = drain_deadline => tracing::warn!("some requests did not finish in time and were abandoned"),
        () = polling => {}
    }
    if tokio::time::timeout(config.request_timeout, edge.sink.close()).await.is_err() {
        tracing::warn!("the spool file could not be closed in time; no accepted event is lost");
    }
    if let Some(failure) = failure.into_inner() {
        return Err(failure);
    }
    tracing::info!("the edge has stopped");
    Ok(())
}

fn routes(edge: &Arc<Edge>) -> Router {
    let webhooks = Router::new()
        .route("/api/retell/webhook", post(routes::retell))
        .route("/webhooks/calcom", post(routes::calcom))
        .route("/v1/events", post(routes::events))
        .route_layer(from_fn_with_state(Arc::clone(edge), layers::admit));
    let routes = Router::new()
        .merge(webhooks)
        .route("/health/live", get(routes::live))
        .route("/health/ready", get(routes::ready))
        .route("/openapi.json", get(routes::openapi))
        .fallback(async || problem::not_found())
        .method_not_allowed_fallback(async || problem::method_not_allowed())
        .layer(CatchPanicLayer::custom(respond_to_panic))
        .layer(from_fn_with_state(Arc::clone(edge), layers::log))
        .with_state(Arc::clone(edge));
    // Before the path is matched: a path with a slash at its end is the same route.
    Router::new().fallback_service(NormalizePath::trim_trailing_slash(routes))
}

/// Responds to a request whose handler panicked; other requests are not affected. The panic's message is not
/// logged, because it may contain personal data.
fn respond_to_panic(_: Box<dyn Any + Send>) -> Response {
    tracing::error!("a request handler panicked; this is a bug in hostmatch");
    problem::internal().into_response()
}
