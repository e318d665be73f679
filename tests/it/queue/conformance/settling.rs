//! Tests how deliveries are settled: acknowledged, retried, dead-lettered, returned or dropped.

use std::collections::BTreeSet;
use std::time::Instant;

use hostmatch::queue::{BatchLimits, Disposition, Message, Settled, Source, header};

use super::super::fixture::{
    LONG_DELAY, QueueFixture, SHORT_DELAY, WAIT_TIMEOUT, assert_idle, bodies, drain, headers, message,
    next_batch, publish_as_one_batch, retry, settle_all, wait_until_delivered_or_ready, wait_until_ready,
};
use crate::support::eventually;

pub(super) async fn retries_return_unchanged_after_their_delay(fixture: &QueueFixture) {
    let sent = Message { headers: headers(&[("traceparent", "00-1-2-01")]), ..message("again") };
    fixture.queue.publisher().publish(vec![sent.clone()]).await.unwrap();
    let mut consumer = fixture.work_consumer();
    let mut first_seen = None;
    let mut earliest = Instant::now();
    // The message passes through both wait queues more than once. A broker must not drop it as a cycle.
    for (attempt, delay) in (0_u32..).zip([SHORT_DELAY, LONG_DELAY, LONG_DELAY, SHORT_DELAY]) {
        let batch = next_batch(&mut consumer).await;
        assert!(Instant::now() >= earliest, "attempt {attempt} arrived too early");
        let delivery = batch.deliveries()[0].clone();
        assert_eq!(delivery.attempt, attempt);
        assert!(!delivery.redelivered, "a retry is not a redelivery");
        assert_eq!((&delivery.message.body, &delivery.message.routing_key), (&sent.body, &sent.routing_key));
        assert_eq!(delivery.message.headers["traceparent"], "00-1-2-01");
        assert!(
            delivery.message.headers.keys().all(|name| !name.contains("death")),
            "{:?}",
            delivery.message
        );
        assert_eq!(*first_seen.get_or_insert(delivery.first_seen_ms), delivery.first_seen_ms);
        let history = |attempt: u32| format!("[{attempt}]");
        if attempt > 0 {
            assert_eq!(delivery.message.headers[header::HISTORY], history(attempt - 1));
        }
        earliest = Instant::now() + delay;
        let history_header = headers(&[(header::HISTORY, &history(attempt))]);
        let disposition = Disposition::Retry { after: delay, counts: true, headers: history_header };
        let settled = batch.settle(vec![disposition]).await.unwrap();
        assert_eq!((settled.retried, settled.acked), (1, 0));
    }
    let last = next_batch(&mut consumer).await;
    assert_eq!(last.deliveries()[0].attempt, 4);
    // A deferred message is delivered again, and that does not count as an attempt.
    settle_all(last, Disposition::Retry { after: SHORT_DELAY, counts: false, headers: headers(&[]) }).await;
    let last = next_batch(&mut consumer).await;
    assert_eq!(last.deliveries()[0].attempt, 4);
    settle_all(last, Disposition::Ack).await;
    assert_idle(&mut consumer).await;
}

pub(super) async fn a_retry_queues_behind_waiting_messages(fixture: &QueueFixture) {
    fixture.publish(&["old"]).await;
    let mut consumer = fixture.queue.consumer(Source::Bookings, BatchLimits { size: 1, bytes: 1000 });
    settle_all(next_batch(&mut consumer).await, retry(LONG_DELAY)).await;
    fixture.publish(&["fresh"]).await;
    consumer.pause().await;
    wait_until_ready(fixture, 2).await;
    assert_eq!(drain(&mut consumer, 2).await, ["fresh", "old"]);
}

pub(super) async fn a_dead_letter_arrives_with_its_reason(fixture: &QueueFixture) {
    let sent = Message { headers: headers(&[("traceparent", "00-1-2-01")]), ..message("\u{0}poison") };
    fixture.queue.publisher().publish(vec![sent.clone()]).await.unwrap();
    let reason = headers(&[(header::REASON, "malformed"), (header::ERROR, "no booking in it")]);
    let settled = settle_all(
        next_batch(&mut fixture.work_consumer()).await,
        Disposition::DeadLetter { headers: reason },
    )
    .await;
    assert_eq!(settled.dead, 1);
    let mut dead = fixture.dead_letter_consumer();
    let first = next_batch(&mut dead).await;
    let letter = first.deliveries()[0].clone();
    assert_eq!(letter.message.body, sent.body);
    assert_eq!(letter.message.routing_key, sent.routing_key);
    assert_eq!(letter.message.headers[header::REASON], "malformed");
    assert_eq!(letter.message.headers[header::ERROR], "no booking in it");
    assert_eq!(letter.message.headers["traceparent"], "00-1-2-01");
    assert_eq!(letter.attempt, 1, "the attempt that failed is counted");
    let id = letter.message.headers[header::DEAD_ID].clone();
    assert!(uuid::Uuid::parse_str(&id).is_ok(), "{id}");
    // The delivery limit does not apply to dead letters.
    drop(first);
    for _ in 0..6 {
        let again = next_batch(&mut dead).await;
        assert_eq!(
            again.deliveries()[0].message.headers[header::DEAD_ID],
            id,
            "the id of a dead letter does not change"
        );
    }
    drain(&mut dead, 1).await;
    assert_idle(&mut fixture.work_consumer()).await;
}

pub(super) async fn each_delivery_of_a_batch_gets_its_own_disposition(fixture: &QueueFixture) {
    let mut consumer = fixture.work_consumer();
    let full = publish_as_one_batch(
        fixture,
        &mut consumer,
        &["release", "ack", "retry", "dead", "acked", "forgotten"],
    )
    .await;
    let dispositions = vec![
        Disposition::Release,
        Disposition::Ack,
        retry(SHORT_DELAY),
        Disposition::DeadLetter { headers: headers(&[(header::REASON, "why")]) },
        Disposition::Ack,
    ];
    let mut settled = full.settle(dispositions).await.unwrap();
    settled.removed.sort_unstable();
    let removed = vec![1, 2, 3, 4];
    assert_eq!(settled, Settled { acked: 2, retried: 1, dead: 1, released: 2, lost: 0, removed });
    let mut again = drain(&mut consumer, 3).await;
    again.sort();
    assert_eq!(again, ["forgotten", "release", "retry"]);
    assert_eq!(drain(&mut fixture.dead_letter_consumer(), 1).await, ["dead"]);
    assert_idle(&mut consumer).await;
}

pub(super) async fn a_released_message_is_redelivered_alone(fixture: &QueueFixture) {
    let mut consumer = fixture.work_consumer();
    let full = publish_as_one_batch(fixture, &mut consumer, &["one", "two", "three"]).await;
    fixture.publish(&["before"]).await;
    wait_until_delivered_or_ready(fixture, 1).await;
    assert_eq!(settle_all(full, Disposition::Release).await.released, 3);
    wait_until_delivered_or_ready(fixture, 4).await;
    fixture.publish(&["after"]).await;
    wait_until_delivered_or_ready(fixture, 5).await;
    let mut seen = Vec::new();
    while seen.len() < 5 {
        let again = next_batch(&mut consumer).await;
        let names = bodies(again.deliveries());
        let redelivered = again.deliveries().iter().any(|d| d.redelivered);
        assert!(names.len() == 1 || !redelivered, "a redelivered message is alone in its batch: {names:?}");
        assert_eq!(redelivered, !matches!(names[0].as_str(), "before" | "after"), "{names:?}");
        assert!(again.deliveries().iter().all(|d| d.attempt == 0), "returning does not count as an attempt");
        seen.extend(names);
        settle_all(again, Disposition::Ack).await;
    }
    seen.sort();
    assert_eq!(seen, ["after", "before", "one", "three", "two"]);
    assert_idle(&mut consumer).await;
}

pub(super) async fn pause_returns_unsettled_deliveries_and_consuming_resumes(fixture: &QueueFixture) {
    fixture.publish(&["one", "two", "three"]).await;
    let mut consumer = fixture.work_consumer();
    let unsettled = next_batch(&mut consumer).await;
    let count = unsettled.deliveries().len();
    consumer.pause().await;
    assert!(!consumer.is_consuming());
    eventually("all three are ready again", WAIT_TIMEOUT, async || {
        (fixture.queue.depth().await.unwrap().ready == 3).then_some(())
    })
    .await;
    let settled = settle_all(unsettled, Disposition::Ack).await;
    assert_eq!((settled.acked, settled.lost), (0, count), "returned deliveries can no longer be settled");
    let mut seen = drain(&mut consumer, 3).await;
    seen.sort();
    assert_eq!(seen, ["one", "three", "two"]);
    assert_idle(&mut consumer).await;
}

pub(super) async fn messages_of_a_dropped_batch_are_redelivered_one_by_one(fixture: &QueueFixture) {
    fixture.publish(&["one", "two"]).await;
    wait_until_ready(fixture, 2).await;
    let mut consumer = fixture.work_consumer();
    let mut dropped = next_batch(&mut consumer).await.deliveries().len();
    drop(consumer);
    let mut consumer = fixture.work_consumer();
    let mut seen = BTreeSet::new();
    while seen.len() < 2 {
        let batch = next_batch(&mut consumer).await;
        for delivery in batch.deliveries() {
            if delivery.redelivered {
                assert_eq!(batch.deliveries().len(), 1);
                dropped = dropped.saturating_sub(1);
            }
        }
        seen.extend(bodies(batch.deliveries()));
        settle_all(batch, Disposition::Ack).await;
    }
    assert_eq!(dropped, 0, "every dropped message was redelivered, with the flag");
    assert_idle(&mut consumer).await;
}

pub(super) async fn a_message_that_is_never_settled_becomes_a_dead_letter(fixture: &QueueFixture) {
    fixture.publish(&["poison"]).await;
    let mut consumer = fixture.work_consumer();
    // A limit of 3 allows 4 deliveries.
    for before in 0..4 {
        let dropped = next_batch(&mut consumer).await;
        assert_eq!(dropped.deliveries()[0].redelivered, before > 0);
    }
    assert_idle(&mut consumer).await;
    let mut dead = fixture.dead_letter_consumer();
    let letter = next_batch(&mut dead).await;
    let delivery = &letter.deliveries()[0];
    assert_eq!(bodies(letter.deliveries()), ["poison"]);
    assert_eq!(delivery.message.headers[header::REASON], "delivery_limit");
    assert!(!delivery.message.headers[header::ERROR].is_empty());
    assert_eq!(delivery.message.routing_key, "appointment.created");
    assert!(delivery.message.headers.keys().all(|name| !name.contains("death")));
    let id = delivery.message.headers[header::DEAD_ID].clone();
    drop(letter);
    let again = next_batch(&mut dead).await;
    assert_eq!(
        again.deliveries()[0].message.headers[header::DEAD_ID],
        id,
        "the id of a dead letter does not change"
    );
    settle_all(again, Disposition::Ack).await;
}
