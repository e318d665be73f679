//! Tests that the edge accepts events while the broker does not confirm: order, limits, and the health route.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use hostmatch::config::{EdgeConfig, QueueConfig};
use hostmatch::edge::EdgeError;
use hostmatch::queue::{Consumer, Disposition, Gathered, Queue, Source};
use hostmatch::runtime::shutdown::Shutdown;
use lapin::types::FieldTable;
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::site::*;
use crate::support::broker::Broker;
use crate::support::cleanup::{Cleanup, connect};
use crate::support::proxy::{Mode, Proxy};
use crate::support::report::{self, Row};
use crate::support::{amqp_url, eventually, unique};

/// Long enough for a slow machine; a passing test does not wait this long.
pub(super) const WAIT_TIMEOUT: Duration = Duration::from_secs(120);

/// An edge with a spool, and a broker that can be cut off.
pub(super) struct SpoolFixture {
    pub(super) site: Site,
    pub(super) proxy: Proxy,
    pub(super) received: Received,
    began: Instant,
    attempted: Cell<usize>,
    _cleanup: Cleanup,
}

impl SpoolFixture {
    /// Starts the edge with a connected broker.
    pub(super) async fn open(change: impl FnOnce(&mut EdgeConfig, &mut QueueConfig)) -> Self {
        Self::open_on(&amqp_url(), change).await
    }

    pub(super) async fn open_on(
        broker: &str,
        change: impl FnOnce(&mut EdgeConfig, &mut QueueConfig),
    ) -> Self {
        let proxy = Proxy::start(&Proxy::target(broker)).await;
        let mut direct = queue_config(broker);
        direct.prefix = unique("test");
        direct.connect_timeout = Duration::from_secs(10);
        direct.confirm_timeout = Duration::from_secs(2);
        let mut queue = direct.clone();
        queue.url = hostmatch::config::Secret::new(proxy.url(broker));
        let dir = tempfile::tempdir().unwrap();
        let (spool, tokens) = (dir.path().join("spool.db"), dir.path().join("tokens"));
        let mut edge = EdgeConfig { spool, allow_unsigned: true, ..edge_config(tokens) };
        change(&mut edge, &mut queue);
        let site = Site::with_queue(dir, &queue, |config| *config = edge).await;
        let received = Received::subscribe(&direct).await;
        let (began, attempted) = (Instant::now(), Cell::new(0));
        let fixture =
            Self { site, proxy, received, began, attempted, _cleanup: Cleanup::Broker(Box::new(direct)) };
        fixture.wait_for_status("ready").await;
        fixture
    }

    /// Cuts off the broker and waits until the edge has noticed it.
    pub(super) async fn cut_broker(&self) {
        self.proxy.set(Mode::Refuse);
        self.proxy.cut();
        eventually("the edge reports the outage", WAIT_TIMEOUT, async || {
            (self.ready().await.1["status"] != "ready").then_some(())
        })
        .await;
    }

    pub(super) async fn send(&self, body: String) -> Response {
        self.attempted.set(self.attempted.get() + 1);
        self.site.post(RETELL, &[], body).await
    }

    pub(super) async fn post(&self, id: &str) -> StatusCode {
        self.send(event(id)).await.status()
    }

    pub(super) async fn assert_accepted(&self, id: &str) {
        assert_eq!(json_body(self.send(event(id)).await).await["status"], "queued", "{id}");
    }

    pub(super) async fn ready(&self) -> (StatusCode, Value) {
        let response = self.site.get("/health/ready").await;
        (response.status(), response.json().await.unwrap())
    }

    pub(super) async fn wait_for_status(&self, status: &str) {
        eventually(&format!("the edge is {status}"), WAIT_TIMEOUT, async || {
            (self.ready().await.1["status"] == status).then_some(())
        })
        .await;
    }

    /// Writes the row of this scenario in the report, and closes. `accepted` are the ids of the accepted events.
    pub(super) async fn report_and_close(self, scenario: &str, accepted: &[String]) {
        self.received.report(scenario, self.began, self.attempted.get(), accepted);
        self.close().await;
    }

    pub(super) async fn close(self) {
        self.received.queue.close().await;
        self.site.close().await;
    }
}

/// Returns a minimal event with this id.
pub(super) fn event(id: &str) -> String {
    json!({ "event": "appointment.created", "event_id": id, "calcom_booking": { "uid": "uid-1", "hosts": [] } })
        .to_string()
}

/// The event ids of the messages from the queue, in order.
pub(super) struct Received {
    config: QueueConfig,
    pub(super) queue: Queue,
    consumer: Consumer,
    pub(super) ids: Vec<String>,
}

impl Received {
    pub(super) async fn subscribe(config: &QueueConfig) -> Self {
        let queue = Queue::open(config).await.unwrap();
        let consumer = queue.consumer(Source::Bookings, LIMITS);
        Self { config: config.clone(), queue, consumer, ids: Vec::new() }
    }

    /// Receives messages until all these events have arrived.
    pub(super) async fn wait_for(&mut self, ids: &[String]) {
        let mut missing: BTreeSet<String> = ids.iter().cloned().collect();
        self.ids.iter().for_each(|id| {
            missing.remove(id);
        });
        while !missing.is_empty() {
            let gathered = self.consumer.next_batch(&Shutdown::new(), Some(WAIT_TIMEOUT)).await.unwrap();
            let Gathered::Batch(batch) = gathered else {
                panic!("{} of {} never arrived: {missing:?}", missing.len(), ids.len())
            };
            for delivery in batch.deliveries() {
                let id = delivery.message.message_id.clone().unwrap();
                missing.remove(&id);
                self.ids.push(id);
            }
            let acks = vec![Disposition::Ack; batch.deliveries().len()];
            batch.settle(acks).await.unwrap();
        }
    }

    /// Writes the row of a scenario in the report. Fails if one of the accepted events has not arrived.
    pub(super) fn report(&self, scenario: &str, began: Instant, attempted: usize, accepted: &[String]) {
        let arrived: BTreeSet<&String> = self.ids.iter().collect();
        let lost = accepted.iter().filter(|id| !arrived.contains(id)).count();
        report::write(&Row {
            scenario: &format!("edge's spool: {scenario}"),
            backends: "RabbitMQ",
            attempted,
            accepted: accepted.len(),
            lost,
            duplicated: None,
            duration: began.elapsed(),
            measured: &[],
        });
        assert_eq!(lost, 0, "{scenario}");
    }

    /// Returns the ids in the order of first arrival, without the repeats after an unconfirmed publish.
    pub(super) fn first_arrivals(&self) -> Vec<String> {
        let mut seen = BTreeSet::new();
        self.ids.iter().filter(|id| seen.insert(id.as_str())).cloned().collect()
    }
}

fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("e{n}")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_does_not_change_the_order_of_events() {
    let mut fixture = SpoolFixture::open(|_, _| {}).await;
    let next = Cell::new(0);
    let send_more = async |fixture: &SpoolFixture, count: usize| {
        for _ in 0..count {
            fixture.assert_accepted(&format!("e{}", next.get())).await;
            next.set(next.get() + 1);
        }
    };
    send_more(&fixture, 10).await;
    fixture.cut_broker().await;
    send_more(&fixture, 40).await;
    let (status, body) = fixture.ready().await;
    assert_eq!((status, &body["status"]), (StatusCode::OK, &json!("degraded")), "{body}");
    assert_eq!(body["spool"]["messages"], 40, "{body}");
    assert!(body["spool"]["bytes"].as_u64().unwrap() > 40 * 512, "{body}");
    assert_eq!(body["reasons"].as_array().unwrap().len(), 2, "{body}");
    fixture.proxy.set(Mode::Pass);
    // This holds during the whole reconnect and drain.
    while fixture.ready().await.1["status"] != "ready" {
        send_more(&fixture, 5).await;
        assert!(next.get() < 100_000, "the edge is never ready again");
    }
    send_more(&fixture, 10).await;
    let count = next.get();
    let (status, body) = fixture.ready().await;
    assert_eq!((status, &body["status"], &body["reasons"]), (StatusCode::OK, &json!("ready"), &Value::Null));
    assert_eq!(body["spool"], Value::Null, "{body}");
    fixture.received.wait_for(&numbered(count)).await;
    assert_eq!(fixture.received.first_arrivals(), numbered(count));
    fixture.report_and_close("broker away and back", &numbered(count)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_first_requests_wait_for_a_silent_broker() {
    let mut fixture = SpoolFixture::open(|_, queue| queue.confirm_timeout = Duration::from_secs(4)).await;
    fixture.proxy.set(Mode::StallUpstream);
    let ids = numbered(60);
    // The edge does not know of the outage yet: these requests wait for their confirms at the same time.
    let first_requests = ids[..10].iter().map(|id| fixture.assert_accepted(id));
    futures_util::future::join_all(first_requests).await;
    let others = async {
        for id in &ids[10..] {
            fixture.assert_accepted(id).await;
        }
    };
    // A confirm timeout for each event in turn would take twice as long.
    tokio::time::timeout(Duration::from_secs(100), others)
        .await
        .expect("each event waited for the silent broker in turn");
    assert_eq!(fixture.ready().await.1["status"], "degraded");
    fixture.proxy.set(Mode::Pass);
    fixture.wait_for_status("ready").await;
    fixture.received.wait_for(&ids).await;
    assert_eq!(fixture.received.first_arrivals()[10..], ids[10..]);
    fixture.report_and_close("silent broker", &ids).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_spool_refuses_events_and_keeps_its_content() {
    let mut fixture = SpoolFixture::open(|edge, _| edge.spool_max_bytes = 20_000).await;
    fixture.cut_broker().await;
    let (mut accepted, mut warned) = (Vec::new(), false);
    let refused = loop {
        let id = format!("e{}", accepted.len());
        let response = fixture.send(event(&id)).await;
        if response.status() != StatusCode::OK {
            break response;
        }
        accepted.push(id);
        let (status, body) = fixture.ready().await;
        let near = body["spool"]["bytes"].as_u64().unwrap() >= 16_000;
        let reason = body["reasons"].to_string().contains("edge.spool_max_bytes");
        assert_eq!(reason, near, "the alarm is raised from 80 % on: {body}");
        warned |= near && status == StatusCode::OK;
    };
    assert!(warned, "the edge must be ready while the alarm is on");
    assert!((20..40).contains(&accepted.len()), "{}", accepted.len());
    assert_eq!(refused.headers()["retry-after"], "5");
    assert_eq!(problem(refused).await.0, StatusCode::SERVICE_UNAVAILABLE);
    let (status, body) = fixture.ready().await;
    assert_eq!((status, &body["status"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("not_ready")), "{body}");
    assert_eq!(fixture.site.get("/health/live").await.status(), StatusCode::OK);

    fixture.proxy.set(Mode::Pass);
    fixture.wait_for_status("ready").await;
    accepted.push("afterwards".to_owned());
    fixture.assert_accepted("afterwards").await;
    fixture.received.wait_for(&accepted).await;
    assert_eq!(fixture.received.ids, accepted, "no refused event was spooled");
    fixture.report_and_close("full", &accepted).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spool_past_its_age_limit_refuses_events_and_still_forwards() {
    let mut fixture = SpoolFixture::open(|edge, _| edge.spool_max_age = Duration::from_millis(1500)).await;
    fixture.cut_broker().await;
    fixture.assert_accepted("old").await;
    eventually("nothing more is accepted", WAIT_TIMEOUT, async || {
        (fixture.ready().await.0 == StatusCode::SERVICE_UNAVAILABLE).then_some(())
    })
    .await;
    assert_eq!(fixture.post("refused").await, StatusCode::SERVICE_UNAVAILABLE);
    let reasons = fixture.ready().await.1["reasons"].to_string();
    assert!(reasons.contains("edge.spool_max_age"), "{reasons}");
    fixture.proxy.set(Mode::Pass);
    fixture.wait_for_status("ready").await;
    fixture.assert_accepted("new").await;
    let ids = ["old", "new"].map(str::to_owned);
    fixture.received.wait_for(&ids).await;
    assert_eq!(fixture.received.ids, ids);
    fixture.report_and_close("too old", &ids).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_memory_alarm_and_a_size_limit_of_the_broker_lose_nothing() {
    let Some(mut broker) = Broker::prepare() else { return };
    broker.run().await;
    let mut fixture = SpoolFixture::open_on(&broker.url(), |_, _| {}).await;
    broker.control(&["set_vm_memory_high_watermark", "0"]).await;
    let mut ids = numbered(30);
    for id in &ids {
        fixture.assert_accepted(id).await;
    }
    assert_eq!(fixture.ready().await.1["status"], "degraded");
    // The broker will never accept these two messages; the others must not wait for them.
    for id in ["large-1", "large-2"] {
        let large = event(id).replace("uid-1", &"x".repeat(3000));
        assert_eq!(fixture.site.post(RETELL, &[], large).await.status(), StatusCode::OK);
    }
    for n in 30..60 {
        ids.push(format!("e{n}"));
        fixture.assert_accepted(&ids[n]).await;
    }
    // RabbitMQ 4 reads this setting once and caches it.
    let set_limit = "application:set_env(rabbit, max_message_size, 2000), \
                 persistent_term:put(max_message_size, 2000).";
    broker.control(&["eval", set_limit]).await;
    broker.control(&["set_vm_memory_high_watermark", "0.9"]).await;
    fixture.received.wait_for(&ids).await;
    assert_eq!(fixture.received.first_arrivals(), ids);
    let set_aside = async || {
        let (status, body) = fixture.ready().await;
        (status == StatusCode::OK && body["spool"]["messages"] == 0 && body["spool"]["set_aside"] == 2)
            .then_some(())
    };
    eventually("both are set aside and reported", WAIT_TIMEOUT, set_aside).await;
    fixture.report_and_close("broker without memory, then with a size limit", &ids).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unroutable_event_is_kept_until_a_queue_accepts_it() {
    let mut fixture = SpoolFixture::open(|_, _| {}).await;
    let connection = connect(&amqp_url()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let config = &fixture.received.config;
    let (queue, exchange) = (format!("{}.bookings", config.prefix), format!("{}.events", config.prefix));
    channel
        .queue_unbind(queue.as_str().into(), exchange.as_str().into(), "#".into(), FieldTable::default())
        .await
        .unwrap();
    let ids = numbered(20);
    for id in &ids {
        fixture.assert_accepted(id).await;
    }
    fixture.wait_for_status("ready").await;
    fixture.received.wait_for(&ids).await;
    assert_eq!(fixture.received.first_arrivals(), ids);
    connection.close(200, "bye".into()).await.unwrap();
    fixture.report_and_close("no queue bound", &ids).await;
}

async fn error_at_start(dir: TempDir, spool: PathBuf) -> (String, TempDir) {
    let site = Site::with_queue_url(dir, "amqp://guest@127.0.0.1:1", |config| config.spool = spool).await;
    let error = site.server.await.unwrap().unwrap_err();
    assert!(matches!(error, EdgeError::Spool(_)), "{error}");
    (error.to_string(), site.dir)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unusable_spool_is_error_at_startup_with_an_explanation() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("no/such/directory/spool.db");
    let (error, dir) = error_at_start(dir, missing).await;
    assert!(error.starts_with("edge.spool: ") && error.contains("no/such/directory"), "{error}");

    let letter = dir.path().join("letter.txt");
    std::fs::write(&letter, "this is a letter to my grandmother, and quite long enough. ".repeat(40))
        .unwrap();
    let (error, _dir) = error_at_start(dir, letter).await;
    assert!(error.contains("not a SQLite file"), "{error}");

    let fixture = SpoolFixture::open(|_, _| {}).await;
    let spool = fixture.site.dir.path().join("spool.db");
    let (error, _dir) = error_at_start(tempfile::tempdir().unwrap(), spool).await;
    assert!(error.contains("another edge uses it"), "{error}");
    fixture.close().await;
}
