//! Tests faults of servers: a broker that is short of memory, revokes permissions, cancels consumers or closes
//! channels, and a database that kills connections or makes transactions wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lapin::options::QueueDeleteOptions;
use sea_orm::{ConnectionTrait as _, DatabaseConnection, DatabaseTransaction, Statement};

use super::stop_and_check;
use crate::support::address::database_server;
use crate::support::broker::Broker;
use crate::support::cleanup::connect;
use crate::support::{Backend, GatewayShape, Ledger, Mix, Process, Stack, Stream, World, eventually};

const WAIT_TIMEOUT: Duration = Duration::from_secs(90);

/// One node has one fault after another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_with_faults_loses_nothing() {
    let Some(mut broker) = Broker::prepare() else { return };
    broker.run().await;
    memory_alarm(&broker).await;
    permissions_revoked(&broker).await;
    queue_deleted(&broker).await;
    consumer_timeout(&broker).await;
}

async fn set_up_on_broker(broker: &Broker, what: &str, mix: Mix) -> (Stack, Stream, Ledger) {
    let world = World::new(Backend::Postgres, GatewayShape::Roadmap).await;
    let mut stack = Stack::on(world, Some(broker.url())).await;
    stack.set("queue.confirm_timeout", "2s");
    let stream = Stream::new(150, mix);
    stream.insert_all(&stack.world).await;
    let ledger = Ledger::open(what, &stack).await;
    (stack, stream, ledger)
}

/// The broker accepts neither retries nor dead letters; events that need neither are decided.
async fn memory_alarm(broker: &Broker) {
    let (stack, stream, mut ledger) = set_up_on_broker(broker, "memory alarm", Mix::All).await;
    ledger.publish(&stack, &stream.events).await;
    broker.control(&["set_vm_memory_high_watermark", "0.000001"]).await;
    let mut worker = stack.worker().await;
    worker.wait_for_log("the broker accepts no messages for now").await;
    worker.wait_for_log("retries and dead letters wait for the broker").await;
    broker.control(&["set_vm_memory_high_watermark", "0.9"]).await;
    stop_and_check(stack, stream, ledger, worker).await;
}

/// In the middle of the work the worker's user loses the permission to write, so that no copy can be
/// published, and then the permission to read, so that nothing can be consumed.
async fn permissions_revoked(broker: &Broker) {
    let (mut stack, stream, mut ledger) = set_up_on_broker(broker, "permissions revoked", Mix::All).await;
    broker.control(&["add_user", "worker", "w"]).await;
    broker.control(&["set_permissions", "worker", ".*", ".*", ".*"]).await;
    stack.set("queue.url", &broker.url().replace("guest:guest", "worker:w"));
    let (first, second) = stream.events.split_at(stream.events.len() / 3);
    let mut worker = stack.worker().await;
    ledger.publish(&stack, first).await;
    eventually("the worker decides events", WAIT_TIMEOUT, async || (stack.decided().await > 0).then_some(()))
        .await;
    revoke(broker, ["^$", ".*"]).await;
    worker.wait_for_log("no connection to the broker; trying again").await;
    revoke(broker, [".*", "^$"]).await;
    ledger.publish(&stack, second).await;
    eventually("the broker refuses the worker's consumer", WAIT_TIMEOUT, async || {
        worker.stderr().contains("ACCESS_REFUSED").then_some(())
    })
    .await;
    assert!(stack.queue.depth().await.unwrap().ready > 0);
    broker.control(&["set_permissions", "worker", ".*", ".*", ".*"]).await;
    stop_and_check(stack, stream, ledger, worker).await;
}

/// Limits the worker's user to these write and read permissions. Connections cache permissions for a while,
/// so this closes all of them.
async fn revoke(broker: &Broker, [write, read]: [&str; 2]) {
    broker.control(&["set_permissions", "worker", ".*", write, read]).await;
    broker.control(&["close_all_connections", "a permission was revoked"]).await;
}

/// A transaction takes longer than the broker lets a consumer keep a message: the broker closes the channel.
async fn consumer_timeout(broker: &Broker) {
    // The broker checks every second, so that it finds a consumer that keeps a message for 3 s.
    for (key, ms) in [("channel_tick_interval", 1_000), ("consumer_timeout", 3_000)] {
        broker.control(&["eval", &format!("application:set_env(rabbit, {key}, {ms}).")]).await;
    }
    let (stack, stream, mut ledger) = set_up_on_broker(broker, "consumer timeout", Mix::Decidable).await;
    let lock = lock_hosts(&stack).await;
    ledger.publish(&stack, &stream.events).await;
    let mut worker = stack.worker().await;
    worker.wait_for_log("not consuming; subscribing again").await;
    lock.rollback().await.unwrap();
    stop_and_check(stack, stream, ledger, worker).await;
}

/// Opens a transaction that locks the same hosts, so that a worker waits in the middle of its transaction.
async fn lock_hosts(stack: &Stack) -> DatabaseTransaction {
    let lock = stack.world.test.db.begin().await.unwrap();
    let hosts: Vec<String> = Stream::hosts().map(|(company, host)| format!("({company}, {host})")).collect();
    let hosts = format!("INSERT INTO hostmatch_host_locks (company_id, host_id) VALUES {}", hosts.join(", "));
    lock.execute_unprepared(&hosts).await.unwrap();
    lock
}

/// The queue is deleted under its consumers; events that are sent afterwards arrive.
async fn queue_deleted(broker: &Broker) {
    let (stack, stream, mut ledger) = set_up_on_broker(broker, "work queue deleted", Mix::Decidable).await;
    let mut worker = stack.worker().await;
    let (first, second) = stream.events.split_at(50);
    ledger.publish(&stack, first).await;
    stack.wait_until_idle().await;
    let connection = connect(&broker.url()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let name = format!("{}.bookings", stack.config.prefix);
    // Deleting the queue loses nothing only if it is empty and no worker holds one of its messages.
    stack.wait_until_decided(first.len() - repeats(first)).await;
    channel.queue_delete(name.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
    worker.wait_for_log("not consuming; subscribing again").await;
    ledger.publish(&stack, second).await;
    stop_and_check(stack, stream, ledger, worker).await;
}

/// Counts the events that occur twice.
fn repeats(events: &[serde_json::Value]) -> usize {
    let ids: std::collections::BTreeSet<_> = events.iter().map(|event| event["event_id"].as_str()).collect();
    events.len() - ids.len()
}

async fn set_up_on_database(backend: Backend, what: &str, count: u32) -> (Stack, Stream, Ledger) {
    let mut stack = Stack::new(backend, GatewayShape::Roadmap).await;
    stack.set("worker.batch_size", "25");
    let stream = Stream::new(count, Mix::Decidable);
    stream.insert_all(&stack.world).await;
    let ledger = Ledger::open(what, &stack).await;
    (stack, stream, ledger)
}

/// Repeats this action until `done`.
async fn repeat_until_done(done: &AtomicBool, mut action: impl AsyncFnMut()) {
    while !done.load(Ordering::SeqCst) {
        action().await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Returns the ids of the sessions on this database, except the test's own.
async fn sessions(admin: &DatabaseConnection, stack: &Stack) -> Vec<i64> {
    let name = stack.world.test.name();
    let query = match stack.world.test.backend {
        Backend::MariaDb => format!(
            "SELECT CAST(id AS SIGNED) AS id FROM information_schema.processlist WHERE db = '{name}' AND command <> 'Sleep'"
        ),
        _ => format!(
            "SELECT pid::bigint AS id FROM pg_stat_activity WHERE datname = '{name}' AND state <> 'idle'"
        ),
    };
    let rows = admin.query_all_raw(Statement::from_string(admin.get_database_backend(), query)).await;
    rows.unwrap().iter().map(|row| row.try_get("", "id").unwrap()).collect()
}

on_engines!(connections_that_are_killed_in_the_middle_lose_nothing: mariadb, postgres);
async fn connections_that_are_killed_in_the_middle_lose_nothing(backend: Backend) {
    let (stack, stream, mut ledger) = set_up_on_database(backend, "connections killed", 600).await;
    ledger.publish(&stack, &stream.events).await;
    let admin = sea_orm::Database::connect(database_server(backend).unwrap()).await.unwrap();
    let worker = stack.worker().await;
    let (done, mut killed) = (Arc::new(AtomicBool::new(false)), 0);
    let killing = repeat_until_done(&done, async || {
        if killed >= 5 {
            return;
        }
        for id in sessions(&admin, &stack).await {
            let kill = match backend {
                Backend::MariaDb => format!("KILL {id}"),
                _ => format!("SELECT pg_terminate_backend({id})"),
            };
            // The session may have ended in the meantime.
            killed += u32::from(admin.execute_unprepared(&kill).await.is_ok());
        }
    });
    let deciding = async {
        eventually("the events are decided", WAIT_TIMEOUT * 2, async || {
            (stack.queue.depth().await.is_ok_and(|depth| depth.ready + depth.waiting == 0)).then_some(())
        })
        .await;
        done.store(true, Ordering::SeqCst);
    };
    tokio::join!(killing, deciding);
    assert!(killed > 0, "{backend:?}: no connection was killed during a statement");
    stop_and_check(stack, stream, ledger, worker).await;
}

on_engines!(a_series_of_deadlocks_loses_nothing: mariadb, postgres);
/// Another program waits for rows that our transactions have locked, and holds rows that they wait for, so
/// that the server must abort one of the two transactions; the test makes it abort ours.
async fn a_series_of_deadlocks_loses_nothing(backend: Backend) {
    let (mut stack, stream, mut ledger) = set_up_on_database(backend, "deadlock storm", 400).await;
    stack.set("log.level", "info,hostmatch=debug");
    ledger.publish(&stack, &stream.events).await;
    stack.world.run("CREATE TABLE rival (id BIGINT)").await;
    let worker = stack.worker().await;
    eventually("our transactions were rolled back by deadlocks and retried", WAIT_TIMEOUT, async || {
        let rollbacks = worker.log_lines("a transaction was rolled back and is retried");
        let deadlocks = rollbacks.iter().filter(|line| line["error"].to_string().contains("eadlock")).count();
        if deadlocks < 3 {
            cause_deadlock(&stack).await;
        }
        (deadlocks >= 3).then_some(())
    })
    .await;
    assert!(!stack.is_empty().await, "{backend:?}: the deadlocks must occur while events are waiting");
    assert_no_attempt_counted(&worker);
    stop_and_check(stack, stream, ledger, worker).await;
}

/// Locks the hosts in reverse order, which no transaction of ours does.
async fn cause_deadlock(stack: &Stack) {
    let tx = stack.world.test.db.begin().await.unwrap();
    // MariaDB spares the transaction with the most changes; PostgreSQL aborts the one that waited first.
    tx.execute_unprepared("INSERT INTO rival SELECT id FROM appointments").await.unwrap();
    let mut hosts: Vec<(u32, u64)> = Stream::hosts().collect();
    hosts.sort_unstable();
    for (company, host) in hosts.into_iter().rev() {
        let lock = match stack.world.test.backend {
            Backend::MariaDb => "ON DUPLICATE KEY UPDATE host_id = VALUES(host_id)",
            _ => "ON CONFLICT (company_id, host_id) DO UPDATE SET host_id = excluded.host_id",
        };
        let lock = format!(
            "INSERT INTO hostmatch_host_locks (company_id, host_id) VALUES ({company}, {host}) {lock}"
        );
        // The server may have aborted this transaction.
        if tx.execute_unprepared(&lock).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let _ = tx.rollback().await;
}

/// Checks that no attempt was counted, and that no event became a dead letter.
fn assert_no_attempt_counted(worker: &Process) {
    for message in ["an event is tried again later", "an event became a dead letter"] {
        let lines = worker.log_lines(message);
        assert!(lines.is_empty(), "{lines:?}");
    }
}

on_engines!(locks_kept_by_another_session_use_up_no_attempt: mariadb, postgres);
/// Another session keeps the rows locked for longer than a statement may wait and than all attempts take.
async fn locks_kept_by_another_session_use_up_no_attempt(backend: Backend) {
    let (mut stack, stream, mut ledger) = set_up_on_database(backend, "lock-wait timeouts", 200).await;
    stack.set("database.statement_timeout", "1s");
    ledger.publish(&stack, &stream.events).await;
    let lock = stack.world.test.db.begin().await.unwrap();
    lock.execute_unprepared("SELECT id FROM appointments FOR UPDATE").await.unwrap();
    let worker = stack.worker().await;
    let all_attempts = stack.config.retry_delays.iter().sum::<Duration>() + Duration::from_secs(1);
    let began = Instant::now();
    eventually(
        "the worker has deferred its events more often than it may try them",
        WAIT_TIMEOUT,
        async || {
            let deferrals =
                worker.log_lines("another session keeps rows locked: these events are deferred").len();
            (deferrals > stack.config.retry_delays.len() + 1 && began.elapsed() > all_attempts).then_some(())
        },
    )
    .await;
    assert_no_attempt_counted(&worker);
    lock.rollback().await.unwrap();
    stack.wait_until_decided(stream.len()).await;
    assert_no_attempt_counted(&worker);
    stop_and_check(stack, stream, ledger, worker).await;
}

on_engines!(one_connection_for_several_pipelines_is_enough: mariadb, postgres);
/// Four pipelines share one connection, and the first of them uses it to wait for another session's lock. The
/// others get no connection, which must not count as a failure of their events.
async fn one_connection_for_several_pipelines_is_enough(backend: Backend) {
    let (mut stack, stream, mut ledger) = set_up_on_database(backend, "pool exhausted", 400).await;
    stack.set("database.max_connections", "1");
    stack.set("worker.pipelines", "4");
    stack.set("database.acquire_timeout", "1s");
    let lock = lock_hosts(&stack).await;
    ledger.publish(&stack, &stream.events).await;
    let worker = stack.worker().await;
    eventually("no connection is left", WAIT_TIMEOUT, async || {
        worker.stderr().contains("no connection became free in time").then_some(())
    })
    .await;
    lock.rollback().await.unwrap();
    stack.wait_until_decided(stream.len()).await;
    assert_no_attempt_counted(&worker);
    stop_and_check(stack, stream, ledger, worker).await;
}
