//! What servers do: a broker that is short of memory, takes rights or consumers away or closes
//! channels; a database that kills connections, refuses to write, has no room or no time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lapin::options::QueueDeleteOptions;
use sea_orm::{ConnectionTrait as _, DatabaseConnection, Statement};

use super::end;
use crate::support::broker::Broker;
use crate::support::mariadb::MariaDb;
use crate::support::traces::connect;
use crate::support::{
    Backend, GatewayShape, Ledger, Mix, Stack, Stream, TestDatabase, World, eventually, is_full,
};

const PATIENCE: Duration = Duration::from_secs(90);

/// One node, harmed in one way after the other; each time nothing is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_turns_against_its_clients() {
    let Some(mut broker) = Broker::prepare() else { return };
    broker.run().await;
    memory_alarm(&broker).await;
    right_revoked(&broker).await;
    queue_deleted(&broker).await;
    consumer_timeout(&broker).await;
}

async fn on_broker(broker: &Broker, what: &str, mix: Mix) -> (Stack, Stream, Ledger) {
    let world = World::new(Backend::Postgres, GatewayShape::Roadmap).await;
    let mut stack = Stack::on(world, Some(broker.url())).await;
    stack.set("queue.confirm_timeout", "2s");
    let stream = Stream::new(150, mix);
    stream.open(&stack.world).await;
    let ledger = Ledger::open(what, &stack).await;
    (stack, stream, ledger)
}

/// The broker takes no retries and no dead letters; what needs none goes on.
async fn memory_alarm(broker: &Broker) {
    let (stack, stream, mut ledger) = on_broker(broker, "memory alarm", Mix::All).await;
    ledger.publish(&stack, &stream.events).await;
    broker.control(&["set_vm_memory_high_watermark", "0.000001"]).await;
    let mut worker = stack.worker().await;
    worker.says("the broker takes no messages for now").await;
    worker.says("retries and dead letters wait for the broker").await;
    broker.control(&["set_vm_memory_high_watermark", "0.9"]).await;
    end(stack, stream, ledger, worker).await;
}

/// Without the right to write, copies cannot be published; without the right to read, nothing can
/// be consumed.
async fn right_revoked(broker: &Broker) {
    let (stack, stream, mut ledger) = on_broker(broker, "permissions revoked", Mix::All).await;
    ledger.publish(&stack, &stream.events).await;
    // A connection keeps for a while what it was allowed: the worker comes after the change.
    broker.control(&["set_permissions", "guest", ".*", "^$", ".*"]).await;
    let mut worker = stack.start(&["serve", "worker"]);
    worker.says("no connection to the broker; trying again").await;
    broker.control(&["set_permissions", "guest", ".*", ".*", "^$"]).await;
    eventually("it is not allowed to consume", PATIENCE, async || {
        worker.stderr().contains("ACCESS_REFUSED").then_some(())
    })
    .await;
    assert_eq!(stack.decided().await, 0);
    broker.control(&["set_permissions", "guest", ".*", ".*", ".*"]).await;
    end(stack, stream, ledger, worker).await;
}

/// A transaction takes longer than the broker lets a consumer keep a message: it closes the channel.
async fn consumer_timeout(broker: &Broker) {
    // Looked at every second, so that a consumer that keeps a message for 3 s is caught.
    for (key, ms) in [("channel_tick_interval", 1_000), ("consumer_timeout", 3_000)] {
        broker.control(&["eval", &format!("application:set_env(rabbit, {key}, {ms}).")]).await;
    }
    let (stack, stream, mut ledger) = on_broker(broker, "consumer timeout", Mix::Decidable).await;
    // What a worker waits for in the middle of a transaction: somebody who decides on the same hosts.
    let lock = stack.world.test.db.begin().await.unwrap();
    let hosts: Vec<String> = Stream::hosts().map(|(company, host)| format!("({company}, {host})")).collect();
    let hosts = format!("INSERT INTO host_locks (company_id, host_id) VALUES {}", hosts.join(", "));
    lock.execute_unprepared(&hosts).await.unwrap();
    ledger.publish(&stack, &stream.events).await;
    let mut worker = stack.worker().await;
    worker.says("consuming nothing; subscribing again").await;
    lock.rollback().await.unwrap();
    end(stack, stream, ledger, worker).await;
}

/// The queue is deleted under its consumers; what is sent afterwards comes.
async fn queue_deleted(broker: &Broker) {
    let (stack, stream, mut ledger) = on_broker(broker, "work queue deleted", Mix::Decidable).await;
    let mut worker = stack.worker().await;
    let (first, second) = stream.events.split_at(50);
    ledger.publish(&stack, first).await;
    stack.until_idle().await;
    let connection = connect(&broker.url()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let name = format!("{}.bookings", stack.config.prefix);
    // Only when it is empty and nobody has anything of it in hand is nothing lost with it.
    stack.until_decided(first.len() - repeats(first)).await;
    channel.queue_delete(name.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
    worker.says("consuming nothing; subscribing again").await;
    ledger.publish(&stack, second).await;
    end(stack, stream, ledger, worker).await;
}

/// Events that stand there twice.
fn repeats(events: &[serde_json::Value]) -> usize {
    let ids: std::collections::BTreeSet<_> = events.iter().map(|event| event["event_id"].as_str()).collect();
    events.len() - ids.len()
}

async fn on_database(backend: Backend, what: &str, count: u32) -> (Stack, Stream, Ledger) {
    let mut stack = Stack::new(backend, GatewayShape::Roadmap).await;
    stack.set("worker.batch_size", "25");
    let stream = Stream::new(count, Mix::Decidable);
    stream.open(&stack.world).await;
    let ledger = Ledger::open(what, &stack).await;
    (stack, stream, ledger)
}

/// Does this again and again while the worker works, until `done`.
async fn meanwhile(done: &AtomicBool, mut this: impl AsyncFnMut()) {
    while !done.load(Ordering::SeqCst) {
        this().await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The numbers of the sessions that work on this database, but for those of the test.
async fn sessions(admin: &DatabaseConnection, stack: &Stack) -> Vec<i64> {
    let name = stack.world.test.url.rsplit('/').next().unwrap();
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_killed_in_the_middle_cost_nothing() {
    for backend in [Backend::MariaDb, Backend::Postgres] {
        let (stack, stream, mut ledger) = on_database(backend, "connections killed", 600).await;
        ledger.publish(&stack, &stream.events).await;
        let server = stack.world.test.url.rsplit_once('/').unwrap().0;
        let admin = sea_orm::Database::connect(if backend == Backend::Postgres {
            format!("{server}/postgres")
        } else {
            server.into()
        })
        .await
        .unwrap();
        let worker = stack.worker().await;
        let (done, mut killed) = (Arc::new(AtomicBool::new(false)), 0);
        let killing = meanwhile(&done, async || {
            if killed >= 5 {
                return;
            }
            for id in sessions(&admin, &stack).await {
                let kill = match backend {
                    Backend::MariaDb => format!("KILL {id}"),
                    _ => format!("SELECT pg_terminate_backend({id})"),
                };
                // It may be gone by now.
                killed += u32::from(admin.execute_unprepared(&kill).await.is_ok());
            }
        });
        let deciding = async {
            eventually("the events are decided", PATIENCE * 2, async || {
                (stack.queue.depth().await.is_ok_and(|depth| depth.ready + depth.waiting == 0)).then_some(())
            })
            .await;
            done.store(true, Ordering::SeqCst);
        };
        tokio::join!(killing, deciding);
        assert!(killed > 0, "{backend:?}: nothing was killed in the middle");
        end(stack, stream, ledger, worker).await;
    }
}

/// Another program locks the same appointments in the opposite order, all the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_deadlocks_costs_nothing() {
    for backend in [Backend::MariaDb, Backend::Postgres] {
        let (stack, stream, mut ledger) = on_database(backend, "deadlock storm", 400).await;
        ledger.publish(&stack, &stream.events).await;
        let worker = stack.worker().await;
        let done = AtomicBool::new(false);
        let rival = |first: u32| {
            let (stack, done) = (&stack, &done);
            async move {
                meanwhile(done, async || {
                    let tx = stack.world.test.db.begin().await.unwrap();
                    for id in [first, first / 2, 1] {
                        let lock =
                            format!("UPDATE appointments SET updated_at = CURRENT_TIMESTAMP WHERE id = {id}");
                        // The victim may be we.
                        if tx.execute_unprepared(&lock).await.is_err() {
                            break;
                        }
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                    let _ = tx.rollback().await;
                })
                .await;
            }
        };
        let deciding = async {
            stack.until_decided(stream.len()).await;
            done.store(true, Ordering::SeqCst);
        };
        tokio::join!(rival(80), rival(60), deciding);
        end(stack, stream, ledger, worker).await;
    }
}

/// Somebody keeps the rows for longer than a statement may wait, longer than all the tries.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn locks_that_somebody_keeps_are_waited_out() {
    for backend in [Backend::MariaDb, Backend::Postgres] {
        let (mut stack, stream, mut ledger) = on_database(backend, "lock-wait timeouts", 200).await;
        stack.set("database.statement_timeout", "1s");
        ledger.publish(&stack, &stream.events).await;
        let lock = stack.world.test.db.begin().await.unwrap();
        lock.execute_unprepared("LOCK TABLE appointments IN EXCLUSIVE MODE").await.ok();
        if backend == Backend::MariaDb {
            lock.execute_unprepared("SELECT id FROM appointments FOR UPDATE").await.unwrap();
        }
        let mut worker = stack.worker().await;
        eventually("it has given up waiting several times", PATIENCE, async || {
            let text = worker.stderr();
            // Rows are given way to; a whole table is an outage.
            ["these events are put off", "holding on"].iter().any(|said| text.contains(said)).then_some(())
        })
        .await;
        lock.rollback().await.unwrap();
        let retried = !worker.said("an event is tried again later").is_empty();
        assert!(!retried || worker.is_running());
        end(stack, stream, ledger, worker).await;
    }
}

/// A server that takes no more connections than the test itself has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_connection_for_several_pipelines_is_enough() {
    let (mut stack, stream, mut ledger) = on_database(Backend::Postgres, "pool of one connection", 400).await;
    stack.set("database.max_connections", "1");
    stack.set("worker.pipelines", "4");
    stack.set("database.acquire_timeout", "1s");
    ledger.publish(&stack, &stream.events).await;
    let worker = stack.worker().await;
    end(stack, stream, ledger, worker).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_server_that_refuses_for_a_while() {
    let Some(server) = MariaDb::start().await else { return };
    let test = TestDatabase::migrated_on(server.url(), Backend::MariaDb, GatewayShape::Living).await;
    // Whoever is root may write when the server is read-only, and has a connection of its own.
    let admin = &test.db.connection().clone();
    let run = async |statement: &str| {
        admin.execute_unprepared(statement).await.unwrap();
    };
    run("CREATE USER worker IDENTIFIED BY 'w'").await;
    run("GRANT ALL ON *.* TO worker").await;
    for right in ["SUPER", "READ_ONLY ADMIN", "CONNECTION ADMIN"] {
        run(&format!("REVOKE {right} ON *.* FROM worker")).await;
    }
    let url = test.url.replace("root@", "worker:w@");
    let mut stack = Stack::on(World::of(test, &[]).await, Some(crate::support::amqp_url())).await;
    stack.set("database.url", &url);
    stack.set("database.acquire_timeout", "1s");
    let stream = Stream::new(if is_full() { 2_000 } else { 300 }, Mix::Decidable);
    stream.open(&stack.world).await;
    let mut ledger = Ledger::open("read-only, and too many connections", &stack).await;
    let (first, second) = stream.events.split_at(stream.events.len() / 2);
    let mut worker = stack.worker().await;
    run("SET GLOBAL read_only = 1").await;
    ledger.publish(&stack, first).await;
    worker.says("the database cannot be used: holding on, nothing is counted").await;
    run("SET GLOBAL read_only = 0").await;
    stack.until_decided(first.len() - repeats(first)).await;

    let held = worker.said("the database cannot be used: holding on, nothing is counted").len();
    // The least that is possible; each session is ended, so that a new one is wanted.
    run("SET GLOBAL max_connections = 10").await;
    let mut crowd = Vec::new();
    while let Ok(one) = sea_orm::Database::connect(url.as_str()).await {
        crowd.push(one);
        assert!(crowd.len() <= 20, "the server lets everybody in");
    }
    for id in sessions_of(admin, "worker").await {
        // One of the crowd's may be among them, or gone.
        let _ = admin.execute_unprepared(&format!("KILL {id}")).await;
    }
    while let Ok(one) = sea_orm::Database::connect(url.as_str()).await {
        crowd.push(one);
    }
    ledger.publish(&stack, second).await;
    eventually("it holds on again", PATIENCE, async || {
        let now = worker.said("the database cannot be used: holding on, nothing is counted").len();
        (now > held).then_some(())
    })
    .await;
    run("SET GLOBAL max_connections = 150").await;
    drop(crowd);
    let counts = worker.said("an event is tried again later");
    assert!(counts.is_empty(), "an attempt was counted: {counts:?}");
    end(stack, stream, ledger, worker).await;
}

async fn sessions_of(admin: &DatabaseConnection, user: &str) -> Vec<i64> {
    let query =
        format!("SELECT CAST(id AS SIGNED) AS id FROM information_schema.processlist WHERE user = '{user}'");
    let rows =
        admin.query_all_raw(Statement::from_string(admin.get_database_backend(), query)).await.unwrap();
    rows.iter().map(|row| row.try_get("", "id").unwrap()).collect()
}

/// The gateway's SQLite file may not grow: what is in hand waits until it may.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_under_sqlite_costs_nothing() {
    let world = World::new(Backend::Sqlite, GatewayShape::Roadmap).await;
    let mut stack = Stack::on(world, Some(crate::support::amqp_url())).await;
    stack.set("worker.batch_size", "25");
    let stream = Stream::new(300, Mix::Decidable);
    stream.open(&stack.world).await;
    let mut ledger = Ledger::open("disk full", &stack).await;
    ledger.publish(&stack, &stream.events).await;
    // No file of this process may be longer than 128 KiB: for SQLite that is a full disk. (In blocks
    // of 512 bytes; the signal that would end it is ignored, which a shell hands down.)
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "trap '' XFSZ; ulimit -S -f 256; exec \"$0\" \"$@\""]);
    let mut worker = stack.limited(shell, &["serve", "worker"]);
    worker.says("the database cannot be used: holding on, nothing is counted").await;
    let room = std::process::Command::new("prlimit")
        .args(["--fsize=unlimited", "--pid", &worker.id().to_string()])
        .status();
    assert!(room.unwrap().success());
    end(stack, stream, ledger, worker).await;
}

/// The database is away for long, under load: no attempt is counted and nothing is dead-lettered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_away_for_two_minutes() {
    let Some(mut server) = MariaDb::start().await else { return };
    let test = TestDatabase::migrated_on(server.url(), Backend::MariaDb, GatewayShape::Living).await;
    let mut stack = Stack::on(World::of(test, &[]).await, Some(crate::support::amqp_url())).await;
    stack.set("database.acquire_timeout", "1s");
    stack.set("worker.hold", if is_full() { "30s" } else { "2s" });
    let away = Duration::from_secs(if is_full() { 120 } else { 8 });
    let stream = Stream::new(if is_full() { 5_000 } else { 500 }, Mix::Decidable);
    stream.open(&stack.world).await;
    let what = format!("database away for {} s under load", away.as_secs());
    let mut ledger = Ledger::open(&what, &stack).await;
    let worker = stack.worker().await;
    let (first, second) = stream.events.split_at(stream.events.len() / 2);
    ledger.publish(&stack, first).await;
    stack.until_decided(50).await;
    server.stop().await;
    tokio::join!(ledger.publish(&stack, second), tokio::time::sleep(away));
    assert!(stack.queue.depth().await.unwrap().ready > 0, "it was in the middle");
    server.run().await;
    stack.until_decided(stream.len()).await;
    assert!(worker.said("an event is tried again later").is_empty(), "no attempt was counted");
    assert!(worker.said("an event became a dead letter").is_empty());
    end(stack, stream, ledger, worker).await;
}
