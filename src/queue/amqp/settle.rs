//! Settles a batch: publishes the copies, waits for their confirms, then acknowledges the originals.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use lapin::options::{BasicAckOptions, BasicNackOptions, BasicRejectOptions};
use lapin::{Acker, Channel};
use tokio::time::{Instant, timeout};

use super::Amqp;
use super::link::{Link, NO_ANSWER};
use super::publisher::Target;
use crate::queue::{Delivery, Disposition, Message, PublishError, Settled, copies};
use crate::runtime::backoff::Delays;
use crate::runtime::crash_points;
use crate::runtime::locked;

/// The time for which publishing the copies is retried before their originals are returned to the queue.
/// Waiting does not count towards the delivery limit, as returning may, but the broker itself requeues
/// deliveries that stay unacknowledged for half an hour.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(600);

/// The time for which finished deliveries wait for the copies of other deliveries in the batch. One frame
/// acknowledges all tags up to its own, but only if none of these deliveries is still in progress; otherwise
/// each delivery needs its own frame. If the program dies during the wait, the finished deliveries are
/// redelivered, as after any crash between commit and acknowledgement.
const ACKNOWLEDGE_TIMEOUT: Duration = Duration::from_millis(100);

/// The channel on which a batch was delivered, and the tags settled on it.
pub(super) struct DeliveryChannel {
    pub(super) link: Arc<Link>,
    pub(super) inner: Channel,
    pub(super) tags: Mutex<DeliveryTags>,
}

impl DeliveryChannel {
    /// Returns whether deliveries of this channel can still be settled.
    pub(super) fn is_open(&self) -> bool {
        !self.link.ended.is_cancelled() && self.inner.status().connected()
    }

    /// Sends an acknowledgement, a nack or a reject of these tags. Returns whether the frame was sent.
    ///
    /// The tags are marked as settled in the same step in which lapin takes the frame, because the broker closes
    /// the channel if a tag is settled twice. If they were marked earlier, a `multiple` acknowledgement of
    /// another batch could cover them and be sent first; if later, a batch that is dropped in between would
    /// reject them too. If `frame` returns `Ok(false)`, the channel was already closed and nothing was sent.
    async fn send(
        &self,
        tags: &[u64],
        frame: impl Future<Output = lapin::Result<bool>>,
        limit: Duration,
    ) -> bool {
        if !self.is_open() {
            return false;
        }
        let mut frame = std::pin::pin!(frame);
        let immediate = {
            let mut channel_tags = locked(&self.tags);
            channel_tags.settle(tags.iter().copied());
            frame.as_mut().now_or_never()
        };
        let sent = match immediate {
            Some(sent) => sent,
            None => match timeout(limit, frame).await {
                Ok(sent) => sent,
                Err(_) => {
                    self.link.abandon(NO_ANSWER);
                    return false;
                }
            },
        };
        sent.unwrap_or(false)
    }
}

/// Settles one batch.
pub(in crate::queue) struct AmqpSettler {
    pub(super) queue: Amqp,
    pub(super) channel: Arc<DeliveryChannel>,
    /// The tag and the acker of each delivery, in order; empty once the batch is settled.
    pub(super) unsettled: Vec<(u64, Acker)>,
}

impl Drop for AmqpSettler {
    /// Returns a batch that was dropped unsettled to the queue; this counts as a delivery.
    fn drop(&mut self) {
        let unsettled = std::mem::take(&mut self.unsettled);
        if unsettled.is_empty() || !self.channel.is_open() {
            return;
        }
        let (channel, limit) = (self.channel.clone(), self.queue.0.settings.confirm_timeout);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                for (tag, acker) in unsettled {
                    let settled_before = locked(&channel.tags).is_settled(tag);
                    let options = BasicRejectOptions { requeue: true };
                    if !settled_before && !channel.send(&[tag], acker.reject(options), limit).await {
                        return;
                    }
                }
            });
        }
    }
}

impl AmqpSettler {
    pub(in crate::queue) async fn settle(mut self, dispositions: &[(&Delivery, &Disposition)]) -> Settled {
        let mut settled = Settled::default();
        if !self.channel.is_open() {
            settled.lost = dispositions.len();
            self.unsettled.clear();
            return settled;
        }
        let mut to_ack = Vec::new();
        let mut to_release = Vec::new();
        let mut copies = BTreeMap::new();
        let topology = &self.queue.0.settings.topology;
        for (index, (delivery, disposition)) in dispositions.iter().enumerate() {
            match disposition {
                Disposition::Ack => to_ack.push(index),
                Disposition::Release => to_release.push(index),
                Disposition::Retry { after, counts, headers } => {
                    let target = Target::queue(topology.wait_queue(*after));
                    copies.insert(index, (target, copies::retry_copy(delivery, *counts, headers)));
                }
                Disposition::DeadLetter { headers } => {
                    let target = Target::queue(&topology.dead);
                    copies.insert(index, (target, copies::dead_letter_copy(delivery, headers)));
                }
            }
        }
        if !copies.is_empty() {
            let copied: Vec<usize> = copies.keys().copied().collect();
            let mut publishing = pin!(self.publish(&mut copies));
            let unpublished = match timeout(ACKNOWLEDGE_TIMEOUT, &mut publishing).await {
                Ok(unpublished) => unpublished,
                Err(_) => {
                    // From here on, finished deliveries no longer wait for the copies.
                    let (unpublished, ()) = tokio::join!(publishing, self.acknowledge(&to_ack, &mut settled));
                    to_ack.clear();
                    unpublished
                }
            };
            to_ack.extend(copied.into_iter().filter(|index| unpublished.binary_search(index).is_err()));
            to_ack.sort_unstable();
            to_release.extend(unpublished);
            to_release.sort_unstable();
        }
        self.acknowledge(&to_ack, &mut settled).await;
        for index in &settled.removed {
            *match dispositions[*index].1 {
                Disposition::Retry { .. } => &mut settled.retried,
                Disposition::DeadLetter { .. } => &mut settled.dead,
                Disposition::Ack | Disposition::Release => &mut settled.acked,
            } += 1;
        }
        settled.lost += self.release(&to_release, &mut settled.released).await;
        self.unsettled.clear();
        settled
    }

    /// Publishes the copies, with retries while the broker does not accept them. Returns the indices
    /// of those that the broker has not confirmed, in order.
    async fn publish(&self, copies: &mut BTreeMap<usize, (Target, Message)>) -> Vec<usize> {
        let publishing = self.queue.publishing();
        let until = Instant::now() + PUBLISH_TIMEOUT;
        let mut delays = Delays::new(Duration::from_millis(200), Duration::from_secs(10));
        let mut is_logged = false;
        loop {
            let (indices, items): (Vec<usize>, Vec<_>) = std::mem::take(copies).into_iter().unzip();
            let results = publishing.publish_each(&items).await;
            let mut problem: Option<PublishError> = None;
            for ((index, item), result) in indices.into_iter().zip(items).zip(results) {
                if let Err(error) = result {
                    copies.insert(index, item);
                    problem = Some(error);
                }
            }
            let Some(problem) = problem else { return Vec::new() };
            if !is_logged {
                tracing::warn!(%problem, copies = copies.len(), "retries and dead letters wait for the broker");
                is_logged = true;
            }
            if Instant::now() >= until || !self.channel.is_open() {
                return copies.keys().copied().collect();
            }
            tokio::select! {
                () = tokio::time::sleep(delays.next()) => {}
                () = self.channel.link.ended.cancelled() => return copies.keys().copied().collect(),
                () = self.queue.0.stop.cancelled() => return copies.keys().copied().collect(),
            }
        }
    }

    /// Acknowledges these deliveries with as few frames as is safe. Records in `settled` which of them were
    /// removed from the queue, and how many were lost.
    async fn acknowledge(&self, indices: &[usize], settled: &mut Settled) {
        if indices.is_empty() {
            return;
        }
        let limit = self.queue.0.settings.confirm_timeout;
        let tags: Vec<u64> = indices.iter().map(|index| self.unsettled[*index].0).collect();
        let last_multiple = locked(&self.channel.tags).highest_contiguous(&tags).unwrap_or(0);
        let (first, rest): (Vec<usize>, Vec<usize>) =
            indices.iter().copied().partition(|index| self.unsettled[*index].0 <= last_multiple);
        crash_points::point("before_ack");
        if let Some(last) = first.last() {
            let ack = self.unsettled[*last].1.ack(BasicAckOptions { multiple: first.len() > 1 });
            let sent = self.channel.send(&tags[..first.len()], ack, limit).await;
            settled.removed.extend(first.iter().filter(|_| sent));
            settled.lost += if sent { 0 } else { first.len() };
        }
        for index in rest {
            let (tag, acker) = &self.unsettled[index];
            let sent = self.channel.send(&[*tag], acker.ack(BasicAckOptions::default()), limit).await;
            settled.removed.extend(sent.then_some(index));
            settled.lost += usize::from(!sent);
        }
        crash_points::point("after_ack");
    }

    /// Returns these deliveries to the queue. On brokers from 4.3 on this does not count as a delivery.
    /// Counts those that were returned in `released`, and returns the number of those that were lost.
    async fn release(&self, indices: &[usize], released: &mut usize) -> usize {
        let limit = self.queue.0.settings.confirm_timeout;
        let mut lost = 0;
        for index in indices {
            let (tag, acker) = &self.unsettled[*index];
            let options = BasicNackOptions { requeue: true, ..BasicNackOptions::default() };
            let sent = self.channel.send(&[*tag], acker.nack(options), limit).await;
            *(if sent { &mut *released } else { &mut lost }) += 1;
        }
        lost
    }
}

/// Tracks which delivery tags of one channel are settled. Tags count from 1 without gaps.
#[derive(Debug)]
pub(super) struct DeliveryTags {
    /// The lowest tag that is not settled.
    lowest_unsettled: u64,
    /// Settled tags above `lowest_unsettled`.
    settled: BTreeSet<u64>,
    /// The highest tag that was delivered.
    highest_delivered: u64,
}

impl Default for DeliveryTags {
    fn default() -> Self {
        Self { lowest_unsettled: 1, settled: BTreeSet::new(), highest_delivered: 0 }
    }
}

impl DeliveryTags {
    /// Returns the highest of `tags` up to which every tag of this channel is either settled or in `tags`.
    /// Acknowledging it with `multiple` acknowledges no unsettled delivery of another batch.
    pub(super) fn highest_contiguous(&self, tags: &[u64]) -> Option<u64> {
        let own: BTreeSet<u64> = tags.iter().copied().collect();
        let mut next = self.lowest_unsettled;
        let mut highest = None;
        while own.contains(&next) || self.settled.contains(&next) {
            if own.contains(&next) {
                highest = Some(next);
            }
            next += 1;
        }
        highest
    }

    /// Records a tag as delivered. Tags arrive in order.
    pub(super) fn record_delivery(&mut self, tag: u64) {
        self.highest_delivered = tag;
    }

    /// Returns whether any delivered tag is not settled yet.
    pub(super) fn has_unsettled(&self) -> bool {
        self.highest_delivered >= self.lowest_unsettled
    }

    /// Returns whether a tag is settled.
    pub(super) fn is_settled(&self, tag: u64) -> bool {
        tag < self.lowest_unsettled || self.settled.contains(&tag)
    }

    /// Records tags as settled: acknowledged, rejected or returned.
    pub(super) fn settle(&mut self, tags: impl IntoIterator<Item = u64>) {
        self.settled.extend(tags.into_iter().filter(|tag| *tag >= self.lowest_unsettled));
        while self.settled.remove(&self.lowest_unsettled) {
            self.lowest_unsettled += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_multiple_acknowledgement_never_covers_an_unsettled_tag_of_another_batch() {
        let mut tags = DeliveryTags::default();
        assert_eq!(tags.highest_contiguous(&[1, 2, 3]), Some(3));
        assert_eq!(tags.highest_contiguous(&[1, 2, 4]), Some(2), "another batch holds 3");
        assert_eq!(tags.highest_contiguous(&[2, 3]), None, "another batch holds 1");
        tags.settle([2, 3]);
        assert_eq!(tags.highest_contiguous(&[1, 4]), Some(4), "2 and 3 are already settled");
        tags.settle([1]);
        assert_eq!(tags.lowest_unsettled, 4);
        assert!(tags.settled.is_empty(), "settled tags below the lowest unsettled one are not kept");
    }

    #[test]
    fn a_channel_has_unsettled_tags_until_all_are_settled() {
        let mut tags = DeliveryTags::default();
        assert!(!tags.has_unsettled());
        (1..=3).for_each(|tag| tags.record_delivery(tag));
        tags.settle([1, 3]);
        assert!(tags.has_unsettled());
        tags.settle([2]);
        assert!(!tags.has_unsettled());
    }
}
