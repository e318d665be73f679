//! Tests a private database server that refuses writes, has no free connection, or is unreachable for a long
//! time.

use std::time::Duration;

use sea_orm::{ConnectionTrait as _, DatabaseConnection, Statement};

use crate::support::address::with_account;
use crate::support::program::stdout;
use crate::support::{
    Backend, Ledger, Mix, Process, Server, Stack, Stream, World, amqp_url, eventually, is_full,
};

const HOLDING_MESSAGE: &str = "the database cannot be used: holding the batch without counting an attempt";

/// The time that each of many new connections waits to be accepted.
const ADMISSION_TIMEOUT: Duration = Duration::from_millis(500);

/// Checks that everything was done once, and that no attempt was counted.
async fn assert_done_without_retries(stack: Stack, stream: Stream, ledger: Ledger, mut worker: Process) {
    stack.wait_until_decided(stream.len()).await;
    stack.wait_until_idle().await;
    for message in ["an event is tried again later", "an event became a dead letter"] {
        let lines = worker.log_lines(message);
        assert!(lines.is_empty(), "{lines:?}");
    }
    assert_eq!(worker.stop().await, Some(0), "{}", worker.stderr());
    stack.drain().await;
    ledger.close(&stack).await;
    stream.assert_done(&stack).await;
}

/// An administrator's connection to one of the engines.
struct Administrator {
    backend: Backend,
    connection: DatabaseConnection,
}

impl Administrator {
    async fn run(&self, statement: &str) {
        self.connection.execute_unprepared(statement).await.unwrap_or_else(|e| panic!("{statement}: {e}"));
    }

    /// Creates a user with the worker's privileges and without any privilege of an administrator.
    async fn create_worker_user(&self) {
        let statements: &[&str] = match self.backend {
            Backend::MariaDb => &[
                "CREATE USER worker IDENTIFIED BY 'w'",
                "GRANT ALL ON *.* TO worker",
                "REVOKE SUPER ON *.* FROM worker",
                "REVOKE READ_ONLY ADMIN ON *.* FROM worker",
                "REVOKE CONNECTION ADMIN ON *.* FROM worker",
            ],
            _ => &["CREATE ROLE worker LOGIN PASSWORD 'w' IN ROLE pg_read_all_data, pg_write_all_data"],
        };
        for statement in statements {
            self.run(statement).await;
        }
    }

    /// Makes the server read-only (except for an administrator of MariaDB), or writable again.
    async fn set_read_only(&self, is_on: bool) {
        match self.backend {
            Backend::MariaDb => self.run(&format!("SET GLOBAL read_only = {is_on}")).await,
            _ => {
                self.run(&format!("ALTER SYSTEM SET default_transaction_read_only = {is_on}")).await;
                self.run("SELECT pg_reload_conf()").await;
            }
        }
    }

    /// Ends every session of the worker's user.
    async fn end_sessions(&self) {
        let query = match self.backend {
            Backend::MariaDb => {
                "SELECT CAST(id AS SIGNED) AS id FROM information_schema.processlist WHERE user = 'worker'"
            }
            _ => "SELECT pid::bigint AS id FROM pg_stat_activity WHERE usename = 'worker'",
        };
        let statement = Statement::from_string(self.connection.get_database_backend(), query);
        for row in self.connection.query_all_raw(statement).await.unwrap() {
            let id: i64 = row.try_get("", "id").unwrap();
            let kill = match self.backend {
                Backend::MariaDb => format!("KILL {id}"),
                _ => format!("SELECT pg_terminate_backend({id})"),
            };
            // The session may have ended in the meantime.
            let _ = self.connection.execute_unprepared(&kill).await;
        }
    }
}

on_engines!(a_server_that_refuses_writes_and_connections_loses_nothing: mariadb, postgres);
async fn a_server_that_refuses_writes_and_connections_loses_nothing(backend: Backend) {
    let Some(server) = Server::start(backend, 30).await else { return };
    refuse_writes_and_connections(&server, backend).await;
}

async fn refuse_writes_and_connections(server: &Server, backend: Backend) {
    let test = server.create_gateway().await;
    // The test uses a separate pool, so that it has a connection when no other session gets one.
    let connection = sea_orm::Database::connect(&test.url).await.unwrap();
    let admin = Administrator { backend, connection };
    admin.create_worker_user().await;
    let url = with_account(&test.url, "worker", "w");
    let mut stack = Stack::on(World::in_database(test, &[]).await, Some(amqp_url())).await;
    stack.set("database.url", &url);
    stack.set("database.acquire_timeout", "1s");
    let stream = Stream::new(if is_full() { 2_000 } else { 300 }, Mix::Decidable);
    stream.insert_all(&stack.world).await;
    let mut ledger = Ledger::open("read-only, and too many connections", &stack).await;
    let (first, second) = stream.events.split_at(stream.events.len() / 2);
    let mut worker = stack.worker().await;
    admin.set_read_only(true).await;
    ledger.publish(&stack, first).await;
    worker.wait_for_log(HOLDING_MESSAGE).await;
    assert_eq!(stack.decided().await, 0);
    eventually("the status says that nothing is decided", Duration::from_secs(60), async || {
        let output = stack.command(&["status"]).output().unwrap();
        let text = stdout(&output);
        assert!(!text.contains("bookings are assigned"), "{text}");
        (text.contains("NOT WORKING") && text.contains("accepts no writes")).then_some(())
    })
    .await;
    admin.set_read_only(false).await;
    stack.wait_until_idle().await;

    let held = worker.log_lines(HOLDING_MESSAGE).len();
    let occupied = occupy_connections(&url, &admin).await;
    ledger.publish(&stack, second).await;
    eventually("the worker holds its batch again", Duration::from_secs(90), async || {
        (worker.log_lines(HOLDING_MESSAGE).len() > held).then_some(())
    })
    .await;
    let output = stack.command(&["--output", "json", "doctor"]).output().unwrap();
    let text = stdout(&output);
    let found = |code: &str| text.contains(&format!("\"code\": \"{code}\""));
    assert!(found("connections_exhausted") && !found("database_unreachable"), "{text}");
    drop(occupied);
    assert_done_without_retries(stack, stream, ledger, worker).await;
    admin.connection.close().await.unwrap();
}

/// Occupies every connection, including the worker's, so that it needs new ones.
async fn occupy_connections(url: &str, admin: &Administrator) -> Vec<DatabaseConnection> {
    let mut options = sea_orm::ConnectOptions::new(url);
    options.connect_timeout(ADMISSION_TIMEOUT).acquire_timeout(ADMISSION_TIMEOUT).sqlx_logging(false);
    let mut connections = Vec::new();
    admin.end_sessions().await;
    // A session that was reported to end may still occupy its connection.
    for _ in 0..3 {
        while let Ok(one) = sea_orm::Database::connect(options.clone()).await {
            connections.push(one);
            assert!(connections.len() <= 60, "the server has no connection limit");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    connections
}

on_engines!(a_database_that_is_unreachable_for_two_minutes_loses_nothing: mariadb, postgres);
/// No attempt is counted and nothing is dead-lettered.
async fn a_database_that_is_unreachable_for_two_minutes_loses_nothing(backend: Backend) {
    let Some(server) = Server::start(backend, 50).await else { return };
    outage_under_load(server).await;
}

async fn outage_under_load(mut server: Server) {
    let mut stack = server.create_stack().await;
    stack.set("worker.hold", if is_full() { "30s" } else { "2s" });
    let outage = Duration::from_secs(if is_full() { 120 } else { 8 });
    let stream = Stream::new(if is_full() { 5_000 } else { 500 }, Mix::Decidable);
    stream.insert_all(&stack.world).await;
    let scenario = format!("database unreachable for {} s under load", outage.as_secs());
    let mut ledger = Ledger::open(&scenario, &stack).await;
    let worker = stack.worker().await;
    let (first, second) = stream.events.split_at(stream.events.len() / 2);
    ledger.publish(&stack, first).await;
    stack.wait_until_decided(50).await;
    server.stop().await;
    tokio::join!(ledger.publish(&stack, second), tokio::time::sleep(outage));
    assert!(stack.queue.depth().await.unwrap().ready > 0, "the outage must begin while events are waiting");
    server.restart().await;
    assert_done_without_retries(stack, stream, ledger, worker).await;
}
