//! Tests the topology on a broker: it is created or verified, and errors describe what differs.

use std::time::Duration;

use hostmatch::config::{QueueConfig, Topology};
use hostmatch::queue::{Disposition, Message, Queue, QueueError, topology};
use lapin::options::{QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};

use super::fixture::{
    QueueFixture, SHORT_DELAY, WAIT_TIMEOUT, bodies, clean, config, connect, drain, message, next_batch,
    retry, settle_all,
};
use crate::support::{amqp_url, eventually};

#[tokio::test]
async fn a_different_argument_is_reported_with_its_queue() {
    let first = QueueFixture::amqp().await;
    first.queue.depth().await.unwrap();
    let other = QueueConfig { delivery_limit: 9, ..first.config.clone() };
    let error = Queue::open(&other).await.unwrap().depth().await.unwrap_err().to_string();
    assert!(error.contains("x-delivery-limit"), "{error}");
    assert!(error.contains(&format!("{}.bookings", other.prefix)), "{error}");
    assert!(error.contains("queue.prefix"), "the error suggests a solution: {error}");
}

#[tokio::test]
async fn a_connection_error_names_its_cause() {
    let url = amqp_url();
    let wrong_password = url.replacen("guest:guest", "guest:wrong", 1);
    let error = Queue::open(&config(&wrong_password)).await.unwrap().depth().await.unwrap_err().to_string();
    assert!(error.contains("queue.url") && error.contains("password"), "{error}");
    let missing_host = format!("{}/no-such-host", url.trim_end_matches('/'));
    let error = Queue::open(&config(&missing_host)).await.unwrap().depth().await.unwrap_err().to_string();
    assert!(error.contains("virtual host"), "{error}");
    let unreachable = config("amqp://guest:guest@127.0.0.1:1");
    let unreachable = QueueConfig { connect_timeout: Duration::from_millis(500), ..unreachable };
    let error = Queue::open(&unreachable).await.unwrap().depth().await.unwrap_err().to_string();
    assert!(error.contains("127.0.0.1:1"), "{error}");
}

#[tokio::test]
async fn an_unsupported_scheme_is_refused_without_showing_the_password() {
    let error = Queue::open(&config("redis://u:hidden@localhost")).await.map(|_| ()).unwrap_err();
    assert!(matches!(error, QueueError::Config(_)));
    assert!(!error.to_string().contains("hidden"), "{error}");
}

#[tokio::test]
async fn verify_creates_nothing_and_reports_a_missing_object() {
    let verify = QueueConfig { topology: Topology::Verify, ..config(&amqp_url()) };
    let error = Queue::open(&verify).await.unwrap().depth().await.unwrap_err().to_string();
    assert!(error.contains(&format!("{}.events", verify.prefix)), "{error}");
    let fixture =
        QueueFixture::open(QueueConfig { topology: Topology::Declare, ..verify.clone() }, amqp_url()).await;
    fixture.queue.depth().await.unwrap();
    let verified = Queue::open(&verify).await.unwrap();
    verified.depth().await.unwrap();
    verified.publisher().publish(vec![message("seen")]).await.unwrap();
    assert_eq!(drain(&mut fixture.work_consumer(), 1).await, ["seen"]);
}

#[tokio::test]
async fn the_topology_has_the_documented_names_and_arguments() {
    let config = config("amqp://localhost");
    let (p, topology) = (&config.prefix, topology::Topology::new(&config).unwrap());
    let names: Vec<_> = topology.queues.iter().map(|queue| queue.name.clone()).collect();
    let expected = ["dead", "bookings", "bookings.retry.300", "bookings.retry.600"];
    assert_eq!(names, expected.map(|name| format!("{p}.{name}")));
    assert_eq!(topology.exchange, format!("{p}.events"));
    let arguments: Vec<_> = topology.queues[2].arguments.keys().copied().collect();
    let expected = [
        "x-dead-letter-exchange",
        "x-dead-letter-routing-key",
        "x-dead-letter-strategy",
        "x-message-ttl",
        "x-overflow",
        "x-queue-type",
    ];
    assert_eq!(arguments, expected);
    assert!(
        !topology.queues[0].arguments.contains_key("x-dead-letter-exchange"),
        "the dead-letter queue has no dead-letter target itself"
    );
    let wait = |ms| topology.wait_queue(Duration::from_millis(ms)).to_owned();
    assert_eq!(wait(300), format!("{p}.bookings.retry.300"));
    assert_eq!(wait(301), format!("{p}.bookings.retry.600"));
    assert_eq!(wait(9000), format!("{p}.bookings.retry.600"), "a longer delay uses the longest wait queue");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unroutable_message_is_refused_unless_a_new_connection_restores_the_binding() {
    let fixture = QueueFixture::amqp().await;
    fixture.publish(&["bound"]).await;
    let config = &fixture.config;
    let connection = connect(config.url.expose()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let (queue, exchange) = (format!("{}.bookings", config.prefix), format!("{}.events", config.prefix));
    channel.queue_unbind(queue.into(), exchange.into(), "#".into(), FieldTable::default()).await.unwrap();
    let verifying = QueueConfig { topology: Topology::Verify, ..config.clone() };
    let verifying = Queue::open(&verifying).await.unwrap();
    let error = verifying.publisher().publish(vec![message("one"), message("two")]).await.unwrap_err();
    assert!(error.to_string().contains("routes the message to no queue"), "{error}");
    verifying.close().await;
    // With `declare`, the binding is restored and the messages are published again.
    fixture.publish(&["one", "two"]).await;
    let seen = drain(&mut fixture.work_consumer(), 3).await;
    assert_eq!(seen, ["bound", "one", "two"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_a_full_queue_refused_is_not_published_again() {
    let fixture = QueueFixture::amqp().await;
    fixture.queue.depth().await.unwrap();
    let config = &fixture.config;
    let connection = connect(config.url.expose()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let name = |last: &str| format!("{}.{last}", config.prefix);
    let (work, exchange) = (name("bookings"), name("events"));
    channel
        .queue_unbind(work.into(), exchange.clone().into(), "#".into(), FieldTable::default())
        .await
        .unwrap();
    // Both queues are bound, but one is full, so the broker refuses the message.
    let mut full = FieldTable::default();
    full.insert("x-max-length".into(), AMQPValue::LongInt(0));
    full.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
    let exclusive = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    for (queue, arguments) in [(name("full"), full), (name("other"), FieldTable::default())] {
        channel.queue_declare(queue.clone().into(), exclusive, arguments).await.unwrap();
        let (exchange, key) = (exchange.clone().into(), "both".into());
        channel
            .queue_bind(queue.into(), exchange, key, QueueBindOptions::default(), FieldTable::default())
            .await
            .unwrap();
    }
    let verifying = QueueConfig { topology: Topology::Verify, ..config.clone() };
    let verifying = Queue::open(&verifying).await.unwrap();
    let keyed = |key: &str| Message { routing_key: key.to_owned(), ..message(key) };
    let error = verifying.publisher().publish(vec![keyed("both"), keyed("unroutable")]).await.unwrap_err();
    assert!(error.to_string().contains("full"), "{error}");
    let passive_only = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let copies = eventually("a copy has arrived", WAIT_TIMEOUT, async || {
        let other =
            channel.queue_declare(name("other").into(), passive_only, FieldTable::default()).await.unwrap();
        Some(other.message_count()).filter(|count| *count > 0)
    })
    .await;
    assert_eq!(copies, 1);
    verifying.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_deleted_while_consuming_is_recreated_and_consumed() {
    let fixture = QueueFixture::amqp().await;
    let mut consumer = fixture.work_consumer();
    fixture.publish(&["before"]).await;
    assert_eq!(drain(&mut consumer, 1).await, ["before"]);
    let connection = connect(fixture.config.url.expose()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let queue = format!("{}.bookings", fixture.config.prefix);
    channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
    let consuming = tokio::spawn(async move { drain(&mut consumer, 1).await });
    let publisher = fixture.queue.publisher();
    eventually("published after the queue was created again", WAIT_TIMEOUT, async || {
        publisher.publish(vec![message("after")]).await.ok()
    })
    .await;
    assert_eq!(tokio::time::timeout(WAIT_TIMEOUT, consuming).await.unwrap().unwrap(), ["after"]);
}

#[tokio::test]
async fn a_manually_created_queue_with_other_arguments_is_reported() {
    let config = config(&amqp_url());
    let connection = connect(config.url.expose()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let name = format!("{}.dead", config.prefix);
    let durable = QueueDeclareOptions::durable();
    channel.queue_declare(name.as_str().into(), durable, FieldTable::default()).await.unwrap();
    let error = Queue::open(&config).await.unwrap().depth().await.unwrap_err().to_string();
    assert!(error.contains("x-queue-type") && error.contains(&name), "{error}");
    clean(&config).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_to_a_deleted_queue_is_published_again_once_the_queue_is_recreated() {
    let fixture = QueueFixture::amqp().await;
    fixture.publish(&["precious"]).await;
    let mut consumer = fixture.work_consumer();
    let unsettled = next_batch(&mut consumer).await;
    let connection = connect(fixture.config.url.expose()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let wait = format!("{}.bookings.retry.{}", fixture.config.prefix, SHORT_DELAY.as_millis());
    channel.queue_delete(wait.into(), QueueDeleteOptions::default()).await.unwrap();
    // The copy is refused at first; then the wait queue is created again and accepts it.
    let settled =
        tokio::time::timeout(WAIT_TIMEOUT, settle_all(unsettled, retry(SHORT_DELAY))).await.unwrap();
    assert_eq!(settled.retried, 1, "{settled:?}");
    let again = next_batch(&mut consumer).await;
    assert_eq!((bodies(again.deliveries()), again.deliveries()[0].attempt), (vec!["precious".to_owned()], 1));
    settle_all(again, Disposition::Ack).await;
}
