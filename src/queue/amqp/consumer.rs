//! Consuming: subscribe, gather, and subscribe again when anything ends.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use lapin::message::Delivery as Received;
use lapin::options::{BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Acker, Channel};
use tokio::task::JoinHandle;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, sleep, timeout};

use super::acks::Acks;
use super::hold::{AmqpHold, Lane};
use super::link::Link;
use super::problem::Problem;
use super::{Amqp, topology, wire};
use crate::delay::Delays;
use crate::queue::batch::Hold;
use crate::queue::{Batch, BatchLimits, ConsumerHealth, Delivery, Gathered, QueueError, Source};
use crate::shutdown::Shutdown;

/// A subscription that lived this long was a good one: the delays start over after it.
const GOOD_LIFE: Duration = Duration::from_secs(2);

pub(in crate::queue) struct AmqpConsumer {
    queue: Amqp,
    source: Source,
    limits: BatchLimits,
    subscription: Option<Subscription>,
    /// A subscription on its way. `next_batch` may be dropped meanwhile; dropped with it, it would
    /// leave a subscriber on the broker that holds messages and that nobody hears.
    subscribing: Option<Subscribing>,
    /// Taken from the stream, but of the next batch.
    held_over: Option<InHand>,
    delays: Delays,
    /// Before the next subscription: not at once after one that failed.
    wait_first: bool,
    said: Option<String>,
    health: ConsumerHealth,
}

struct Subscription {
    stream: lapin::Consumer,
    lane: Arc<Lane>,
    since: Instant,
}

type Subscribed = (Channel, lapin::Consumer);

struct Subscribing {
    link: Arc<Link>,
    task: JoinHandle<Result<lapin::Result<Subscribed>, Elapsed>>,
}

struct InHand {
    delivery: Delivery,
    tag: u64,
    acker: Acker,
    lane: Arc<Lane>,
}

impl AmqpConsumer {
    pub(super) fn new(queue: Amqp, source: Source, limits: BatchLimits) -> Self {
        Self {
            queue,
            source,
            limits,
            subscription: None,
            subscribing: None,
            held_over: None,
            delays: Delays::new(Duration::from_millis(200), Duration::from_secs(30)),
            wait_first: false,
            said: None,
            health: ConsumerHealth::default(),
        }
    }

    pub(in crate::queue) fn health(&self) -> ConsumerHealth {
        self.health.clone()
    }

    pub(in crate::queue) async fn next_batch(
        &mut self,
        shutdown: &Shutdown,
        idle: Option<Duration>,
    ) -> Result<Gathered, QueueError> {
        let stop = self.queue.stop().clone();
        let patience = async {
            match idle {
                Some(idle) => sleep(idle).await,
                None => std::future::pending().await,
            }
        };
        let first = tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(Gathered::Stopped),
            () = stop.cancelled() => return Err(QueueError::Closed),
            first = self.first() => first,
            () = patience => return Ok(Gathered::Idle),
        };
        Ok(Gathered::Batch(self.gather(first)))
    }

    pub(in crate::queue) async fn pause(&mut self) {
        self.held_over = None;
        self.subscribing = None;
        self.health.set(None);
        let Some(subscription) = self.subscription.take() else { return };
        let lane = subscription.lane;
        // Closing the channel gives back everything that came over it, in one step.
        let close = lane.channel.close(200, "pause".into());
        if timeout(self.queue.settings().confirm_timeout, close).await.is_err() {
            lane.link.give_up();
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
            match subscription.stream.next().await {
                Some(Ok(received)) => {
                    let lane = subscription.lane.clone();
                    if let Some(in_hand) = self.take(received, lane) {
                        return in_hand;
                    }
                }
                Some(Err(error)) => {
                    let problem = Problem::of(&error, self.queue.settings());
                    self.unsubscribed(problem);
                }
                // Cancelled by the broker: most often the queue was deleted.
                None => self.unsubscribed(Problem::passing("the broker ended the subscription")),
            }
        }
    }

    /// Adds what is already here, up to the limits. Does not wait, so nothing can be lost by
    /// dropping the future of `next_batch`.
    fn gather(&mut self, first: InHand) -> Batch {
        let lane = first.lane.clone();
        let mut bytes = first.delivery.message.body.len();
        let alone = first.delivery.redelivered;
        let mut hold = AmqpHold { queue: self.queue.clone(), lane, held: vec![(first.tag, first.acker)] };
        let mut deliveries = vec![first.delivery];
        while !alone && deliveries.len() < self.limits.size {
            let Some(subscription) = &mut self.subscription else { break };
            let received = match subscription.stream.next().now_or_never() {
                None => break,
                Some(Some(Ok(received))) => received,
                // The stream says this once: it has to be heard here.
                Some(Some(Err(error))) => {
                    let problem = Problem::of(&error, self.queue.settings());
                    self.unsubscribed(problem);
                    break;
                }
                Some(None) => {
                    self.unsubscribed(Problem::passing("the broker ended the subscription"));
                    break;
                }
            };
            let lane = subscription.lane.clone();
            let Some(next) = self.take(received, lane) else { continue };
            let size = next.delivery.message.body.len();
            if next.delivery.redelivered || bytes.saturating_add(size) > self.limits.bytes {
                self.held_over = Some(next);
                break;
            }
            bytes += size;
            hold.held.push((next.tag, next.acker));
            deliveries.push(next.delivery);
        }
        Batch::new(deliveries, Hold::Amqp(hold))
    }

    /// A delivery of a dead channel is not taken: it could not be settled, and comes again.
    fn take(&self, received: Received, lane: Arc<Lane>) -> Option<InHand> {
        if !received.acker.usable() || !lane.is_open() {
            return None;
        }
        let (tag, acker) = (received.delivery_tag, received.acker.clone());
        let work_queue = &self.queue.settings().topology.work;
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
            let link = self.queue.keeper().up_whenever().await;
            // The connection may be older than the loss of the queue.
            let with_topology = self.said.is_some();
            let subscribed = consume(self.queue.clone(), self.source, link.clone(), with_topology);
            let limit = self.queue.settings().connect_timeout;
            self.subscribing = Some(Subscribing { link, task: tokio::spawn(timeout(limit, subscribed)) });
        }
        let Some(Subscribing { link, task }) = &mut self.subscribing else { return };
        let (link, subscribed) = (link.clone(), task.await);
        self.subscribing = None;
        match subscribed {
            Ok(Ok(Ok((channel, stream)))) => {
                tracing::info!(queue = name(&self.queue, self.source), "consuming");
                let health = link.over().clone();
                let lane = Arc::new(Lane { link, channel, acks: Mutex::new(Acks::default()) });
                self.subscription = Some(Subscription { stream, lane, since: Instant::now() });
                self.said = None;
                self.health.set(Some(health));
            }
            Ok(Ok(Err(error))) => self.unsubscribed(Problem::of(&error, self.queue.settings())),
            Ok(Err(_)) => {
                link.give_up();
                self.unsubscribed(Problem::passing("the broker did not answer in time"));
            }
            Err(_) => self.unsubscribed(Problem::passing("subscribing made the program fail")),
        }
    }

    /// Drops everything of the subscription, if there is one, and prepares for the next.
    fn unsubscribed(&mut self, problem: Problem) {
        self.health.set(None);
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

fn name(queue: &Amqp, source: Source) -> &str {
    let topology = &queue.settings().topology;
    match source {
        Source::Bookings => &topology.work,
        Source::Dead => &topology.dead,
    }
}

async fn consume(
    queue: Amqp,
    source: Source,
    link: Arc<Link>,
    with_topology: bool,
) -> lapin::Result<Subscribed> {
    let settings = queue.settings();
    if with_topology {
        topology::ensure(&link.connection, &settings.topology, settings.mode).await?;
    }
    let channel = link.connection.create_channel().await?;
    channel.basic_qos(settings.prefetch, BasicQosOptions { global: false }).await?;
    let options = BasicConsumeOptions::default();
    let stream =
        channel.basic_consume(name(&queue, source).into(), "".into(), options, FieldTable::default()).await?;
    Ok((channel, stream))
}
