//! Kills a process by SIGKILL at a named point (`src/runtime/crash_points.rs`): the next process
//! completes the work, and every effect happens once.

use std::os::unix::process::ExitStatusExt as _;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Backend, GatewayShape, Ledger, Mix, Process, Stack, Stream, is_full};

/// The kind of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Traffic {
    /// Events that can be decided immediately.
    Normal,
    /// Events whose appointments are missing at first, so that they are retried.
    Retries,
    /// Events that become dead letters.
    Dead,
}

use Backend::{MariaDb, Postgres, Sqlite};
use Traffic::{Dead, Normal, Retries};

const EVENTS: u32 = 40;

/// The points of a worker's pipelines, in the order in which they are passed.
const PIPELINE: [&str; 9] = [
    "received",
    "decoded",
    "loaded",
    "before_commit",
    "after_commit",
    "before_confirm",
    "after_confirm",
    "before_ack",
    "after_ack",
];

/// The points of the recorder, which handles only dead letters.
const RECORDER: [&str; 5] = [
    "recorder_received",
    "recorder_before_commit",
    "recorder_after_commit",
    "recorder_before_ack",
    "recorder_after_ack",
];

/// The combinations of every test run; the whole matrix needs [`is_full`].
const REPRESENTATIVE: [(Backend, Traffic, &str); 11] = [
    (MariaDb, Normal, "received"),
    (MariaDb, Normal, "after_commit"),
    (MariaDb, Retries, "before_confirm"),
    (MariaDb, Retries, "after_confirm"),
    (MariaDb, Dead, "after_confirm"),
    (MariaDb, Dead, "recorder_after_commit"),
    (Postgres, Normal, "before_commit"),
    (Postgres, Dead, "recorder_before_ack"),
    (Sqlite, Normal, "after_commit"),
    (Sqlite, Retries, "before_ack"),
    (Sqlite, Dead, "recorder_after_commit"),
];

/// Returns whether a worker passes this point with these events. An event that is decided immediately has
/// no copy to publish; and the embedded queue writes a copy and removes its original in one transaction,
/// which is the acknowledgement.
fn is_passed(backend: Backend, traffic: Traffic, point: &str) -> bool {
    let publishes = traffic != Normal && backend != Sqlite;
    let records = traffic == Dead;
    (publishes || !point.ends_with("_confirm")) && (records || !point.starts_with("recorder_"))
}

async fn matrix(backend: Backend) {
    let mut count = 0;
    for traffic in [Normal, Retries, Dead] {
        for point in PIPELINE.into_iter().chain(RECORDER) {
            let wanted = is_full() || REPRESENTATIVE.contains(&(backend, traffic, point));
            if wanted && is_passed(backend, traffic, point) {
                kill_worker_at(backend, traffic, point).await;
                count += 1;
            }
        }
    }
    let representative = REPRESENTATIVE.iter().filter(|(of, ..)| *of == backend).count();
    let expected = if is_full() { if backend == Sqlite { 26 } else { 30 } } else { representative };
    assert_eq!(count, expected, "the number of combinations that were tested");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_dies_at_any_point_loses_nothing_on_mariadb() {
    matrix(MariaDb).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_dies_at_any_point_loses_nothing_on_postgresql() {
    matrix(Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_dies_at_any_point_loses_nothing_on_sqlite_with_the_embedded_queue() {
    matrix(Sqlite).await;
}

/// Kills a worker at this point, lets another worker complete the work, and checks the ledger.
async fn kill_worker_at(backend: Backend, traffic: Traffic, point: &str) {
    let mut stack = Stack::new(backend, GatewayShape::Roadmap).await;
    // More batches than pipelines, so that some are settled and some in progress when the worker dies.
    stack.set("worker.batch_size", "10");
    let stream = Stream::new(EVENTS, if traffic == Dead { Mix::Dead } else { Mix::Decidable });
    stream.insert_salons(&stack.world).await;
    if traffic != Retries {
        stream.insert_appointments(&stack.world).await;
    }
    let kind = match traffic {
        Normal => "decided at once",
        Retries => "retried",
        Dead => "dead letters",
    };
    let mut ledger = Ledger::open(&format!("worker killed at `{point}`, {kind}"), &stack).await;
    ledger.publish(&stack, &stream.events).await;

    // The recorder may get everything in its first batch.
    let passage = if RECORDER.contains(&point) { 1 } else { 2 };
    let mut worker = start_with_crash_point(&stack, &["serve", "worker"], point, passage);
    assert_crashed_at(&mut worker, point).await;
    stack.wait_until_requeued().await;

    if traffic == Retries {
        stream.insert_appointments(&stack.world).await;
    }
    stack.drain().await;
    ledger.close(&stack).await;
    stream.assert_done(&stack).await;
}

fn start_with_crash_point(stack: &Stack, arguments: &[&str], point: &str, passage: u32) -> Process {
    let mut command = stack.command(arguments);
    command.env("HOSTMATCH_CRASH_AT", format!("{point}:{passage}"));
    stack.launch(command)
}

async fn assert_crashed_at(process: &mut Process, point: &str) {
    let end = process.wait().await;
    assert_eq!(end.signal(), Some(9), "the process must be killed at {point}: {end} {}", process.stderr());
    assert_eq!(process.log_lines("crashing here, as requested")[0]["point"], point);
}

/// A lease on the embedded queue ends soon after its process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_worker_soon_decides_what_a_killed_one_had_leased() {
    let stack = Stack::new(Sqlite, GatewayShape::Roadmap).await;
    let stream = Stream::new(20, Mix::Decidable);
    stream.insert_all(&stack.world).await;
    let mut ledger = Ledger::open("worker killed, its leases end by themselves", &stack).await;
    ledger.publish(&stack, &stream.events).await;
    let mut worker = start_with_crash_point(&stack, &["serve", "worker"], "loaded", 1);
    assert_crashed_at(&mut worker, "loaded").await;
    let killed = Instant::now();
    let mut worker = stack.launch(stack.command(&["serve", "worker"]));
    stack.wait_until_decided(stream.len()).await;
    assert!(killed.elapsed() < Duration::from_secs(20), "after {:?}", killed.elapsed());
    assert_eq!(worker.stop().await, Some(0), "{}", worker.stderr());
    ledger.close(&stack).await;
    stream.assert_done(&stack).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_that_dies_loses_no_event_that_it_had_accepted() {
    for point in ["before_confirm", "after_confirm"] {
        kill_edge_at(MariaDb, point).await;
        if is_full() {
            kill_edge_at(Sqlite, point).await;
        }
    }
}

/// Kills an edge while events are posted to it; senders that get no response send again.
async fn kill_edge_at(backend: Backend, point: &str) {
    let mut stack = Stack::new(backend, GatewayShape::Roadmap).await;
    stack.set("edge.allow_unsigned", "true");
    // Crashes with a spool have their own tests (edge/spool_crashes.rs).
    stack.set("edge.spool", "");
    let stream = Stream::new(EVENTS, Mix::All);
    stream.insert_all(&stack.world).await;
    let mut ledger = Ledger::open(&format!("edge killed at `{point}`, senders repeat"), &stack).await;
    // The edge does not queue events that cannot change anything.
    let events: Vec<Value> =
        stream.events.iter().filter(|event| event["event"].is_string()).cloned().collect();

    let mut edge = start_with_crash_point(&stack, &["serve", "edge", "--listen", "127.0.0.1:0"], point, 20);
    let line = edge.wait_for_log("the edge is listening").await;
    let refused = ledger.post(line["address"].as_str().unwrap(), &events).await;
    assert_crashed_at(&mut edge, point).await;
    assert_eq!(refused.len(), events.len() - 19, "the edge must be killed at the twentieth event");

    let (mut edge, base) = stack.edge("edge").await;
    let refused = ledger.post(base.trim_start_matches("http://"), &refused).await;
    assert!(refused.is_empty(), "{refused:?}");
    assert_eq!(edge.stop().await, Some(0), "{}", edge.stderr());
    stack.drain().await;
    ledger.close(&stack).await;
}
