//! Consumes from RabbitMQ: subscribes, gathers batches, and subscribes again after every failure.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use lapin::Acker;
use lapin::message::Delivery as Received;
use tokio::time::{sleep, timeout};

use super::connection::NO_ANSWER;
use super::problem::Problem;
use super::settle::{AmqpSettler, DeliveryChannel};
use super::subscription::{PrefetchWindow, Subscribing, Subscription, Watchdog, queue_name, subscribe};
use super::{Amqp, wire};
use crate::queue::consumer::{ClosedBy, Settler};
use crate::queue::{Batch, BatchLimits, Delivery, Gathered, QueueError, Source};
use crate::runtime::backoff::Delays;
use crate::runtime::locked;
use crate::runtime::shutdown::Shutdown;

/// The delays are reset after a subscription that lasted this long.
const STABLE_AFTER: Duration = Duration::from_secs(2);

/// The number of batches that the broker may deliver before the first is settled: one in progress and one
/// ready.
const PREFETCHED_BATCHES: usize = 2;

/// The time for which the consumer waits for a delivery before it checks the queue, unless the caller sets
/// another time.
const STALLED_AFTER: Duration = Duration::from_secs(60);

pub(in crate::queue) struct AmqpConsumer {
    queue: Amqp,
    source: Source,
    limits: BatchLimits,
    subscription: Option<Subscription>,
    /// A subscription that is being created. It survives a dropped `next_batch`; otherwise a consumer that
    /// nothing reads would stay on the broker and receive messages.
    subscribing: Option<Subscribing>,
    /// The channel that the next subscription will reuse, if any.
    reusable_channel: Option<Arc<DeliveryChannel>>,
    window: PrefetchWindow,
    pub(in crate::queue) watchdog: Watchdog,
    /// A delivery that was read from the stream, but belongs to the next batch.
    carried_over: Option<AcceptedDelivery>,
    delays: Delays,
    /// Whether to wait before the next subscription, because the last one failed.
    must_wait: bool,
    /// The last problem that was logged.
    logged_problem: Option<String>,
}

struct AcceptedDelivery {
    delivery: Delivery,
    tag: u64,
    acker: Acker,
    channel: Arc<DeliveryChannel>,
}

impl AmqpConsumer {
    pub(in crate::queue) fn new(queue: Amqp, source: Source, limits: BatchLimits) -> Self {
        let budget = limits.bytes.saturating_mul(PREFETCHED_BATCHES);
        Self {
            window: PrefetchWindow::new(queue.0.settings.prefetch, budget),
            watchdog: Watchdog::new(STALLED_AFTER),
            queue,
            source,
            limits,
            subscription: None,
            subscribing: None,
            reusable_channel: None,
            carried_over: None,
            delays: Delays::new(Duration::from_millis(200), Duration::from_secs(30)),
            must_wait: false,
            logged_problem: None,
        }
    }

    pub(in crate::queue) fn queue_name(&self) -> &str {
        queue_name(&self.queue, self.source)
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
        self.carried_over = None;
        self.watchdog.health.set(None);
        // Keep the subscription until the channel is closed: dropping the stream cancels its consumer, and
        // on a closing channel lapin treats that as an error of the whole connection.
        let subscription = self.subscription.take();
        let subscribed = subscription.as_ref().map(|subscription| subscription.channel.clone());
        let subscribing = self.subscribing.take().and_then(|subscribing| subscribing.channel);
        let Some(channel) = subscribed.or(subscribing).or(self.reusable_channel.take()) else { return };
        // Closing the channel returns everything that was delivered on it, in one step.
        let close = channel.inner.close(200, "pause".into());
        if timeout(self.queue.0.settings.confirm_timeout, close).await.is_err() {
            channel.connection.abandon(NO_ANSWER);
        }
    }

    /// Waits for the next delivery, without a time limit.
    async fn wait_for_first(&mut self) -> AcceptedDelivery {
        if let Some(carried_over) = self.carried_over.take()
            && carried_over.channel.is_open()
        {
            return carried_over;
        }
        loop {
            let Some(subscription) = &mut self.subscription else {
                self.subscribe().await;
                continue;
            };
            let (queue, limit) =
                (queue_name(&self.queue, self.source), self.queue.0.settings.connect_timeout);
            match subscription.next(queue, limit, &mut self.watchdog).await {
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
        let mut bytes = first.delivery.message.bytes();
        let redelivery = first.delivery.redelivered;
        let (queue, unsettled) = (self.queue.clone(), vec![(first.tag, first.acker)]);
        let mut settler = AmqpSettler { queue, channel: first.channel, unsettled };
        let mut deliveries = vec![first.delivery];
        let closed_by = loop {
            if redelivery || deliveries.len() >= self.limits.size {
                break if redelivery { ClosedBy::Redelivery } else { ClosedBy::Size };
            }
            let stream = self.subscription.as_mut().map(|subscription| &mut subscription.stream);
            let Some(item) = stream.and_then(|stream| stream.next().now_or_never()) else {
                break ClosedBy::Drained;
            };
            // The stream reports an error only once, so handle it here.
            let Some(next) = self.handle_item(item) else { continue };
            let (size, redelivered) = (next.delivery.message.bytes(), next.delivery.redelivered);
            if redelivered || bytes.saturating_add(size) > self.limits.bytes {
                self.carried_over = Some(next);
                break if redelivered { ClosedBy::Redelivery } else { ClosedBy::Bytes };
            }
            bytes += size;
            settler.unsettled.push((next.tag, next.acker));
            deliveries.push(next.delivery);
        };
        Batch::new(deliveries, closed_by, Settler::Amqp(settler))
    }

    /// Handles an item of the stream: accepts a delivery, or prepares for the next subscription.
    fn handle_item(&mut self, item: Option<lapin::Result<Received>>) -> Option<AcceptedDelivery> {
        match item {
            Some(Ok(received)) => return self.accept(received),
            Some(Err(error)) => self.drop_subscription(Problem::of(&error, &self.queue.0.settings)),
            None => self.handle_stream_end(),
        }
        None
    }

    /// Accepts a delivery. A delivery whose channel has closed is skipped: it could not be settled, and the
    /// broker redelivers it.
    fn accept(&mut self, received: Received) -> Option<AcceptedDelivery> {
        let subscription = self.subscription.as_mut()?;
        let channel = subscription.channel.clone();
        if !received.acker.usable() || !channel.is_open() {
            return None;
        }
        locked(&channel.tags).record_delivery(received.delivery_tag);
        let (tag, acker) = (received.delivery_tag, received.acker.clone());
        let delivery = wire::receive(received, self.source, &self.queue.0.settings);
        self.window.record(delivery.message.bytes());
        if !subscription.cancelled && subscription.prefetch != self.window.prefetch {
            subscription.cancel(self.queue.0.settings.confirm_timeout);
        }
        Some(AcceptedDelivery { delivery, tag, acker, channel })
    }

    /// Subscribes. The future may be dropped at any point; the next call continues where it stopped.
    async fn subscribe(&mut self) {
        if self.must_wait {
            sleep(self.delays.next()).await;
            self.must_wait = false;
        }
        if self.subscribing.is_none() {
            let channel = self.reusable_channel.take().filter(|channel| channel.is_open());
            let connection = match &channel {
                Some(channel) => channel.connection.clone(),
                None => self.queue.consuming().wait_until_connected().await,
            };
            // After a failure, check the topology again: the queue may have been lost after the connection
            // was opened.
            let with_topology = self.logged_problem.is_some();
            let (queue, prefetch) = (self.queue.clone(), self.window.prefetch);
            let subscribed =
                subscribe(queue, self.source, connection.clone(), channel.clone(), prefetch, with_topology);
            let limit = self.queue.0.settings.connect_timeout;
            let task = tokio::spawn(timeout(limit, subscribed));
            self.subscribing = Some(Subscribing { connection, channel, task });
        }
        let Some(Subscribing { connection, channel, task }) = &mut self.subscribing else { return };
        let (connection, reuses_channel, subscribed) = (connection.clone(), channel.is_some(), task.await);
        self.subscribing = None;
        match subscribed {
            Ok(Ok(Ok(subscription))) => {
                let (queue, prefetch) = (queue_name(&self.queue, self.source), subscription.prefetch);
                if reuses_channel {
                    tracing::debug!(queue, prefetch, "consuming with another prefetch");
                } else {
                    tracing::info!(queue, prefetch, "consuming");
                }
                self.watchdog.record_subscription(&subscription.channel);
                self.subscription = Some(subscription);
                self.logged_problem = None;
            }
            Ok(Ok(Err(error))) => self.drop_subscription(Problem::of(&error, &self.queue.0.settings)),
            Ok(Err(_)) => {
                connection.abandon(NO_ANSWER);
                self.drop_subscription(Problem::temporary(NO_ANSWER));
            }
            Err(_) => self.drop_subscription(Problem::temporary("subscribing panicked")),
        }
    }

    /// Handles the end of the stream: we cancelled the subscription to change the prefetch, or the broker ended
    /// it.
    fn handle_stream_end(&mut self) {
        match self
            .subscription
            .take_if(|subscription| subscription.cancelled && subscription.channel.is_open())
        {
            Some(subscription) => self.reusable_channel = Some(subscription.channel),
            // The broker cancelled the subscription, usually because the queue was deleted.
            None => self.drop_subscription(Problem::temporary("the broker ended the subscription")),
        }
    }

    /// Drops the subscription, if there is one, and prepares for the next.
    fn drop_subscription(&mut self, problem: Problem) {
        self.watchdog.health.set(None);
        self.carried_over = None;
        if let Some(subscription) = self.subscription.take()
            && subscription.since.elapsed() >= STABLE_AFTER
        {
            self.delays.reset();
        }
        self.must_wait = true;
        if self.logged_problem.as_ref() != Some(&problem.text) {
            tracing::warn!(problem = problem.text, "not consuming; subscribing again");
            self.logged_problem = Some(problem.text);
        }
    }
}
