//! Tests how a worker ends: it is stopped by a signal, is killed, or ends because its queue is empty.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sea_orm::ConnectionTrait as _;
use serde_json::Value;

use crate::support::{Backend, GatewayShape, Ledger, Mix, Process, Stack, Stream, eventually, is_full};

const WAIT_TIMEOUT: Duration = Duration::from_secs(60);

/// Returns the number of deliveries that the worker has finished, from its last log line.
fn finished_deliveries(worker: &Process) -> u64 {
    let counts = worker.log_lines("the worker has stopped").remove(0)["counts"].as_str().unwrap().to_owned();
    let counts: BTreeMap<String, u64> = serde_json::from_str(&counts).unwrap();
    counts
        .iter()
        .filter(|(name, _)| !["retry", "recorded_dead_letter"].contains(&name.as_str()))
        .map(|(_, n)| n)
        .sum()
}

async fn stop_under_full_load(backend: Backend) {
    let mut stack = Stack::new(backend, GatewayShape::Roadmap).await;
    stack.set("worker.shutdown_timeout", "20s");
    let stream = Stream::new(if is_full() { 5_000 } else { 1_000 }, Mix::All);
    stream.insert_all(&stack.world).await;
    let mut ledger = Ledger::open("SIGTERM under full load", &stack).await;
    let mut worker = stack.worker().await;
    let stopping = async {
        stack.wait_until_decided(100).await;
        let signalled = Instant::now();
        assert_eq!(worker.stop().await, Some(0), "{}", worker.stderr());
        assert!(signalled.elapsed() < Duration::from_secs(20), "{:?}", signalled.elapsed());
    };
    tokio::join!(ledger.publish(&stack, &stream.events), stopping);
    stack.wait_until_requeued().await;
    let depth = stack.queue.depth().await.unwrap();
    assert!(depth.ready > 0, "the worker must stop while messages are waiting: {depth:?}");

    let report = stack.drain().await;
    let finished = finished_deliveries(&worker) + report["finished"].as_u64().unwrap();
    assert_eq!(finished, stream.events.len() as u64, "no finished event may be delivered again: {report}");
    ledger.close(&stack).await;
    stream.assert_done(&stack).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_stopped_under_load_finishes_its_events_and_another_does_the_rest() {
    stop_under_full_load(Backend::MariaDb).await;
    if is_full() {
        stop_under_full_load(Backend::Postgres).await;
        stop_under_full_load(Backend::Sqlite).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_events_is_drained_and_the_worker_ends_by_itself() {
    let stack = Stack::new(Backend::Sqlite, GatewayShape::Live).await;
    let stream = Stream::new(400, Mix::All);
    stream.insert_all(&stack.world).await;
    // `publish` would refuse or omit some of them, so another publisher sends them.
    stack.publish(&stream.events).await;
    let report = stack.drain().await;
    assert_eq!(report["finished"], stream.events.len(), "{report}");
    assert_eq!(report["counts"]["dead_letter"], report["counts"]["recorded_dead_letter"], "{report}");
    stream.assert_done(&stack).await;
}

/// Starts a worker that holds all events and is blocked by a lock in the middle of its transactions.
async fn start_blocked_worker(stack: &Stack, events: usize) -> Process {
    let worker = stack.worker().await;
    eventually("the worker holds all events", WAIT_TIMEOUT, async || {
        (stack.queue.depth().await.unwrap().ready == 0).then_some(())
    })
    .await;
    assert_eq!(stack.decided().await, 0, "none of the {events} events may be decided yet");
    worker
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_acknowledged_before_its_commit() {
    for signal in ["SIGKILL", "SIGTERM"] {
        let mut stack = Stack::new(Backend::MariaDb, GatewayShape::Roadmap).await;
        stack.set("worker.shutdown_timeout", "1s");
        // No more events than two consumers prefetch at first.
        let stream = Stream::new(25, Mix::Decidable);
        stream.insert_all(&stack.world).await;
        let has_host = |event: &Value| {
            let hosts = event["calcom_booking"]["hosts"].as_array();
            event["event"] == "appointment.created" && hosts.is_some_and(|hosts| !hosts.is_empty())
        };
        let (blocked, free): (Vec<Value>, Vec<Value>) = stream.events.iter().cloned().partition(has_host);
        let count = blocked.len();
        let mut ledger =
            Ledger::open(&format!("{signal} while no transaction can be committed"), &stack).await;
        ledger.publish(&stack, &blocked).await;

        // Another transaction has locked the same new hosts and does not end: this is the only lock for
        // which a worker waits in the middle of a transaction.
        let lock = stack.world.test.db.begin().await.unwrap();
        let hosts: Vec<String> =
            Stream::hosts().map(|(company, host)| format!("({company}, {host})")).collect();
        let hosts =
            format!("INSERT INTO hostmatch_host_locks (company_id, host_id) VALUES {}", hosts.join(", "));
        lock.execute_unprepared(&hosts).await.unwrap();
        let mut worker = start_blocked_worker(&stack, count).await;
        if signal == "SIGKILL" {
            worker.kill().await;
        } else {
            let signalled = Instant::now();
            assert_eq!(worker.stop().await, Some(0), "{}", worker.stderr());
            assert!(signalled.elapsed() < Duration::from_secs(15), "{:?}", signalled.elapsed());
        }
        eventually(&format!("all events are requeued after {signal}"), WAIT_TIMEOUT, async || {
            (stack.queue.depth().await.unwrap().ready == count as u64).then_some(())
        })
        .await;
        lock.rollback().await.unwrap();

        ledger.publish(&stack, &free).await;
        let report = stack.drain().await;
        assert_eq!(report["finished"], stream.events.len(), "{report}");
        ledger.close(&stack).await;
        stream.assert_done(&stack).await;
    }
}
