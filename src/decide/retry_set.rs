//! Giving way: the parts of a batch that are still to be done, and what becomes of one whose rows
//! somebody else has locked.
//!
//! Our transactions never wait for a row of the gateway's, so they lose against it now and then, and
//! that is nobody's fault. Such a part is tried again after a moment, behind its neighbours, and in
//! halves when that does not help; what is still in somebody's way after that is put off, alone.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::runtime::backoff::Delays;

const FIRST_DELAY: Duration = Duration::from_millis(2);
const MAX_DELAY: Duration = Duration::from_millis(60);

/// A part is tried so often before it is halved.
const TRIES: u32 = 3;

/// What cannot be halved is tried so often before it is put off.
const TRIES_ALONE: u32 = 10;

/// Nothing is tried again when a batch has met others' locks for so long: they are everywhere.
const CONFLICTS_TIMEOUT: Duration = Duration::from_secs(3);

/// The parts that are to be done, in this order.
#[derive(Debug)]
pub(crate) struct RetrySet<T> {
    parts: VecDeque<Part<T>>,
    delays: Delays,
    until: Option<Instant>,
    deferred: Vec<T>,
}

/// What is done in one transaction.
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
            until: None,
            deferred: Vec::new(),
        }
    }

    /// The next part; a moment later, if it was in somebody's way before.
    pub(crate) async fn next(&mut self) -> Option<Part<T>> {
        let part = self.parts.pop_front()?;
        if part.tries > 0 && !self.is_too_late() {
            tokio::time::sleep(self.delays.next()).await;
        }
        Some(part)
    }

    /// Somebody fails in this part: each half is tried for itself, the first one first.
    pub(crate) fn halve(&mut self, mut part: Part<T>) {
        let second = part.items.split_off(part.items.len() / 2);
        self.parts.push_front(Part { items: second, tries: 0 });
        self.parts.push_front(Part { items: part.items, tries: 0 });
    }

    /// The transaction met somebody's lock, and it is not known whose item that concerns.
    pub(crate) fn conflicted(&mut self, part: Part<T>) {
        if part.items.len() > 1 && part.tries + 1 >= TRIES && !self.is_too_late() {
            self.halve(part);
        } else {
            self.retry(part);
        }
    }

    /// The rows of all that is left in this part were locked; the rest of it is done.
    pub(crate) fn requeue(&mut self, part: Part<T>) {
        if !part.items.is_empty() {
            self.retry(part);
        }
    }

    fn retry(&mut self, part: Part<T>) {
        if part.tries + 1 >= TRIES_ALONE || self.is_too_late() {
            self.deferred.extend(part.items);
        } else {
            self.parts.push_back(Part { tries: part.tries + 1, ..part });
        }
    }

    fn is_too_late(&mut self) -> bool {
        let now = Instant::now();
        now >= *self.until.get_or_insert(now + CONFLICTS_TIMEOUT)
    }

    /// A part was done: the next one in the way waits but a moment again.
    pub(crate) fn succeeded(&mut self) {
        self.delays.reset();
    }

    /// What was in somebody's way to the end.
    pub(crate) fn deferred(self) -> Vec<T> {
        self.deferred
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tries everything against locks on some numbers, and gives what was done and what put off.
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
    async fn one_lock_puts_off_one_and_no_neighbour() {
        let (mut done, put_off) = run(0..200, &[77]).await;
        done.sort_unstable();
        assert_eq!(done, (0..200).filter(|n| *n != 77).collect::<Vec<_>>());
        assert_eq!(put_off, [77]);
    }

    #[tokio::test]
    async fn locks_everywhere_put_off_everything() {
        let all: Vec<u32> = (0..200).collect();
        let (done, mut put_off) = run(0..200, &all).await;
        put_off.sort_unstable();
        assert_eq!((done, put_off), (vec![], all));
    }
}
