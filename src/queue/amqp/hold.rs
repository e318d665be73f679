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
/// Returning counts towards the delivery limit and waiting does not, but the broker itself requeues
/// deliveries that stay unacknowledged for half an hour.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(600);

/// The time for which finished deliveries wait for the copies of other deliveries in the batch. One frame
/// acknowledges all tags up to its own, but only if none of these deliveries is still in progress; otherwise
/// each delivery needs its own frame. If the program dies during the wait, the finished deliveries are
/// redelivered, as after any crash between commit and acknowledgement.
const ACKNOWLEDGE_TIMEOUT: Duration = Duration::from_millis(100);

/// The channel on which a batch was delivered, and the tags settled on it.
pub(super) struct Lane {
    pub(super) link: Arc<Link>,
    pub(super) channel: Channel,
    pub(super) acks: Mutex<Acks>,
}

impl Lane {
    /// Returns whether deliveries of this channel can still be settled.
    pub(super) fn is_open(&self) -> bool {
        !self.link.over.is_cancelled() && self.channel.status().connected()
    }

    /// Sends an acknowledgement, a nack or a reject of these tags. Returns whether the frame was sent.
    ///
    /// The tags are recorded as settled in the same step in which the frame is handed over. If they were
    /// recorded earlier, another batch's "all up to" acknowledgement could cover them; if later, that
    /// acknowledgement could be sent second. A frame that returns `Ok(false)` was not sent: the channel was
    /// already dead.
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
        let at_once = {
            let mut acks = locked(&self.acks);
            acks.settle(tags.iter().copied());
            frame.as_mut().now_or_never()
        };
        let answer = match at_once {
            Some(answer) => answer,
            None => match timeout(limit, frame).await {
                Ok(answer) => answer,
                Err(_) => {
                    self.link.abandon(NO_ANSWER);
                    return false;
                }
            },
        };
        answer.unwrap_or(false)
    }
}

/// The state that is needed to settle one batch.
pub(in crate::queue) struct AmqpHold {
    pub(super) queue: Amqp,
    pub(super) lane: Arc<Lane>,
    /// The tag and the acker of each delivery, in order. The list is emptied when the batch is settled.
    pub(super) held: Vec<(u64, Acker)>,
}

impl Drop for AmqpHold {
    /// Returns a batch that was dropped unsettled to the queue; this counts as a delivery.
    fn drop(&mut self) {
        let held = std::mem::take(&mut self.held);
        if held.is_empty() || !self.lane.is_open() {
            return;
        }
        let (lane, limit) = (self.lane.clone(), self.queue.0.settings.confirm_timeout);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                for (tag, acker) in held {
                    let settled_before = locked(&lane.acks).is_settled(tag);
                    let options = BasicRejectOptions { requeue: true };
                    if !settled_before && !lane.send(&[tag], acker.reject(options), limit).await {
                        return;
                    }
                }
            });
        }
    }
}

impl AmqpHold {
    pub(in crate::queue) async fn settle(mut self, ends: &[(&Delivery, &Disposition)]) -> Settled {
        let mut settled = Settled::default();
        if !self.lane.is_open() {
            settled.lost = ends.len();
            self.held.clear();
            return settled;
        }
        let mut done = Vec::new();
        let mut back = Vec::new();
        let mut copies = BTreeMap::new();
        let topology = &self.queue.0.settings.topology;
        for (index, (delivery, disposition)) in ends.iter().enumerate() {
            match disposition {
                Disposition::Ack => done.push(index),
                Disposition::Release => back.push(index),
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
                    // From here on, finished deliveries and the copies do not wait for each other.
                    let (unpublished, ()) = tokio::join!(publishing, self.acknowledge(&done, &mut settled));
                    done.clear();
                    unpublished
                }
            };
            done.extend(copied.into_iter().filter(|index| unpublished.binary_search(index).is_err()));
            done.sort_unstable();
            back.extend(unpublished);
            back.sort_unstable();
        }
        self.acknowledge(&done, &mut settled).await;
        for index in &settled.gone {
            *match ends[*index].1 {
                Disposition::Retry { .. } => &mut settled.retried,
                Disposition::DeadLetter { .. } => &mut settled.dead,
                Disposition::Ack | Disposition::Release => &mut settled.acked,
            } += 1;
        }
        settled.lost += self.give_back(&back, &mut settled.released).await;
        self.held.clear();
        settled
    }

    /// Publishes the copies, with retries while the broker does not accept them. Returns the indices
    /// of those that the broker has not confirmed, in order.
    async fn publish(&self, copies: &mut BTreeMap<usize, (Target, Message)>) -> Vec<usize> {
        let publishing = self.queue.publishing();
        let until = Instant::now() + PUBLISH_TIMEOUT;
        let mut delays = Delays::new(Duration::from_millis(200), Duration::from_secs(10));
        let mut logged = false;
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
            if !logged {
                tracing::warn!(%problem, copies = copies.len(), "retries and dead letters wait for the broker");
                logged = true;
            }
            if Instant::now() >= until || !self.lane.is_open() {
                return copies.keys().copied().collect();
            }
            tokio::select! {
                () = tokio::time::sleep(delays.next()) => {}
                () = self.lane.link.over.cancelled() => return copies.keys().copied().collect(),
                () = self.queue.0.stop.cancelled() => return copies.keys().copied().collect(),
            }
        }
    }

    /// Acknowledges these deliveries with as few frames as is safe. Records which deliveries have left the
    /// queue, and the number of those that we no longer held.
    async fn acknowledge(&self, indices: &[usize], settled: &mut Settled) {
        if indices.is_empty() {
            return;
        }
        let limit = self.queue.0.settings.confirm_timeout;
        let tags: Vec<u64> = indices.iter().map(|index| self.held[*index].0).collect();
        let last_multiple = locked(&self.lane.acks).all_up_to(&tags).unwrap_or(0);
        let (first, rest): (Vec<usize>, Vec<usize>) =
            indices.iter().copied().partition(|index| self.held[*index].0 <= last_multiple);
        crash_points::point("before_ack");
        if let Some(last) = first.last() {
            let ack = self.held[*last].1.ack(BasicAckOptions { multiple: first.len() > 1 });
            let sent = self.lane.send(&tags[..first.len()], ack, limit).await;
            settled.gone.extend(first.iter().filter(|_| sent));
            settled.lost += if sent { 0 } else { first.len() };
        }
        for index in rest {
            let (tag, acker) = &self.held[index];
            let sent = self.lane.send(&[*tag], acker.ack(BasicAckOptions::default()), limit).await;
            settled.gone.extend(sent.then_some(index));
            settled.lost += usize::from(!sent);
        }
        crash_points::point("after_ack");
    }

    /// Returns these deliveries to the queue. On brokers from 4.3 on this does not count as a delivery.
    /// Returns the number of deliveries that we no longer held.
    async fn give_back(&self, indices: &[usize], released: &mut usize) -> usize {
        let limit = self.queue.0.settings.confirm_timeout;
        let mut lost = 0;
        for index in indices {
            let (tag, acker) = &self.held[*index];
            let options = BasicNackOptions { requeue: true, ..BasicNackOptions::default() };
            let sent = self.lane.send(&[*tag], acker.nack(options), limit).await;
            *(if sent { &mut *released } else { &mut lost }) += 1;
        }
        lost
    }
}

/// The delivery tags of one channel that are settled. Tags count from 1 without gaps.
#[derive(Debug)]
pub(super) struct Acks {
    /// The lowest tag that is not settled.
    floor: u64,
    /// Settled tags above the floor.
    settled: BTreeSet<u64>,
    /// The highest tag that was delivered.
    taken: u64,
}

impl Default for Acks {
    fn default() -> Self {
        Self { floor: 1, settled: BTreeSet::new(), taken: 0 }
    }
}

impl Acks {
    /// Returns the highest of `tags` up to which every tag on this channel is either settled or in `tags`:
    /// acknowledging it with `multiple` acknowledges nothing that another batch still holds.
    pub(super) fn all_up_to(&self, tags: &[u64]) -> Option<u64> {
        let wanted: BTreeSet<u64> = tags.iter().copied().collect();
        let mut next = self.floor;
        let mut highest = None;
        while wanted.contains(&next) || self.settled.contains(&next) {
            if wanted.contains(&next) {
                highest = Some(next);
            }
            next += 1;
        }
        highest
    }

    /// Records a tag as delivered. Tags arrive in order.
    pub(super) fn take(&mut self, tag: u64) {
        self.taken = tag;
    }

    /// Returns whether any delivered tag is not settled yet.
    pub(super) fn is_in_hand(&self) -> bool {
        self.taken >= self.floor
    }

    /// Returns whether a tag is settled.
    pub(super) fn is_settled(&self, tag: u64) -> bool {
        tag < self.floor || self.settled.contains(&tag)
    }

    /// Records tags as settled: acknowledged, rejected or returned.
    pub(super) fn settle(&mut self, tags: impl IntoIterator<Item = u64>) {
        self.settled.extend(tags.into_iter().filter(|tag| *tag >= self.floor));
        while self.settled.remove(&self.floor) {
            self.floor += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_acknowledgement_never_covers_a_tag_that_another_batch_holds() {
        let mut acks = Acks::default();
        assert_eq!(acks.all_up_to(&[1, 2, 3]), Some(3));
        assert_eq!(acks.all_up_to(&[1, 2, 4]), Some(2), "another batch holds 3");
        assert_eq!(acks.all_up_to(&[2, 3]), None, "another batch holds 1");
        acks.settle([2, 3]);
        assert_eq!(acks.all_up_to(&[1, 4]), Some(4), "2 and 3 are already settled");
        acks.settle([1]);
        assert_eq!(acks.floor, 4);
        assert!(acks.settled.is_empty(), "tags below the floor are not kept");
    }

    #[test]
    fn delivered_tags_are_in_hand_until_all_of_them_are_settled() {
        let mut acks = Acks::default();
        assert!(!acks.is_in_hand());
        (1..=3).for_each(|tag| acks.take(tag));
        acks.settle([1, 3]);
        assert!(acks.is_in_hand());
        acks.settle([2]);
        assert!(!acks.is_in_hand());
    }
}
