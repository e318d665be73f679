//! Tests that the memory of a worker is bounded, for any number and any size of waiting messages.

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use serde_json::{Value, json};

use crate::support::report::{self, Row};
use crate::support::{Backend, GatewayShape, Ledger, Mix, Process, Stack, Stream, eventually, is_full};

pub(super) const MIB: usize = 1 << 20;

/// Returns the peak memory of this process, in bytes.
pub(super) fn peak_memory(process: &Process) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<usize>().unwrap() * 1024
}

/// Returns these events, each with this many more bytes.
fn with_padding(events: &[Value], bytes: usize) -> Vec<Value> {
    let mut events = events.to_vec();
    for event in &mut events {
        let container = if event["calcom_booking"].is_object() { "calcom_booking" } else { "payload" };
        event[container]["padding"] = json!("x".repeat(bytes));
    }
    events
}

/// Returns the peak memory of a worker that starts with these events waiting.
async fn peak_with_bodies_of(bytes: usize) -> usize {
    let mut stack = Stack::new(Backend::Postgres, GatewayShape::Roadmap).await;
    stack.set("queue.prefetch", "400");
    stack.set("worker.batch_bytes", "1MiB");
    let stream = Stream::new(150, Mix::Decidable);
    stream.insert_all(&stack.world).await;
    let mut ledger = Ledger::open(&format!("bodies of {} KiB", bytes / 1024), &stack).await;
    for events in with_padding(&stream.events, bytes).chunks(10) {
        ledger.publish(&stack, events).await;
    }
    let mut worker = stack.worker().await;
    stack.wait_until_decided(stream.len()).await;
    stack.wait_until_idle().await;
    let peak_bytes = peak_memory(&worker);
    assert_eq!(worker.stop().await, Some(0), "{}", worker.stderr());
    stack.drain().await;
    ledger.close(&stack).await;
    peak_bytes
}

/// `docs/delivery.md`, "Memory", has the formula: each of 2 pipelines holds 2 batches of 1 MiB or one
/// larger body, and processes one of them, which takes a few times as much. Without the limit 150 MiB would
/// be delivered at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_bodies_take_no_more_memory_than_a_few_batches() {
    let (small, large) = (peak_with_bodies_of(100).await, peak_with_bodies_of(MIB - 4096).await);
    let more = large.saturating_sub(small);
    assert!(more < 64 * MIB, "{} MiB more than with small bodies", more / MIB);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_messages_take_no_memory_on_rabbitmq() {
    waiting_messages_take_no_memory(Backend::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_messages_take_no_memory_on_the_embedded_queue() {
    waiting_messages_take_no_memory(Backend::Sqlite).await;
}

async fn waiting_messages_take_no_memory(backend: Backend) {
    let few = peak_with_waiting(backend, 1_000).await;
    let many = peak_with_waiting(backend, if is_full() { 1_000_000 } else { 10_000 }).await;
    let more = many.saturating_sub(few);
    assert!(more < 24 * MIB, "{} MiB more than with few waiting messages", more / MIB);
}

/// Returns the peak memory of a worker with default settings after it has decided some of this many waiting
/// events, each with this many bytes of padding.
async fn peak_with_defaults(waiting: usize, bytes: usize) -> usize {
    let mut stack = Stack::new(Backend::Postgres, GatewayShape::Roadmap).await;
    stack.set("queue.prefetch", "400");
    stack.set("worker.batch_size", "200");
    let stream = Stream::new(1_000, Mix::Decidable);
    stream.insert_all(&stack.world).await;
    let group = if bytes > MIB / 2 { 10 } else { 250 };
    let events = with_padding(&stream.events[..group], bytes);
    for _ in 0..waiting / group {
        stack.publish(&events).await;
    }
    let worker = stack.worker().await;
    let rest = u64::try_from(waiting.saturating_sub(10_000)).unwrap();
    eventually("the worker has taken enough events from the queue", Duration::from_secs(180), async || {
        (stack.queue.depth().await.unwrap().ready <= rest).then_some(())
    })
    .await;
    peak_memory(&worker)
}

/// Documented in `docs/delivery.md`, "Memory", with the measured values.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_with_default_settings_takes_no_more_memory_than_documented() {
    let large = peak_with_defaults(if is_full() { 400 } else { 100 }, MIB - 4096).await;
    let small = peak_with_defaults(if is_full() { 100_000 } else { 5_000 }, 0).await;
    assert!(large < 160 * MIB, "{} MiB with bodies of 1 MiB", large / MIB);
    assert!(small < 80 * MIB, "{} MiB with small bodies", small / MIB);
}

/// Returns the peak memory of a worker with this many small events in its queue, most of which stay there.
/// At the end each event is in the queue or decided.
async fn peak_with_waiting(backend: Backend, waiting: u64) -> usize {
    let began = Instant::now();
    let mut stack = Stack::new(backend, GatewayShape::Roadmap).await;
    stack.set("queue.prefetch", "400");
    // An event of this type changes nothing: it only gets a row.
    let event =
        |n: u64| json!({ "triggerEvent": "MEETING_STARTED", "event_id": format!("w{n}"), "bookingId": n });
    // The confirms are not awaited one by one: that alone would take a quarter of an hour.
    let chunks = (0..waiting).step_by(250).map(|first| {
        let (stack, event) = (&stack, &event);
        async move { stack.publish(&(first..first + 250).map(event).collect::<Vec<_>>()).await }
    });
    let sent: Vec<u64> = futures_util::stream::iter(chunks).buffer_unordered(16).collect().await;
    let sent: u64 = sent.into_iter().sum();
    let mut worker = stack.worker().await;
    let part = i64::try_from(waiting / 2).unwrap().min(3_000);
    eventually("a part of the events is decided", Duration::from_secs(180), async || {
        (stack.decided().await >= part).then_some(())
    })
    .await;
    let peak_bytes = peak_memory(&worker);
    assert_eq!(worker.stop().await, Some(0), "{}", worker.stderr());
    let depth = stack.queue.depth().await.unwrap();
    let decided = u64::try_from(stack.decided().await).unwrap();
    let found = decided + depth.ready + depth.waiting + depth.dead;
    report::write(&Row {
        scenario: &format!("{waiting} small events wait"),
        backends: stack.backends(),
        attempted: usize::try_from(waiting).unwrap(),
        accepted: usize::try_from(waiting).unwrap(),
        lost: usize::try_from(waiting.saturating_sub(found)).unwrap(),
        duplicated: Some(usize::try_from(found.saturating_sub(sent)).unwrap()),
        duration: began.elapsed(),
        measured: &[],
    });
    assert!((waiting..=sent).contains(&found), "{found} of {waiting} events, {sent} messages: {depth:?}");
    peak_bytes
}
