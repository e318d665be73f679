//! A queue for one test, and helpers for tests of queues.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use hostmatch::config::{QueueConfig, Secret, Topology};
use hostmatch::queue::{
    Batch, BatchLimits, Consumer, Delivery, Disposition, Gathered, Message, Queue, Settled, Source,
};
use hostmatch::runtime::shutdown::Shutdown;

use crate::support::cleanup::Cleanup;
pub(super) use crate::support::cleanup::{clean, connect};
use crate::support::{amqp_url, eventually, unique};

/// A time limit for slow machines; a passing test does not wait this long.
pub(super) const WAIT_TIMEOUT: Duration = Duration::from_secs(30);

/// The size is so large that the prefetch has its configured value from the start.
pub(super) const LIMITS: BatchLimits = BatchLimits { size: 100, bytes: 64 << 20 };

/// The delays of the wait queues in these tests.
pub(super) const SHORT_DELAY: Duration = Duration::from_millis(300);
pub(super) const LONG_DELAY: Duration = Duration::from_millis(600);

/// A queue that is deleted when the test ends.
pub(super) struct QueueFixture {
    pub(super) config: QueueConfig,
    pub(super) queue: Queue,
    _cleanup: Cleanup,
}

pub(super) fn config(url: &str) -> QueueConfig {
    QueueConfig {
        url: Secret::new(url),
        url_file: PathBuf::new(),
        prefix: unique("test"),
        topology: Topology::Declare,
        prefetch: 100,
        delivery_limit: 3,
        retry_delays: vec![SHORT_DELAY, LONG_DELAY],
        confirm_timeout: Duration::from_secs(5),
        connect_timeout: Duration::from_secs(10),
        management_url: Secret::default(),
        management_url_file: PathBuf::new(),
        header_key: Vec::new(),
        header_key_file: PathBuf::new(),
    }
}

impl QueueFixture {
    pub(super) async fn amqp() -> Self {
        Self::open(config(&amqp_url()), amqp_url()).await
    }

    /// Opens a queue that is deleted through `cleanup_url`, which works even if the test makes the queue's own
    /// URL fail.
    pub(super) async fn open(config: QueueConfig, cleanup_url: String) -> Self {
        let cleanup = QueueConfig { url: Secret::new(cleanup_url), ..config.clone() };
        let cleanup = Cleanup::Broker(Box::new(cleanup));
        let queue = Queue::open(&config).await.unwrap();
        Self { config, queue, _cleanup: cleanup }
    }

    pub(super) async fn embedded() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = config(&format!("sqlite://{}", directory.path().join("queue.db").display()));
        let queue = Queue::open(&config).await.unwrap();
        Self { config, queue, _cleanup: Cleanup::Directory(directory) }
    }

    /// Opens the same queue again, as another process would.
    pub(super) async fn reopen(&self) -> Queue {
        Queue::open(&self.config).await.unwrap()
    }

    pub(super) async fn publish(&self, bodies: &[&str]) {
        let publisher = self.queue.publisher();
        eventually("the publisher is connected", WAIT_TIMEOUT, async || publisher.is_ready().then_some(()))
            .await;
        publisher.publish(bodies.iter().map(|body| message(body)).collect()).await.unwrap();
    }

    pub(super) fn work_consumer(&self) -> Consumer {
        self.queue.consumer(Source::Bookings, LIMITS)
    }

    pub(super) fn dead_letter_consumer(&self) -> Consumer {
        self.queue.consumer(Source::Dead, LIMITS)
    }
}

pub(super) fn message(body: &str) -> Message {
    Message {
        body: body.as_bytes().to_vec().into(),
        routing_key: "appointment.created".to_owned(),
        ..Message::default()
    }
}

/// Returns the next batch; panics if none arrives.
pub(super) async fn next_batch(consumer: &mut Consumer) -> Batch {
    match consumer.next_batch(&Shutdown::new(), Some(WAIT_TIMEOUT)).await.unwrap() {
        Gathered::Batch(batch) => batch,
        Gathered::Idle => panic!("no message arrived within {WAIT_TIMEOUT:?}"),
        Gathered::Stopped => panic!("stopped without a request"),
    }
}

/// Checks that nothing arrives for longer than a queue with messages would take.
pub(super) async fn assert_idle(consumer: &mut Consumer) {
    match consumer.next_batch(&Shutdown::new(), Some(Duration::from_millis(400))).await.unwrap() {
        Gathered::Idle => {}
        Gathered::Batch(batch) => panic!("messages arrived: {:?}", bodies(batch.deliveries())),
        Gathered::Stopped => panic!("stopped without a request"),
    }
}

pub(super) fn bodies(deliveries: &[Delivery]) -> Vec<String> {
    deliveries.iter().map(|d| String::from_utf8_lossy(&d.message.body).into_owned()).collect()
}

/// Gathers and acknowledges until `count` messages were seen; returns their bodies, in order of arrival.
pub(super) async fn drain(consumer: &mut Consumer, count: usize) -> Vec<String> {
    let mut seen = Vec::new();
    while seen.len() < count {
        let batch = next_batch(consumer).await;
        let bodies = bodies(batch.deliveries());
        if settle_all(batch, Disposition::Ack).await.acked == bodies.len() {
            seen.extend(bodies);
        }
    }
    seen
}

/// Settles the whole batch with one disposition.
pub(super) async fn settle_all(batch: Batch, disposition: Disposition) -> Settled {
    let count = batch.deliveries().len();
    batch.settle(vec![disposition; count]).await.unwrap()
}

pub(super) fn retry(after: Duration) -> Disposition {
    Disposition::Retry { after, counts: true, headers: BTreeMap::new() }
}

pub(super) fn headers(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Waits until this number of messages is ready, because a broker may confirm messages before it counts them.
pub(super) async fn wait_until_ready(fixture: &QueueFixture, count: u64) {
    eventually("all published messages are ready", WAIT_TIMEOUT, async || {
        (fixture.queue.depth().await.unwrap().ready == count).then_some(())
    })
    .await;
}

/// Waits until all messages are ready on the embedded queue, or delivered by the broker: the broker delivers
/// before the consumer requests a batch.
pub(super) async fn wait_until_delivered_or_ready(fixture: &QueueFixture, count: u64) {
    eventually("all messages are delivered or ready", WAIT_TIMEOUT, async || {
        let depth = fixture.queue.depth().await.unwrap();
        (depth.ready == if depth.in_flight.is_some() { count } else { 0 }).then_some(())
    })
    .await;
}

/// Publishes these messages until all of them arrive in one batch, and returns it. Whether they do depends on
/// the speed of the network. An earlier batch stays unsettled until all messages have arrived.
pub(super) async fn publish_as_one_batch(
    fixture: &QueueFixture,
    consumer: &mut Consumer,
    wanted: &[&str],
) -> Batch {
    for _ in 0..20 {
        fixture.publish(&["opener"]).await;
        let opener = next_batch(consumer).await;
        fixture.publish(wanted).await;
        wait_until_delivered_or_ready(fixture, u64::try_from(wanted.len()).unwrap()).await;
        settle_all(opener, Disposition::Ack).await;
        let full = next_batch(consumer).await;
        if full.deliveries().len() == wanted.len() {
            return full;
        }
        let missing = wanted.len() - full.deliveries().len();
        settle_all(full, Disposition::Ack).await;
        drain(consumer, missing).await;
    }
    panic!("the messages never arrived in one batch");
}
