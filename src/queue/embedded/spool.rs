//! The spool: what the broker does not confirm waits here, on the disk, in order.
//!
//! The same file as the embedded queue's, with one owner: a lock refuses a second one, so the
//! order is strict and nothing needs a lease. One task writes: requests that come together share
//! one transaction, and so one fsync.

use std::fs::{OpenOptions, TryLockError};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sea_orm::{ConnectionTrait, DbErr};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::file::File;
use super::rows;
use crate::queue::copies::{self, now_ms};
use crate::queue::{BatchLimits, Message, PublishError, QueueError};

/// Requests that share one transaction at most.
const GROUP: usize = 256;
/// How often to see whether a file can be written again that could not.
const PROBE: Duration = Duration::from_secs(1);
/// What a message counts besides its body: headers, and the file's own bookkeeping.
const OVERHEAD: u64 = 512;

/// How much a spool may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpoolLimits {
    /// Bytes of bodies, and 512 more for each message.
    pub max_bytes: u64,
    /// While the oldest message is older than this, no new one is taken.
    pub max_age: Duration,
}

/// What is in a spool, and whether it can be written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpoolLevel {
    /// Messages that wait to be forwarded.
    pub messages: u64,
    /// Bytes of everything in it.
    pub bytes: u64,
    /// When the oldest that waits was put there, in ms since 1970.
    pub oldest_ms: Option<i64>,
    /// Messages that the broker will not take as they are.
    pub set_aside: u64,
    /// Why the file could not be written the last time.
    pub problem: Option<String>,
}

impl SpoolLevel {
    /// The age of the oldest message that waits.
    pub fn age(&self) -> Duration {
        let ms = self.oldest_ms.map_or(0, |oldest| now_ms().saturating_sub(oldest));
        Duration::from_millis(u64::try_from(ms).unwrap_or(0))
    }
}

/// Why the spool did not take messages. None of them is in it then, but for [`SpoolError::File`],
/// where they may be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpoolError {
    /// A message that no queue would take.
    #[error(transparent)]
    Unfit(PublishError),
    /// They would not fit in.
    #[error("the spool is full: it has {bytes} bytes and may have {most} (edge.spool_max_bytes)")]
    Full {
        /// What is in it.
        bytes: u64,
        /// The limit.
        most: u64,
    },
    /// What is in it has waited too long already.
    #[error("the oldest event in the spool has waited longer than edge.spool_max_age")]
    Old,
    /// The file cannot be used.
    #[error("{0}")]
    File(String),
}

/// A message in the spool.
#[derive(Clone, Debug)]
pub struct Spooled {
    id: i64,
    /// The message, as it was put there.
    pub message: Message,
}

/// Messages on the disk, in order. They leave only when somebody removes them.
pub struct Spool {
    shared: Arc<Shared>,
    jobs: mpsc::Sender<Job>,
    stop: CancellationToken,
    writer: TaskTracker,
}

struct Shared {
    file: File,
    limits: SpoolLimits,
    level: watch::Sender<SpoolLevel>,
    /// Held as long as the file is open; the system frees it when the process dies.
    _lock: std::fs::File,
}

struct Append {
    messages: Vec<Message>,
    size: u64,
    done: oneshot::Sender<Result<(), SpoolError>>,
}

enum Job {
    Append(Append),
    Leave { ids: Vec<i64>, leave: Leave, done: oneshot::Sender<Result<(), QueueError>> },
}

/// How messages leave the line.
enum Leave {
    Forwarded { bytes: u64 },
    SetAside,
}

fn size(message: &Message) -> u64 {
    u64::try_from(message.body.len()).unwrap_or(u64::MAX).saturating_add(OVERHEAD)
}

impl Spool {
    /// Opens the spool at `path`, and makes it when it is not there. What was set aside when it
    /// was last open is in line again: the broker's limits may be others now.
    ///
    /// # Errors
    /// When the file cannot be used, is no queue of ours, or belongs to another process.
    pub async fn open(path: PathBuf, limits: SpoolLimits) -> Result<Self, QueueError> {
        let path = path.display().to_string();
        let lock = lock(&path)?;
        let file = File::at(path).await?;
        let (level, newest_ms) = measure(&file).await.map_err(|error| file.problem(&error))?;
        let level = watch::Sender::new(level);
        let shared = Arc::new(Shared { file, limits, level, _lock: lock });
        let (jobs, received) = mpsc::channel(GROUP);
        let (stop, writer) = (CancellationToken::new(), TaskTracker::new());
        writer.spawn(write(shared.clone(), received, stop.clone(), newest_ms));
        writer.close();
        Ok(Self { shared, jobs, stop, writer })
    }

    /// Puts the messages at the end: all or none. They are on the disk when this returns.
    ///
    /// # Errors
    /// See [`SpoolError`].
    pub async fn append(&self, messages: Vec<Message>) -> Result<(), SpoolError> {
        for message in &messages {
            copies::check(message).map_err(SpoolError::Unfit)?;
        }
        let size = messages.iter().map(size).sum();
        let (done, answer) = oneshot::channel();
        let closed = || SpoolError::File("the spool has been closed".to_owned());
        self.jobs.send(Job::Append(Append { messages, size, done })).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }

    /// The messages that have waited longest, in order; none when nothing waits.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn head(&self, limits: BatchLimits) -> Result<Vec<Spooled>, QueueError> {
        let file = &self.shared.file;
        let head = rows::head(&file.connection, limits).await.map_err(|error| file.problem(&error))?;
        Ok(head.into_iter().map(|(id, delivery)| Spooled { id, message: delivery.message }).collect())
    }

    /// Takes out what was forwarded.
    ///
    /// # Errors
    /// When the file cannot be written: they are in it still.
    pub async fn remove(&self, forwarded: &[Spooled]) -> Result<(), QueueError> {
        let bytes = forwarded.iter().map(|spooled| size(&spooled.message)).sum();
        self.leave(forwarded, Leave::Forwarded { bytes }).await
    }

    /// Takes a message out of the line that the broker will not take as it is. It stays in the
    /// file, and is in line again when the spool is opened the next time.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub async fn set_aside(&self, unfit: &Spooled) -> Result<(), QueueError> {
        self.leave(std::slice::from_ref(unfit), Leave::SetAside).await
    }

    async fn leave(&self, spooled: &[Spooled], leave: Leave) -> Result<(), QueueError> {
        let ids = spooled.iter().map(|spooled| spooled.id).collect();
        let (done, answer) = oneshot::channel();
        let closed = |_| QueueError::Closed;
        self.jobs.send(Job::Leave { ids, leave, done }).await.map_err(|_| QueueError::Closed)?;
        answer.await.map_err(closed)?
    }

    /// What is in it now.
    pub fn level(&self) -> SpoolLevel {
        self.shared.level.borrow().clone()
    }

    /// Whether nothing waits. Once an append has returned, this is false until it was forwarded.
    pub fn is_empty(&self) -> bool {
        self.shared.level.borrow().messages == 0
    }

    /// What it may hold.
    pub fn limits(&self) -> SpoolLimits {
        self.shared.limits
    }

    /// Whether one more event (of no great size) would be taken now.
    pub fn refusal(&self) -> Option<SpoolError> {
        let level = self.shared.level.borrow();
        let problem = level.problem.clone().map(SpoolError::File);
        problem.or_else(|| self.shared.limits.refusal(&level, level.bytes, OVERHEAD))
    }

    /// Completes when something waits.
    pub async fn filled(&self) {
        let mut level = self.shared.level.subscribe();
        // The sender lives as long as `self`: this cannot fail.
        let _filled = level.wait_for(|level| level.messages > 0).await;
    }

    /// Writes what was given to it so far, and closes the file.
    pub async fn close(&self) {
        self.stop.cancel();
        self.writer.wait().await;
        if self.shared.file.connection.clone().close().await.is_err() {
            tracing::warn!("the spool could not be closed in order; it is safe all the same");
        }
    }
}

impl SpoolLimits {
    fn refusal(&self, level: &SpoolLevel, bytes: u64, more: u64) -> Option<SpoolError> {
        if bytes.saturating_add(more) > self.max_bytes {
            return Some(SpoolError::Full { bytes, most: self.max_bytes });
        }
        (level.age() > self.max_age).then_some(SpoolError::Old)
    }
}

/// Makes this process the only owner. Not a lock of SQLite's: that would refuse nobody who is
/// patient, and a look with `sqlite3` is welcome.
fn lock(path: &str) -> Result<std::fs::File, QueueError> {
    let refused = |problem: String| QueueError::File { path: path.to_owned(), problem };
    let lock_path = format!("{path}.lock");
    let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&lock_path);
    let lock = lock.map_err(|error| refused(format!("{lock_path}: {error}")))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => {
            Err(refused("another edge uses it; give each edge a file of its own".to_owned()))
        }
        Err(TryLockError::Error(error)) => Err(refused(format!("{lock_path} cannot be locked: {error}"))),
    }
}

/// Puts everything back in line and counts it; gives the newest time of arrival too.
async fn measure(file: &File) -> Result<(SpoolLevel, i64), DbErr> {
    let turn = file.begin().await?;
    let back =
        "UPDATE messages SET queue = 'bookings', redelivered = 0 WHERE queue = 'dead' OR redelivered <> 0";
    turn.transaction.execute_raw(rows::statement(back, [])).await?;
    let sql = "SELECT count(*), coalesce(sum(length(body)), 0), min(rank_ms), max(rank_ms) FROM messages";
    let row = turn.transaction.query_one_raw(rows::statement(sql, [])).await?;
    turn.commit().await?;
    let Some(row) = row else { return Ok((SpoolLevel::default(), i64::MIN)) };
    let count = |index| row.try_get_by_index::<i64>(index).map(i64::unsigned_abs);
    let (messages, bodies, oldest_ms) = (count(0)?, count(1)?, row.try_get_by_index(2)?);
    let bytes = bodies.saturating_add(messages.saturating_mul(OVERHEAD));
    let newest_ms = row.try_get_by_index::<Option<i64>>(3)?.unwrap_or(i64::MIN);
    Ok((SpoolLevel { messages, bytes, oldest_ms, ..SpoolLevel::default() }, newest_ms))
}

/// The one task that writes. Asked to stop, it first writes what it was given.
async fn write(shared: Arc<Shared>, mut jobs: mpsc::Receiver<Job>, stop: CancellationToken, mut clock: i64) {
    let mut taken = Vec::new();
    loop {
        let broken = shared.level.borrow().problem.is_some();
        tokio::select! {
            biased;
            count = jobs.recv_many(&mut taken, GROUP) => {
                if count == 0 {
                    return;
                }
                // The order is that of arrival, also when somebody sets the clock back.
                clock = clock.max(now_ms());
                shared.work(taken.drain(..), clock).await;
            }
            () = tokio::time::sleep(PROBE), if broken => shared.probe().await,
            () = stop.cancelled() => return,
        }
    }
}

impl Shared {
    async fn work(&self, jobs: impl Iterator<Item = Job>, now_ms: i64) {
        let mut appends = Vec::new();
        for job in jobs {
            match job {
                Job::Append(append) => appends.push(append),
                // First, and each for itself: on a full disk this is what makes room.
                Job::Leave { ids, leave, done } => {
                    let left = self.leave(&ids, leave).await;
                    let _gone = done.send(left.map_err(|error| self.failed(&error)));
                }
            }
        }
        self.append(appends, now_ms).await;
    }

    async fn append(&self, appends: Vec<Append>, now_ms: i64) {
        let level = self.level.borrow().clone();
        let (mut fitting, mut bytes) = (Vec::new(), level.bytes);
        for append in appends {
            match self.limits.refusal(&level, bytes, append.size) {
                Some(refusal) => drop(append.done.send(Err(refusal))),
                None => {
                    bytes += append.size;
                    fitting.push(append);
                }
            }
        }
        if fitting.is_empty() {
            return;
        }
        let messages: Vec<&Message> = fitting.iter().flat_map(|append| &append.messages).collect();
        let written = async {
            let turn = self.file.begin().await?;
            for message in &messages {
                rows::insert(&turn.transaction, message, now_ms).await?;
            }
            turn.commit().await
        };
        let answer = match written.await {
            Ok(()) => {
                let count = u64::try_from(messages.len()).unwrap_or(u64::MAX);
                // Before anybody is answered: what they send next must go behind this.
                self.level.send_modify(|level| {
                    level.messages += count;
                    level.bytes = bytes;
                    level.oldest_ms.get_or_insert(now_ms);
                    level.problem = None;
                });
                Ok(())
            }
            Err(error) => Err(SpoolError::File(self.failed(&error).to_string())),
        };
        for append in fitting {
            let _gone = append.done.send(answer.clone());
        }
    }

    async fn leave(&self, ids: &[i64], leave: Leave) -> Result<(), DbErr> {
        let turn = self.file.begin().await?;
        let (gone, aside) = match leave {
            Leave::Forwarded { bytes } => {
                rows::delete(&turn.transaction, ids).await?;
                (bytes, 0)
            }
            Leave::SetAside => {
                rows::set_aside(&turn.transaction, ids).await?;
                (0, 1)
            }
        };
        let oldest_ms = rows::first_ms(&turn.transaction).await?;
        turn.commit().await?;
        let count = u64::try_from(ids.len()).unwrap_or(u64::MAX);
        self.level.send_modify(|level| {
            let rest = level.messages.saturating_sub(count);
            // The file knows best whether anything waits: an append that failed may have been
            // written all the same.
            level.messages = if oldest_ms.is_none() { 0 } else { rest.max(1) };
            level.bytes = level.bytes.saturating_sub(gone);
            level.set_aside += aside;
            level.oldest_ms = oldest_ms;
            level.problem = None;
        });
        Ok(())
    }

    /// Writes a little that changes nothing.
    async fn probe(&self) {
        let probed = async {
            let turn = self.file.begin().await?;
            turn.transaction.execute_unprepared("PRAGMA user_version = 1").await?;
            turn.commit().await
        };
        match probed.await {
            Ok(()) => {
                self.level.send_modify(|level| level.problem = None);
                tracing::info!("the spool can be written again");
            }
            Err(error) => drop(self.failed(&error)),
        }
    }

    fn failed(&self, error: &DbErr) -> QueueError {
        let problem = self.file.problem(error);
        let text = problem.to_string();
        let is_new = self.level.send_if_modified(|level| {
            let is_new = level.problem.as_ref() != Some(&text);
            level.problem = Some(text.clone());
            is_new
        });
        // An outage of an hour is one line, not a thousand.
        if is_new {
            tracing::error!(problem = text, "the spool cannot be written; trying again");
        }
        problem
    }
}
