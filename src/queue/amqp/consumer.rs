//! Consumes from RabbitMQ: subscribes, gathers batches, and subscribes again after every failure.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use lapin::Acker;
use lapin::message::Delivery as Received;
use tokio::time::{sleep, timeout};

use super::hold::{AmqpHold, Lane};
use super::link::NO_ANSWER;
use super::problem::Problem;
use super::subscription::{Subscribing, Subscription, Watch, Window, consume, name};
use super::{Amqp, wire};
use crate::queue::consumer::{ClosedBy, Hold};
use crate::queue::{Batch, BatchLimits, Delivery, Gathered, QueueError, Source};
use crate::runtime::backoff::Delays;
use crate::runtime::locked;
use crate::runtime::shutdown::Shutdown;

/// The delays are reset after a subscription that lasted this long.
const STABLE_AFTER: Duration = Duration::from_secs(2);

/// The number of batches whose bodies the broker may deliver ahead: one in progress and one ready.
const PREFETCHED_BATCHES: usize = 2;

/// The time for which the consumer waits for a delivery before it checks the queue, unless the caller sets
/// another time.
const STALLED_AFTER: Duration = Duration::from_secs(60);

pub(in crate::queue) struct AmqpConsumer {
    queue: Amqp,
    source: Source,
    limits: BatchLimits,
    subscription: Option<Subscription>,
    /// A subscription in progress. It outlives a dropped `next_batch`, because otherwise a subscriber would
    /// stay on the broker and hold messages that nothing reads.
    subscribing: Option<Subscribing>,
    /// The channel that the next subscription reuses.
    follow: Option<Arc<Lane>>,
    window: Window,
    pub(in crate::queue) watch: Watch,
    /// A delivery that was already read from the stream, but belongs to the next batch.
    held_over: Option<AcceptedDelivery>,
    delays: Delays,
    /// Whether to wait before the next subscription, because the last one failed.
    wait_first: bool,
    /// The last problem that was logged.
    logged: Option<String>,
}

struct AcceptedDelivery {
    delivery: Delivery,
    tag: u64,
    acker: Acker,
    lane: Arc<Lane>,
}

impl AmqpConsumer {
    pub(in crate::queue) fn new(queue: Amqp, source: Source, limits: BatchLimits) -> Self {
        let budget = limits.bytes.saturating_mul(PREFETCHED_BATCHES);
        Self {
            window: Window::new(queue.0.settings.prefetch, budget),
            watch: Watch::new(STALLED_AFTER),
            queue,
            source,
            limits,
            subscription: None,
            subscribing: None,
            follow: None,
            held_over: None,
            delays: Delays::new(Duration::from_millis(200), Duration::from_secs(30)),
            wait_first: false,
            logged: None,
        }
    }

    pub(in crate::queue) fn queue_name(&self) -> &str {
        name(&self.queue, self.source)
    }

    pub(in crate::queue) async fn next_batch(
        &mut self,
        shutdown: &Shutdown,
        idle: Option<Duration>,
    ) -> Result<Gathered, QueueError> {
        let stop = self.queue.0.stop.clone();
        let first = tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(Gathered::Stopped),
            () = stop.cancelled() => return Err(QueueError::Closed),
            first = self.wait_for_first() => first,
            () = sleep(idle.unwrap_or_default()), if idle.is_some() => return Ok(Gathered::Idle),
        };
        Ok(Gathered::Batch(self.gather(first)))
    }

    pub(in crate::queue) async fn pause(&mut self) {
        self.held_over = None;
        self.watch.health.set(None);
        // Keep the subscription until the channel is closed: dropping the stream cancels its consumer, and
        // on a closing channel lapin treats that as an error of the whole connection.
        let subscription = self.subscription.take();
        let subscribed = subscription.as_ref().map(|subscription| subscription.lane.clone());
        let subscribing = self.subscribing.take().and_then(|subscribing| subscribing.lane);
        let Some(lane) = subscribed.or(subscribing).or(self.follow.take()) else { return };
        // Closing the channel returns everything that was delivered on it, in one step.
        let close = lane.channel.close(200, "pause".into());
        if timeout(self.queue.0.settings.confirm_timeout, close).await.is_err() {
            lane.link.abandon(NO_ANSWER);
        }
    }

    /// Waits for the next delivery, without a time limit.
    async fn wait_for_first(&mut self) -> AcceptedDelivery {
        if let Some(held_over) = self.held_over.take()
            && held_over.lane.is_open()
        {
            return held_over;
        }
        loop {
            let Some(subscription) = &mut self.subscription else {
                self.subscribe().await;
                continue;
            };
            let (queue, limit) = (name(&self.queue, self.source), self.queue.0.settings.connect_timeout);
            match subscription.next(queue, limit, &mut self.watch).await {
                Ok(item) => {
                    if let Some(accepted) = self.handle_item(item) {
                        return accepted;
                    }
                }
                Err(problem) => self.drop_subscription(problem),
            }
        }
    }

    /// Adds the deliveries that have already arrived, up to the limits. It does not wait, so dropping the
    /// future of `next_batch` loses nothing.
    fn gather(&mut self, first: AcceptedDelivery) -> Batch {
        let mut bytes = first.delivery.message.body.len();
        let alone = first.delivery.redelivered;
        let (queue, held) = (self.queue.clone(), vec![(first.tag, first.acker)]);
        let mut hold = AmqpHold { queue, lane: first.lane, held };
        let mut deliveries = vec![first.delivery];
        let closed_by = loop {
            if alone || deliveries.len() >= self.limits.size {
                break if alone { ClosedBy::Alone } else { ClosedBy::Size };
            }
            let stream = self.subscription.as_mut().map(|subscription| &mut subscription.stream);
            let Some(item) = stream.and_then(|stream| stream.next().now_or_never()) else {
                break ClosedBy::Drained;
            };
            // The stream reports an error only once, so it must be handled here.
            let Some(next) = self.handle_item(item) else { continue };
            let (size, redelivered) = (next.delivery.message.body.len(), next.delivery.redelivered);
            if redelivered || bytes.saturating_add(size) > self.limits.bytes {
                self.held_over = Some(next);
                break if redelivered { ClosedBy::Alone } else { ClosedBy::Bytes };
            }
            bytes += size;
            hold.held.push((next.tag, next.acker));
            deliveries.push(next.delivery);
        };
        Batch::new(deliveries, closed_by, Hold::Amqp(hold))
    }

    /// Handles an item of the stream: accepts a delivery, or prepares for the next subscription.
    fn handle_item(&mut self, item: Option<lapin::Result<Received>>) -> Option<AcceptedDelivery> {
        match item {
            Some(Ok(received)) => return self.take(received),
            Some(Err(error)) => self.drop_subscription(Problem::of(&error, &self.queue.0.settings)),
            None => self.handle_stream_end(),
        }
        None
    }

    /// Accepts a delivery. A delivery whose channel has closed is skipped: it could not be settled, and the
    /// broker redelivers it.
    fn take(&mut self, received: Received) -> Option<AcceptedDelivery> {
        let subscription = self.subscription.as_mut()?;
        let lane = subscription.lane.clone();
        if !received.acker.usable() || !lane.is_open() {
            return None;
        }
        locked(&lane.acks).take(received.delivery_tag);
        self.window.record(received.data.len());
        if !subscription.ending && subscription.prefetch != self.window.prefetch {
            subscription.end(self.queue.0.settings.confirm_timeout);
        }
        let (tag, acker) = (received.delivery_tag, received.acker.clone());
        let work_queue = &self.queue.0.settings.topology.work;
        let delivery = wire::receive(received, self.source, work_queue);
        Some(AcceptedDelivery { delivery, tag, acker, lane })
    }

    /// Subscribes. The future may be dropped at any point; the next call continues a subscription in
    /// progress.
    async fn subscribe(&mut self) {
        if self.wait_first {
            sleep(self.delays.next()).await;
            self.wait_first = false;
        }
        if self.subscribing.is_none() {
            let lane = self.follow.take().filter(|lane| lane.is_open());
            let link = match &lane {
                Some(lane) => lane.link.clone(),
                None => self.queue.keeper().wait_until_connected().await,
            };
            // After a failure, check the topology again: the queue may have been lost after the connection
            // was opened.
            let with_topology = self.logged.is_some();
            let (queue, prefetch) = (self.queue.clone(), self.window.prefetch);
            let subscribed = consume(queue, self.source, link.clone(), lane.clone(), prefetch, with_topology);
            let limit = self.queue.0.settings.connect_timeout;
            let task = tokio::spawn(timeout(limit, subscribed));
            self.subscribing = Some(Subscribing { link, lane, task });
        }
        let Some(Subscribing { link, lane, task }) = &mut self.subscribing else { return };
        let (link, follows, subscribed) = (link.clone(), lane.is_some(), task.await);
        self.subscribing = None;
        match subscribed {
            Ok(Ok(Ok(subscription))) => {
                let (queue, prefetch) = (name(&self.queue, self.source), subscription.prefetch);
                if follows {
                    tracing::debug!(queue, prefetch, "consuming with another prefetch");
                } else {
                    tracing::info!(queue, prefetch, "consuming");
                }
                self.watch.record_subscription(&subscription.lane);
                self.subscription = Some(subscription);
                self.logged = None;
            }
            Ok(Ok(Err(error))) => self.drop_subscription(Problem::of(&error, &self.queue.0.settings)),
            Ok(Err(_)) => {
                link.abandon(NO_ANSWER);
                self.drop_subscription(Problem::temporary(NO_ANSWER));
            }
            Err(_) => self.drop_subscription(Problem::temporary("subscribing panicked")),
        }
    }

    /// Handles the end of the stream: we cancelled it to change the prefetch, or the broker ended it.
    fn handle_stream_end(&mut self) {
        match self.subscription.take_if(|subscription| subscription.ending && subscription.lane.is_open()) {
            Some(subscription) => self.follow = Some(subscription.lane),
            // The broker cancelled the subscription, usually because the queue was deleted.
            None => self.drop_subscription(Problem::temporary("the broker ended the subscription")),
        }
    }

    /// Drops the subscription, if there is one, and prepares for the next.
    fn drop_subscription(&mut self, problem: Problem) {
        self.watch.health.set(None);
        self.held_over = None;
        if let Some(subscription) = self.subscription.take()
            && subscription.since.elapsed() >= STABLE_AFTER
        {
            self.delays.reset();
        }
        self.wait_first = true;
        if self.logged.as_ref() != Some(&problem.text) {
            tracing::warn!(problem = problem.text, "not consuming; subscribing again");
            self.logged = Some(problem.text);
        }
    }
}
