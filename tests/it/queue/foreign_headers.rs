//! Tests headers that another publisher sends on RabbitMQ: hostmatch's own names, and more than fits.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use hostmatch::event::{Envelope, decode};
use hostmatch::queue::{Delivery, Disposition, header};
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldArray, FieldTable};

use super::fixture::{
    QueueFixture, SHORT_DELAY, WAIT_TIMEOUT, bodies, headers, next_batch, retry, settle_all, wait_until_ready,
};
use crate::support::amqp_url;
use crate::support::foreign::{ForeignPublisher, with_headers};

/// A header that nearly fills a frame, in bytes.
const LARGE: usize = 130_900;

/// Every header that hostmatch sets, one that it does not know, and one in other letters.
const FORGED: [(&str, &str); 17] = [
    ("x-hostmatch-attempt", "7"),
    ("x-hostmatch-first-seen", "1"),
    ("x-hostmatch-type", "appointment.cancelled"),
    ("x-hostmatch-reason", "poison"),
    ("x-hostmatch-error", "Mara Roe"),
    ("x-hostmatch-dead-id", "f81d4fae-7dec-11d0-a765-00a0c91e6bf6"),
    ("x-hostmatch-history", "[]"),
    ("x-hostmatch-publisher", "calcom"),
    ("x-hostmatch-replay", "f81d4fae-7dec-11d0-a765-00a0c91e6bf6"),
    ("x-hostmatch-replay-letter", "1"),
    ("x-hostmatch-replay-count", "1"),
    ("x-hostmatch-replay-by", "cli:root"),
    ("x-hostmatch-replay-reason", "why"),
    ("x-hostmatch-routing-key", "appointment.cancelled"),
    ("x-hostmatch-cut", "1"),
    ("x-hostmatch-of-the-future", "1"),
    ("X-Hostmatch-Attempt", "8"),
];

/// Publishes to the exchange of this queue, as another program.
async fn publish(fixture: &QueueFixture, body: &str, properties: BasicProperties) {
    // The queue's own connection creates the exchange.
    fixture.queue.depth().await.unwrap();
    let publisher = ForeignPublisher::connect(&amqp_url()).await;
    let exchange = format!("{}.events", fixture.config.prefix);
    publisher.publish(&exchange, "appointment.created", body.as_bytes(), properties).await;
}

/// Publishes to a queue by name, as another program or an earlier version of hostmatch.
async fn publish_to(fixture: &QueueFixture, queue: &str, body: &str, properties: BasicProperties) {
    fixture.queue.depth().await.unwrap();
    let publisher = ForeignPublisher::connect(&amqp_url()).await;
    let name = format!("{}.{queue}", fixture.config.prefix);
    publisher.publish("", &name, body.as_bytes(), properties).await;
}

fn own_headers(delivery: &Delivery) -> Vec<&str> {
    let names = delivery.message.headers.keys().map(String::as_str);
    names.filter(|name| name.to_ascii_lowercase().starts_with("x-hostmatch-")).collect()
}

fn assert_unproven(delivery: &Delivery) {
    assert_eq!(own_headers(delivery), Vec::<&str>::new());
    assert_eq!(delivery.attempt, 0);
    let age = time::OffsetDateTime::now_utc().unix_timestamp() * 1000 - delivery.first_seen_ms;
    assert!(age.abs() < 60_000, "first seen {age} ms ago");
    assert_eq!(delivery.message.routing_key, "appointment.created");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn none_of_our_headers_counts_when_a_publisher_sends_it() {
    let fixture = QueueFixture::amqp().await;
    let mut consumer = fixture.work_consumer();
    for mac in [None, Some(""), Some("v1=00"), Some(&*format!("v1={}", "0".repeat(64)))] {
        let traced = [("traceparent", "00-1-2-01"), ("x-note", "n")];
        let mac = mac.map(|mac| ("x-hostmatch-mac", mac));
        let sent: Vec<_> = FORGED.into_iter().chain(traced).chain(mac).collect();
        publish(&fixture, "forged", with_headers(&sent)).await;
        let batch = next_batch(&mut consumer).await;
        let delivery = &batch.deliveries()[0];
        assert_unproven(delivery);
        assert_eq!(delivery.message.headers, headers(&traced), "other headers are kept");
        settle_all(batch, Disposition::Ack).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_of_a_message_do_not_count_for_another_message() {
    let fixture = QueueFixture::amqp().await;
    fixture.publish(&["original"]).await;
    let mut consumer = fixture.work_consumer();
    settle_all(next_batch(&mut consumer).await, retry(SHORT_DELAY)).await;
    let batch = next_batch(&mut consumer).await;
    assert_eq!(batch.deliveries()[0].attempt, 1);
    settle_all(batch, Disposition::Release).await;
    consumer.pause().await;
    wait_until_ready(&fixture, 1).await;
    // Somebody who can read the queue copies the headers as they are.
    let connection = crate::support::cleanup::connect(&amqp_url()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let queue = format!("{}.bookings", fixture.config.prefix);
    let got = channel.basic_get(queue.as_str().into(), Default::default()).await.unwrap().unwrap();
    let table = got.properties.headers().clone().unwrap();
    got.acker.ack(Default::default()).await.unwrap();
    let copied = BasicProperties::default().with_headers(table.clone());
    publish_to(&fixture, "bookings", "original", copied).await;
    let batch = next_batch(&mut consumer).await;
    assert_eq!(batch.deliveries()[0].attempt, 1, "the same message again");
    settle_all(batch, Disposition::Ack).await;
    let changed = |name: &str, value: &str| {
        let mut table = table.clone();
        table.insert(name.into(), AMQPValue::LongString(value.into()));
        BasicProperties::default().with_headers(table)
    };
    for (body, properties) in [
        ("another", BasicProperties::default().with_headers(table.clone())),
        ("original", changed("x-hostmatch-attempt", "0")),
        ("original", changed("x-hostmatch-dead-id", "f81d4fae-7dec-11d0-a765-00a0c91e6bf6")),
    ] {
        publish_to(&fixture, "bookings", body, properties).await;
        let batch = next_batch(&mut consumer).await;
        assert_unproven(&batch.deliveries()[0]);
        settle_all(batch, Disposition::Ack).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_messages_with_one_dead_letter_id_become_one_letter_each() {
    let fixture = QueueFixture::amqp().await;
    let (mut consumer, mut dead) = (fixture.work_consumer(), fixture.dead_letter_consumer());
    let mut ids = BTreeSet::new();
    for body in ["one", "two", "three"] {
        publish(&fixture, body, with_headers(&FORGED)).await;
        let reason = headers(&[(header::REASON, "malformed")]);
        settle_all(next_batch(&mut consumer).await, Disposition::DeadLetter { headers: reason }).await;
        let letter = next_batch(&mut dead).await;
        let delivery = &letter.deliveries()[0];
        assert_eq!(bodies(letter.deliveries()), [body]);
        assert_eq!((&*delivery.message.headers[header::REASON], delivery.attempt), ("malformed", 1));
        ids.insert(delivery.message.headers[header::DEAD_ID].clone());
        settle_all(letter, Disposition::Ack).await;
    }
    assert_eq!(ids.len(), 3, "{ids:?}");
}

/// Messages of the version before have no proof. A retry of it has the name of the work queue as its routing key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retries_of_an_earlier_version_start_again_with_their_routing_key() {
    let fixture = QueueFixture::amqp().await;
    let old = [("x-hostmatch-attempt", "3"), ("x-hostmatch-routing-key", "appointment.created")];
    publish_to(&fixture, "bookings", "old retry", with_headers(&old)).await;
    let mut consumer = fixture.work_consumer();
    let batch = next_batch(&mut consumer).await;
    let delivery = &batch.deliveries()[0];
    assert_eq!((delivery.attempt, &*delivery.message.routing_key), (0, "appointment.created"));
    settle_all(batch, Disposition::Ack).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_without_proof_are_kept_one_by_one_with_a_reason_that_says_so() {
    let fixture = QueueFixture::amqp().await;
    let mut ids = BTreeSet::new();
    let mut dead = fixture.dead_letter_consumer();
    let old = [
        ("x-hostmatch-dead-id", "f81d4fae-7dec-11d0-a765-00a0c91e6bf6"),
        ("x-hostmatch-reason", "appointment_not_found"),
        ("x-hostmatch-error", "Mara Roe"),
        ("x-hostmatch-attempt", "4"),
        ("x-hostmatch-routing-key", "appointment.created"),
    ];
    for body in ["one", "two"] {
        publish_to(&fixture, "dead", body, with_headers(&old)).await;
        let letter = next_batch(&mut dead).await;
        let delivery = letter.deliveries()[0].clone();
        let own = |name: &str| delivery.message.headers[name].clone();
        assert_eq!(
            (own(header::REASON), &*delivery.message.routing_key),
            ("unverified".into(), "appointment.created")
        );
        let error = own(header::ERROR);
        assert!(error.contains("appointment_not_found") && !error.contains("Mara"), "{error}");
        ids.insert(own(header::DEAD_ID));
        drop(letter);
        let again = next_batch(&mut dead).await;
        assert!(
            ids.contains(&again.deliveries()[0].message.headers[header::DEAD_ID]),
            "the id does not change"
        );
        settle_all(again, Disposition::Ack).await;
    }
    assert_eq!(ids.len(), 2);
    // A publisher can write `x-death`, but only the broker's own reasons count.
    let mut death = FieldTable::default();
    let text = |text: &str| AMQPValue::LongString(text.into());
    death.insert("queue".into(), text(&format!("{}.bookings", fixture.config.prefix)));
    death.insert("reason".into(), text("assigned"));
    let mut table = FieldTable::default();
    table.insert(
        "x-death".into(),
        AMQPValue::FieldArray(FieldArray::from(vec![AMQPValue::FieldTable(death)])),
    );
    publish_to(&fixture, "dead", "claims a death", BasicProperties::default().with_headers(table)).await;
    let letter = next_batch(&mut dead).await;
    assert_eq!(letter.deliveries()[0].message.headers[header::REASON], "unverified");
    settle_all(letter, Disposition::Ack).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_delivery_limit_is_the_reason_whatever_reason_the_publisher_sent() {
    let fixture = QueueFixture::amqp().await;
    publish(&fixture, "poison", with_headers(&FORGED)).await;
    let mut consumer = fixture.work_consumer();
    // The delivery limit is 3.
    for _ in 0..4 {
        drop(next_batch(&mut consumer).await);
    }
    let letter = next_batch(&mut fixture.dead_letter_consumer()).await;
    let delivery = &letter.deliveries()[0];
    assert_eq!(delivery.message.headers[header::REASON], "delivery_limit");
    assert_ne!(delivery.message.headers[header::DEAD_ID], "f81d4fae-7dec-11d0-a765-00a0c91e6bf6");
    assert_eq!(delivery.message.routing_key, "appointment.created");
    settle_all(letter, Disposition::Ack).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_of_messages_with_headers_that_fill_a_frame_are_published_at_once() {
    let fixture = QueueFixture::amqp().await;
    let (mut consumer, mut dead) = (fixture.work_consumer(), fixture.dead_letter_consumer());
    let large = "h".repeat(LARGE);
    for name in ["x-hostmatch-foo", "x-note"] {
        for disposition in [retry(SHORT_DELAY), Disposition::DeadLetter { headers: headers(&[]) }] {
            publish(&fixture, name, with_headers(&[(name, &large), ("x-small", "s")])).await;
            let started = Instant::now();
            let settled = settle_all(next_batch(&mut consumer).await, disposition.clone());
            let settled = tokio::time::timeout(WAIT_TIMEOUT, settled).await;
            let settled = settled.expect("the copy is published");
            assert_eq!(settled.retried + settled.dead, 1, "{name} {disposition:?}: {settled:?}");
            assert!(started.elapsed() < Duration::from_secs(10), "{name}: {:?}", started.elapsed());
            let source = if settled.dead == 1 { &mut dead } else { &mut consumer };
            let batch = next_batch(source).await;
            let kept = &batch.deliveries()[0].message.headers;
            assert_eq!((kept.get(name), &*kept["x-small"]), (None, "s"));
            let dropped = (name == "x-note").then_some("1");
            assert_eq!(kept.get("x-hostmatch-dropped-headers").map(String::as_str), dropped);
            settle_all(batch, Disposition::Ack).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compressed_body_is_reported_as_such_at_each_attempt() {
    let fixture = QueueFixture::amqp().await;
    let mut consumer = fixture.work_consumer();
    let read = |delivery: &Delivery| {
        let message = &delivery.message;
        decode(&Envelope {
            headers: &message.headers,
            ..Envelope::new(&message.body, delivery.first_seen_ms)
        })
    };
    // Without its property a deflated body is only one that is not JSON.
    let encoded = |encoding: &str| BasicProperties::default().with_content_encoding(encoding.into());
    publish(&fixture, "\u{5}", encoded("deflate")).await;
    for disposition in [retry(SHORT_DELAY), Disposition::Ack] {
        let batch = next_batch(&mut consumer).await;
        let error = read(&batch.deliveries()[0]).unwrap_err().to_string();
        assert!(error.contains("compressed (deflate)") && error.contains("without compression"), "{error}");
        settle_all(batch, disposition).await;
    }
    // Some libraries name the character set here, or keep the name of an encoding that a proxy has removed.
    let event = r#"{"event": "appointment.created", "calcom_booking": {"uid": "u1"}}"#;
    for encoding in ["utf-8", "gzip"] {
        publish(&fixture, event, encoded(encoding)).await;
        let batch = next_batch(&mut consumer).await;
        assert!(read(&batch.deliveries()[0]).is_ok(), "{encoding}");
        settle_all(batch, Disposition::Ack).await;
    }
}

/// The broker adds headers of its own to a message that it delivers again, or that it dead-letters.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_whose_headers_leave_no_room_in_a_frame_can_be_delivered_again() {
    // Too large at the second delivery, and (the delivery limit is 3) as a dead letter.
    for (size, deliveries) in [(131_030, 1), (130_960, 4)] {
        let fixture = QueueFixture::amqp().await;
        let (mut consumer, mut dead) = (fixture.work_consumer(), fixture.dead_letter_consumer());
        publish(&fixture, "full", with_headers(&[("x-note", &"h".repeat(size))])).await;
        for _ in 0..deliveries {
            drop(next_batch(&mut consumer).await);
        }
        fixture.publish(&["usual"]).await;
        let full = next_batch(if deliveries > 3 { &mut dead } else { &mut consumer }).await;
        assert_eq!(bodies(full.deliveries())[0], "full", "{size}");
        settle_all(full, Disposition::Ack).await;
    }
}
