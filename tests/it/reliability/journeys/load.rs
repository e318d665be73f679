//! Many events and many workers, one of which is killed in the middle: every event has exactly one final
//! outcome, and every change of a mapping exactly one audit row.

use crate::support::{Backend, GatewayShape, Ledger, Mix, Process, Stack, Stream};

const WORKERS: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_workers_one_of_them_killed_leave_exactly_one_outcome_on_mariadb() {
    one_worker_is_killed(Backend::MariaDb, GatewayShape::Live, 10_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_workers_one_of_them_killed_leave_exactly_one_outcome_on_postgresql() {
    one_worker_is_killed(Backend::Postgres, GatewayShape::Roadmap, 2_000).await;
}

async fn one_worker_is_killed(backend: Backend, shape: GatewayShape, count: u32) {
    let stack = Stack::new(backend, shape).await;
    let stream = Stream::new(count, Mix::All);
    stream.insert_all(&stack.world).await;
    let mut ledger = Ledger::open("one of four workers killed under load", &stack).await;
    let mut workers = Vec::new();
    for _ in 0..WORKERS {
        workers.push(stack.worker().await);
    }
    let disturbance = async {
        stack.wait_until_decided(stream.len() / 2).await;
        workers[0].kill().await;
        workers[0] = stack.worker().await;
    };
    tokio::join!(ledger.publish(&stack, &stream.events), disturbance);
    stack.wait_until_decided(stream.len()).await;
    stop_when_idle(&stack, &mut workers).await;
    ledger.close(&stack).await;
    stream.assert_done(&stack).await;
}

/// Stops the workers once no message is waiting, and checks that they end cleanly.
async fn stop_when_idle(stack: &Stack, workers: &mut [Process]) {
    stack.wait_until_idle().await;
    for worker in workers {
        assert_eq!(worker.stop().await, Some(0), "{}", worker.stderr());
    }
}
