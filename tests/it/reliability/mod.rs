//! Nothing is lost and nothing happens twice: real processes are harmed, and afterwards it is
//! counted from outside what became of every event (`support/ledger.rs`).
//!
//! A representative part of each scenario runs with every test run, all of it with
//! `HOSTMATCH_TEST_FULL=1`. `scripts/reliability` runs all and makes the table in
//! `docs/reliability.md`.

mod broken_builds;
mod journeys;

use crate::support::{Ledger, Process, Stack, Stream};

mod bounds;
mod confirms;
#[cfg(feature = "crash-points")]
mod crashes;
mod databases;
mod disks;
mod edge_line;
mod floods;
mod proxies;
mod servers;
mod soaking;

/// Waits until everything is done, ends the worker, and counts: everything was done, once.
async fn end(stack: Stack, stream: Stream, ledger: Ledger, mut worker: Process) {
    stack.until_decided(stream.len()).await;
    stack.until_idle().await;
    assert_eq!(worker.stop().await, Some(0), "{}", worker.stderr());
    stack.drain().await;
    counted(stack, stream, ledger).await;
}

/// Nobody works any more: everything was done, once.
async fn counted(stack: Stack, stream: Stream, ledger: Ledger) {
    ledger.close(&stack).await;
    stream.assert_done(&stack).await;
}

/// The crash tests need `cargo test --features crash-points`, as `scripts/test` does it.
#[cfg(not(feature = "crash-points"))]
#[tokio::test]
async fn the_crash_tests_are_left_out_and_in_this_build_the_variable_means_nothing() {
    use crate::support::{Backend, GatewayShape, Stack};
    let stack = Stack::new(Backend::Sqlite, GatewayShape::Roadmap).await;
    stack.publish(&[serde_json::json!("not an event")]).await;
    let mut command = stack.command(&["serve", "worker", "--until-empty", "--output", "json"]);
    command.env("HOSTMATCH_CRASH_AT", "received:1");
    let mut worker = stack.launch(command);
    assert_eq!(worker.end().await.code(), Some(0), "{}", worker.stderr());
    assert_eq!(worker.report()["counts"]["dead_letter"], 1);
}
