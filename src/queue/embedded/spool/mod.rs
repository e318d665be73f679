//! The spool stores messages that the broker does not confirm on disk, in order.
//!
//! It uses the file format of the embedded queue, but a lock excludes a second owner, so the order is strict and
//! no message needs a lease. One task writes: requests that arrive together share one
//! transaction, and so one fsync.

mod writer;

use std::fs::TryLockError;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::writer::{Append, GROUP, Job, Removal, Shared, measure, requeue_all, write};
use super::file::File;
use super::rows;
use crate::queue::copies;
use crate::queue::{BatchLimits, Message, PublishError, QueueError};
use crate::runtime::clock::now_ms;
use crate::runtime::private_file;

/// The number of bytes that are counted for a message in addition to its body: headers and the file's own
/// bookkeeping.
const OVERHEAD: u64 = 512;

/// The limits of a spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpoolLimits {
    /// Bytes of bodies, and 512 more for each message.
    pub max_bytes: u64,
    /// While the oldest waiting message is older than this, new messages are refused.
    pub max_age: Duration,
}

/// The fill level of a spool, and whether it can be written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpoolLevel {
    /// Messages that wait to be forwarded.
    pub messages: u64,
    /// Bytes of everything in the spool.
    pub bytes: u64,
    /// When the oldest waiting message was stored, in ms since 1970.
    pub oldest_ms: Option<i64>,
    /// Messages that were set aside, because the broker will not accept them as they are.
    pub set_aside: u64,
    /// The reason why the last write to the file failed.
    pub problem: Option<String>,
}

impl SpoolLevel {
    /// Returns the age of the oldest waiting message.
    pub fn age(&self) -> Duration {
        let ms = self.oldest_ms.map_or(0, |oldest| now_ms().saturating_sub(oldest));
        Duration::from_millis(u64::try_from(ms).unwrap_or(0))
    }
}

/// The reason why the spool did not accept messages. None of the messages is stored, except possibly after
/// [`SpoolError::File`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpoolError {
    /// A message exceeds a limit: no queue would accept it.
    #[error(transparent)]
    ExceedsLimit(PublishError),
    /// The messages would exceed the limit.
    #[error("the spool is full: it holds {bytes} of at most {max_bytes} bytes (edge.spool_max_bytes)")]
    Full {
        /// The bytes in the spool.
        bytes: u64,
        /// The limit.
        max_bytes: u64,
    },
    /// The oldest message has waited too long.
    #[error("the oldest event in the spool has waited longer than edge.spool_max_age")]
    TooOld,
    /// The file cannot be used.
    #[error("{0}")]
    File(String),
}

/// A message in the spool.
#[derive(Clone, Debug)]
pub struct Spooled {
    id: i64,
    /// The message as it was stored.
    pub message: Message,
}

/// Messages on disk, in order. They stay until the caller removes them.
pub struct Spool {
    shared: Arc<Shared>,
    jobs: mpsc::Sender<Job>,
    stop: CancellationToken,
    writer: TaskTracker,
}

fn size(message: &Message) -> u64 {
    u64::try_from(message.body.len()).unwrap_or(u64::MAX).saturating_add(OVERHEAD)
}

impl Spool {
    /// Opens the spool at `path`, and creates it when it does not exist. Messages that were set aside
    /// earlier wait again, because the broker's limits may have changed.
    ///
    /// # Errors
    /// Fails if the file cannot be used, is not a hostmatch queue, or is used by another process.
    pub async fn open(path: PathBuf, limits: SpoolLimits) -> Result<Self, QueueError> {
        let path = path.display().to_string();
        let lock = lock(&path)?;
        let file = File::open_at(path).await?;
        let (level, newest_ms) = requeue_all(&file).await.map_err(|error| file.problem(&error))?;
        let level = watch::Sender::new(level);
        let shared =
            Arc::new(Shared { file, limits, level, transaction_began: Mutex::default(), _lock: lock });
        let (jobs, received) = mpsc::channel(GROUP);
        let (stop, writer) = (CancellationToken::new(), TaskTracker::new());
        writer.spawn(write(shared.clone(), received, stop.clone(), newest_ms.unwrap_or(i64::MIN)));
        writer.close();
        Ok(Self { shared, jobs, stop, writer })
    }

    /// Returns the fill level of the spool at `path`, even if another process owns it. Changes nothing.
    ///
    /// # Errors
    /// Fails if the file does not exist, cannot be read, or is not a hostmatch queue.
    pub async fn inspect(path: &Path) -> Result<SpoolLevel, QueueError> {
        let file = File::open_read_only(path.display().to_string()).await?;
        let measured = measure(&file.connection).await.map_err(|error| file.problem(&error));
        // A failed close does not matter, because the file was only read.
        let _ = file.connection.clone().close().await;
        measured.map(|(level, _)| level)
    }

    /// Appends the messages: all or none. Returns when they are on disk, without a time limit. If the future is
    /// dropped before that, they may still be stored. While a write has hung for a few seconds, this fails at
    /// once.
    ///
    /// # Errors
    /// Returns a [`SpoolError`].
    pub async fn append(&self, messages: Vec<Message>) -> Result<(), SpoolError> {
        messages.iter().try_for_each(copies::check).map_err(SpoolError::ExceedsLimit)?;
        if let Some(hangs) = self.shared.hanging_error() {
            return Err(hangs);
        }
        let size = messages.iter().map(size).sum();
        let (reply, answer) = oneshot::channel();
        let closed = || SpoolError::File("the spool has been closed".to_owned());
        self.jobs.send(Job::Append(Append { messages, size, reply })).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }

    /// Returns the messages that have waited longest, in order; an empty list if none waits.
    ///
    /// # Errors
    /// Fails if the file cannot be read.
    pub async fn head(&self, limits: BatchLimits) -> Result<Vec<Spooled>, QueueError> {
        let file = &self.shared.file;
        let head = rows::head(&file.connection, limits).await.map_err(|error| file.problem(&error))?;
        Ok(head.into_iter().map(|(id, delivery)| Spooled { id, message: delivery.message }).collect())
    }

    /// Removes forwarded messages.
    ///
    /// # Errors
    /// Fails if the file cannot be written; the messages are still in it.
    pub async fn remove(&self, forwarded: &[Spooled]) -> Result<(), QueueError> {
        let bytes = forwarded.iter().map(|spooled| size(&spooled.message)).sum();
        self.send_removal(forwarded, Removal::Forwarded { bytes }).await
    }

    /// Sets a message aside that the broker will not accept as it is. It stays in the file, and waits
    /// again when the spool is next opened.
    ///
    /// # Errors
    /// Fails if the file cannot be written.
    pub async fn set_aside(&self, message: &Spooled) -> Result<(), QueueError> {
        self.send_removal(std::slice::from_ref(message), Removal::SetAside).await
    }

    async fn send_removal(&self, spooled: &[Spooled], removal: Removal) -> Result<(), QueueError> {
        let ids = spooled.iter().map(|spooled| spooled.id).collect();
        let (reply, answer) = oneshot::channel();
        self.jobs.send(Job::Remove { ids, removal, reply }).await.map_err(|_| QueueError::Closed)?;
        answer.await.map_err(|_| QueueError::Closed)?
    }

    /// Returns the current fill level.
    pub fn level(&self) -> SpoolLevel {
        self.shared.level.borrow().clone()
    }

    /// Returns whether no message waits to be forwarded. After an append has returned, this is false until its
    /// messages are removed.
    pub fn is_empty(&self) -> bool {
        self.shared.level.borrow().messages == 0
    }

    /// Returns the limits of the spool.
    pub fn limits(&self) -> SpoolLimits {
        self.shared.limits
    }

    /// Returns the reason why another small message would be refused now; `None` if it would be accepted.
    pub fn refusal(&self) -> Option<SpoolError> {
        let level = self.shared.level.borrow();
        let problem = self.shared.hanging_error().or_else(|| level.problem.clone().map(SpoolError::File));
        problem.or_else(|| self.shared.limits.refusal(&level, level.bytes, OVERHEAD))
    }

    /// Waits until the spool contains a message to forward.
    pub async fn wait_until_filled(&self) {
        let mut level = self.shared.level.subscribe();
        // The sender lives as long as `self`: this cannot fail.
        let _filled = level.wait_for(|level| level.messages > 0).await;
    }

    /// Waits until messages have been removed: until fewer wait than now.
    pub async fn wait_for_removal(&self) {
        let mut level = self.shared.level.subscribe();
        let messages = level.borrow().messages;
        let _removed = level.wait_for(|level| level.messages < messages || level.messages == 0).await;
    }

    /// Waits until the spool no longer writes, because it was closed or its writer has failed.
    pub async fn wait_until_ended(&self) {
        self.jobs.closed().await;
    }

    /// Writes the pending appends, and closes the file.
    pub async fn close(&self) {
        self.stop.cancel();
        self.writer.wait().await;
        if self.shared.file.connection.clone().close().await.is_err() {
            tracing::warn!("the spool could not be closed cleanly; its messages are safe");
        }
    }
}

impl SpoolLimits {
    fn refusal(&self, level: &SpoolLevel, bytes: u64, added: u64) -> Option<SpoolError> {
        if bytes.saturating_add(added) > self.max_bytes {
            return Some(SpoolError::Full { bytes, max_bytes: self.max_bytes });
        }
        (level.age() > self.max_age).then_some(SpoolError::TooOld)
    }
}

/// Makes this process the only owner. A SQLite lock would make a second owner wait instead of failing, and would
/// prevent operators from reading the file with `sqlite3`.
fn lock(path: &str) -> Result<std::fs::File, QueueError> {
    let refused = |problem: String| QueueError::File { path: path.to_owned(), problem };
    let lock_path = format!("{path}.lock");
    let lock = private_file::open_lock(Path::new(&lock_path)).map_err(refused)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => {
            Err(refused("another edge uses it; give each edge its own file".to_owned()))
        }
        Err(TryLockError::Error(error)) => Err(refused(format!("{lock_path} cannot be locked: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use sea_orm::{ConnectionTrait as _, DbErr};

    use super::*;

    /// This checks the settings, because only a power failure would show a missing fsync; a killed process does not.
    #[tokio::test]
    async fn every_connection_to_the_file_commits_with_an_fsync() -> Result<(), DbErr> {
        let directory = tempfile::tempdir().unwrap();
        let limits = SpoolLimits { max_bytes: 1 << 20, max_age: Duration::from_secs(60) };
        let spool = Spool::open(directory.path().join("spool.db"), limits).await.unwrap();
        let mut transactions = Vec::new();
        for _ in 0..4 {
            let connection = sea_orm::TransactionTrait::begin(&spool.shared.file.connection).await?;
            let synchronous = connection.query_one_raw(rows::statement("PRAGMA synchronous", [])).await?;
            assert_eq!(synchronous.unwrap().try_get_by_index::<i64>(0)?, 2, "FULL");
            let journal = connection.query_one_raw(rows::statement("PRAGMA journal_mode", [])).await?;
            assert_eq!(journal.unwrap().try_get_by_index::<String>(0)?, "wal");
            transactions.push(connection);
        }
        Ok(())
    }
}
