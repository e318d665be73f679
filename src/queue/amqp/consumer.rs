//! Consuming: subscribe, gather, and subscribe again when anything ends.

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

/// A subscription that lived this long was a good one: the delays start over after it.
const GOOD_LIFE: Duration = Duration::from_secs(2);

/// Bodies that the broker may have handed out: two batches, one in hand and one ready.
const BATCHES: usize = 2;

/// How long nothing may come before the queue is looked at, unless the caller says otherwise.
const STALLED_AFTER: Duration = Duration::from_secs(60);

pub(in crate::queue) struct AmqpConsumer {
    queue: Amqp,
    source: Source,
    limits: BatchLimits,
    subscription: Option<Subscription>,
    /// A subscription on its way. `next_batch` may be dropped meanwhile; dropped with it, it would
    /// leave a subscriber on the broker that holds messages and that nobody hears.
    subscribing: Option<Subscribing>,
    /// The channel on which the next subscription follows the one before.
    follow: Option<Arc<Lane>>,
    window: Window,
    pub(in crate::queue) watch: Watch,
    /// Taken from the stream, but of the next batch.
    held_over: Option<InHand>,
    delays: Delays,
    /// Before the next subscription: not at once after one that failed.
    wait_first: bool,
    said: Option<String>,
}

struct InHand {
    delivery: Delivery,
    tag: u64,
    acker: Acker,
    lane: Arc<Lane>,
}

impl AmqpConsumer {
    pub(in crate::queue) fn new(queue: Amqp, source: Source, limits: BatchLimits) -> Self {
        let budget = limits.bytes.saturating_mul(BATCHES);
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
            said: None,
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
            first = self.first() => first,
            () = sleep(idle.unwrap_or_default()), if idle.is_some() => return Ok(Gathered::Idle),
        };
        Ok(Gathered::Batch(self.gather(first)))
    }

    pub(in crate::queue) async fn pause(&mut self) {
        self.held_over = None;
        self.watch.health.set(None);
        // Kept until the channel is closed: a stream that is dropped cancels its consumer, and on a channel
        // that is being closed lapin takes that for an error of the whole connection.
        let subscription = self.subscription.take();
        let subscribed = subscription.as_ref().map(|subscription| subscription.lane.clone());
        let subscribing = self.subscribing.take().and_then(|subscribing| subscribing.lane);
        let Some(lane) = subscribed.or(subscribing).or(self.follow.take()) else { return };
        // Closing the channel gives back everything that came over it, in one step.
        let close = lane.channel.close(200, "pause".into());
        if timeout(self.queue.0.settings.confirm_timeout, close).await.is_err() {
            lane.link.give_up(NO_ANSWER);
        }
    }

    /// The next delivery, however long it takes.
    async fn first(&mut self) -> InHand {
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
                Ok(heard) => {
                    if let Some(in_hand) = self.heard(heard) {
                        return in_hand;
                    }
                }
                Err(problem) => self.unsubscribed(problem),
            }
        }
    }

    /// Adds what is already here, up to the limits. Does not wait, so nothing can be lost by
    /// dropping the future of `next_batch`.
    fn gather(&mut self, first: InHand) -> Batch {
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
            let Some(heard) = stream.and_then(|stream| stream.next().now_or_never()) else {
                break ClosedBy::Drained;
            };
            // The stream tells of an error once: it has to be heard here.
            let Some(next) = self.heard(heard) else { continue };
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

    /// Takes what came over the subscription; where that is its end, prepares for the next one.
    fn heard(&mut self, heard: Option<lapin::Result<Received>>) -> Option<InHand> {
        match heard {
            Some(Ok(received)) => return self.take(received),
            Some(Err(error)) => self.unsubscribed(Problem::of(&error, &self.queue.0.settings)),
            None => self.ended(),
        }
        None
    }

    /// A delivery of a dead channel is not taken: it could not be settled, and comes again.
    fn take(&mut self, received: Received) -> Option<InHand> {
        let subscription = self.subscription.as_mut()?;
        let lane = subscription.lane.clone();
        if !received.acker.usable() || !lane.is_open() {
            return None;
        }
        locked(&lane.acks).take(received.delivery_tag);
        self.window.note(received.data.len());
        if !subscription.ending && subscription.prefetch != self.window.prefetch {
            subscription.end(self.queue.0.settings.confirm_timeout);
        }
        let (tag, acker) = (received.delivery_tag, received.acker.clone());
        let work_queue = &self.queue.0.settings.topology.work;
        let delivery = wire::receive(received, self.source, work_queue);
        Some(InHand { delivery, tag, acker, lane })
    }

    /// May be dropped at any point: what is on its way is taken up by the next call.
    async fn subscribe(&mut self) {
        if self.wait_first {
            sleep(self.delays.next()).await;
            self.wait_first = false;
        }
        if self.subscribing.is_none() {
            let lane = self.follow.take().filter(|lane| lane.is_open());
            let link = match &lane {
                Some(lane) => lane.link.clone(),
                None => self.queue.keeper().up_whenever().await,
            };
            // The connection may be older than the loss of the queue.
            let with_topology = self.said.is_some();
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
                self.watch.subscribed(&subscription.lane);
                self.subscription = Some(subscription);
                self.said = None;
            }
            Ok(Ok(Err(error))) => self.unsubscribed(Problem::of(&error, &self.queue.0.settings)),
            Ok(Err(_)) => {
                link.give_up(NO_ANSWER);
                self.unsubscribed(Problem::passing(NO_ANSWER));
            }
            Err(_) => self.unsubscribed(Problem::passing("subscribing made the program fail")),
        }
    }

    /// The stream has come to its end: ours, to go on with another prefetch, or the broker's.
    fn ended(&mut self) {
        match self.subscription.take_if(|subscription| subscription.ending && subscription.lane.is_open()) {
            Some(subscription) => self.follow = Some(subscription.lane),
            // Cancelled by the broker: most often the queue was deleted.
            None => self.unsubscribed(Problem::passing("the broker ended the subscription")),
        }
    }

    /// Drops everything of the subscription, if there is one, and prepares for the next.
    fn unsubscribed(&mut self, problem: Problem) {
        self.watch.health.set(None);
        self.held_over = None;
        if let Some(subscription) = self.subscription.take()
            && subscription.since.elapsed() >= GOOD_LIFE
        {
            self.delays.reset();
        }
        self.wait_first = true;
        if self.said.as_ref() != Some(&problem.text) {
            tracing::warn!(problem = problem.text, "consuming nothing; subscribing again");
            self.said = Some(problem.text);
        }
    }
}
