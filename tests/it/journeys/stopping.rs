//! How a worker ends: asked to, killed, or when there is nothing left to do.

use std::time::{Duration, Instant};

use sea_orm::ConnectionTrait as _;

use crate::support::{Backend, GatewayShape, Mix, Process, Stack, Stream, eventually};

const SOON: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn asked_to_stop_under_load_it_finishes_what_it_has_and_another_does_the_rest() {
    let stack = Stack::new(Backend::MariaDb, GatewayShape::Roadmap).await;
    let stream = Stream::new(1_000, Mix::Decidable);
    stream.open(&stack.world).await;
    stack.publish(&stream.events).await;
    let mut worker = stack.worker().await;
    stack.until_decided(100).await;
    let asked = Instant::now();
    assert_eq!(worker.stop().await, Some(0), "{}", worker.stderr());
    assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
    let left = stack.queue.depth().await.unwrap().ready;
    assert!(left > 0, "it stopped in the middle");

    let report = stack.drain().await;
    assert_eq!(report["finished"], left, "nothing is done twice: {report}");
    stream.assert_done(&stack).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_events_is_drained_and_the_worker_ends_by_itself() {
    let stack = Stack::new(Backend::Sqlite, GatewayShape::Living).await;
    let stream = Stream::new(400, Mix::All);
    stream.open(&stack.world).await;
    // Those that `publish` would refuse or leave out are put there by somebody else.
    stack.publish(&stream.events).await;
    let report = stack.drain().await;
    assert_eq!(report["finished"], stream.events.len(), "{report}");
    assert_eq!(report["counts"]["dead_letter"], report["counts"]["recorded_dead_letter"], "{report}");
    stream.assert_done(&stack).await;
}

/// A worker that waits in the middle of its transactions, with everything in its hands.
async fn stuck_worker(stack: &Stack, events: usize) -> Process {
    let worker = stack.worker().await;
    eventually("the worker has taken everything", SOON, async || {
        (stack.queue.depth().await.unwrap().ready == 0).then_some(())
    })
    .await;
    assert_eq!(stack.decided().await, 0, "none of {events} is decided");
    worker
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_acknowledged_before_its_commit() {
    for signal in ["SIGKILL", "SIGTERM"] {
        let mut stack = Stack::new(Backend::MariaDb, GatewayShape::Roadmap).await;
        stack.set("worker.shutdown_timeout", "1s");
        let stream = Stream::new(150, Mix::Decidable);
        stream.open(&stack.world).await;
        let count = stream.events.len();
        stack.publish(&stream.events).await;

        // Somebody holds the appointments: no transaction of the worker can be committed.
        let lock = stack.world.test.db.begin().await.unwrap();
        lock.execute_unprepared("SELECT id FROM appointments FOR UPDATE").await.unwrap();
        let mut worker = stuck_worker(&stack, count).await;
        if signal == "SIGKILL" {
            worker.kill().await;
        } else {
            let asked = Instant::now();
            assert_eq!(worker.stop().await, Some(0), "{}", worker.stderr());
            assert!(asked.elapsed() < Duration::from_secs(15), "{:?}", asked.elapsed());
        }
        eventually(&format!("all is back in the queue after {signal}"), SOON, async || {
            (stack.queue.depth().await.unwrap().ready == count as u64).then_some(())
        })
        .await;
        lock.rollback().await.unwrap();

        let report = stack.drain().await;
        assert_eq!(report["finished"], count, "{report}");
        stream.assert_done(&stack).await;
    }
}
