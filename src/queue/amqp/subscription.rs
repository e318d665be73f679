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

use super::connection::{BrokerConnection, NO_ANSWER};
use super::delivery_tags::DeliveryTags;
use super::problem::Problem;
use super::settle::DeliveryChannel;
use super::{Amqp, topology};
use crate::queue::{ConsumerHealth, Source};
use crate::runtime::locked;

/// The time limit for a delivery after a check has found ready messages.
const GRACE: Duration = Duration::from_secs(10);

const STALLED: &str = "messages are ready but none was delivered";

pub(super) struct Subscription {
    pub(super) stream: lapin::Consumer,
    pub(super) channel: Arc<DeliveryChannel>,
    pub(super) since: Instant,
    pub(super) prefetch: u16,
    /// Whether we have cancelled it, to subscribe with another prefetch on the same channel.
    pub(super) cancelled: bool,
}

/// A subscription that is being created.
pub(super) struct Subscribing {
    pub(super) connection: Arc<BrokerConnection>,
    /// The channel of the previous subscription, if this one reuses it.
    pub(super) channel: Option<Arc<DeliveryChannel>>,
    pub(super) task: JoinHandle<Result<lapin::Result<Subscription>, Elapsed>>,
}

/// Detects that no deliveries arrive although messages are ready.
pub(in crate::queue) struct Watchdog {
    /// The time to wait for a delivery before the queue is checked.
    pub(in crate::queue) check_after: Duration,
    pub(in crate::queue) health: ConsumerHealth,
    /// Whether the last subscription stalled, and the current one has not yet proved to work.
    stalled: bool,
}

impl Watchdog {
    pub(super) fn new(check_after: Duration) -> Self {
        Self { check_after, health: ConsumerHealth::default(), stalled: false }
    }

    /// Records a new subscription.
    pub(super) fn record_subscription(&self, channel: &DeliveryChannel) {
        if !self.stalled {
            self.health.set(Some(channel.connection.ended.clone()));
        }
    }

    fn mark_working(&mut self, channel: &DeliveryChannel) {
        if std::mem::take(&mut self.stalled) {
            self.record_subscription(channel);
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
        watchdog: &mut Watchdog,
    ) -> Result<Option<lapin::Result<Received>>, Problem> {
        let mut suspected = false;
        loop {
            let wait = if suspected { GRACE.min(watchdog.check_after) } else { watchdog.check_after };
            if let Ok(item) = timeout(wait, self.stream.next()).await {
                if let Some(Ok(_)) = item {
                    watchdog.mark_working(&self.channel);
                }
                return Ok(item);
            }
            let stalled = match self.count_ready(queue, limit).await {
                // A consumer with unsettled deliveries may have reached its prefetch.
                Ok(_) if locked(&self.channel.tags).has_unsettled() => None,
                Ok(Some(0)) => {
                    watchdog.mark_working(&self.channel);
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
                watchdog.stalled = true;
                watchdog.health.set(None);
                tracing::error!(queue, problem = why, "the consumer stalled: connecting again");
                self.channel.connection.abandon(STALLED);
                return Err(Problem::temporary(why));
            }
        }
    }

    /// Counts the ready messages in the queue, on a new channel of the same connection. Returns `None` if the
    /// count is not permitted, or if the queue no longer exists, which is detected elsewhere.
    async fn count_ready(&self, queue: &str, limit: Duration) -> Result<Option<u32>, &'static str> {
        let counted = async {
            let channel = self.channel.connection.inner.create_channel().await?;
            let (ready, _) = topology::inspect(&channel, queue).await?;
            // Dropping the channel would close it too, but without reporting a failure.
            channel.close(200, "inspected".into()).await?;
            Ok::<_, lapin::Error>(ready)
        };
        match timeout(limit, counted).await {
            Ok(Ok(ready)) => Ok(Some(ready)),
            // This is also the result if the connection is failing, and then the stream ends.
            Ok(Err(_)) => Ok(None),
            Err(_) => Err(NO_ANSWER),
        }
    }

    /// Cancels the subscription, so that one with another prefetch can follow on the same channel. Messages
    /// that the broker has already sent still arrive; then the stream ends.
    pub(super) fn cancel(&mut self, limit: Duration) {
        self.cancelled = true;
        let (channel, tag) = (self.channel.clone(), self.stream.tag());
        tokio::spawn(async move {
            let cancel = channel.inner.basic_cancel(tag, BasicCancelOptions::default());
            // An error closes the channel, and with it the stream.
            if timeout(limit, cancel).await.is_err() {
                channel.connection.abandon(NO_ANSWER);
            }
        });
    }
}

pub(super) fn queue_name(queue: &Amqp, source: Source) -> &str {
    let topology = &queue.0.settings.topology;
    match source {
        Source::Bookings => &topology.work,
        Source::Dead => &topology.dead,
    }
}

/// Subscribes on `channel`, or on a new channel.
pub(super) async fn subscribe(
    queue: Amqp,
    source: Source,
    connection: Arc<BrokerConnection>,
    channel: Option<Arc<DeliveryChannel>>,
    prefetch: u16,
    with_topology: bool,
) -> lapin::Result<Subscription> {
    let settings = &queue.0.settings;
    if with_topology {
        topology::ensure(&connection.inner, &settings.topology, settings.mode).await?;
    }
    let channel = match channel {
        Some(channel) => channel,
        None => {
            let inner = connection.inner.create_channel().await?;
            Arc::new(DeliveryChannel { connection, inner, tags: Mutex::new(DeliveryTags::default()) })
        }
    };
    let inner = &channel.inner;
    // The prefetch applies to consumers that start after it is set.
    inner.basic_qos(prefetch, BasicQosOptions { global: false }).await?;
    let options = BasicConsumeOptions::default();
    let stream = inner
        .basic_consume(queue_name(&queue, source).into(), "".into(), options, FieldTable::default())
        .await?;
    Ok(Subscription { stream, channel, since: Instant::now(), prefetch, cancelled: false })
}

/// The size that is assumed before the first body arrives: the largest body that the edge accepts by default.
const ASSUMED_BODY_SIZE: usize = 1 << 20;

/// The factor by which the prefetch first rises, once twice as many bodies as the prefetch have arrived. This
/// costs a new subscription; small batches until `max` bodies have arrived would cost far more.
const FIRST_RISE: u16 = 8;

/// Adapts the prefetch to the size of the bodies that arrive, so that unacknowledged bodies stay within a
/// budget. The first body that is too large lowers the prefetch. After a first rise, only `max` small bodies
/// in a row raise it; up to `max` large bodies that follow may then exceed the budget.
#[derive(Debug)]
pub(super) struct PrefetchWindow {
    /// The configured prefetch, which is never exceeded.
    max: u16,
    /// Bytes of bodies.
    budget: usize,
    /// The prefetch to request from the broker now.
    pub(super) prefetch: u16,
    /// The largest body since `count` was last reset.
    largest: usize,
    /// The bodies since the prefetch was last changed or confirmed.
    count: u16,
    /// Whether the prefetch has risen or fallen before.
    has_changed: bool,
}

impl PrefetchWindow {
    /// Creates a window of at most `max` messages and `budget` bytes of bodies.
    pub(super) fn new(max: u16, budget: usize) -> Self {
        let mut window = Self { max, budget, prefetch: 1, largest: 0, count: 0, has_changed: false };
        window.prefetch = window.prefetch_for(ASSUMED_BODY_SIZE);
        window
    }

    /// Records the size of a delivery's body.
    pub(super) fn record(&mut self, bytes: usize) {
        self.largest = self.largest.max(bytes);
        self.count = self.count.saturating_add(1);
        let fitting = self.prefetch_for(self.largest);
        let (required, next) = match self.has_changed {
            true => (self.max, fitting),
            false => (
                self.prefetch.saturating_mul(2).min(self.max),
                fitting.min(self.prefetch.saturating_mul(FIRST_RISE)),
            ),
        };
        if fitting < self.prefetch || self.count >= required {
            // Every change costs a new subscription, which a small increase is not worth.
            if next < self.prefetch || next == self.max || next / 2 >= self.prefetch {
                self.has_changed |= next != self.prefetch;
                self.prefetch = next;
            }
            (self.largest, self.count) = (0, 0);
        }
    }

    fn prefetch_for(&self, body: usize) -> u16 {
        u16::try_from(self.budget / body.max(1)).unwrap_or(u16::MAX).clamp(1, self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn the_prefetch_starts_low_and_rises_in_two_steps_while_bodies_are_small() {
        let mut window = PrefetchWindow::new(400, 16 * MIB);
        for (now, bodies) in [(16, 32), (128, 400), (400, 1000)] {
            for _ in 0..bodies {
                assert_eq!(window.prefetch, now);
                window.record(3000);
            }
        }
        assert_eq!(window.prefetch, 400);
    }

    #[test]
    fn after_a_large_body_only_a_full_count_of_small_bodies_raises_the_prefetch() {
        let mut window = PrefetchWindow::new(400, 16 * MIB);
        (0..40).for_each(|_| window.record(3000));
        window.record(MIB);
        for _ in 0..400 {
            assert_eq!(window.prefetch, 16);
            window.record(3000);
        }
        assert_eq!(window.prefetch, 400);
    }

    #[test]
    fn a_large_body_lowers_the_prefetch_at_once_but_never_to_zero() {
        let mut window = PrefetchWindow::new(400, 16 * MIB);
        (0..400).for_each(|_| window.record(3000));
        window.record(2 * MIB);
        assert_eq!(window.prefetch, 8);
        window.record(64 * MIB);
        assert_eq!(window.prefetch, 1);
        (0..400).for_each(|_| window.record(MIB));
        assert_eq!(window.prefetch, 16, "smaller bodies raise it again");
        assert_eq!(PrefetchWindow::new(4, 16 * MIB).prefetch, 4, "never more than the maximum");
    }
}
