//! Tests the dispositions of a delivery: it is retried, dead-lettered, returned or dropped.

use std::collections::BTreeSet;
use std::time::Instant;

use hostmatch::queue::{BatchLimits, Disposition, Message, Settled, Source, header};

use super::super::rig::{
    LONG_DELAY, Rig, SHORT_DELAY, WAIT_TIMEOUT, all, assert_idle, batch, bodies, delivered_or_ready, drain,
    full_batch, headers, message, retry, settled_in,
};
use crate::support::eventually;

pub(super) async fn retries_return_unchanged_after_their_delay(rig: &Rig) {
    let sent = Message { headers: headers(&[("traceparent", "00-1-2-01")]), ..message("again") };
    rig.queue.publisher().publish(vec![sent.clone()]).await.unwrap();
    let mut consumer = rig.work();
    let mut first_seen = None;
    let mut earliest = Instant::now();
    // The message passes through both wait queues and back, more than once: a broker that detects a cycle
    // must not drop it.
    for (attempt, delay) in (0_u32..).zip([SHORT_DELAY, LONG_DELAY, LONG_DELAY, SHORT_DELAY]) {
        let batch = batch(&mut consumer).await;
        assert!(Instant::now() >= earliest, "attempt {attempt} arrived too early");
        let delivery = batch.deliveries()[0].clone();
        assert_eq!(delivery.attempt, attempt);
        assert!(!delivery.redelivered, "a retry is no redelivery");
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
        let note = headers(&[(header::HISTORY, &history(attempt))]);
        let disposition = Disposition::Retry { after: delay, counts: true, headers: note };
        let settled = batch.settle(vec![disposition]).await.unwrap();
        assert_eq!((settled.retried, settled.acked), (1, 0));
    }
    let last = batch(&mut consumer).await;
    assert_eq!(last.deliveries()[0].attempt, 4);
    // A deferred message is delivered again, and that does not count as an attempt.
    all(last, Disposition::Retry { after: SHORT_DELAY, counts: false, headers: headers(&[]) }).await;
    let last = batch(&mut consumer).await;
    assert_eq!(last.deliveries()[0].attempt, 4);
    all(last, Disposition::Ack).await;
    assert_idle(&mut consumer).await;
}

pub(super) async fn a_retry_queues_behind_waiting_messages(rig: &Rig) {
    rig.publish(&["old"]).await;
    let mut consumer = rig.queue.consumer(Source::Bookings, BatchLimits { size: 1, bytes: 1000 });
    all(batch(&mut consumer).await, retry(LONG_DELAY)).await;
    rig.publish(&["fresh"]).await;
    consumer.pause().await;
    settled_in(rig, 2).await;
    assert_eq!(drain(&mut consumer, 2).await, ["fresh", "old"]);
}

pub(super) async fn a_dead_letter_arrives_with_its_reason(rig: &Rig) {
    let sent = Message { headers: headers(&[("traceparent", "00-1-2-01")]), ..message("\u{0}poison") };
    rig.queue.publisher().publish(vec![sent.clone()]).await.unwrap();
    let marks = headers(&[(header::REASON, "malformed"), (header::ERROR, "no booking in it")]);
    let settled = all(batch(&mut rig.work()).await, Disposition::DeadLetter { headers: marks }).await;
    assert_eq!(settled.dead, 1);
    let mut dead = rig.dead();
    let first = batch(&mut dead).await;
    let letter = first.deliveries()[0].clone();
    assert_eq!(letter.message.body, sent.body);
    assert_eq!(letter.message.routing_key, sent.routing_key);
    assert_eq!(letter.message.headers[header::REASON], "malformed");
    assert_eq!(letter.message.headers[header::ERROR], "no booking in it");
    assert_eq!(letter.message.headers["traceparent"], "00-1-2-01");
    assert_eq!(letter.attempt, 1, "the attempt that failed is counted");
    let id = letter.message.headers[header::DEAD_ID].clone();
    assert!(uuid::Uuid::parse_str(&id).is_ok(), "{id}");
    // A dead letter stays however often it is delivered: the delivery limit does not apply to it.
    drop(first);
    for _ in 0..6 {
        let again = batch(&mut dead).await;
        assert_eq!(
            again.deliveries()[0].message.headers[header::DEAD_ID],
            id,
            "the same letter, the same id"
        );
    }
    drain(&mut dead, 1).await;
    assert_idle(&mut rig.work()).await;
}

pub(super) async fn each_delivery_of_a_batch_gets_its_own_disposition(rig: &Rig) {
    let mut consumer = rig.work();
    let full =
        full_batch(rig, &mut consumer, &["release", "ack", "retry", "dead", "acked", "forgotten"]).await;
    let dispositions = vec![
        Disposition::Release,
        Disposition::Ack,
        retry(SHORT_DELAY),
        Disposition::DeadLetter { headers: headers(&[(header::REASON, "why")]) },
        Disposition::Ack,
    ];
    let mut settled = full.settle(dispositions).await.unwrap();
    settled.gone.sort_unstable();
    let gone = vec![1, 2, 3, 4];
    assert_eq!(settled, Settled { acked: 2, retried: 1, dead: 1, released: 2, lost: 0, gone });
    let mut again = drain(&mut consumer, 3).await;
    again.sort();
    assert_eq!(again, ["forgotten", "release", "retry"]);
    assert_eq!(drain(&mut rig.dead(), 1).await, ["dead"]);
    assert_idle(&mut consumer).await;
}

pub(super) async fn a_released_message_is_redelivered_alone(rig: &Rig) {
    let mut consumer = rig.work();
    let full = full_batch(rig, &mut consumer, &["one", "two", "three"]).await;
    rig.publish(&["before"]).await;
    delivered_or_ready(rig, 1).await;
    assert_eq!(all(full, Disposition::Release).await.released, 3);
    delivered_or_ready(rig, 4).await;
    rig.publish(&["after"]).await;
    delivered_or_ready(rig, 5).await;
    let mut seen = Vec::new();
    while seen.len() < 5 {
        let again = batch(&mut consumer).await;
        let names = bodies(again.deliveries());
        let redelivered = again.deliveries().iter().any(|d| d.redelivered);
        assert!(names.len() == 1 || !redelivered, "a redelivered message is alone in its batch: {names:?}");
        assert_eq!(redelivered, !matches!(names[0].as_str(), "before" | "after"), "{names:?}");
        assert!(again.deliveries().iter().all(|d| d.attempt == 0), "returning is no attempt");
        seen.extend(names);
        all(again, Disposition::Ack).await;
    }
    seen.sort();
    assert_eq!(seen, ["after", "before", "one", "three", "two"]);
    assert_idle(&mut consumer).await;
}

pub(super) async fn pause_returns_everything_and_consuming_continues(rig: &Rig) {
    rig.publish(&["one", "two", "three"]).await;
    let mut consumer = rig.work();
    let in_hand = batch(&mut consumer).await;
    let count = in_hand.deliveries().len();
    consumer.pause().await;
    assert!(!consumer.is_consuming());
    eventually("all three are ready again", WAIT_TIMEOUT, async || {
        (rig.queue.depth().await.unwrap().ready == 3).then_some(())
    })
    .await;
    let settled = all(in_hand, Disposition::Ack).await;
    assert_eq!((settled.acked, settled.lost), (0, count), "returned deliveries are no longer ours");
    let mut seen = drain(&mut consumer, 3).await;
    seen.sort();
    assert_eq!(seen, ["one", "three", "two"]);
    assert_idle(&mut consumer).await;
}

pub(super) async fn a_dropped_batch_is_redelivered_flagged_and_alone(rig: &Rig) {
    rig.publish(&["one", "two"]).await;
    settled_in(rig, 2).await;
    let mut consumer = rig.work();
    let mut dropped = batch(&mut consumer).await.deliveries().len();
    drop(consumer);
    let mut consumer = rig.work();
    let mut seen = BTreeSet::new();
    while seen.len() < 2 {
        let batch = batch(&mut consumer).await;
        for delivery in batch.deliveries() {
            if delivery.redelivered {
                assert_eq!(batch.deliveries().len(), 1);
                dropped = dropped.saturating_sub(1);
            }
        }
        seen.extend(bodies(batch.deliveries()));
        all(batch, Disposition::Ack).await;
    }
    assert_eq!(dropped, 0, "every dropped message was delivered again, flagged");
    assert_idle(&mut consumer).await;
}

pub(super) async fn a_message_that_is_never_settled_becomes_a_dead_letter(rig: &Rig) {
    rig.publish(&["poison"]).await;
    let mut consumer = rig.work();
    // A limit of 3 allows 4 deliveries.
    for before in 0..4 {
        let dropped = batch(&mut consumer).await;
        assert_eq!(dropped.deliveries()[0].redelivered, before > 0);
    }
    assert_idle(&mut consumer).await;
    let mut dead = rig.dead();
    let letter = batch(&mut dead).await;
    let delivery = &letter.deliveries()[0];
    assert_eq!(bodies(letter.deliveries()), ["poison"]);
    assert_eq!(delivery.message.headers[header::REASON], "delivery_limit");
    assert!(!delivery.message.headers[header::ERROR].is_empty());
    assert_eq!(delivery.message.routing_key, "appointment.created");
    assert!(delivery.message.headers.keys().all(|name| !name.contains("death")));
    let id = delivery.message.headers[header::DEAD_ID].clone();
    drop(letter);
    let again = batch(&mut dead).await;
    assert_eq!(again.deliveries()[0].message.headers[header::DEAD_ID], id, "the same letter, the same id");
    all(again, Disposition::Ack).await;
}
