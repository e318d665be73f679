//! Tests the topology on a broker: it is created or verified, and errors describe what is wrong with it.

use std::time::Duration;

use hostmatch::config::{QueueConfig, Topology};
use hostmatch::queue::{Disposition, Message, Queue, QueueError, topology};
use lapin::options::{QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};

use super::rig::{
    Rig, SHORT_DELAY, WAIT_TIMEOUT, all, batch, bodies, clean, config, connect, drain, message, retry,
};
use crate::support::{amqp_url, eventually};

#[tokio::test]
async fn a_queue_with_other_arguments_is_named_with_its_argument() {
    let first = Rig::amqp().await;
    first.queue.depth().await.unwrap();
    let other = QueueConfig { delivery_limit: 9, ..first.config.clone() };
    let error = Queue::open(&other).await.unwrap().depth().await.unwrap_err().to_string();
    assert!(error.contains("x-delivery-limit"), "{error}");
    assert!(error.contains(&format!("{}.bookings", other.prefix)), "{error}");
    assert!(error.contains("queue.prefix"), "the error has a remedy: {error}");
}

#[tokio::test]
async fn a_wrong_password_and_a_missing_virtual_host_are_named() {
    let url = amqp_url();
    let wrong = url.replacen("guest:guest", "guest:wrong", 1);
    let error = Queue::open(&config(&wrong)).await.unwrap().depth().await.unwrap_err().to_string();
    assert!(error.contains("queue.url") && error.contains("password"), "{error}");
    let nowhere = format!("{}/no-such-host", url.trim_end_matches('/'));
    let error = Queue::open(&config(&nowhere)).await.unwrap().depth().await.unwrap_err().to_string();
    assert!(error.contains("virtual host"), "{error}");
    let away = config("amqp://guest:guest@127.0.0.1:1");
    let away = QueueConfig { connect_timeout: Duration::from_millis(500), ..away };
    let error = Queue::open(&away).await.unwrap().depth().await.unwrap_err().to_string();
    assert!(error.contains("127.0.0.1:1"), "{error}");
}

#[tokio::test]
async fn a_url_of_another_kind_is_an_error_that_hides_the_password() {
    let error = Queue::open(&config("redis://u:hidden@localhost")).await.map(|_| ()).unwrap_err();
    assert!(matches!(error, QueueError::Url(_)));
    assert!(!error.to_string().contains("hidden"), "{error}");
}

#[tokio::test]
async fn verify_creates_nothing_and_names_what_is_missing() {
    let verify = QueueConfig { topology: Topology::Verify, ..config(&amqp_url()) };
    let error = Queue::open(&verify).await.unwrap().depth().await.unwrap_err().to_string();
    assert!(error.contains(&format!("{}.events", verify.prefix)), "{error}");
    let made = Rig::open(QueueConfig { topology: Topology::Declare, ..verify.clone() }, amqp_url()).await;
    made.queue.depth().await.unwrap();
    let verified = Queue::open(&verify).await.unwrap();
    verified.depth().await.unwrap();
    verified.publisher().publish(vec![message("seen")]).await.unwrap();
    assert_eq!(drain(&mut made.work(), 1).await, ["seen"]);
}

#[tokio::test]
async fn the_topology_is_the_contract() {
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
        "dead letters go nowhere else"
    );
    let wait = |ms| topology.wait_queue(Duration::from_millis(ms)).to_owned();
    assert_eq!(wait(300), format!("{p}.bookings.retry.300"));
    assert_eq!(wait(301), format!("{p}.bookings.retry.600"));
    assert_eq!(wait(9000), format!("{p}.bookings.retry.600"), "the longest delay");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unroutable_message_is_refused_unless_a_new_connection_creates_the_queue() {
    let rig = Rig::amqp().await;
    rig.publish(&["bound"]).await;
    let config = &rig.config;
    let connection = connect(config.url.expose()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let (queue, exchange) = (format!("{}.bookings", config.prefix), format!("{}.events", config.prefix));
    channel.queue_unbind(queue.into(), exchange.into(), "#".into(), FieldTable::default()).await.unwrap();
    let verifying = QueueConfig { topology: Topology::Verify, ..config.clone() };
    let verifying = Queue::open(&verifying).await.unwrap();
    let error = verifying.publisher().publish(vec![message("lost"), message("too")]).await.unwrap_err();
    assert!(error.to_string().contains("no queue receives"), "{error}");
    verifying.close().await;
    // A user who may create what is missing does so, and publishes again without help.
    rig.publish(&["one", "two"]).await;
    let seen = drain(&mut rig.work(), 3).await;
    assert_eq!(seen, ["bound", "one", "two"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_unroutable_messages_are_published_again_not_those_a_full_queue_refused() {
    let rig = Rig::amqp().await;
    rig.queue.depth().await.unwrap();
    let config = &rig.config;
    let connection = connect(config.url.expose()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let name = |last: &str| format!("{}.{last}", config.prefix);
    let (work, exchange) = (name("bookings"), name("events"));
    channel
        .queue_unbind(work.into(), exchange.clone().into(), "#".into(), FieldTable::default())
        .await
        .unwrap();
    // Both queues get a copy, but one is full, so the broker refuses the message.
    let mut full = FieldTable::default();
    full.insert("x-max-length".into(), AMQPValue::LongInt(0));
    full.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
    let mine = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    for (queue, arguments) in [(name("full"), full), (name("beside"), FieldTable::default())] {
        channel.queue_declare(queue.clone().into(), mine, arguments).await.unwrap();
        let (to, key) = (exchange.clone().into(), "both".into());
        channel
            .queue_bind(queue.into(), to, key, QueueBindOptions::default(), FieldTable::default())
            .await
            .unwrap();
    }
    let verifying = QueueConfig { topology: Topology::Verify, ..config.clone() };
    let verifying = Queue::open(&verifying).await.unwrap();
    let keyed = |key: &str| Message { routing_key: key.to_owned(), ..message(key) };
    let error = verifying.publisher().publish(vec![keyed("both"), keyed("nowhere")]).await.unwrap_err();
    assert!(error.to_string().contains("full"), "{error}");
    let passive_only = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let copies = eventually("a copy has arrived", WAIT_TIMEOUT, async || {
        let beside =
            channel.queue_declare(name("beside").into(), passive_only, FieldTable::default()).await.unwrap();
        Some(beside.message_count()).filter(|count| *count > 0)
    })
    .await;
    assert_eq!(copies, 1);
    verifying.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_deleted_under_the_consumer_is_created_and_consumed_again() {
    let rig = Rig::amqp().await;
    let mut consumer = rig.work();
    rig.publish(&["before"]).await;
    assert_eq!(drain(&mut consumer, 1).await, ["before"]);
    let connection = connect(rig.config.url.expose()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let queue = format!("{}.bookings", rig.config.prefix);
    channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
    let consuming = tokio::spawn(async move { drain(&mut consumer, 1).await });
    let publisher = rig.queue.publisher();
    eventually("published after the queue was created again", WAIT_TIMEOUT, async || {
        publisher.publish(vec![message("after")]).await.ok()
    })
    .await;
    assert_eq!(tokio::time::timeout(WAIT_TIMEOUT, consuming).await.unwrap().unwrap(), ["after"]);
}

#[tokio::test]
async fn arguments_of_a_queue_created_by_hand_are_not_overwritten() {
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
async fn a_message_with_an_unroutable_copy_is_not_acknowledged() {
    let rig = Rig::amqp().await;
    rig.publish(&["precious"]).await;
    let mut consumer = rig.work();
    let in_hand = batch(&mut consumer).await;
    let connection = connect(rig.config.url.expose()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let wait = format!("{}.bookings.retry.{}", rig.config.prefix, SHORT_DELAY.as_millis());
    channel.queue_delete(wait.into(), QueueDeleteOptions::default()).await.unwrap();
    // The copy is refused at first; then the wait queue is created again and accepts it.
    let settled = tokio::time::timeout(WAIT_TIMEOUT, all(in_hand, retry(SHORT_DELAY))).await.unwrap();
    assert_eq!(settled.retried, 1, "{settled:?}");
    let again = batch(&mut consumer).await;
    assert_eq!((bodies(again.deliveries()), again.deliveries()[0].attempt), (vec!["precious".to_owned()], 1));
    all(again, Disposition::Ack).await;
}
