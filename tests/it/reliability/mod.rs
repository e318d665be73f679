//! Nothing is lost and nothing happens twice: faults hit real processes, and afterwards the test counts
//! what happened to every event, from outside (`support/ledger.rs`).
//!
//! A representative part of each scenario runs with every test run, all of it with `HOSTMATCH_TEST_FULL=1`.
//! `scripts/reliability` runs everything and creates the table in `docs/reliability.md`.

mod broken_builds;
mod journeys;

use crate::support::{Ledger, Process, Stack, Stream};

mod bounds;
mod confirms;
#[cfg(feature = "crash-points")]
mod crashes;
mod databases;
mod disks;
mod edge_connection;
mod edge_memory;
mod floods;
mod foreign_headers;
mod packets;
mod proxies;
mod servers;
mod slow_clients;
mod soaking;

/// Waits until everything is done, stops the worker, and checks that everything was done once.
async fn stop_and_check(stack: Stack, stream: Stream, ledger: Ledger, mut worker: Process) {
    stack.wait_until_decided(stream.len()).await;
    stack.wait_until_idle().await;
    assert_eq!(worker.stop().await, Some(0), "{}", worker.stderr());
    stack.drain().await;
    assert_done_once(stack, stream, ledger).await;
}

/// Checks that everything was done once. Call it when no worker is running.
async fn assert_done_once(stack: Stack, stream: Stream, ledger: Ledger) {
    ledger.close(&stack).await;
    stream.assert_done(&stack).await;
}

/// The crash tests need `cargo test --features crash-points`, as `scripts/test` runs it.
#[cfg(not(feature = "crash-points"))]
#[tokio::test]
async fn without_crash_points_the_variable_has_no_effect() {
    use crate::support::{Backend, GatewayShape, Stack};
    let stack = Stack::new(Backend::Sqlite, GatewayShape::Roadmap).await;
    stack.publish(&[serde_json::json!("not an event")]).await;
    let mut command = stack.command(&["serve", "worker", "--until-empty", "--output", "json"]);
    command.env("HOSTMATCH_CRASH_AT", "received:1");
    let mut worker = stack.launch(command);
    assert_eq!(worker.stop_and_check().await.code(), Some(0), "{}", worker.stderr());
    assert_eq!(worker.report()["counts"]["dead_letter"], 1);
}
