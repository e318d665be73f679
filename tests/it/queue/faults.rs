//! Tests faults of the network and of the broker: lost and stalled connections, refusals and restarts.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use hostmatch::config::{QueueConfig, Secret, Topology};
use hostmatch::queue::{Disposition, Gathered, PublishError, Queue, Source, header};
use hostmatch::runtime::shutdown::Shutdown;
use lapin::options::QueueDeleteOptions;

use super::fixture::{
    LIMITS, QueueFixture, SHORT_DELAY, WAIT_TIMEOUT, assert_idle, bodies, config, drain, headers, message,
    next_batch, publish_as_one_batch, retry, settle_all,
};
use crate::support::broker::Broker;
use crate::support::cleanup::connect;
use crate::support::proxy::{Mode, Proxy};
use crate::support::{amqp_url, eventually};

/// Returns a queue behind a proxy, with short timeouts.
pub(super) async fn behind_a_proxy() -> (QueueFixture, Proxy) {
    let proxy = Proxy::start(&Proxy::target(&amqp_url())).await;
    let config = QueueConfig {
        confirm_timeout: Duration::from_secs(2),
        connect_timeout: Duration::from_secs(2),
        ..config(&format!("{}/%2f?heartbeat=2", proxy.url(&amqp_url()).trim_end_matches('/')))
    };
    (QueueFixture::open(config, amqp_url()).await, proxy)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consuming_resumes_after_a_cut_connection() {
    let (fixture, proxy) = behind_a_proxy().await;
    let mut consumer = fixture.work_consumer();
    fixture.publish(&["one"]).await;
    assert_eq!(drain(&mut consumer, 1).await, ["one"]);
    for round in 0..3 {
        proxy.cut();
        let body = format!("after cut {round}");
        let publisher = fixture.queue.publisher();
        eventually("published again", WAIT_TIMEOUT, async || {
            publisher.publish(vec![message(&body)]).await.ok()
        })
        .await;
        // A publish or an acknowledgement that was interrupted may create duplicates, but loses nothing.
        while drain(&mut consumer, 1).await != [body.as_str()] {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_whose_connection_was_cut_is_redelivered() {
    let (fixture, proxy) = behind_a_proxy().await;
    fixture.publish(&["one"]).await;
    let mut consumer = fixture.work_consumer();
    let health = consumer.health();
    for disposition in [
        Disposition::Ack,
        retry(SHORT_DELAY),
        Disposition::DeadLetter { headers: headers(&[]) },
        Disposition::Release,
    ] {
        let unsettled = next_batch(&mut consumer).await;
        proxy.cut();
        eventually("the cut is detected", WAIT_TIMEOUT, async || (!health.is_consuming()).then_some(()))
            .await;
        let settled = settle_all(unsettled, disposition.clone()).await;
        assert_eq!((settled.lost, settled.acked), (1, 0), "{disposition:?}: {settled:?}");
        if matches!(disposition, Disposition::DeadLetter { .. }) {
            // One more redelivery would exceed the delivery limit of 3.
            break;
        }
    }
    let again = next_batch(&mut consumer).await;
    assert_eq!(bodies(again.deliveries()), ["one"]);
    assert!(again.deliveries()[0].redelivered);
    assert_eq!(again.deliveries()[0].attempt, 0, "a lost connection does not count as an attempt");
    assert_eq!(settle_all(again, Disposition::Ack).await.acked, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_is_not_confirmed_leaves_its_original_unacknowledged() {
    let (fixture, proxy) = behind_a_proxy().await;
    fixture.publish(&["one"]).await;
    let mut consumer = fixture.work_consumer();
    let unsettled = next_batch(&mut consumer).await;
    // The proxy forwards nothing to the broker, so the copy never arrives.
    proxy.set(Mode::StallUpstream);
    let settling = tokio::spawn(settle_all(unsettled, retry(SHORT_DELAY)));
    let publisher = fixture.queue.publisher();
    eventually("the publisher drops its connection", WAIT_TIMEOUT, async || {
        (!publisher.is_ready()).then_some(())
    })
    .await;
    proxy.cut();
    proxy.set(Mode::Pass);
    let settled = tokio::time::timeout(WAIT_TIMEOUT, settling).await.unwrap().unwrap();
    assert_eq!(settled.retried + settled.lost, 1, "{settled:?}");
    let again = next_batch(&mut consumer).await;
    assert_eq!(bodies(again.deliveries()), ["one"]);
    settle_all(again, Disposition::Ack).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledgements_do_not_wait_for_an_unroutable_copy() {
    let fixture = QueueFixture::amqp().await;
    // With `verify`, nothing creates the missing queue again.
    let verify_only = QueueConfig { topology: Topology::Verify, ..fixture.config.clone() };
    fixture.publish(&["first"]).await;
    let mut consumer = Queue::open(&verify_only).await.unwrap().consumer(Source::Bookings, LIMITS);
    assert_eq!(drain(&mut consumer, 1).await, ["first"]);
    let full = publish_as_one_batch(&fixture, &mut consumer, &["unroutable", "done"]).await;
    let connection = connect(&amqp_url()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let name = format!("{}.bookings.retry.{}", fixture.config.prefix, SHORT_DELAY.as_millis());
    channel.queue_delete(name.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
    // The copy is retried for minutes.
    let settling = full.settle(vec![retry(SHORT_DELAY), Disposition::Ack]);
    assert!(
        tokio::time::timeout(Duration::from_secs(2), settling).await.is_err(),
        "the copy is still being retried"
    );
    // A cancelled settle returns the unsettled deliveries.
    assert_eq!(drain(&mut consumer, 1).await, ["unroutable"]);
    assert_idle(&mut consumer).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unanswered_publish_times_out_and_the_next_one_works() {
    let (fixture, proxy) = behind_a_proxy().await;
    fixture.publish(&["before"]).await;
    proxy.set(Mode::Stall);
    let publisher = fixture.queue.publisher();
    let started = Instant::now();
    let error = publisher.publish(vec![message("unsure")]).await.unwrap_err();
    assert_eq!(error, PublishError::Timeout);
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    proxy.set(Mode::Pass);
    eventually("published again", WAIT_TIMEOUT, async || {
        publisher.publish(vec![message("after")]).await.ok()
    })
    .await;
    let mut consumer = fixture.work_consumer();
    let mut seen = BTreeSet::new();
    while !seen.contains("after") {
        seen.extend(drain(&mut consumer, 1).await);
    }
    assert!(seen.contains("before"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_connection_is_detected_by_its_heartbeat() {
    let (fixture, proxy) = behind_a_proxy().await;
    let mut consumer = fixture.work_consumer();
    let health = consumer.health();
    fixture.publish(&["before"]).await;
    assert_eq!(drain(&mut consumer, 1).await, ["before"]);
    // An acknowledgement that was lost while the connection was silent creates a duplicate.
    let consuming = tokio::spawn(async move { while drain(&mut consumer, 1).await != ["after"] {} });
    proxy.set(Mode::Stall);
    eventually("not consuming", WAIT_TIMEOUT, async || (!health.is_consuming()).then_some(())).await;
    proxy.cut();
    proxy.set(Mode::Pass);
    let publisher = fixture.queue.publisher();
    eventually("published", WAIT_TIMEOUT, async || publisher.publish(vec![message("after")]).await.ok())
        .await;
    tokio::time::timeout(WAIT_TIMEOUT, consuming).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settling_on_a_silent_connection_times_out() {
    let (fixture, proxy) = behind_a_proxy().await;
    fixture.publish(&["one"]).await;
    let mut consumer = fixture.work_consumer();
    let unsettled = next_batch(&mut consumer).await;
    proxy.set(Mode::Stall);
    let settled =
        tokio::time::timeout(WAIT_TIMEOUT, settle_all(unsettled, retry(SHORT_DELAY))).await.unwrap();
    assert_eq!(settled.lost + settled.released, 1, "{settled:?}");
    proxy.cut();
    proxy.set(Mode::Pass);
    assert_eq!(drain(&mut consumer, 1).await, ["one"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_a_stalled_connection_keeps_its_deadline() {
    let (fixture, proxy) = behind_a_proxy().await;
    fixture.publish(&["one"]).await;
    let mut consumer = fixture.work_consumer();
    let unsettled = next_batch(&mut consumer).await;
    proxy.set(Mode::Stall);
    let started = Instant::now();
    fixture.queue.close().await;
    assert!(started.elapsed() < Duration::from_secs(7), "{:?}", started.elapsed());
    drop(unsettled);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_broker_restart_loses_nothing_and_consuming_resumes() {
    // If RabbitMQ is not installed, there is nothing to restart.
    let Some(mut broker) = Broker::prepare() else { return };
    let config = QueueConfig { url: Secret::new(broker.url()), ..config("") };
    // The broker is not running yet: opening works, publishing fails, consuming waits.
    let queue = Queue::open(&config).await.unwrap();
    let publisher = queue.publisher();
    assert!(!publisher.is_ready());
    let mut consumer = queue.consumer(Source::Bookings, LIMITS);
    let gathered = consumer.next_batch(&Shutdown::new(), Some(SHORT_DELAY)).await.unwrap();
    assert!(matches!(gathered, Gathered::Idle));
    broker.run().await;
    eventually("published when the broker runs", Duration::from_secs(60), async || {
        publisher.publish(vec![message("early")]).await.ok()
    })
    .await;
    let mut seen: BTreeSet<String> = BTreeSet::new();
    seen.extend(drain(&mut consumer, 1).await);
    let mut sent = BTreeSet::from(["early".to_owned()]);
    for round in ["stopped", "killed"] {
        for i in 0..20 {
            let body = format!("{round} {i}");
            publisher.publish(vec![message(&body)]).await.unwrap();
            sent.insert(body);
        }
        // The consumer holds a batch when the broker goes down.
        let unsettled = next_batch(&mut consumer).await;
        if round == "stopped" {
            broker.stop().await;
        } else {
            broker.kill().await;
        }
        assert_eq!(
            settle_all(unsettled, Disposition::Ack).await.acked,
            0,
            "the broker did not receive the acknowledgement"
        );
        broker.run().await;
        let body = format!("after it was {round}");
        eventually("published again", Duration::from_secs(60), async || {
            publisher.publish(vec![message(&body)]).await.ok()
        })
        .await;
        sent.insert(body);
        while seen.len() < sent.len() {
            seen.extend(drain(&mut consumer, 1).await);
        }
    }
    assert_eq!(seen, sent);
    let depth = queue.depth().await.unwrap();
    assert_eq!((depth.ready, depth.dead), (0, 0), "nothing was dead-lettered");
    queue.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_short_of_memory_refuses_messages_but_accepts_acknowledgements() {
    let Some(mut broker) = Broker::prepare() else { return };
    let config =
        QueueConfig { url: Secret::new(broker.url()), confirm_timeout: Duration::from_secs(1), ..config("") };
    broker.run().await;
    let queue = Queue::open(&config).await.unwrap();
    let publisher = queue.publisher();
    eventually("published", WAIT_TIMEOUT, async || publisher.publish(vec![message("one")]).await.ok()).await;
    let mut consumer = queue.consumer(Source::Bookings, LIMITS);
    let unsettled = next_batch(&mut consumer).await;
    broker.control(&["set_vm_memory_high_watermark", "0.000001"]).await;
    // The broker reports that it is blocked when the first message arrives.
    assert_eq!(publisher.publish(vec![message("unsure")]).await, Err(PublishError::Timeout));
    assert!(!publisher.is_ready());
    let started = Instant::now();
    let refused = publisher.publish(vec![message("refused")]).await;
    assert!(matches!(refused, Err(PublishError::Unavailable(_))), "{refused:?}");
    assert!(started.elapsed() < Duration::from_millis(500), "{:?}", started.elapsed());
    assert_eq!(settle_all(unsettled, Disposition::Ack).await.acked, 1);
    broker.control(&["set_vm_memory_high_watermark", "0.9"]).await;
    eventually("published again", WAIT_TIMEOUT, async || publisher.publish(vec![message("two")]).await.ok())
        .await;
    let mut seen = drain(&mut consumer, 2).await;
    seen.sort();
    assert_eq!(seen, ["two", "unsure"], "an unconfirmed message may still arrive");
    queue.close().await;
}

/// Far more publishes than channels, so that most share a channel with others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn oversized_and_cancelled_publishes_do_not_affect_others() {
    let Some(mut broker) = Broker::prepare() else { return };
    broker.run().await;
    let lower = "application:set_env(rabbit, max_message_size, 2000), \
                 persistent_term:put(max_message_size, 2000).";
    broker.control(&["eval", lower]).await;
    let queue = Queue::open(&QueueConfig { url: Secret::new(broker.url()), ..config("") }).await.unwrap();
    let publisher = queue.publisher();
    eventually("published", WAIT_TIMEOUT, async || publisher.publish(vec![message("first")]).await.ok())
        .await;
    let mut wanted = BTreeSet::from(["first".to_owned()]);
    let mut publishing = Vec::new();
    for n in 0..600 {
        let large = n % 100 == 50;
        let body = if large { "x".repeat(3000) } else { format!("m{n}") };
        let publisher = publisher.clone();
        let task = tokio::spawn(async move { publisher.publish(vec![message(&body)]).await });
        if n % 7 == 3 {
            // The publish may be cancelled at any point.
            tokio::task::yield_now().await;
            task.abort();
        } else {
            publishing.push((n, large, task));
        }
    }
    for (n, large, task) in publishing {
        let published = task.await.unwrap();
        // In rare cases a frame is already in flight when the broker closes the channel because of a large
        // one, and the broker then closes the whole connection. The publisher gets an error and publishes
        // again.
        let is_late =
            published.as_ref().is_err_and(|error| error.to_string().contains("expected 'channel.open'"));
        if large {
            assert!(is_late || matches!(published, Err(PublishError::ExceedsLimit(_))), "{n}: {published:?}");
            continue;
        }
        if is_late {
            let again = async || publisher.publish(vec![message(&format!("m{n}"))]).await.ok();
            eventually("published again", WAIT_TIMEOUT, again).await;
        } else {
            assert_eq!(published, Ok(()), "{n}");
        }
        wanted.insert(format!("m{n}"));
    }
    let mut consumer = queue.consumer(Source::Bookings, LIMITS);
    let mut seen = BTreeSet::new();
    while !wanted.is_subset(&seen) {
        seen.extend(drain(&mut consumer, 1).await);
    }
    queue.close().await;
}

/// The broker's limit is lowered after it has accepted a large message: the copy of that message can never be
/// published.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_the_broker_never_accepts_does_not_hold_the_others() {
    let Some(mut broker) = Broker::prepare() else { return };
    broker.run().await;
    let config = QueueConfig { url: Secret::new(broker.url()), prefetch: 100, ..config("") };
    let fixture = QueueFixture::open(config, broker.url()).await;
    let large = "x".repeat(3000);
    // Its publishing connection is opened after the limit has changed.
    let queue = fixture.reopen().await;
    let mut consumer = queue.consumer(Source::Bookings, LIMITS);
    let sent = ["one", &large, "two", "three"];
    let batch = publish_as_one_batch(&fixture, &mut consumer, &sent).await;
    let lower = "application:set_env(rabbit, max_message_size, 2000), \
                 persistent_term:put(max_message_size, 2000).";
    broker.control(&["eval", lower]).await;
    let dead_letter = Disposition::DeadLetter { headers: headers(&[(header::REASON, "malformed")]) };
    let dispositions = vec![dead_letter.clone(), dead_letter, retry(SHORT_DELAY), Disposition::Ack];
    let settled = tokio::time::timeout(WAIT_TIMEOUT, batch.settle(dispositions)).await;
    let settled = settled.expect("no copy is tried again and again").unwrap();
    assert_eq!((settled.dead, settled.retried, settled.acked, settled.lost), (2, 1, 1, 0), "{settled:?}");
    assert_eq!(drain(&mut consumer, 1).await, ["two"]);
    let mut dead = fixture.dead_letter_consumer();
    let mut letters = BTreeSet::new();
    while letters.len() < 2 {
        let batch = next_batch(&mut dead).await;
        letters.extend(batch.deliveries().iter().map(|delivery| {
            (
                bodies(std::slice::from_ref(delivery)).remove(0),
                delivery.message.headers[header::REASON].clone(),
            )
        }));
        settle_all(batch, Disposition::Ack).await;
    }
    assert_eq!(letters, BTreeSet::from([("one".into(), "malformed".into()), (large, "rejected".into())]));
    queue.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_permissions_are_named_in_the_error() {
    let Some(mut broker) = Broker::prepare() else { return };
    broker.run().await;
    broker.control(&["set_permissions", "guest", "^$", ".*", ".*"]).await;
    let config = QueueConfig { url: Secret::new(broker.url()), ..config("") };
    let queue = Queue::open(&config).await.unwrap();
    let error = eventually("the broker answers", WAIT_TIMEOUT, async || {
        queue.depth().await.err().map(|error| error.to_string()).filter(|error| error.contains("ACCESS"))
    })
    .await;
    assert!(error.contains("configure") && error.contains("verify"), "{error}");
    assert!(error.contains(&config.prefix), "{error}");
}
