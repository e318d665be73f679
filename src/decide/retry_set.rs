//! The parts of a batch that are not decided yet, with retries of those whose rows another session has
//! locked.
//!
//! Our transactions never wait for a row of the gateway, so they occasionally conflict with it; this is not a
//! fault. Such a part is retried after a short delay, behind the other parts, and then in halves. Items that
//! still conflict afterwards are deferred one by one.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::runtime::backoff::Delays;

const FIRST_DELAY: Duration = Duration::from_millis(2);
const MAX_DELAY: Duration = Duration::from_millis(60);

/// The number of attempts before a part is halved.
const TRIES_BEFORE_HALVING: u32 = 3;

/// The number of attempts before a part that cannot be halved is deferred.
const TRIES_BEFORE_DEFERRING: u32 = 10;

/// A batch that has had conflicts for this long is no longer retried, because too many rows are locked.
const CONFLICTS_TIMEOUT: Duration = Duration::from_secs(3);

/// The parts that are still to be decided, in this order.
#[derive(Debug)]
pub(crate) struct RetrySet<T> {
    parts: VecDeque<Part<T>>,
    delays: Delays,
    deadline: Option<Instant>,
    deferred: Vec<T>,
}

/// The items of one transaction.
#[derive(Debug)]
pub(crate) struct Part<T> {
    pub(crate) items: Vec<T>,
    tries: u32,
}

impl<T> RetrySet<T> {
    pub(crate) fn new(parts: impl IntoIterator<Item = Vec<T>>) -> Self {
        Self {
            parts: parts.into_iter().map(|items| Part { items, tries: 0 }).collect(),
            delays: Delays::new(FIRST_DELAY, MAX_DELAY),
            deadline: None,
            deferred: Vec::new(),
        }
    }

    /// Returns the next part; after a short delay, if it conflicted before.
    pub(crate) async fn next(&mut self) -> Option<Part<T>> {
        let part = self.parts.pop_front()?;
        if part.tries > 0 && !self.has_timed_out() {
            tokio::time::sleep(self.delays.next()).await;
        }
        Some(part)
    }

    /// Splits a part in which one item fails. Each half is tried separately, in order.
    pub(crate) fn halve(&mut self, mut part: Part<T>) {
        let second = part.items.split_off(part.items.len() / 2);
        self.parts.push_front(Part { items: second, tries: 0 });
        self.parts.push_front(Part { items: part.items, tries: 0 });
    }

    /// Retries or halves a part with a locked row, if it is unknown which item needs that row.
    pub(crate) fn conflicted(&mut self, part: Part<T>) {
        if part.items.len() > 1 && part.tries + 1 >= TRIES_BEFORE_HALVING && !self.has_timed_out() {
            self.halve(part);
        } else {
            self.retry(part);
        }
    }

    /// Retries the items that remain in this part because their rows were locked.
    pub(crate) fn requeue(&mut self, part: Part<T>) {
        if !part.items.is_empty() {
            self.retry(part);
        }
    }

    fn retry(&mut self, part: Part<T>) {
        if part.tries + 1 >= TRIES_BEFORE_DEFERRING || self.has_timed_out() {
            self.deferred.extend(part.items);
        } else {
            self.parts.push_back(Part { tries: part.tries + 1, ..part });
        }
    }

    fn has_timed_out(&mut self) -> bool {
        let now = Instant::now();
        now >= *self.deadline.get_or_insert(now + CONFLICTS_TIMEOUT)
    }

    /// Records that a part succeeded: the delays start over.
    pub(crate) fn succeeded(&mut self) {
        self.delays.reset();
    }

    /// Returns the deferred items.
    pub(crate) fn deferred(self) -> Vec<T> {
        self.deferred
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Processes the numbers while some are locked; returns which were done and which deferred.
    async fn run(numbers: std::ops::Range<u32>, locked: &[u32]) -> (Vec<u32>, Vec<u32>) {
        let mut parts = RetrySet::new([numbers.collect::<Vec<_>>()]);
        let mut done = Vec::new();
        while let Some(part) = parts.next().await {
            if part.items.iter().any(|n| locked.contains(n)) {
                parts.conflicted(part);
            } else {
                done.extend(part.items);
                parts.succeeded();
            }
        }
        (done, parts.deferred())
    }

    #[tokio::test]
    async fn one_lock_defers_only_its_own_item() {
        let (mut done, deferred) = run(0..200, &[77]).await;
        done.sort_unstable();
        assert_eq!(done, (0..200).filter(|n| *n != 77).collect::<Vec<_>>());
        assert_eq!(deferred, [77]);
    }

    #[tokio::test]
    async fn locks_everywhere_defer_everything() {
        let all: Vec<u32> = (0..200).collect();
        let (done, mut deferred) = run(0..200, &all).await;
        deferred.sort_unstable();
        assert_eq!((done, deferred), (vec![], all));
    }
}
