//! The server of every listener: it takes connections and ends those on which nothing comes. HTTP/1.1
//! only: a client that speaks HTTP/2 can keep a connection open, and never end a head, by frames that
//! cost nothing.

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

/// What a connection may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// After how long it ends when nothing comes.
    pub idle: Duration,
    /// Bytes in the head of a request, at least 8 KiB. A larger one is answered 431.
    pub head: usize,
}

/// What hyper needs to work with.
const MIN_HEAD: usize = 8 << 10;

/// Fields in the head of a request. More are answered 431.
const MAX_HEADERS: usize = 100;

/// Serves these routes until `shutdown`. Then no new connection is taken, requests in progress are
/// answered, and it returns when the last connection has ended.
///
/// A connection ends when nothing has come on it for [`Limits::idle`], or when the head of a request
/// takes that long. A request that takes longer would be cut: it has to have a shorter limit of its own.
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
        let reader = IdleTimeoutReader { reader, idle, silent: Box::pin(tokio::time::sleep(idle)) };
        let stream = TokioIo::new(tokio::io::join(reader, writer));
        let connection = builder.serve_connection(stream, service);
        let stop = shutdown.clone();
        connections.spawn(async move {
            let mut connection = pin!(connection);
            tokio::select! {
                // However it ended: the client knows, or is gone.
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

/// What comes on a connection; reading it fails when nothing comes for too long.
struct IdleTimeoutReader {
    reader: OwnedReadHalf,
    idle: Duration,
    silent: Pin<Box<Sleep>>,
}

impl AsyncRead for IdleTimeoutReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Poll::Ready(read) = Pin::new(&mut self.reader).poll_read(cx, buf) {
            let until = Instant::now() + self.idle;
            self.silent.as_mut().reset(until);
            return Poll::Ready(read);
        }
        ready!(self.silent.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}
