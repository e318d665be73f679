//! Creates one subscription, detects when it stalls, and changes its prefetch.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use lapin::message::Delivery as Received;
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use tokio::task::JoinHandle;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout};

use super::hold::{Acks, Lane};
use super::link::{Link, NO_ANSWER};
use super::problem::Problem;
use super::{Amqp, topology};
use crate::queue::{ConsumerHealth, Source};
use crate::runtime::locked;

/// The time limit for a delivery after a check has found ready messages.
const GRACE: Duration = Duration::from_secs(10);

const STALLED: &str = "messages are ready but none was delivered";

pub(super) struct Subscription {
    pub(super) stream: lapin::Consumer,
    pub(super) lane: Arc<Lane>,
    pub(super) since: Instant,
    pub(super) prefetch: u16,
    /// Whether the subscription was cancelled, and one with another prefetch follows on the same channel.
    pub(super) ending: bool,
}

/// A subscription in progress.
pub(super) struct Subscribing {
    pub(super) link: Arc<Link>,
    /// The channel of the previous subscription, if this one reuses it.
    pub(super) lane: Option<Arc<Lane>>,
    pub(super) task: JoinHandle<Result<lapin::Result<Subscription>, Elapsed>>,
}

/// Checks that deliveries arrive when there are messages to deliver.
pub(in crate::queue) struct Watch {
    /// The time to wait for a delivery before the queue is checked.
    pub(in crate::queue) after: Duration,
    pub(in crate::queue) health: ConsumerHealth,
    /// Whether the last subscription stalled, and the current one has not been seen to work yet.
    stalled: bool,
}

impl Watch {
    pub(super) fn new(after: Duration) -> Self {
        Self { after, health: ConsumerHealth::default(), stalled: false }
    }

    /// Records a new subscription.
    pub(super) fn record_subscription(&self, lane: &Lane) {
        if !self.stalled {
            self.health.set(Some(lane.link.over.clone()));
        }
    }

    fn mark_working(&mut self, lane: &Lane) {
        if std::mem::take(&mut self.stalled) {
            self.record_subscription(lane);
        }
    }
}

impl Subscription {
    /// Waits for the next item of the stream, without a time limit. If the broker has messages but delivers
    /// none, abandons the connection. The future may be dropped at any point.
    ///
    /// # Errors
    /// Returns the reason if no delivery will ever arrive.
    pub(super) async fn next(
        &mut self,
        queue: &str,
        limit: Duration,
        watch: &mut Watch,
    ) -> Result<Option<lapin::Result<Received>>, Problem> {
        let mut suspected = false;
        loop {
            let wait = if suspected { GRACE.min(watch.after) } else { watch.after };
            if let Ok(item) = timeout(wait, self.stream.next()).await {
                if let Some(Ok(_)) = item {
                    watch.mark_working(&self.lane);
                }
                return Ok(item);
            }
            let stalled = match self.ready(queue, limit).await {
                // A consumer with unsettled deliveries may have reached its prefetch.
                Ok(_) if locked(&self.lane.acks).is_in_hand() => None,
                Ok(Some(0)) => {
                    watch.mark_working(&self.lane);
                    None
                }
                Ok(None) => None,
                Ok(Some(ready)) if suspected => Some(format!("{STALLED} ({ready} ready)")),
                Ok(Some(_)) => {
                    suspected = true;
                    continue;
                }
                Err(why) => Some(why.to_owned()),
            };
            suspected = false;
            if let Some(why) = stalled {
                watch.stalled = true;
                watch.health.set(None);
                tracing::error!(queue, problem = why, "the consumer stalled: connecting again");
                self.lane.link.abandon(STALLED);
                return Err(Problem::temporary(why));
            }
        }
    }

    /// Counts the messages that are ready in the queue, on a new channel of the same connection. Returns
    /// `None` if reading is not allowed, or if the queue no longer exists, which is detected elsewhere.
    async fn ready(&self, queue: &str, limit: Duration) -> Result<Option<u32>, &'static str> {
        let counted = async {
            let channel = self.lane.link.connection.create_channel().await?;
            let (count, _) = topology::inspect(&channel, queue).await?;
            // Dropping the channel would close it too, but without reporting a failure.
            channel.close(200, "inspected".into()).await?;
            Ok::<_, lapin::Error>(count)
        };
        match timeout(limit, counted).await {
            Ok(Ok(count)) => Ok(Some(count)),
            // This is also the result if the connection is failing, and then the stream ends.
            Ok(Err(_)) => Ok(None),
            Err(_) => Err(NO_ANSWER),
        }
    }

    /// Cancels the subscription, so that one with another prefetch can follow on the same channel. Messages
    /// that the broker has already sent still arrive; then the stream ends.
    pub(super) fn end(&mut self, limit: Duration) {
        self.ending = true;
        let (lane, tag) = (self.lane.clone(), self.stream.tag());
        tokio::spawn(async move {
            let cancel = lane.channel.basic_cancel(tag, BasicCancelOptions::default());
            // An error ends the channel, and with it the stream.
            if timeout(limit, cancel).await.is_err() {
                lane.link.abandon(NO_ANSWER);
            }
        });
    }
}

pub(super) fn name(queue: &Amqp, source: Source) -> &str {
    let topology = &queue.0.settings.topology;
    match source {
        Source::Bookings => &topology.work,
        Source::Dead => &topology.dead,
    }
}

/// Subscribes on `lane`, or on a new channel.
pub(super) async fn consume(
    queue: Amqp,
    source: Source,
    link: Arc<Link>,
    lane: Option<Arc<Lane>>,
    prefetch: u16,
    with_topology: bool,
) -> lapin::Result<Subscription> {
    let settings = &queue.0.settings;
    if with_topology {
        topology::ensure(&link.connection, &settings.topology, settings.mode).await?;
    }
    let lane = match lane {
        Some(lane) => lane,
        None => {
            let channel = link.connection.create_channel().await?;
            Arc::new(Lane { link, channel, acks: Mutex::new(Acks::default()) })
        }
    };
    let channel = &lane.channel;
    // The prefetch applies to consumers that start after it is set.
    channel.basic_qos(prefetch, BasicQosOptions { global: false }).await?;
    let options = BasicConsumeOptions::default();
    let stream =
        channel.basic_consume(name(&queue, source).into(), "".into(), options, FieldTable::default()).await?;
    Ok(Subscription { stream, lane, since: Instant::now(), prefetch, ending: false })
}

/// The size that is assumed before the first body arrives: the largest body that the edge accepts by default.
const ASSUMED_BODY_SIZE: usize = 1 << 20;

/// The factor of the first rise, which comes after twice as many bodies as the prefetch. That costs a new
/// subscription; small batches until `most` bodies have arrived would cost far more.
const STEP: u16 = 8;

/// The number of unacknowledged messages whose bodies stay within a budget, learned from the bodies that
/// arrive. The number falls with the first body that is too large for it. Except for a first step it rises
/// only after `most` small bodies in a row; large bodies that follow may then exceed the budget by up to
/// `most` bodies.
#[derive(Debug)]
pub(super) struct Window {
    most: u16,
    budget: usize,
    /// The prefetch to request from the broker now.
    pub(super) prefetch: u16,
    /// The largest body since the last change or the last full count.
    largest: usize,
    seen: u16,
    /// Whether the prefetch has risen or fallen before.
    has_changed: bool,
}

impl Window {
    /// Creates a window of at most `most` messages and `budget` bytes of bodies.
    pub(super) fn new(most: u16, budget: usize) -> Self {
        let mut window = Self { most, budget, prefetch: 1, largest: 0, seen: 0, has_changed: false };
        window.prefetch = window.prefetch_for(ASSUMED_BODY_SIZE);
        window
    }

    /// Records the size of a delivery's body.
    pub(super) fn record(&mut self, bytes: usize) {
        self.largest = self.largest.max(bytes);
        self.seen = self.seen.saturating_add(1);
        let fitting = self.prefetch_for(self.largest);
        let (enough, next) = match self.has_changed {
            true => (self.most, fitting),
            false => (
                self.prefetch.saturating_mul(2).min(self.most),
                fitting.min(self.prefetch.saturating_mul(STEP)),
            ),
        };
        if fitting < self.prefetch || self.seen >= enough {
            // Every change costs a new subscription: a small increase is not worth one.
            if next < self.prefetch || next == self.most || next / 2 >= self.prefetch {
                self.has_changed |= next != self.prefetch;
                self.prefetch = next;
            }
            (self.largest, self.seen) = (0, 0);
        }
    }

    fn prefetch_for(&self, body: usize) -> u16 {
        u16::try_from(self.budget / body.max(1)).unwrap_or(u16::MAX).clamp(1, self.most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn it_starts_for_large_bodies_and_rises_in_two_steps_while_all_are_small() {
        let mut window = Window::new(400, 16 * MIB);
        for (now, bodies) in [(16, 32), (128, 400), (400, 1000)] {
            for _ in 0..bodies {
                assert_eq!(window.prefetch, now);
                window.record(3000);
            }
        }
        assert_eq!(window.prefetch, 400);
    }

    #[test]
    fn after_a_large_body_it_rises_only_after_a_full_count_of_small_ones() {
        let mut window = Window::new(400, 16 * MIB);
        (0..40).for_each(|_| window.record(3000));
        window.record(MIB);
        for _ in 0..400 {
            assert_eq!(window.prefetch, 16);
            window.record(3000);
        }
        assert_eq!(window.prefetch, 400);
    }

    #[test]
    fn a_body_that_is_too_large_lowers_it_at_once_and_it_is_never_zero() {
        let mut window = Window::new(400, 16 * MIB);
        (0..400).for_each(|_| window.record(3000));
        window.record(2 * MIB);
        assert_eq!(window.prefetch, 8);
        window.record(64 * MIB);
        assert_eq!(window.prefetch, 1);
        (0..400).for_each(|_| window.record(MIB));
        assert_eq!(window.prefetch, 16, "and rises again");
        assert_eq!(Window::new(4, 16 * MIB).prefetch, 4, "never more than the maximum");
    }
}
