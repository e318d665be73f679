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
use super::connection::{BrokerConnection, NO_ANSWER};
use super::delivery_tags::DeliveryTags;
use super::publisher::{Publishing, Target};
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
    pub(super) connection: Arc<BrokerConnection>,
    pub(super) inner: Channel,
    pub(super) tags: Mutex<DeliveryTags>,
}

impl DeliveryChannel {
    /// Returns whether deliveries of this channel can still be settled.
    pub(super) fn is_open(&self) -> bool {
        !self.connection.ended.is_cancelled() && self.inner.status().connected()
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
                    self.connection.abandon(NO_ANSWER);
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
        let mut to_reject = Vec::new();
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
            to_ack.extend(copied.into_iter().filter(|index| !unpublished.contains(*index)));
            to_ack.sort_unstable();
            to_release.extend(unpublished.unconfirmed);
            to_release.sort_unstable();
            to_reject = unpublished.over_limit;
        }
        self.acknowledge(&to_ack, &mut settled).await;
        for index in &settled.removed {
            *match dispositions[*index].1 {
                Disposition::Retry { .. } => &mut settled.retried,
                Disposition::DeadLetter { .. } => &mut settled.dead,
                Disposition::Ack | Disposition::Release => &mut settled.acked,
            } += 1;
        }
        self.reject(&to_reject, &mut settled).await;
        settled.lost += self.release(&to_release, &mut settled.released).await;
        self.unsettled.clear();
        settled
    }

    /// Publishes the copies, with retries while the broker does not accept them. A copy that the broker refuses
    /// for what it is does not hold up the others: from then on each is published alone, and that copy is cut to
    /// what is necessary.
    async fn publish(&self, copies: &mut BTreeMap<usize, (Target, Message)>) -> Unpublished {
        let publishing = self.queue.publishing();
        let until = Instant::now() + PUBLISH_TIMEOUT;
        let mut delays = Delays::new(Duration::from_millis(200), Duration::from_secs(10));
        let (mut waiting, mut publish_alone) = (None, false);
        let (mut cut, mut over_limit) = (BTreeSet::new(), Vec::new());
        loop {
            let (indices, items): (Vec<usize>, Vec<_>) = std::mem::take(copies).into_iter().unzip();
            let results = publish_in_groups(publishing, &items, publish_alone).await;
            let (mut problem, mut is_refused) = (None, false);
            for ((index, mut item), result) in indices.into_iter().zip(items).zip(results) {
                match result {
                    Ok(()) => continue,
                    Err(error @ PublishError::ExceedsLimit(_)) if publish_alone && !cut.insert(index) => {
                        tracing::error!(%error, "the broker accepts no copy of a message; rejecting the message");
                        over_limit.push(index);
                        continue;
                    }
                    Err(PublishError::ExceedsLimit(_)) if publish_alone => {
                        copies::cut_to_necessary(&mut item.1)
                    }
                    Err(PublishError::ExceedsLimit(_)) => is_refused = true,
                    Err(error) => problem = Some(error),
                }
                copies.insert(index, item);
            }
            publish_alone |= is_refused;
            if copies.is_empty() {
                if waiting.is_some() {
                    tracing::info!("the broker has accepted the retries and dead letters that waited");
                }
                return Unpublished { unconfirmed: Vec::new(), over_limit };
            }
            let Some(problem) = problem else { continue };
            if waiting.is_none() {
                tracing::warn!(%problem, copies = copies.len(), "retries and dead letters wait for the broker");
                waiting = Some(self.queue.0.waiting_copies.begin());
            }
            let unconfirmed = || copies.keys().copied().collect();
            if Instant::now() >= until || !self.channel.is_open() {
                return Unpublished { unconfirmed: unconfirmed(), over_limit };
            }
            tokio::select! {
                () = tokio::time::sleep(delays.next()) => {}
                () = publishing.wait_for_reconnect() => delays.reset(),
                () = self.channel.connection.ended.cancelled() => return Unpublished { unconfirmed: unconfirmed(), over_limit },
                () = self.queue.0.stop.cancelled() => return Unpublished { unconfirmed: unconfirmed(), over_limit },
            }
        }
    }

    /// Rejects deliveries of which the broker accepts no copy: the broker itself moves them to the dead letters.
    async fn reject(&self, indices: &[usize], settled: &mut Settled) {
        let limit = self.queue.0.settings.confirm_timeout;
        for index in indices {
            let (tag, acker) = &self.unsettled[*index];
            let options = BasicRejectOptions { requeue: false };
            if self.channel.send(&[*tag], acker.reject(options), limit).await {
                settled.dead += 1;
                settled.removed.push(*index);
            } else {
                settled.lost += 1;
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

/// The positions in the batch of copies that were not published.
struct Unpublished {
    /// Those that the broker has not confirmed, in order.
    unconfirmed: Vec<usize>,
    /// Those that the broker will not accept, even cut to what is necessary.
    over_limit: Vec<usize>,
}

impl Unpublished {
    fn contains(&self, index: usize) -> bool {
        self.unconfirmed.binary_search(&index).is_ok() || self.over_limit.contains(&index)
    }
}

/// Publishes copies together, or each alone. Copies after one that could not be published, although the broker
/// may accept it later, are not tried.
async fn publish_in_groups(
    publishing: &Publishing,
    items: &[(Target, Message)],
    alone: bool,
) -> Vec<Result<(), PublishError>> {
    let mut results = Vec::with_capacity(items.len());
    for group in items.chunks(if alone { 1 } else { items.len().max(1) }) {
        results.extend(publishing.publish_each(group).await);
        let mut errors = results.iter().filter_map(|result| result.as_ref().err());
        if let Some(error) = errors.find(|error| !matches!(error, PublishError::ExceedsLimit(_))).cloned() {
            results.resize(items.len(), Err(error));
            break;
        }
    }
    results
}
