//! Settling a batch: copies first, confirmed; then the acknowledgements of their originals.

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

/// How long copies that cannot be published are tried again before their originals are given
/// back. Giving back uses up the delivery limit, waiting does not; but the broker takes back by
/// itself what is not acknowledged for half an hour.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(600);

/// How long what is done waits for the copies of its neighbours. One frame acknowledges all that came up to
/// it, but not around what is still in hand: then each takes a frame of its own. Should the program die meanwhile,
/// what is done comes again, as after any death between commit and acknowledgement.
const ACKNOWLEDGE_TIMEOUT: Duration = Duration::from_millis(100);

/// The channel over which a batch came, and what is settled on it: one generation.
pub(super) struct Lane {
    pub(super) link: Arc<Link>,
    pub(super) channel: Channel,
    pub(super) acks: Mutex<Acks>,
}

impl Lane {
    /// Whether what came over this channel can still be settled.
    pub(super) fn is_open(&self) -> bool {
        !self.link.over.is_cancelled() && self.channel.status().connected()
    }

    /// Sends an acknowledgement, a nack or a reject of these tags; whether it went out.
    ///
    /// The tags are noted as settled in the very step in which the frame is handed over: earlier,
    /// somebody's acknowledgement of "all up to" could cover them; later, it could come second.
    /// `Ok(false)` means that the channel was dead already.
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
                    self.link.give_up(NO_ANSWER);
                    return false;
                }
            },
        };
        answer.unwrap_or(false)
    }
}

/// The means to settle one batch.
pub(in crate::queue) struct AmqpHold {
    pub(super) queue: Amqp,
    pub(super) lane: Arc<Lane>,
    /// Tag and acker of each delivery, in order. Emptied when settled.
    pub(super) held: Vec<(u64, Acker)>,
}

impl Drop for AmqpHold {
    /// A batch that was dropped unsettled: give it back, and let it count.
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
                    copies.insert(index, (target, copies::for_retry(delivery, *counts, headers)));
                }
                Disposition::DeadLetter { headers } => {
                    let target = Target::queue(&topology.dead);
                    copies.insert(index, (target, copies::for_the_dead(delivery, headers)));
                }
            }
        }
        if !copies.is_empty() {
            let copied: Vec<usize> = copies.keys().copied().collect();
            let mut publishing = pin!(self.publish(&mut copies));
            let unpublished = match timeout(ACKNOWLEDGE_TIMEOUT, &mut publishing).await {
                Ok(unpublished) => unpublished,
                Err(_) => {
                    // What is done does not wait any longer for the copies of its neighbours, nor they for it.
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

    /// Publishes the copies, again and again while the broker does not take them. The answer is
    /// those that it has not taken, in order.
    async fn publish(&self, copies: &mut BTreeMap<usize, (Target, Message)>) -> Vec<usize> {
        let publishing = self.queue.publishing();
        let until = Instant::now() + PUBLISH_TIMEOUT;
        let mut delays = Delays::new(Duration::from_millis(200), Duration::from_secs(10));
        let mut said = false;
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
            if !said {
                tracing::warn!(%problem, copies = copies.len(), "retries and dead letters wait for the broker");
                said = true;
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

    /// Acknowledges these, with as few frames as is safe: notes which are gone and how many are no longer
    /// ours.
    async fn acknowledge(&self, indices: &[usize], settled: &mut Settled) {
        if indices.is_empty() {
            return;
        }
        let limit = self.queue.0.settings.confirm_timeout;
        let tags: Vec<u64> = indices.iter().map(|index| self.held[*index].0).collect();
        let together = locked(&self.lane.acks).all_up_to(&tags).unwrap_or(0);
        let (first, rest): (Vec<usize>, Vec<usize>) =
            indices.iter().copied().partition(|index| self.held[*index].0 <= together);
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

    /// Gives these back, which counts nothing where the broker knows the difference (from 4.3).
    /// Answers how many were no longer ours.
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
    /// The highest tag that was taken.
    taken: u64,
}

impl Default for Acks {
    fn default() -> Self {
        Self { floor: 1, settled: BTreeSet::new(), taken: 0 }
    }
}

impl Acks {
    /// The highest of `tags` up to which everything on this channel is either settled or among
    /// `tags`: acknowledging it with `multiple` acknowledges nothing that somebody still holds.
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

    /// Notes a tag as taken. They are taken in order.
    pub(super) fn take(&mut self, tag: u64) {
        self.taken = tag;
    }

    /// Whether anything that was taken is not settled yet.
    pub(super) fn is_in_hand(&self) -> bool {
        self.taken >= self.floor
    }

    /// Whether a tag was settled before.
    pub(super) fn is_settled(&self, tag: u64) -> bool {
        tag < self.floor || self.settled.contains(&tag)
    }

    /// Notes tags as settled, in whatever way.
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
    fn one_acknowledgement_never_covers_what_somebody_else_holds() {
        let mut acks = Acks::default();
        assert_eq!(acks.all_up_to(&[1, 2, 3]), Some(3));
        assert_eq!(acks.all_up_to(&[1, 2, 4]), Some(2), "3 is in another's hand");
        assert_eq!(acks.all_up_to(&[2, 3]), None, "1 is in another's hand");
        acks.settle([2, 3]);
        assert_eq!(acks.all_up_to(&[1, 4]), Some(4), "2 and 3 are settled already");
        acks.settle([1]);
        assert_eq!(acks.floor, 4);
        assert!(acks.settled.is_empty(), "what is below the floor is not kept");
    }

    #[test]
    fn what_was_taken_is_in_hand_until_all_of_it_is_settled() {
        let mut acks = Acks::default();
        assert!(!acks.is_in_hand());
        (1..=3).for_each(|tag| acks.take(tag));
        acks.settle([1, 3]);
        assert!(acks.is_in_hand());
        acks.settle([2]);
        assert!(!acks.is_in_hand());
    }
}
