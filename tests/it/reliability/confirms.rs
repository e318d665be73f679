//! A copy that the broker has not confirmed is no copy: its original stays.

use lapin::options::QueueDeleteOptions;

use crate::support::traces::connect;
use crate::support::{Backend, GatewayShape, Ledger, Mix, Stack, Stream};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retries_wait_while_there_is_no_queue_for_them() {
    let stack = Stack::new(Backend::Postgres, GatewayShape::Roadmap).await;
    let stream = Stream::new(200, Mix::Decidable);
    stream.open_salons(&stack.world).await;
    let mut ledger = Ledger::open("wait queues deleted, all events retried", &stack).await;
    let mut worker = stack.worker().await;
    // Declared by the worker, empty as yet, and gone: the broker gives back what is published there.
    let connection = connect(stack.config.url.expose()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    for delay in &stack.config.retry_delays {
        let name = format!("{}.bookings.retry.{}", stack.config.prefix, delay.as_millis());
        let deleted = channel.queue_delete(name.as_str().into(), QueueDeleteOptions::default()).await;
        assert_eq!(deleted.unwrap(), 0, "{name} was empty");
    }
    connection.close(200, "bye".into()).await.unwrap();

    ledger.publish(&stack, &stream.events).await;
    worker.says("an event is tried again later").await;
    stream.open_appointments(&stack.world).await;
    stack.until_idle().await;
    assert_eq!(worker.stop().await, Some(0), "{}", worker.stderr());
    stack.drain().await;
    ledger.close(&stack).await;
    stream.assert_done(&stack).await;
}
