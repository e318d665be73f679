//! Tests full disks: the file of an SQLite database, or of the embedded queue, cannot grow.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{
    Backend, GatewayShape, Ledger, Mix, Process, Stack, Stream, World, eventually, http_client,
};

/// How long an edge may take to be ready again once its disk has room.
const READY_TIMEOUT: Duration = Duration::from_secs(20);

/// The gateway's SQLite file cannot grow: the current batch waits until it can.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_under_sqlite_loses_nothing() {
    let world = World::new(Backend::Sqlite, GatewayShape::Roadmap).await;
    let mut stack = Stack::on(world, Some(crate::support::amqp_url())).await;
    stack.set("worker.batch_size", "25");
    let stream = Stream::new(300, Mix::Decidable);
    stream.insert_all(&stack.world).await;
    let mut ledger = Ledger::open("disk full", &stack).await;
    ledger.publish(&stack, &stream.events).await;
    let mut worker = stack.start_through(with_file_size_limit(), &["serve", "worker"]);
    worker.wait_for_log("the database cannot be used: holding the batch without counting an attempt").await;
    lift_file_size_limit(&worker);
    stack.wait_until_decided(stream.len()).await;
    stack.wait_until_idle().await;
    assert_eq!(worker.stop().await, Some(0), "{}", worker.stderr());
    stack.drain().await;
    ledger.close(&stack).await;
    stream.assert_done(&stack).await;
}

/// Returns a command that runs its arguments with a limit of 128 KiB per file: for SQLite that is a full
/// disk. (The limit is in blocks of 512 bytes. The shell ignores the signal that would end the process, and
/// the program inherits this setting.)
fn with_file_size_limit() -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' XFSZ; ulimit -S -f 256; exec \"$0\" \"$@\""]);
    shell
}

fn lift_file_size_limit(process: &Process) {
    let status =
        Command::new("prlimit").args(["--fsize=unlimited", "--pid", &process.id().to_string()]).status();
    assert!(status.unwrap().success(), "prlimit failed");
}

/// The file of the embedded queue cannot grow: the edge responds with 2xx only to events that it has
/// written, and the worker gets no message until the file can grow.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_under_the_embedded_queue_loses_nothing() {
    let world = World::new(Backend::Postgres, GatewayShape::Roadmap).await;
    let mut stack = Stack::on(world, None).await;
    stack.set("edge.allow_unsigned", "true");
    let stream = Stream::new(600, Mix::Decidable);
    stream.insert_all(&stack.world).await;
    let mut ledger = Ledger::open("disk of the embedded queue full", &stack).await;
    let mut edge = stack.start_through(with_file_size_limit(), &["serve", "edge", "--listen", "127.0.0.1:0"]);
    let address = edge.wait_for_log("the edge is listening").await["address"].as_str().unwrap().to_owned();
    let events: Vec<Value> =
        stream.events.iter().filter(|event| event["event"].is_string()).cloned().collect();
    let refused = ledger.post(&address, &events).await;
    assert!(refused.len() > 10 && refused.len() < events.len(), "{} refused", refused.len());
    for message in ["posted events were not accepted", "request failed"] {
        ledger.assert_at_most(&format!("log lines \"{message}\""), edge.log_lines(message).len(), 3, "");
    }
    let client = http_client();
    let ready = async || client.get(format!("http://{address}/health/ready")).send().await.unwrap();
    let not_ready = ready().await;
    assert_eq!(not_ready.status(), 503);
    assert!(not_ready.text().await.unwrap().contains("the queue file cannot be written"));
    lift_file_size_limit(&edge);
    let freed = Instant::now();
    eventually("the edge is ready without a post", READY_TIMEOUT, async || {
        (ready().await.status() == 200).then_some(())
    })
    .await;
    ledger.assert_within("until ready again without a post", freed.elapsed(), READY_TIMEOUT);
    let refused = ledger.post(&address, &refused).await;
    assert!(
        refused.is_empty(),
        "the edge must accept events when its file can grow again: {}",
        edge.stderr()
    );
    assert_eq!(edge.stop().await, Some(0), "{}", edge.stderr());

    let mut worker = stack.start_through(with_file_size_limit(), &["serve", "worker"]);
    worker.wait_for_log("no messages can be read; trying again").await;
    lift_file_size_limit(&worker);
    stack.wait_until_idle().await;
    assert_eq!(worker.stop().await, Some(0), "{}", worker.stderr());
    stack.drain().await;
    ledger.close(&stack).await;
}
