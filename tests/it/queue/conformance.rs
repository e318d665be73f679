//! Tests, on each queue, the behaviour that every queue must have.

mod settling;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use hostmatch::queue::{BatchLimits, Disposition, Gathered, Message, PublishError, Source};
use hostmatch::runtime::shutdown::Shutdown;

use self::settling::*;
use super::fixture::{
    LIMITS, LONG_DELAY, QueueFixture, WAIT_TIMEOUT, assert_idle, bodies, drain, headers, message, next_batch,
    publish_as_one_batch, retry, settle_all, wait_until_ready,
};
use crate::support::eventually;

macro_rules! on_both {
    ($($case:ident)*) => {
        mod on_rabbitmq { $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() { super::$case(&super::QueueFixture::amqp().await).await }
        )* }
        mod embedded { $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() { super::$case(&super::QueueFixture::embedded().await).await }
        )* }
    };
}

on_both! {
    published_messages_arrive_once_and_in_order
    every_part_of_a_message_is_delivered
    a_batch_stays_within_its_limits
    retries_return_unchanged_after_their_delay
    a_retry_queues_behind_waiting_messages
    a_dead_letter_arrives_with_its_reason
    each_delivery_of_a_batch_gets_its_own_disposition
    a_released_message_is_redelivered_alone
    pause_returns_unsettled_deliveries_and_consuming_resumes
    messages_of_a_dropped_batch_are_redelivered_one_by_one
    a_message_that_is_never_settled_becomes_a_dead_letter
    depth_counts_messages_by_state
    two_consumers_share_the_messages_without_duplicates
    many_tasks_publish_concurrently
    gathering_ends_on_shutdown_and_when_idle
    an_oversized_message_is_refused
    a_closed_queue_returns_an_error
}

async fn published_messages_arrive_once_and_in_order(fixture: &QueueFixture) {
    let sent: Vec<String> = (0..300).map(|i| i.to_string()).collect();
    fixture.publish(&sent.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let mut consumer = fixture.work_consumer();
    assert_eq!(drain(&mut consumer, 300).await, sent);
    assert_idle(&mut consumer).await;
    assert!(consumer.is_consuming());
}

async fn every_part_of_a_message_is_delivered(fixture: &QueueFixture) {
    let sent = Message {
        body: vec![0, 255, 10, 13, 0xc3, 0x28].into(),
        headers: headers(&[("traceparent", "00-ab-cd-01"), ("x-note", "zażółć \"quoted\""), ("x-empty", "")]),
        routing_key: "appointment.rescheduled".into(),
        message_type: Some("appointment.rescheduled".into()),
        message_id: Some("id-1".into()),
        correlation_id: Some("call-2".into()),
        content_type: Some("application/json".into()),
        timestamp_ms: Some(1_790_000_000_000),
    };
    fixture.queue.publisher().publish(vec![sent.clone()]).await.unwrap();
    let batch = next_batch(&mut fixture.work_consumer()).await;
    let delivery = &batch.deliveries()[0];
    assert_eq!(delivery.message, sent);
    assert_eq!((delivery.attempt, delivery.redelivered), (0, false));
    let age = time::OffsetDateTime::now_utc().unix_timestamp() * 1000 - delivery.first_seen_ms;
    assert!(age.abs() < 60_000, "first seen in the last minute: {age} ms ago");
}

async fn a_batch_stays_within_its_limits(fixture: &QueueFixture) {
    let small = "s".repeat(40);
    let large = "l".repeat(400);
    fixture.publish(&[&small, &small, &small, &large, &small, &small, &small, &small]).await;
    wait_until_ready(fixture, 8).await;
    let mut consumer = fixture.queue.consumer(Source::Bookings, BatchLimits { size: 3, bytes: 100 });
    let mut sizes = Vec::new();
    let mut seen = 0;
    while seen < 8 {
        let batch = next_batch(&mut consumer).await;
        let bytes: Vec<_> = batch.deliveries().iter().map(|d| d.message.body.len()).collect();
        seen += bytes.len();
        assert!(bytes.len() <= 3, "{bytes:?}");
        assert!(bytes.len() == 1 || bytes.iter().sum::<usize>() <= 100, "{bytes:?}");
        sizes.extend(bytes);
        settle_all(batch, Disposition::Ack).await;
    }
    assert_eq!(
        sizes,
        [40, 40, 40, 400, 40, 40, 40, 40],
        "in order, including the message that is larger than the limit"
    );
    // Otherwise this consumer would receive some of the next messages.
    drop(consumer);
    let mut consumer = fixture.work_consumer();
    let full = publish_as_one_batch(fixture, &mut consumer, &["a", "b", "c", "d"]).await;
    assert_eq!(bodies(full.deliveries()), ["a", "b", "c", "d"], "waiting messages are gathered in one batch");
    settle_all(full, Disposition::Ack).await;
}

async fn depth_counts_messages_by_state(fixture: &QueueFixture) {
    fixture.publish(&["one", "two", "three"]).await;
    wait_until_ready(fixture, 3).await;
    let mut consumer = fixture.queue.consumer(Source::Bookings, BatchLimits { size: 1, bytes: 1000 });
    settle_all(next_batch(&mut consumer).await, Disposition::DeadLetter { headers: headers(&[]) }).await;
    settle_all(next_batch(&mut consumer).await, retry(LONG_DELAY)).await;
    consumer.pause().await;
    drop(consumer);
    eventually("one message is ready, one waiting, one dead", Duration::from_millis(500), async || {
        let depth = fixture.queue.depth().await.unwrap();
        ((depth.ready, depth.waiting, depth.dead) == (1, 1, 1)).then_some(())
    })
    .await;
    eventually("the waiting message is ready", WAIT_TIMEOUT, async || {
        let depth = fixture.queue.depth().await.unwrap();
        ((depth.ready, depth.waiting, depth.dead) == (2, 0, 1)).then_some(())
    })
    .await;
}

async fn two_consumers_share_the_messages_without_duplicates(fixture: &QueueFixture) {
    let other = fixture.reopen().await;
    let sent: Vec<String> = (0..200).map(|i| i.to_string()).collect();
    // Each consumer holds its first batch until the other has one: on a slow machine one consumer might
    // otherwise get everything.
    let both = tokio::sync::Barrier::new(2);
    let consume = async |queue: &hostmatch::queue::Queue| {
        let limits = BatchLimits { size: 7, ..LIMITS };
        let mut consumer = queue.consumer(Source::Bookings, limits);
        let mut seen = Vec::new();
        loop {
            let time_limit = Duration::from_secs(if seen.is_empty() { 60 } else { 2 });
            let gathered = consumer.next_batch(&Shutdown::new(), Some(time_limit)).await.unwrap();
            let Gathered::Batch(batch) = gathered else { break };
            if seen.is_empty() {
                both.wait().await;
            }
            seen.extend(bodies(batch.deliveries()));
            assert_eq!(settle_all(batch, Disposition::Ack).await.lost, 0);
        }
        seen
    };
    let publish = async {
        for body in &sent {
            fixture.publish(&[body]).await;
        }
    };
    let (one, two, ()) = tokio::join!(consume(&fixture.queue), consume(&other), publish);
    assert!(!one.is_empty() && !two.is_empty(), "both got messages: {} and {}", one.len(), two.len());
    assert_eq!(one.len() + two.len(), 200, "no message was delivered twice");
    let distinct: BTreeSet<_> = one.into_iter().chain(two).collect();
    assert_eq!(distinct.len(), 200, "no message was lost");
    other.close().await;
}

async fn many_tasks_publish_concurrently(fixture: &QueueFixture) {
    let publisher = fixture.queue.publisher();
    let tasks: Vec<_> = (0..20)
        .map(|task| {
            let publisher = publisher.clone();
            tokio::spawn(async move {
                for i in 0..10 {
                    publisher.publish(vec![message(&format!("{task}-{i}"))]).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert!(publisher.is_ready());
    let seen: BTreeSet<_> = drain(&mut fixture.work_consumer(), 200).await.into_iter().collect();
    assert_eq!(seen.len(), 200);
}

async fn gathering_ends_on_shutdown_and_when_idle(fixture: &QueueFixture) {
    let started = Instant::now();
    let idle = Duration::from_millis(300);
    let gathered = fixture.work_consumer().next_batch(&Shutdown::new(), Some(idle)).await.unwrap();
    assert!(matches!(gathered, Gathered::Idle));
    assert!(started.elapsed() >= idle);
    // A `next_batch` that is dropped at any point, even while it subscribes, leaves no consumer on the broker
    // that would receive messages.
    let mut consumer = fixture.work_consumer();
    for _ in 0..100 {
        let short = Some(Duration::from_millis(2));
        assert!(matches!(consumer.next_batch(&Shutdown::new(), short).await.unwrap(), Gathered::Idle));
    }
    let shutdown = Shutdown::new();
    let stop = shutdown.clone();
    let waiting = tokio::spawn(async move { consumer.next_batch(&stop, None).await.map(|g| (g, consumer)) });
    tokio::task::yield_now().await;
    shutdown.cancel();
    let (gathered, mut consumer) =
        tokio::time::timeout(WAIT_TIMEOUT, waiting).await.unwrap().unwrap().unwrap();
    assert!(matches!(gathered, Gathered::Stopped));
    fixture.publish(&["late"]).await;
    let gathered = consumer.next_batch(&shutdown, None).await.unwrap();
    assert!(matches!(gathered, Gathered::Stopped), "nothing is gathered after the shutdown");
    assert_eq!(drain(&mut consumer, 1).await, ["late"]);
}

async fn an_oversized_message_is_refused(fixture: &QueueFixture) {
    let publisher = fixture.queue.publisher();
    let long = Message { message_id: Some("m".repeat(300)), ..message("x") };
    assert!(matches!(publisher.publish(vec![long]).await, Err(PublishError::ExceedsLimit(_))));
    let heavy = Message { headers: headers(&[("x-heavy", &"h".repeat(100_000))]), ..message("x") };
    assert!(matches!(publisher.publish(vec![heavy]).await, Err(PublishError::ExceedsLimit(_))));
    fixture.publish(&["fine"]).await;
    assert_eq!(drain(&mut fixture.work_consumer(), 1).await, ["fine"]);
}

async fn a_closed_queue_returns_an_error(fixture: &QueueFixture) {
    fixture.publish(&["kept"]).await;
    let mut consumer = fixture.work_consumer();
    let unsettled = next_batch(&mut consumer).await;
    fixture.queue.close().await;
    assert!(consumer.next_batch(&Shutdown::new(), None).await.is_err());
    assert!(!fixture.queue.publisher().is_ready());
    assert!(matches!(
        fixture.queue.publisher().publish(vec![message("late")]).await,
        Err(PublishError::Unavailable(_))
    ));
    drop(unsettled);
}
