//! The queue in a local SQLite file: no broker, nothing to install, one table.
//!
//! Published messages are on disk when the call returns (WAL, `synchronous=FULL`). A delivery is
//! leased: the lease is renewed until the delivery is settled; if the process crashes, the lease expires and
//! the message is delivered again. Several consumers and several processes may share one file.

mod entity;
mod reserve;
mod file;
mod rows;
mod lease;
mod consumer;
mod spool;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sea_orm::TransactionTrait;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use self::file::File;
use super::{Level, Message, PublishError, QueueError, metrics};
use crate::config::QueueConfig;
use crate::runtime::clock::now_ms;
use crate::runtime::crash_points;

pub(super) use self::consumer::EmbeddedConsumer;
pub(super) use self::lease::EmbeddedSettler;
pub use self::spool::{Spool, SpoolError, SpoolLevel, SpoolLimits, Spooled};

#[derive(Clone)]
pub(super) struct Embedded(Arc<Inner>);

struct Inner {
    file: File,
    delivery_limit: i64,
    /// Notifies the consumers in this process that a message may have become ready.
    ready_signal: watch::Sender<()>,
    stop: CancellationToken,
    /// Whether the file can be written, as far as is known.
    is_writable: AtomicBool,
}

/// The interval at which a file that could not be written is tried again.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

impl Embedded {
    pub(super) async fn open(config: &QueueConfig) -> Result<Self, QueueError> {
        let file = File::open(config.url.expose()).await?;
        let (ready_signal, _) = watch::channel(());
        let delivery_limit = i64::from(config.delivery_limit);
        let stop = CancellationToken::new();
        let is_writable = AtomicBool::new(true);
        Ok(Self(Arc::new(Inner { file, delivery_limit, ready_signal, stop, is_writable })))
    }

    /// Publishes the messages in one transaction: all or none.
    pub(super) async fn publish(&self, messages: Vec<Message>) -> Result<(), PublishError> {
        if self.0.stop.is_cancelled() {
            return Err(PublishError::Unavailable("the queue has been closed".to_owned()));
        }
        let written = self.0.file.add(async |db| {
            for message in &messages {
                rows::insert(db, message, now_ms()).await?;
            }
            crash_points::point("before_confirm");
            Ok(())
        });
        let unavailable = |error| PublishError::Unavailable(self.0.file.problem(&error).to_string());
        let written = written.await.map_err(unavailable);
        match &written {
            Ok(()) => {
                self.0.is_writable.store(true, Ordering::Relaxed);
                crash_points::point("after_confirm");
            }
            Err(_) => self.probe_until_writable(),
        }
        metrics::count_published(std::iter::repeat_n(&written, messages.len()));
        written?;
        self.notify();
        Ok(())
    }

    /// Returns whether a message would be accepted now, as far as is known.
    pub(super) fn is_ready(&self) -> bool {
        !self.0.stop.is_cancelled() && self.0.is_writable.load(Ordering::Relaxed)
    }

    /// After a failed write: tries to write until it succeeds, so that readiness is true without a message.
    fn probe_until_writable(&self) {
        if !self.0.is_writable.swap(false, Ordering::Relaxed) {
            return;
        }
        let queue = self.clone();
        drop(tokio::spawn(async move {
            let inner = &queue.0;
            while !inner.is_writable.load(Ordering::Relaxed) && !inner.stop.is_cancelled() {
                sleep(PROBE_INTERVAL).await;
                if inner.file.add(rows::write_nothing).await.is_ok() {
                    inner.is_writable.store(true, Ordering::Relaxed);
                }
            }
        }));
    }

    pub(super) async fn levels(&self) -> Result<Vec<Level>, QueueError> {
        let levels = rows::levels(&self.0.file.connection, now_ms()).await;
        levels.map_err(|error| self.0.file.problem(&error))
    }

    pub(super) async fn close(&self) {
        self.0.stop.cancel();
        self.notify();
        if self.0.file.connection.clone().close().await.is_err() {
            tracing::warn!("the queue file could not be closed cleanly; its messages are safe");
        }
    }

    fn notify(&self) {
        self.0.ready_signal.send_replace(());
    }
}
