//! The server behind every listener: it accepts connections and closes idle ones. It speaks only HTTP/1.1:
//! with HTTP/2, a client could keep a connection open without ever completing a head, by sending cheap
//! frames.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::serve::Listener;
use hyper::server::conn::http1::Builder;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpListener;
use tokio::net::tcp::OwnedReadHalf;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The limits of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The connection is closed after this long without data.
    pub idle: Duration,
    /// The maximum size of the head of a request, in bytes, at least 8 KiB. The response to a larger head is
    /// 431.
    pub head: usize,
}

/// The smallest buffer that hyper accepts.
const MIN_HEAD: usize = 8 << 10;

/// The maximum number of fields in the head of a request. The response to more fields is 431.
const MAX_HEADERS: usize = 100;

/// Serves these routes until `shutdown`. Then it accepts no new connections, completes the requests in
/// progress, and returns when the last connection has ended.
///
/// A connection is closed when no data has arrived for [`Limits::idle`], or when the head of a request
/// takes that long. This also cuts off a request that takes longer, so requests need a shorter limit.
pub async fn serve(mut listener: TcpListener, routes: Router, limits: Limits, shutdown: &CancellationToken) {
    let idle = limits.idle;
    let mut builder = Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(idle);
    builder.max_buf_size(limits.head.max(MIN_HEAD)).max_headers(MAX_HEADERS);
    let connections = TaskTracker::new();
    loop {
        let stream = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            (stream, _) = Listener::accept(&mut listener) => stream,
        };
        let service = TowerToHyperService::new(routes.clone());
        let (reader, writer) = stream.into_split();
        let reader = IdleTimeoutReader { reader, idle, deadline: Box::pin(tokio::time::sleep(idle)) };
        let stream = TokioIo::new(tokio::io::join(reader, writer));
        let connection = builder.serve_connection(stream, service);
        let stop = shutdown.clone();
        connections.spawn(async move {
            let mut connection = pin!(connection);
            tokio::select! {
                // The result does not matter: the client knows it, or has disconnected.
                _ = connection.as_mut() => return,
                () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
            }
            let _ = connection.await;
        });
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

/// The reading half of a connection; a read fails when no data arrives for too long.
struct IdleTimeoutReader {
    reader: OwnedReadHalf,
    idle: Duration,
    deadline: Pin<Box<Sleep>>,
}

impl AsyncRead for IdleTimeoutReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Poll::Ready(read) = Pin::new(&mut self.reader).poll_read(cx, buf) {
            let until = Instant::now() + self.idle;
            self.deadline.as_mut().reset(until);
            return Poll::Ready(read);
        }
        ready!(self.deadline.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}
