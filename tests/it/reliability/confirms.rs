//! Tests that the original of a message stays in the queue until the broker has confirmed its copy.

use lapin::options::QueueDeleteOptions;
use serde_json::json;

use crate::support::cleanup::connect;
use crate::support::{Backend, GatewayShape, Ledger, Mix, Process, Stack, Stream, eventually};

/// Starts a worker and deletes its wait queues, so that its retries are returned as unroutable at first.
async fn start_without_wait_queues(stack: &Stack, ledger: &mut Ledger) -> Process {
    eventually("the broker responds", std::time::Duration::from_secs(60), async || {
        stack.queue.depth().await.ok()
    })
    .await;
    let worker = stack.worker().await;
    // The first dead letter opens the publishing connection, which declares all missing queues.
    ledger.publish(stack, &[json!("not an event")]).await;
    eventually("the dead letter is recorded", std::time::Duration::from_secs(60), async || {
        (stack.world.count("hostmatch_dead_letters").await == 1).then_some(())
    })
    .await;
    let connection = connect(stack.config.url.expose()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    for delay in &stack.config.retry_delays {
        let name = format!("{}.bookings.retry.{}", stack.config.prefix, delay.as_millis());
        let deleted = channel.queue_delete(name.as_str().into(), QueueDeleteOptions::default()).await;
        assert_eq!(deleted.unwrap(), 0, "{name} must be empty");
    }
    connection.close(200, "bye".into()).await.unwrap();
    worker
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retries_wait_until_a_queue_accepts_them() {
    let stack = Stack::new(Backend::Postgres, GatewayShape::Roadmap).await;
    let stream = Stream::new(200, Mix::Decidable);
    stream.insert_salons(&stack.world).await;
    let mut ledger = Ledger::open("wait queues deleted, all events retried", &stack).await;
    let mut worker = start_without_wait_queues(&stack, &mut ledger).await;
    ledger.publish(&stack, &stream.events).await;
    stream.insert_appointments(&stack.world).await;
    stack.wait_until_decided(stream.len()).await;
    stack.wait_until_idle().await;
    assert_eq!(worker.stop().await, Some(0), "{}", worker.stderr());
    stack.drain().await;
    ledger.close(&stack).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_dies_while_its_retries_wait_has_acknowledged_none() {
    let mut stack = Stack::new(Backend::MariaDb, GatewayShape::Roadmap).await;
    let stream = Stream::new(200, Mix::Decidable);
    stream.insert_salons(&stack.world).await;
    let name = "wait queues deleted, worker killed while its retries wait";
    let mut ledger = Ledger::open(name, &stack).await;
    // With `verify` the worker declares no queue: its retries wait as long as it lives.
    stack.set("queue.topology", "verify");
    let mut worker = start_without_wait_queues(&stack, &mut ledger).await;
    ledger.publish(&stack, &stream.events).await;
    worker.wait_for_log("retries and dead letters wait for the broker").await;
    worker.kill().await;
    stack.wait_until_requeued().await;
    stream.insert_appointments(&stack.world).await;
    stack.set("queue.topology", "declare");
    stack.drain().await;
    ledger.close(&stack).await;
}
