//! Tests that a consumer that is connected but receives no deliveries is detected and connects again.

use std::collections::BTreeSet;
use std::time::Duration;

use hostmatch::config::QueueConfig;
use hostmatch::queue::{Disposition, Gathered, Source};
use hostmatch::runtime::shutdown::Shutdown;

use super::fixture::{
    LIMITS, QueueFixture, WAIT_TIMEOUT, bodies, config, drain, next_batch, settle_all, wait_until_ready,
};
use crate::support::proxy::{Mode, Proxy};
use crate::support::{amqp_url, eventually};

/// The time without deliveries after which a consumer is checked.
const QUIET: Duration = Duration::from_millis(500);

/// Returns a queue behind a proxy, with heartbeats so rare that the watchdog detects a fault first.
async fn with_rare_heartbeats(prefetch: u16) -> (QueueFixture, Proxy) {
    let proxy = Proxy::start(&Proxy::target(&amqp_url())).await;
    let config = QueueConfig {
        prefetch,
        delivery_limit: 20,
        confirm_timeout: Duration::from_secs(2),
        connect_timeout: Duration::from_secs(2),
        ..config(&format!("{}/%2f?heartbeat=600", proxy.url(&amqp_url()).trim_end_matches('/')))
    };
    (QueueFixture::open(config, amqp_url()).await, proxy)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_with_an_exhausted_prefetch_is_replaced() {
    let (fixture, proxy) = with_rare_heartbeats(2).await;
    let messages = ["one", "two", "three", "four", "five"];
    fixture.publish(&messages).await;
    let mut consumer = fixture.work_consumer().stalled_after(QUIET);
    let health = consumer.health();
    let first = next_batch(&mut consumer).await;
    assert!(health.is_consuming());
    // The broker never receives the acknowledgements of the first two, and delivers nothing more.
    proxy.set(Mode::SwallowAcks);
    settle_all(first, Disposition::Ack).await;
    let consuming = tokio::spawn(async move {
        let mut seen = BTreeSet::new();
        while seen.len() < messages.len() {
            seen.extend(drain(&mut consumer, 1).await);
        }
        consumer
    });
    eventually("the consumer is not healthy", WAIT_TIMEOUT, async || (!health.is_consuming()).then_some(()))
        .await;
    proxy.set(Mode::Pass);
    let consumer = tokio::time::timeout(WAIT_TIMEOUT, consuming).await.unwrap().unwrap();
    assert!(health.is_consuming(), "healthy again");
    drop(consumer);
    wait_until_ready(&fixture, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_one_way_silent_connection_is_detected_before_its_heartbeats() {
    for mode in [Mode::StallDownstream, Mode::StallUpstream] {
        let (fixture, proxy) = with_rare_heartbeats(100).await;
        fixture.publish(&["before"]).await;
        let mut consumer = fixture.work_consumer().stalled_after(QUIET);
        let health = consumer.health();
        assert_eq!(drain(&mut consumer, 1).await, ["before"]);
        proxy.set(mode);
        let consuming = tokio::spawn(async move { while drain(&mut consumer, 1).await != ["after"] {} });
        eventually("the consumer is not healthy", WAIT_TIMEOUT, async || {
            (!health.is_consuming()).then_some(())
        })
        .await;
        proxy.set(Mode::Pass);
        let publisher = fixture.queue.publisher();
        let after = || vec![super::fixture::message("after")];
        eventually("published", WAIT_TIMEOUT, async || publisher.publish(after()).await.ok()).await;
        tokio::time::timeout(WAIT_TIMEOUT, consuming).await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_queue_or_an_unsettled_delivery_is_not_a_stall() {
    let (fixture, _proxy) = with_rare_heartbeats(1).await;
    let mut consumer = fixture.queue.consumer(Source::Bookings, LIMITS).stalled_after(QUIET);
    let health = consumer.health();
    let idle = Some(QUIET * 5);
    let nothing = consumer.next_batch(&Shutdown::new(), idle).await.unwrap();
    assert!(matches!(nothing, Gathered::Idle) && health.is_consuming(), "an empty queue");
    fixture.publish(&["one", "two"]).await;
    let unsettled = next_batch(&mut consumer).await;
    // The second message is ready and cannot be delivered: the prefetch is 1.
    let nothing = consumer.next_batch(&Shutdown::new(), idle).await.unwrap();
    assert!(matches!(nothing, Gathered::Idle) && health.is_consuming(), "a slow transaction");
    assert_eq!(bodies(unsettled.deliveries()), ["one"]);
    assert_eq!(settle_all(unsettled, Disposition::Ack).await.acked, 1, "the delivery can still be settled");
    assert_eq!(drain(&mut consumer, 1).await, ["two"]);
}
