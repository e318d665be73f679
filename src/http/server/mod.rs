//! The server behind every listener: it accepts connections, closes those whose clients keep it waiting, and
//! limits their number. It speaks only HTTP/1.1: with HTTP/2, a client could keep a connection open without ever
//! completing a head, by sending cheap frames.

mod connections;
mod stream;

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper::server::conn::http1::Builder;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustix::net::sockopt::set_socket_send_buffer_size;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::connections::{Connection, Connections};
use self::stream::TimedStream;

pub use self::connections::max_connections;

/// The limits of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The connection is closed after this long without data.
    pub idle: Duration,
    /// The maximum size of the head of a request, in bytes, at least 8 KiB. The response to a larger head is
    /// 431.
    pub head: usize,
    /// The connection is closed when the client has not taken a response this long after it was ready.
    pub write: Duration,
    /// The maximum number of connections. A further one takes the place of the one that has kept the
    /// server waiting the longest; if there is none, it is closed at once.
    pub connections: usize,
    /// The same for the connections from one public address; 0: no limit. An IPv6 address counts as its /64
    /// network.
    pub per_address: usize,
    /// Called when the server closes a connection because of the client or of a limit.
    pub on_close: fn(Closed),
}

/// The reason why the server closed a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Closed {
    /// [`Limits::connections`], or no file is free for a further connection.
    TooMany,
    /// [`Limits::per_address`].
    PerAddress,
    /// [`Limits::write`].
    Unread,
}

crate::runtime::string_values!(Closed);

/// The smallest buffer that hyper accepts.
const MIN_HEAD: usize = 8 << 10;

/// The maximum number of fields in the head of a request. The response to more fields is 431.
const MAX_HEADERS: usize = 100;

/// How much of a response the system keeps for a client that does not read it, in bytes (Linux doubles it).
const SEND_BUFFER: usize = 32 << 10;

/// The pause after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// Serves these routes until `shutdown`. Then it accepts no new connections, completes the requests in
/// progress, and returns when the last connection has ended.
///
/// A connection is closed when no data has arrived for [`Limits::idle`], when the head of a request takes
/// that long, or when a response is not taken within [`Limits::write`]. The first also cuts off a request that
/// takes longer, so requests need a shorter limit.
pub async fn serve(listener: TcpListener, routes: Router, limits: Limits, shutdown: &CancellationToken) {
    let mut builder = Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(limits.idle);
    builder.max_buf_size(limits.head.max(MIN_HEAD)).max_headers(MAX_HEADERS);
    let connections = Arc::new(Connections::new(limits));
    let tasks = TaskTracker::new();
    loop {
        let (stream, connection) = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            accepted = accept(&listener, &connections) => accepted,
        };
        // It is only smaller than the system's default: the server works without it.
        let _ = set_socket_send_buffer_size(&stream, SEND_BUFFER);
        let routes = TowerToHyperService::new(routes.clone());
        let serving = connection.clone();
        let service = service_fn(move |request: Request<hyper::body::Incoming>| {
            let (busy, response) = (serving.begin_request(), routes.call(request));
            async move {
                let response = response.await;
                drop(busy);
                response
            }
        });
        let stream = TokioIo::new(TimedStream::new(stream, limits, connection.clone()));
        let http = builder.serve_connection(stream, service);
        let stop = shutdown.clone();
        tasks.spawn(async move {
            let mut http = pin!(http);
            tokio::select! {
                biased;
                () = connection.evicted() => return,
                // The result does not matter: the client knows it, or has disconnected.
                _ = http.as_mut() => return,
                () = stop.cancelled() => http.as_mut().graceful_shutdown(),
            }
            tokio::select! {
                () = connection.evicted() => {}
                _ = http => {}
            }
        });
    }
    drop(listener);
    tasks.close();
    tasks.wait().await;
}

/// Accepts the next connection. When that fails, for example because the process has too many open files, it
/// makes room and tries again.
async fn accept(listener: &TcpListener, connections: &Arc<Connections>) -> (TcpStream, Connection) {
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                if let Some(connection) = connections.open(address.ip()).await {
                    return (stream, connection);
                }
            }
            // The client has disconnected before it was accepted.
            Err(error) if is_of_client(&error) => {}
            Err(error) => {
                connections.make_room(&error);
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn is_of_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
