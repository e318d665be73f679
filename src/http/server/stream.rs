//! The stream of one connection, with deadlines for the client.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

use super::connections::Connection;
use super::{Closed, Limits};

/// A stream on which a read fails when no data arrives for too long, and a write when the client does not
/// take a response in time.
pub(super) struct TimedStream {
    stream: TcpStream,
    idle: Duration,
    read_deadline: Pin<Box<Sleep>>,
    write: Duration,
    /// Runs from the first write that has to wait until everything is written. So a client cannot prolong it
    /// by taking a few bytes now and then.
    write_deadline: Option<Pin<Box<Sleep>>>,
    connection: Connection,
    on_close: fn(Closed),
}

impl TimedStream {
    pub(super) fn new(stream: TcpStream, limits: Limits, connection: Connection) -> Self {
        let Limits { idle, write, on_close, .. } = limits;
        let read_deadline = Box::pin(sleep(idle));
        Self { stream, idle, read_deadline, write, write_deadline: None, connection, on_close }
    }

    /// Lets a write wait only until the deadline.
    fn timed(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            return written;
        }
        let deadline = self.write_deadline.get_or_insert_with(|| {
            self.connection.set_unread(true);
            Box::pin(sleep(self.write))
        });
        ready!(deadline.as_mut().poll(cx));
        (self.on_close)(Closed::Unread);
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for TimedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(cx, buf) {
            let until = Instant::now() + self.idle;
            self.read_deadline.as_mut().reset(until);
            return Poll::Ready(read);
        }
        ready!(self.read_deadline.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncWrite for TimedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.timed(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.timed(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// The server calls this when it has written everything.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.write_deadline.take().is_some() {
            self.connection.set_unread(false);
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
