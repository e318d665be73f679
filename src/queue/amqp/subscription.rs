//! One subscription: making it, noticing that nothing comes over it although it should, and
//! changing how much the broker may hand out.

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

/// After a look that found messages ready: how long the next of them may take to come.
const GRACE: Duration = Duration::from_secs(10);

const STALLED: &str = "messages are ready and none of them was delivered";

pub(super) struct Subscription {
    pub(super) stream: lapin::Consumer,
    pub(super) lane: Arc<Lane>,
    pub(super) since: Instant,
    pub(super) prefetch: u16,
    /// It was cancelled, to be followed by one with another prefetch on the same channel.
    pub(super) ending: bool,
}

/// A subscription on its way.
pub(super) struct Subscribing {
    pub(super) link: Arc<Link>,
    /// The channel of the one before, where it follows one.
    pub(super) lane: Option<Arc<Lane>>,
    pub(super) task: JoinHandle<Result<lapin::Result<Subscription>, Elapsed>>,
}

/// Whether deliveries come when there are messages to deliver.
pub(in crate::queue) struct Watch {
    /// How long nothing may come before the queue is looked at.
    pub(in crate::queue) after: Duration,
    pub(in crate::queue) health: ConsumerHealth,
    /// Nothing came over the last subscription, and nothing has shown yet that this one is better.
    stalled: bool,
}

impl Watch {
    pub(super) fn new(after: Duration) -> Self {
        Self { after, health: ConsumerHealth::default(), stalled: false }
    }

    /// There is a new subscription.
    pub(super) fn subscribed(&self, lane: &Lane) {
        if !self.stalled {
            self.health.set(Some(lane.link.over.clone()));
        }
    }

    fn works(&mut self, lane: &Lane) {
        if std::mem::take(&mut self.stalled) {
            self.subscribed(lane);
        }
    }
}

impl Subscription {
    /// What comes next, however long that takes. A broker that has messages for us and hands out
    /// none is not waited for: its connection is given up. May be dropped at any point.
    ///
    /// # Errors
    /// Why nothing would ever come.
    pub(super) async fn next(
        &mut self,
        queue: &str,
        limit: Duration,
        watch: &mut Watch,
    ) -> Result<Option<lapin::Result<Received>>, Problem> {
        let mut suspected = false;
        loop {
            let patience = if suspected { GRACE.min(watch.after) } else { watch.after };
            if let Ok(heard) = timeout(patience, self.stream.next()).await {
                if let Some(Ok(_)) = heard {
                    watch.works(&self.lane);
                }
                return Ok(heard);
            }
            let stalled = match self.ready(queue, limit).await {
                // Somebody who has as much in hand as he may have gets no more.
                Ok(_) if locked(&self.lane.acks).is_in_hand() => None,
                Ok(Some(0)) => {
                    watch.works(&self.lane);
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
                self.lane.link.give_up(STALLED);
                return Err(Problem::passing(why));
            }
        }
    }

    /// How many messages are ready in the queue, asked over the same connection by a channel of
    /// its own. `None`: not allowed to look, or the queue is gone, which others notice.
    async fn ready(&self, queue: &str, limit: Duration) -> Result<Option<u32>, &'static str> {
        let counted = async {
            let channel = self.lane.link.connection.create_channel().await?;
            let (count, _) = topology::inspect(&channel, queue).await?;
            // Closed by itself when dropped, but nobody would hear of a failure.
            channel.close(200, "looked".into()).await?;
            Ok::<_, lapin::Error>(count)
        };
        match timeout(limit, counted).await {
            Ok(Ok(count)) => Ok(Some(count)),
            // Also where the connection is going down: the stream ends.
            Ok(Err(_)) => Ok(None),
            Err(_) => Err(NO_ANSWER),
        }
    }

    /// Cancels it, so that one with another prefetch can follow on the same channel. What was
    /// handed out before still comes; then the stream ends.
    pub(super) fn end(&mut self, limit: Duration) {
        self.ending = true;
        let (lane, tag) = (self.lane.clone(), self.stream.tag());
        tokio::spawn(async move {
            let cancel = lane.channel.basic_cancel(tag, BasicCancelOptions::default());
            // An error ends the channel, and with it the stream.
            if timeout(limit, cancel).await.is_err() {
                lane.link.give_up(NO_ANSWER);
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

/// Subscribes: on `lane`, or on a channel of its own.
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
    // It counts for the consumers that begin after it.
    channel.basic_qos(prefetch, BasicQosOptions { global: false }).await?;
    let options = BasicConsumeOptions::default();
    let stream =
        channel.basic_consume(name(&queue, source).into(), "".into(), options, FieldTable::default()).await?;
    Ok(Subscription { stream, lane, since: Instant::now(), prefetch, ending: false })
}

/// What a body may have before any was seen: as much as the edge takes by default.
const UNKNOWN: usize = 1 << 20;

/// The first time it rises after twice as many bodies as are asked for, and so many times as high. That
/// costs a new subscription; small batches until there were `most` bodies would cost far more.
const STEP: u16 = 8;

/// The number of unacknowledged messages whose bodies stay within a budget, learned from the
/// bodies that come. It falls with the first one that is too large for it. But for a first step it rises
/// only when `most` in a row were small: then large ones that follow cost up to `most` bodies, each time.
#[derive(Debug)]
pub(super) struct Window {
    most: u16,
    budget: usize,
    /// What to ask the broker for now.
    pub(super) prefetch: u16,
    /// Of those seen since the last change or the last full count.
    largest: usize,
    seen: u16,
    /// It has risen or fallen before.
    has_changed: bool,
}

impl Window {
    /// Never more than `most` messages, and not more than `budget` bytes of bodies.
    pub(super) fn new(most: u16, budget: usize) -> Self {
        let mut window = Self { most, budget, prefetch: 1, largest: 0, seen: 0, has_changed: false };
        window.prefetch = window.fitting(UNKNOWN);
        window
    }

    /// Notes the body of a delivery.
    pub(super) fn note(&mut self, bytes: usize) {
        self.largest = self.largest.max(bytes);
        self.seen = self.seen.saturating_add(1);
        let fitting = self.fitting(self.largest);
        let (enough, next) = match self.has_changed {
            true => (self.most, fitting),
            false => (
                self.prefetch.saturating_mul(2).min(self.most),
                fitting.min(self.prefetch.saturating_mul(STEP)),
            ),
        };
        if fitting < self.prefetch || self.seen >= enough {
            // Every change costs a new subscription: a little more is not worth one.
            if next < self.prefetch || next == self.most || next / 2 >= self.prefetch {
                self.has_changed |= next != self.prefetch;
                self.prefetch = next;
            }
            (self.largest, self.seen) = (0, 0);
        }
    }

    fn fitting(&self, body: usize) -> u16 {
        u16::try_from(self.budget / body.max(1)).unwrap_or(u16::MAX).clamp(1, self.most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn it_begins_as_if_all_were_large_and_rises_in_two_steps_while_all_are_small() {
        let mut window = Window::new(400, 16 * MIB);
        for (now, bodies) in [(16, 32), (128, 400), (400, 1000)] {
            for _ in 0..bodies {
                assert_eq!(window.prefetch, now);
                window.note(3000);
            }
        }
        assert_eq!(window.prefetch, 400);
    }

    #[test]
    fn after_a_large_one_it_rises_only_when_a_full_count_was_small() {
        let mut window = Window::new(400, 16 * MIB);
        (0..40).for_each(|_| window.note(3000));
        window.note(MIB);
        for _ in 0..400 {
            assert_eq!(window.prefetch, 16);
            window.note(3000);
        }
        assert_eq!(window.prefetch, 400);
    }

    #[test]
    fn one_that_is_too_large_lowers_it_at_once_and_it_is_never_zero() {
        let mut window = Window::new(400, 16 * MIB);
        (0..400).for_each(|_| window.note(3000));
        window.note(2 * MIB);
        assert_eq!(window.prefetch, 8);
        window.note(64 * MIB);
        assert_eq!(window.prefetch, 1);
        (0..400).for_each(|_| window.note(MIB));
        assert_eq!(window.prefetch, 16, "and rises again");
        assert_eq!(Window::new(4, 16 * MIB).prefetch, 4, "never more than was asked for");
    }
}
