//! The whole installation for one test: a gateway's database, a queue, and the real program as processes
//! that use them.

use std::cell::Cell;
use std::ffi::OsString;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hostmatch::config::{QueueConfig, Secret, Topology};
use hostmatch::queue::{Message, Queue, header};
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use sea_orm::ConnectionTrait as _;
use serde_json::Value;
use tempfile::TempDir;

use super::cleanup::{Cleanup, connect};
use super::{Backend, GatewayShape, Process, World, amqp_url, eventually, unique};
use crate::support::program::command;

/// The time limit for all decisions; a passing test never waits this long.
const WAIT_TIMEOUT: Duration = Duration::from_secs(180);

/// Retry delays for tests: a little more than two seconds in total.
pub(crate) const DELAYS: [Duration; 3] =
    [Duration::from_millis(400), Duration::from_millis(700), Duration::from_millis(1000)];

/// An installation. Dropping it removes its queues and its database.
pub(crate) struct Stack {
    pub(crate) world: World,
    /// The test's own connection to the queue.
    pub(crate) queue: Queue,
    pub(crate) config: QueueConfig,
    environment: Vec<(String, String)>,
    started: Cell<u32>,
    home: TempDir,
    /// Removes the queues from the broker when dropped; `None` if the queue is a file.
    cleanup: Option<Cleanup>,
}

impl Stack {
    /// Uses the embedded queue with SQLite, and RabbitMQ with a database server.
    pub(crate) async fn new(backend: Backend, shape: GatewayShape) -> Self {
        let world = World::new(backend, shape).await;
        match backend {
            Backend::Sqlite => Self::on(world, None).await,
            _ => Self::on(world, Some(amqp_url())).await,
        }
    }

    /// Uses a queue on this broker, under its own prefix; without a broker, a queue in a file.
    pub(crate) async fn on(world: World, broker: Option<String>) -> Self {
        let home = tempfile::tempdir().unwrap();
        let is_rabbitmq = broker.is_some();
        let file = || format!("sqlite://{}", home.path().join("queue.db").display());
        let config = QueueConfig {
            url: Secret::new(broker.unwrap_or_else(file)),
            url_file: std::path::PathBuf::new(),
            prefix: unique("test"),
            topology: Topology::Declare,
            prefetch: 200,
            delivery_limit: 50,
            retry_delays: DELAYS.to_vec(),
            confirm_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(10),
            management_url: Secret::default(),
            management_url_file: std::path::PathBuf::new(),
            header_key: Vec::new(),
            header_key_file: std::path::PathBuf::new(),
        };
        let queue = Queue::open(&config).await.unwrap();
        let delays = DELAYS.map(|delay| format!("{}ms", delay.as_millis())).join(",");
        let mut stack = Self {
            cleanup: is_rabbitmq.then(|| Cleanup::Broker(Box::new(config.clone()))),
            queue,
            environment: Vec::new(),
            started: Cell::new(0),
            home,
            config,
            world,
        };
        for (key, value) in [
            ("database.url", stack.world.test.url.clone()),
            ("queue.url", stack.config.url.expose().to_owned()),
            ("queue.prefix", stack.config.prefix.clone()),
            ("queue.retry_delays", delays),
            ("queue.prefetch", "200".to_owned()),
            ("worker.batch_size", "100".to_owned()),
            ("log.format", "json".to_owned()),
        ] {
            stack.set(key, &value);
        }
        stack
    }

    /// Sets a configuration key for all processes that are started from now on.
    pub(crate) fn set(&mut self, key: &str, value: &str) {
        let (section, key) = key.split_once('.').unwrap();
        self.set_variable(&format!("HOSTMATCH_{section}__{key}"), value);
    }

    /// Sets an environment variable for all processes that are started from now on.
    pub(crate) fn set_variable(&mut self, name: &str, value: &str) {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Returns the test's own directory, in which its processes run and write.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// Returns the program with these arguments, configured for this installation.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command(arguments);
        command.envs(self.environment.iter().cloned()).current_dir(self.home());
        command
    }

    /// Returns the environment of the processes, for tests that read the configuration in their own process.
    pub(crate) fn variables(&self) -> impl Iterator<Item = (OsString, OsString)> {
        self.environment.iter().map(|(name, value)| (name.into(), value.into()))
    }

    /// Starts the program.
    pub(crate) fn start(&self, arguments: &[&str]) -> Process {
        self.launch(self.command(arguments))
    }

    /// Starts the program through `runner`, a command that runs its own arguments at the end.
    pub(crate) fn start_through(&self, mut runner: Command, arguments: &[&str]) -> Process {
        let command = self.command(arguments);
        runner.arg(command.get_program()).args(command.get_args());
        runner.envs(self.environment.iter().cloned()).current_dir(self.home());
        self.launch(runner)
    }

    /// Starts a command from [`Stack::command`].
    pub(crate) fn launch(&self, command: Command) -> Process {
        let number = self.started.replace(self.started.get() + 1);
        Process::start(command, self.home(), &format!("{number}"))
    }

    /// Runs a worker until the queue is empty, and returns its report.
    pub(crate) async fn drain(&self) -> Value {
        let mut worker = self.start(&["serve", "worker", "--until-empty", "--output", "json"]);
        let end = worker.wait_within(WAIT_TIMEOUT).await;
        assert_eq!(end.code(), Some(0), "{}", worker.stderr());
        worker.report()
    }

    /// Describes the database and the queue.
    pub(crate) fn backends(&self) -> &'static str {
        match (self.world.test.backend, self.cleanup.is_some()) {
            (Backend::Sqlite, false) => "SQLite, embedded queue",
            (Backend::Sqlite, true) => "SQLite, RabbitMQ",
            (Backend::MariaDb, false) => "MariaDB, embedded queue",
            (Backend::MariaDb, true) => "MariaDB, RabbitMQ",
            (Backend::Postgres, false) => "PostgreSQL, embedded queue",
            (Backend::Postgres, true) => "PostgreSQL, RabbitMQ",
        }
    }

    /// Waits until the queue has requeued all messages of a dead process. Ends the leases of the embedded
    /// queue, which would last 10 s.
    pub(crate) async fn wait_until_requeued(&self) {
        if self.cleanup.is_none() {
            let file = sea_orm::Database::connect(self.config.url.expose()).await.unwrap();
            file.execute_unprepared("UPDATE messages SET leased_until_ms = 1 WHERE lease IS NOT NULL")
                .await
                .unwrap();
            return file.close().await.unwrap();
        }
        for queue in ["bookings", "dead"] {
            self.wait_until_no_consumer(queue).await;
        }
    }

    /// Waits until this queue on RabbitMQ has no consumer; RabbitMQ has then requeued its unacknowledged messages.
    pub(crate) async fn wait_until_no_consumer(&self, queue: &str) {
        let connection = connect(self.config.url.expose()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        let name = format!("{}.{queue}", self.config.prefix);
        eventually("the queue has no consumer", WAIT_TIMEOUT, async || {
            let passive_only = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
            let queue =
                channel.queue_declare(name.as_str().into(), passive_only, FieldTable::default()).await;
            (queue.unwrap().consumer_count() == 0).then_some(())
        })
        .await;
        connection.close(200, "bye".into()).await.unwrap();
    }

    /// Starts `serve worker` and waits until it runs.
    pub(crate) async fn worker(&self) -> Process {
        let mut worker = self.start(&["serve", "worker"]);
        worker.wait_for_log("the worker is running").await;
        worker
    }

    /// Starts a role with an edge on a free port; returns its address too.
    pub(crate) async fn edge(&self, role: &str) -> (Process, String) {
        let mut edge = self.start(&["serve", role, "--listen", "127.0.0.1:0"]);
        let line = edge.wait_for_log("the edge is listening").await;
        (edge, format!("http://{}", line["address"].as_str().unwrap()))
    }

    /// Publishes these events as the edge would, and repeats that until the broker accepts them. Returns
    /// how many messages were sent: an event that is not confirmed before the deadline is sent again.
    pub(crate) async fn publish(&self, events: &[Value]) -> u64 {
        let publisher = self.queue.publisher();
        let sent = AtomicU64::new(0);
        for chunk in events.chunks(250) {
            let messages: Vec<Message> = chunk.iter().map(message).collect();
            eventually("the queue accepts events", WAIT_TIMEOUT, async || {
                sent.fetch_add(messages.len() as u64, Ordering::Relaxed);
                publisher.publish(messages.clone()).await.ok()
            })
            .await;
        }
        sent.into_inner()
    }

    /// Counts the events with an outcome.
    pub(crate) async fn decided(&self) -> i64 {
        self.world.count("hostmatch_events").await
    }

    /// Waits until this many events have an outcome.
    pub(crate) async fn wait_until_decided(&self, events: usize) {
        let events = i64::try_from(events).unwrap();
        eventually("the events are decided", WAIT_TIMEOUT, async || {
            (self.decided().await >= events).then_some(())
        })
        .await;
    }

    /// Returns whether all queues are empty. Call it when every worker has stopped: RabbitMQ does not
    /// report unacknowledged messages, and requeues them when a worker stops.
    pub(crate) async fn is_empty(&self) -> bool {
        let depth = self.queue.depth().await.unwrap();
        depth.ready + depth.waiting + depth.dead + depth.in_flight.unwrap_or(0) == 0
    }

    /// Waits until no message is ready or waiting. RabbitMQ does not report unacknowledged messages.
    pub(crate) async fn wait_until_idle(&self) {
        eventually("the queue is empty", WAIT_TIMEOUT, async || self.is_empty().await.then_some(())).await;
    }

    /// Returns everything that all processes have written so far.
    pub(crate) fn all_output(&self) -> String {
        let files = self.home().read_dir().unwrap().map(|entry| entry.unwrap().path());
        let all_output = files.filter(|path| {
            path.extension().is_some_and(|extension| extension == "stdout" || extension == "stderr")
        });
        all_output.map(|path| std::fs::read_to_string(path).unwrap()).collect()
    }
}

fn message(event: &Value) -> Message {
    Message {
        body: Bytes::from(event.to_string()),
        headers: [(header::FIRST_SEEN.to_owned(), "1772323200000".to_owned())].into(),
        routing_key: event["event"].as_str().unwrap_or_default().to_owned(),
        ..Message::default()
    }
}
