//! The only task that writes to a spool.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use sea_orm::{ConnectionTrait, DbErr};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{OVERHEAD, SpoolError, SpoolLevel, SpoolLimits};
use crate::queue::embedded::file::File;
use crate::queue::embedded::rows;
use crate::queue::{Message, QueueError};
use crate::runtime::clock::now_ms;
use crate::runtime::{crash_points, locked};

/// The maximum number of jobs that share one transaction.
pub(super) const GROUP: usize = 256;
/// The maximum number of bytes in one transaction, unless a single append is larger. With this limit, a disk
/// that writes one megabyte per second is slow but does not count as hanging.
const GROUP_BYTES: u64 = 4 << 20;
/// The interval of checking whether a file that could not be written can be written again.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// A file on which one transaction takes this long counts as hanging.
const HANGS_AFTER: Duration = Duration::from_secs(5);

/// The state that the spool and its writer share.
pub(super) struct Shared {
    pub(super) file: File,
    pub(super) limits: SpoolLimits,
    pub(super) level: watch::Sender<SpoolLevel>,
    /// When the current transaction began, if there is one.
    pub(super) transaction_began: Mutex<Option<Instant>>,
    /// The lock is held as long as this file is open; the operating system releases it when the process dies.
    pub(super) _lock: std::fs::File,
}

/// Messages that are stored together or not at all.
pub(super) struct Append {
    pub(super) messages: Vec<Message>,
    pub(super) size: u64,
    pub(super) reply: oneshot::Sender<Result<(), SpoolError>>,
}

/// A job for the writer.
pub(super) enum Job {
    Append(Append),
    Remove { ids: Vec<i64>, removal: Removal, reply: oneshot::Sender<Result<(), QueueError>> },
}

/// The reason why messages no longer wait to be forwarded.
pub(super) enum Removal {
    Forwarded { bytes: u64 },
    SetAside,
}

/// Makes all messages wait again, including those that were set aside, and measures the file like [`measure`].
/// Messages that were set aside go to the end: they did not wait for a broker, and must not make the spool seem
/// old.
pub(super) async fn requeue_all(file: &File) -> Result<(SpoolLevel, Option<i64>), DbErr> {
    let requeue = "UPDATE messages SET queue = 'bookings', redelivered = 0, \
                rank_ms = CASE WHEN queue = 'dead' THEN max(rank_ms, ?) ELSE rank_ms END \
                WHERE queue = 'dead' OR redelivered <> 0";
    file.write(async |db| {
        db.execute_raw(rows::statement(requeue, [now_ms().into()])).await?;
        measure(db).await
    })
    .await
}

/// Returns the fill level of the file, and when its newest message arrived.
pub(super) async fn measure(db: &impl ConnectionTrait) -> Result<(SpoolLevel, Option<i64>), DbErr> {
    let sql = "SELECT count(*) FILTER (WHERE queue = 'bookings'), coalesce(sum(length(body)), 0), \
               min(rank_ms) FILTER (WHERE queue = 'bookings'), count(*) FILTER (WHERE queue = 'dead'), \
               max(rank_ms) FROM messages";
    let row = db.query_one_raw(rows::statement(sql, [])).await?;
    let Some(row) = row else { return Ok((SpoolLevel::default(), None)) };
    let count = |index| row.try_get_by_index::<i64>(index).map(i64::unsigned_abs);
    let (messages, bodies, set_aside) = (count(0)?, count(1)?, count(3)?);
    let bytes = bodies.saturating_add((messages + set_aside).saturating_mul(OVERHEAD));
    let (oldest_ms, newest_ms) = (row.try_get_by_index(2)?, row.try_get_by_index(4)?);
    Ok((SpoolLevel { messages, bytes, oldest_ms, set_aside, problem: None }, newest_ms))
}

/// Runs the writer. When `stop` is cancelled, it first processes the jobs that it has already received.
pub(super) async fn write(
    shared: Arc<Shared>,
    mut jobs: mpsc::Receiver<Job>,
    stop: CancellationToken,
    mut arrival_ms: i64,
) {
    let mut received = Vec::new();
    loop {
        let is_broken = shared.level.borrow().problem.is_some();
        tokio::select! {
            biased;
            count = jobs.recv_many(&mut received, GROUP) => {
                if count == 0 {
                    return;
                }
                // Keep the order of arrival even when the clock is set back.
                arrival_ms = arrival_ms.max(now_ms());
                crash_points::point("spooling");
                shared.process_jobs(received.drain(..), arrival_ms).await;
            }
            () = tokio::time::sleep(PROBE_INTERVAL), if is_broken => shared.probe().await,
            () = stop.cancelled() => return,
        }
    }
}

/// Splits the appends, in order, into groups of one transaction each.
fn group_appends(appends: Vec<Append>) -> Vec<Vec<Append>> {
    let mut groups: Vec<Vec<Append>> = Vec::new();
    let mut bytes = 0;
    for append in appends {
        match groups.last_mut().filter(|_| bytes + append.size <= GROUP_BYTES) {
            Some(group) => {
                bytes += append.size;
                group.push(append);
            }
            None => {
                bytes = append.size;
                groups.push(vec![append]);
            }
        }
    }
    groups
}

impl Shared {
    /// Runs a transaction and records when it began, for [`Self::hanging_error`].
    async fn run_transaction<T>(&self, transaction: impl Future<Output = T>) -> T {
        let set = |began| *locked(&self.transaction_began) = began;
        set(Some(Instant::now()));
        let written = transaction.await;
        set(None);
        written
    }

    /// Returns an error while a transaction hangs, so that the writer gets no more jobs.
    pub(super) fn hanging_error(&self) -> Option<SpoolError> {
        let began = *locked(&self.transaction_began);
        let hangs = began.is_some_and(|began| began.elapsed() >= HANGS_AFTER);
        hangs.then(|| SpoolError::File(self.file.hanging_error().to_string()))
    }

    async fn process_jobs(&self, jobs: impl Iterator<Item = Job>, now_ms: i64) {
        let mut appends = Vec::new();
        for job in jobs {
            match job {
                Job::Append(append) => appends.push(append),
                // These jobs run first, each in its own transaction, because on a full disk they free space.
                Job::Remove { ids, removal, reply } => {
                    let removed = self.run_transaction(self.remove(&ids, removal)).await;
                    let _ignored = reply.send(removed.map_err(|error| self.record_failure(&error)));
                }
            }
        }
        for group in group_appends(appends) {
            self.run_transaction(self.append(group, now_ms)).await;
        }
    }

    async fn append(&self, appends: Vec<Append>, now_ms: i64) {
        let level = self.level.borrow().clone();
        let (mut fitting, mut bytes) = (Vec::new(), level.bytes);
        for append in appends {
            match self.limits.refusal(&level, bytes, append.size) {
                Some(refusal) => drop(append.reply.send(Err(refusal))),
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
        let written = self.file.add(async |db| {
            for message in &messages {
                rows::insert(db, message, now_ms).await?;
            }
            Ok(())
        });
        let result = match written.await {
            Ok(()) => {
                let count = u64::try_from(messages.len()).unwrap_or(u64::MAX);
                // Update the level before the callers get the result, because the messages that they send next
                // must be stored behind these.
                self.level.send_modify(|level| {
                    level.messages += count;
                    level.bytes = bytes;
                    level.oldest_ms.get_or_insert(now_ms);
                    level.problem = None;
                });
                Ok(())
            }
            Err(error) => Err(SpoolError::File(self.record_failure(&error).to_string())),
        };
        for append in fitting {
            let _ignored = append.reply.send(result.clone());
        }
    }

    async fn remove(&self, ids: &[i64], removal: Removal) -> Result<(), DbErr> {
        let (freed_bytes, set_aside) = match removal {
            Removal::Forwarded { bytes } => (bytes, 0),
            Removal::SetAside => (0, 1),
        };
        let removed = self.file.write(async |db| {
            match removal {
                Removal::Forwarded { .. } => rows::delete(db, ids).await?,
                Removal::SetAside => rows::set_aside(db, ids).await?,
            }
            rows::oldest_ms(db).await
        });
        let oldest_ms = removed.await?;
        let count = u64::try_from(ids.len()).unwrap_or(u64::MAX);
        self.level.send_modify(|level| {
            let rest = level.messages.saturating_sub(count);
            // Whether any message waits is read from the file, because a failed append may still have been
            // written.
            level.messages = if oldest_ms.is_none() { 0 } else { rest.max(1) };
            level.bytes = level.bytes.saturating_sub(freed_bytes);
            level.set_aside += set_aside;
            level.oldest_ms = oldest_ms;
            level.problem = None;
        });
        Ok(())
    }

    /// Checks that the file can be written, with a write that has no effect.
    async fn probe(&self) {
        match self.file.add(rows::write_nothing).await {
            Ok(()) => {
                self.level.send_modify(|level| level.problem = None);
                tracing::info!("the spool can be written again");
            }
            Err(error) => drop(self.record_failure(&error)),
        }
    }

    fn record_failure(&self, error: &DbErr) -> QueueError {
        let problem = self.file.problem(error);
        let text = problem.to_string();
        let is_new = self.level.send_if_modified(|level| {
            let is_new = level.problem.as_ref() != Some(&text);
            level.problem = Some(text.clone());
            is_new
        });
        // Log each problem once, so that a long outage does not fill the log.
        if is_new {
            tracing::error!(problem = text, "the spool cannot be written; trying again");
        }
        problem
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn appends_are_grouped_in_order_up_to_the_byte_limit() {
        let group_sizes = |sizes: &[u64]| {
            let append =
                |size: &u64| Append { messages: Vec::new(), size: *size, reply: oneshot::channel().0 };
            let sizes_of = |group: Vec<Append>| group.iter().map(|append| append.size).collect::<Vec<_>>();
            group_appends(sizes.iter().map(append).collect()).into_iter().map(sizes_of).collect::<Vec<_>>()
        };
        assert_eq!(group_sizes(&[]).len(), 0);
        assert_eq!(group_sizes(&[3000; GROUP]), [vec![3000; GROUP]]);
        let (half, max) = (GROUP_BYTES / 2, GROUP_BYTES);
        assert_eq!(
            group_sizes(&[half, half, 1, max, max + 1, 2, 3]),
            [vec![half, half], vec![1], vec![max], vec![max + 1], vec![2, 3]]
        );
    }
}
