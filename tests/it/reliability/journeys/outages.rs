//! The broker and the database become unreachable in the middle of a run: the worker recovers by itself, and
//! an outage, however long, loses nothing and dead-letters nothing.

use crate::support::broker::Broker;
use crate::support::{Backend, GatewayShape, Ledger, Mix, Server, Stack, Stream, World};

/// More connections than these tests need.
const CONNECTIONS: u32 = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_broker_loses_nothing() {
    // If RabbitMQ is not installed, there is nothing to restart.
    let Some(mut broker) = Broker::prepare() else { return };
    broker.run().await;
    let world = World::new(Backend::Postgres, GatewayShape::Live).await;
    let stack = Stack::on(world, Some(broker.url())).await;
    let stream = Stream::new(500, Mix::Decidable);
    stream.insert_all(&stack.world).await;
    let mut ledger = Ledger::open("broker restarted", &stack).await;
    let mut worker = stack.worker().await;
    let (first, second) = stream.events.split_at(stream.events.len() / 2);
    let disturbance = async {
        stack.wait_until_decided(100).await;
        broker.stop().await;
        broker.run().await;
    };
    tokio::join!(ledger.publish(&stack, first), disturbance);
    ledger.publish(&stack, second).await;
    stack.wait_until_decided(stream.len()).await;
    stack.wait_until_idle().await;
    assert_eq!(worker.stop().await, Some(0), "{}", worker.stderr());
    assert!(
        worker.log_lines("connected to the broker").len() > 1,
        "the worker must lose its connection to the broker: {}",
        worker.stderr()
    );
    ledger.close(&stack).await;
    stream.assert_done(&stack).await;
}

on_engines!(a_restarted_database_loses_nothing: mariadb, postgres);
async fn a_restarted_database_loses_nothing(backend: Backend) {
    // If the server is not installed, there is nothing to restart.
    let Some(server) = Server::start(backend, CONNECTIONS).await else { return };
    restart_during_run(server).await;
}

async fn restart_during_run(mut server: Server) {
    let stack = server.create_stack().await;
    let stream = Stream::new(1_000, Mix::Decidable);
    stream.insert_all(&stack.world).await;
    let mut ledger = Ledger::open("database restarted, and killed", &stack).await;
    let mut worker = stack.worker().await;
    let disturbance = async {
        stack.wait_until_decided(200).await;
        server.stop().await;
        server.restart().await;
        stack.wait_until_decided(600).await;
        server.kill().await;
        server.restart().await;
    };
    tokio::join!(ledger.publish(&stack, &stream.events), disturbance);
    stack.wait_until_decided(stream.len()).await;
    stack.wait_until_idle().await;
    assert_eq!(worker.stop().await, Some(0), "{}", worker.stderr());
    let held = worker.log_lines("the database cannot be used: holding the batch without counting an attempt");
    assert!(!held.is_empty(), "the worker must notice the outage: {}", worker.stderr());
    ledger.close(&stack).await;
    stream.assert_done(&stack).await;
}

on_engines!(an_outage_longer_than_the_hold_returns_everything_and_counts_no_attempt: mariadb, postgres);
async fn an_outage_longer_than_the_hold_returns_everything_and_counts_no_attempt(backend: Backend) {
    let Some(server) = Server::start(backend, CONNECTIONS).await else { return };
    outage_longer_than_the_hold(server).await;
}

async fn outage_longer_than_the_hold(mut server: Server) {
    let mut stack = server.create_stack().await;
    stack.set("worker.hold", "1s");
    // Small batches, so that the outage begins while events are waiting.
    stack.set("worker.batch_size", "10");
    let stream = Stream::new(2_000, Mix::Decidable);
    stream.insert_all(&stack.world).await;
    let mut ledger = Ledger::open("database unreachable for longer than `worker.hold`", &stack).await;
    let (before, during_outage) = stream.events.split_at(stream.events.len() - 100);
    ledger.publish(&stack, before).await;
    let mut worker = stack.start(&["serve", "worker", "--until-empty", "--output", "json"]);
    stack.wait_until_decided(100).await;
    server.kill().await;
    ledger.publish(&stack, during_outage).await;
    stack.wait_until_no_consumer("bookings").await;
    assert!(stack.queue.depth().await.unwrap().ready > 0, "the outage must begin while events are waiting");
    assert!(worker.is_running(), "{}", worker.stderr());
    server.restart().await;
    assert_eq!(worker.wait().await.code(), Some(0), "{}", worker.stderr());
    assert!(!worker.log_lines("the database can be used again").is_empty(), "{}", worker.stderr());
    let counts = &worker.report()["counts"];
    assert!(counts["retry"].is_null() && counts["dead_letter"].is_null(), "{counts}");
    ledger.close(&stack).await;
    stream.assert_done(&stack).await;
}
