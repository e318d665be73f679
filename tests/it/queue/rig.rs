//! A queue of the test's own, and short words for what the tests do with it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use hostmatch::config::{QueueConfig, Secret, Topology};
use hostmatch::queue::{
    Batch, BatchLimits, Consumer, Delivery, Disposition, Gathered, Message, Queue, Settled, Source,
};
use hostmatch::runtime::shutdown::Shutdown;

use crate::support::traces::Traces;
pub(super) use crate::support::traces::{clean, connect};
use crate::support::{amqp_url, eventually, unique};

/// Long enough for a slow machine; nobody waits this long when all is well.
pub(super) const SOON: Duration = Duration::from_secs(30);

/// So many bytes that the prefetch is what the configuration says from the beginning.
pub(super) const LIMITS: BatchLimits = BatchLimits { size: 100, bytes: 64 << 20 };

/// The delays of the wait queues in these tests.
pub(super) const SHORT: Duration = Duration::from_millis(300);
pub(super) const LONGER: Duration = Duration::from_millis(600);

pub(super) struct Rig {
    pub(super) config: QueueConfig,
    pub(super) queue: Queue,
    _traces: Traces,
}

pub(super) fn config(url: &str) -> QueueConfig {
    QueueConfig {
        url: Secret::new(url),
        url_file: PathBuf::new(),
        prefix: unique("test"),
        topology: Topology::Declare,
        prefetch: 100,
        delivery_limit: 3,
        retry_delays: vec![SHORT, LONGER],
        confirm_timeout: Duration::from_secs(5),
        connect_timeout: Duration::from_secs(10),
        management_url: Secret::default(),
        management_url_file: PathBuf::new(),
    }
}

impl Rig {
    pub(super) async fn amqp() -> Self {
        Self::with(config(&amqp_url()), amqp_url()).await
    }

    /// `cleaner` is a URL that works even when the queue's own is made to fail.
    pub(super) async fn with(config: QueueConfig, cleaner: String) -> Self {
        let traces = Traces::Broker(QueueConfig { url: Secret::new(cleaner), ..config.clone() });
        let queue = Queue::open(&config).await.unwrap();
        Self { config, queue, _traces: traces }
    }

    pub(super) async fn embedded() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = config(&format!("sqlite://{}", directory.path().join("queue.db").display()));
        let queue = Queue::open(&config).await.unwrap();
        Self { config, queue, _traces: Traces::Directory(directory) }
    }

    /// Somebody else's view of the same queue: another process, as it were.
    pub(super) async fn other(&self) -> Queue {
        Queue::open(&self.config).await.unwrap()
    }

    pub(super) async fn publish(&self, bodies: &[&str]) {
        let publisher = self.queue.publisher();
        eventually("it is connected", SOON, async || publisher.is_ready().then_some(())).await;
        publisher.publish(bodies.iter().map(|body| message(body)).collect()).await.unwrap();
    }

    pub(super) fn work(&self) -> Consumer {
        self.queue.consumer(Source::Bookings, LIMITS)
    }

    pub(super) fn dead(&self) -> Consumer {
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

/// The next batch; panics when none comes.
pub(super) async fn batch(consumer: &mut Consumer) -> Batch {
    match consumer.next_batch(&Shutdown::new(), Some(SOON)).await.unwrap() {
        Gathered::Batch(batch) => batch,
        Gathered::Idle => panic!("nothing came within {SOON:?}"),
        Gathered::Stopped => panic!("stopped, but nobody asked"),
    }
}

/// Nothing comes for a while that is long for a queue with something in it.
pub(super) async fn assert_idle(consumer: &mut Consumer) {
    match consumer.next_batch(&Shutdown::new(), Some(Duration::from_millis(400))).await.unwrap() {
        Gathered::Idle => {}
        Gathered::Batch(batch) => panic!("something came: {:?}", bodies(batch.deliveries())),
        Gathered::Stopped => panic!("stopped, but nobody asked"),
    }
}

pub(super) fn bodies(deliveries: &[Delivery]) -> Vec<String> {
    deliveries.iter().map(|d| String::from_utf8_lossy(&d.message.body).into_owned()).collect()
}

/// Takes and acknowledges until `count` messages were seen; their bodies, in order of arrival.
pub(super) async fn drain(consumer: &mut Consumer, count: usize) -> Vec<String> {
    let mut seen = Vec::new();
    while seen.len() < count {
        let batch = batch(consumer).await;
        let these = bodies(batch.deliveries());
        if all(batch, Disposition::Ack).await.acked == these.len() {
            seen.extend(these);
        }
    }
    seen
}

/// One disposition for the whole batch.
pub(super) async fn all(batch: Batch, disposition: Disposition) -> Settled {
    let count = batch.deliveries().len();
    batch.settle(vec![disposition; count]).await.unwrap()
}

pub(super) fn retry(after: Duration) -> Disposition {
    Disposition::Retry { after, counts: true, headers: BTreeMap::new() }
}

pub(super) fn headers(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// On a broker a consumer may be quicker than the publisher; here it must not be.
pub(super) async fn settled_in(rig: &Rig, count: u64) {
    eventually("everything published is ready", SOON, async || {
        (rig.queue.depth().await.unwrap().ready == count).then_some(())
    })
    .await;
}

/// A broker hands out to a consumer that is not asking yet; the file keeps these until it asks.
pub(super) async fn handed_out(rig: &Rig, count: u64) {
    eventually("all are handed out, or ready to be", SOON, async || {
        let depth = rig.queue.depth().await.unwrap();
        (depth.ready == if depth.in_flight.is_some() { count } else { 0 }).then_some(())
    })
    .await;
}

/// These messages, in one batch. How many a batch takes depends on how quick the network is, so
/// this holds one back until all are here, and tries again when they were not all the same.
pub(super) async fn full_batch(rig: &Rig, consumer: &mut Consumer, wanted: &[&str]) -> Batch {
    for _ in 0..20 {
        rig.publish(&["opener"]).await;
        let opener = batch(consumer).await;
        rig.publish(wanted).await;
        handed_out(rig, u64::try_from(wanted.len()).unwrap()).await;
        all(opener, Disposition::Ack).await;
        let full = batch(consumer).await;
        if full.deliveries().len() == wanted.len() {
            return full;
        }
        let missing = wanted.len() - full.deliveries().len();
        all(full, Disposition::Ack).await;
        drain(consumer, missing).await;
    }
    panic!("never all in one batch");
}
