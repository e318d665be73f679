//! Tests network faults between the worker and its broker, and between the worker and its database: latency,
//! low bandwidth, silence, resets, and cuts at any byte.

use std::time::Duration;

use crate::support::address::with_parameter;
use crate::support::proxy::{ACK, COMMIT, DELIVER, Fault, Mode, Proxy, When};
use crate::support::{Backend, GatewayShape, Ledger, Mix, Process, Stack, Stream, amqp_url, is_full};

/// The connection on which the fault happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Connection {
    Broker,
    Database,
}

impl Connection {
    fn name(self) -> &'static str {
        if self == Broker { "broker" } else { "database" }
    }
}

use Backend::{MariaDb, Postgres};
use Connection::{Broker, Database};

/// A worker behind a proxy, with events waiting for it.
struct Scene {
    stack: Stack,
    proxy: Proxy,
    stream: Stream,
    ledger: Ledger,
    connection: Connection,
}

impl Scene {
    async fn new(what: &str, connection: Connection, backend: Backend) -> Self {
        let mut stack = Stack::new(backend, GatewayShape::Roadmap).await;
        let real = match connection {
            Broker => amqp_url(),
            Database => stack.world.test.url.clone(),
        };
        let proxy = Proxy::start(&Proxy::target(&real)).await;
        match connection {
            Broker => {
                let url = format!("{}/%2f?heartbeat=2", proxy.url(&real).trim_end_matches('/'));
                stack.set("queue.url", &url);
                stack.set("queue.confirm_timeout", "2s");
                stack.set("queue.connect_timeout", "3s");
            }
            Database => {
                stack.set("database.url", &unencrypted(&proxy.url(&real)));
                stack.set("database.acquire_timeout", "2s");
                stack.set("database.statement_timeout", "2s");
            }
        }
        // Several batches, so that a fault can happen between two of them.
        stack.set("worker.batch_size", "20");
        let stream = Stream::new(if is_full() { 200 } else { 60 }, Mix::All);
        stream.insert_all(&stack.world).await;
        let mut ledger = Ledger::open(what, &stack).await;
        ledger.publish(&stack, &stream.events).await;
        Self { stack, proxy, stream, ledger, connection }
    }

    /// Waits until the worker logs that it has noticed the silent connection.
    async fn until_noticed(&self, worker: &mut Process) {
        let message = match self.connection {
            Broker => "no connection to the broker; trying again",
            Database => "the database cannot be used: holding the batch without counting an attempt",
        };
        let waiting_message = "waiting for the database";
        crate::support::eventually(message, Duration::from_secs(60), async || {
            assert!(worker.is_running(), "{}", worker.stderr());
            (!worker.log_lines(message).is_empty() || !worker.log_lines(waiting_message).is_empty())
                .then_some(())
        })
        .await;
    }

    async fn end(self, worker: Process) {
        super::stop_and_check(self.stack, self.stream, self.ledger, worker).await;
    }
}

/// The proxy searches for plain text, so the connection must be unencrypted even if the server offers TLS.
fn unencrypted(url: &str) -> String {
    with_parameter(url, if url.starts_with("postgres") { "sslmode=disable" } else { "ssl-mode=DISABLED" })
}

/// Applies one fault at one point; then the connection works again.
async fn with_fault(what: &str, connection: Connection, backend: Backend, when: When, fault: Fault) {
    let what = format!("{what}, {}: {fault:?}", connection.name());
    let scene = Scene::new(&what, connection, backend).await;
    scene.proxy.plan(when, fault);
    let mut worker = scene.stack.start(&["serve", "worker"]);
    scene.proxy.wait_for_fault().await;
    if fault == Fault::Stall {
        scene.until_noticed(&mut worker).await;
        scene.proxy.set(Mode::Pass);
    }
    scene.end(worker).await;
}

/// Tests a connection that is in this mode all the time.
async fn with_mode(what: &str, connection: Connection, backend: Backend, mode: Mode) {
    let what = format!("{what}, {}", connection.name());
    let scene = Scene::new(&what, connection, backend).await;
    scene.proxy.set(mode);
    let worker = scene.stack.start(&["serve", "worker"]);
    scene.end(worker).await;
}

/// The points at which the fault may happen.
const BROKER_POINTS: [(&str, When); 4] = [
    ("while connecting", When::Bytes(700)),
    ("among deliveries", When::Answers(DELIVER)),
    // The copy is in its queue, but not confirmed: it may be published twice, but must have only one effect.
    ("before a confirm arrives", When::Answers(ACK)),
    ("before an acknowledgement arrives", When::Sends(ACK)),
];
const DATABASE_POINTS: [(&str, When); 5] = [
    ("while connecting", When::Bytes(300)),
    ("in the middle of a batch", When::Sent(b"hostmatch_events")),
    ("before a commit arrives", When::Sends(COMMIT)),
    // The transaction is committed, but the worker does not get the response.
    ("after a commit arrived", When::Sent(COMMIT)),
    ("while dead letters are recorded", When::Sent(b"hostmatch_dead_letters")),
];

/// The combinations of every test run; all faults at all points need [`is_full`].
const REPRESENTATIVE: [(Connection, Backend, &str, Fault); 13] = [
    (Broker, Postgres, "while connecting", Fault::Reset),
    (Broker, Postgres, "among deliveries", Fault::Cut),
    (Broker, Postgres, "among deliveries", Fault::Stall),
    (Broker, Postgres, "before a confirm arrives", Fault::Reset),
    (Broker, Postgres, "before a confirm arrives", Fault::Stall),
    (Broker, Postgres, "before an acknowledgement arrives", Fault::SlowClose),
    (Database, MariaDb, "before a commit arrives", Fault::Reset),
    (Database, MariaDb, "after a commit arrived", Fault::Cut),
    (Database, MariaDb, "after a commit arrived", Fault::Stall),
    (Database, Postgres, "before a commit arrives", Fault::SlowClose),
    (Database, Postgres, "after a commit arrived", Fault::Reset),
    (Database, Postgres, "after a commit arrived", Fault::Stall),
    (Database, Postgres, "while dead letters are recorded", Fault::Stall),
];

const FAULTS: [Fault; 4] = [Fault::Cut, Fault::Reset, Fault::SlowClose, Fault::Stall];

async fn matrix(connection: Connection, backend: Backend, points: &[(&str, When)]) {
    for (point, when) in points {
        for fault in FAULTS {
            if is_full() || REPRESENTATIVE.contains(&(connection, backend, point, fault)) {
                with_fault(point, connection, backend, *when, fault).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_connection_to_the_broker_breaks_at_any_point() {
    matrix(Broker, Postgres, &BROKER_POINTS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_connection_to_mariadb_breaks_at_any_point() {
    matrix(Database, MariaDb, &DATABASE_POINTS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_connection_to_postgresql_breaks_at_any_point() {
    matrix(Database, Postgres, &DATABASE_POINTS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_connection_has_no_other_effect() {
    let (late, slow) = (Mode::Latency(Duration::from_millis(20)), Mode::Throttle(64_000));
    for (connection, backend) in [(Broker, Postgres), (Database, MariaDb), (Database, Postgres)] {
        if is_full() || backend == Postgres {
            with_mode("20 ms late", connection, backend, late).await;
        }
        if is_full() || connection == Broker || backend == MariaDb {
            with_mode("64 kB/s", connection, backend, slow).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_whose_acknowledgements_are_lost_notices_and_reconnects() {
    let mut scene = Scene::new("acknowledgements are dropped", Broker, MariaDb).await;
    scene.stack.set("queue.prefetch", "20");
    scene.stack.set("worker.stalled_after", "1s");
    scene.proxy.set(Mode::SwallowAcks);
    let mut worker = scene.stack.start(&["serve", "worker"]);
    worker.wait_for_log("the consumer stalled: connecting again").await;
    scene.proxy.set(Mode::Pass);
    scene.end(worker).await;
}

/// Cuts at every stage of a connection and of a batch, on every connection, in every way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_cut_at_any_byte() {
    let points: &[usize] =
        if is_full() { &[1, 9, 60, 200, 500, 1_000, 3_000, 10_000, 30_000, 60_000] } else { &[4_000] };
    let connections = [(Broker, Postgres), (Database, Postgres), (Database, MariaDb)];
    let connections = if is_full() { &connections[..] } else { &connections[..1] };
    let faults: &[Fault] = if is_full() { &FAULTS } else { &[Fault::SlowClose] };
    for (connection, backend) in connections {
        for fault in faults {
            for point in points {
                with_fault(
                    &format!("after {point} bytes"),
                    *connection,
                    *backend,
                    When::Bytes(*point),
                    *fault,
                )
                .await;
            }
        }
    }
}

on_engines!(a_command_on_a_silent_database_ends_with_an_error: mariadb, postgres);
/// A command that reads from a database which no longer responds ends with an error, while it connects and
/// during a query.
async fn a_command_on_a_silent_database_ends_with_an_error(backend: Backend) {
    const COMMANDS: [(&[&str], When); 8] = [
        (&["deadletters", "list"], When::Bytes(10)),
        (&["deadletters", "list"], When::Sent(b"hostmatch_dead_letters")),
        (&["gateway", "inspect"], When::Sent(b"appointments")),
        (&["gateway", "grants"], When::Sent(b"appointments")),
        (&["migrate", "status"], When::Sent(b"hostmatch_migrations")),
        (&["migrate", "sql"], When::Sent(b"hostmatch_migrations")),
        (&["migrate", "down", "--yes"], When::Sent(b"hostmatch_migrations")),
        (&["match", "explain", "--uid", "Bk-1"], When::Sent(b"appointments")),
    ];
    let mut stack = Stack::new(backend, GatewayShape::Roadmap).await;
    stack.set("database.acquire_timeout", "2s");
    stack.set("database.statement_timeout", "1s");
    let commands =
        COMMANDS.iter().map(|(arguments, point)| assert_ends_when_stalled(&stack, arguments, *point));
    futures_util::future::join_all(commands).await;
}

async fn assert_ends_when_stalled(stack: &Stack, arguments: &[&str], point: When) {
    let url = &stack.world.test.url;
    let proxy = Proxy::start(&Proxy::target(url)).await;
    proxy.plan(point, Fault::Stall);
    let mut command = stack.command(arguments);
    command.env("HOSTMATCH_database__url", unencrypted(&proxy.url(url)));
    let mut command = stack.launch(command);
    let end = command.wait().await;
    assert_eq!(end.code(), Some(8), "{} {arguments:?} {point:?}: {}", stack.backends(), command.stderr());
    proxy.wait_for_fault().await;
}
