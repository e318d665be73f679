//! Tests that every event answered with 200 reaches the queue, although the edge dies, or its disk is full, while
//! events pass through the spool.

use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use hostmatch::config::{QueueConfig, Secret};
use reqwest::StatusCode;
use sea_orm::{ConnectionTrait as _, Database, DbBackend, Statement};
use serde_json::Value;
use tempfile::TempDir;
#[cfg(feature = "crash-points")]
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
#[cfg(feature = "crash-points")]
use tokio::net::TcpStream;

use super::site::{RETELL, queue_config};
use super::spool::{Received, WAIT_TIMEOUT, event};
use crate::support::cleanup::Cleanup;
use crate::support::program::command;
use crate::support::proxy::{Mode, Proxy};
use crate::support::{Process, SmallDisk, amqp_url, eventually, unique};

const SENDERS: usize = 16;

/// The real binary as a process that a test can kill, and a broker that can be cut off.
struct KillableEdge {
    proxy: Proxy,
    direct: QueueConfig,
    client: reqwest::Client,
    home: TempDir,
    began: Instant,
    attempted: AtomicUsize,
    _cleanup: Cleanup,
}

impl KillableEdge {
    /// Prepares an edge whose broker is cut off.
    async fn open() -> Self {
        let proxy = Proxy::start(&Proxy::target(&amqp_url())).await;
        proxy.set(Mode::Refuse);
        let mut direct = queue_config(&amqp_url());
        direct.prefix = unique("test");
        direct.connect_timeout = std::time::Duration::from_secs(10);
        let cleanup = Cleanup::Broker(Box::new(direct.clone()));
        let client = crate::support::http_client();
        let (home, began) = (tempfile::tempdir().unwrap(), Instant::now());
        Self { proxy, direct, client, home, began, attempted: AtomicUsize::new(0), _cleanup: cleanup }
    }

    fn command(&self) -> Command {
        let mut command = command(&["serve", "edge", "--listen", "127.0.0.1:0"]);
        let url = Secret::new(self.proxy.url(&amqp_url()));
        command
            .env("HOSTMATCH_QUEUE__URL", url.expose())
            .env("HOSTMATCH_QUEUE__PREFIX", &self.direct.prefix)
            .env("HOSTMATCH_QUEUE__RETRY_DELAYS", "1s")
            .env("HOSTMATCH_EDGE__ALLOW_UNSIGNED", "true")
            .env("HOSTMATCH_LOG__FORMAT", "json")
            .current_dir(self.home.path());
        command
    }

    async fn start(&self) -> (Process, String) {
        self.run(self.command()).await
    }

    async fn run(&self, command: Command) -> (Process, String) {
        let mut edge = Process::start(command, self.home.path(), &unique("edge"));
        let line = edge.wait_for_log("the edge is listening").await;
        (edge, format!("http://{}", line["address"].as_str().unwrap()))
    }

    /// Returns whether the event got a 200. Also returns false if the edge has died.
    async fn is_accepted(&self, base: &str, body: String) -> bool {
        self.attempted.fetch_add(1, Ordering::SeqCst);
        let sent = self.client.post(format!("{base}{RETELL}")).body(body).send().await;
        sent.is_ok_and(|response| response.status() == StatusCode::OK)
    }

    /// Posts up to `count` events, one after another, from each of many senders. A sender stops when an event
    /// is not accepted. Adds the ids of the accepted events.
    async fn send(&self, base: &str, round: usize, count: usize, accepted: &Mutex<Vec<String>>) {
        let sender = async |sender: usize| {
            for n in 0..count {
                let id = format!("{round}.{sender}.{n}");
                if !self.is_accepted(base, event(&id)).await {
                    return;
                }
                accepted.lock().unwrap().push(id);
            }
        };
        futures_util::future::join_all((0..SENDERS).map(sender)).await;
    }

    fn spool(&self) -> std::path::PathBuf {
        self.home.path().join("hostmatch-spool.db")
    }

    /// Receives messages until all these events have arrived, and writes the row of this scenario in the report.
    async fn receive_all(&self, scenario: &str, accepted: &[String]) -> Received {
        let mut received = Received::subscribe(&self.direct).await;
        received.wait_for(accepted).await;
        received.report(scenario, self.began, self.attempted.load(Ordering::SeqCst), accepted);
        received
    }
}

/// Returns the number of messages in a spool that no process has open.
async fn spooled_messages(spool: &Path) -> i64 {
    let database = Database::connect(format!("sqlite://{}", spool.display())).await.unwrap();
    let query = Statement::from_string(DbBackend::Sqlite, "SELECT count(*) FROM messages");
    let row = database.query_one_raw(query).await.unwrap().unwrap();
    database.close().await.unwrap();
    row.try_get_by_index(0).unwrap()
}

/// Checks that each sender's events of each round arrived in the order in which it sent them.
fn assert_ordered(received: &Received) {
    let mut last = std::collections::BTreeMap::new();
    for id in received.first_arrivals() {
        let (sender, n) = id.rsplit_once('.').unwrap();
        let n: usize = n.parse().unwrap();
        let before = last.insert(sender.to_owned(), n);
        assert!(before < Some(n), "{id} arrived after {before:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_killed_while_it_spools_loses_no_accepted_event() {
    let fixture = KillableEdge::open().await;
    let accepted = Mutex::new(Vec::new());
    for round in 1..=4 {
        let (mut edge, base) = fixture.start().await;
        let kill = async {
            eventually("some are accepted", WAIT_TIMEOUT, async || {
                (accepted.lock().unwrap().len() >= round * 150).then_some(())
            })
            .await;
            edge.kill().await;
        };
        tokio::join!(fixture.send(&base, round, usize::MAX, &accepted), kill);
    }
    let accepted = accepted.into_inner().unwrap();
    fixture.proxy.set(Mode::Pass);
    let (mut edge, _) = fixture.start().await;
    let line = edge.wait_for_log("forwarding the events that were left in the spool").await;
    assert!(line["messages"].as_u64().unwrap() >= accepted.len() as u64, "{line}");
    assert_ordered(&fixture.receive_all("edge killed while it spools", &accepted).await);
    assert_eq!(edge.stop().await, Some(0), "{}", edge.stderr());
    assert_eq!(spooled_messages(&fixture.spool()).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_killed_while_it_forwards_forwards_the_rest_after_a_restart() {
    let fixture = KillableEdge::open().await;
    let accepted = Mutex::new(Vec::new());
    let queue = hostmatch::queue::Queue::open(&fixture.direct).await.unwrap();
    let depth = async || queue.depth().await.unwrap().ready;
    let mut was_interrupted = false;
    // On a fast machine the edge may have forwarded everything before the kill: then the test tries again.
    for round in 1..=8 {
        fixture.proxy.set(Mode::Refuse);
        let (mut edge, base) = fixture.start().await;
        fixture.send(&base, round, 100, &accepted).await;
        let before = depth().await;
        fixture.proxy.set(Mode::Pass);
        eventually("some are forwarded", WAIT_TIMEOUT, async || (depth().await > before).then_some(())).await;
        edge.kill().await;
        let remaining = spooled_messages(&fixture.spool()).await;
        if remaining > 0 && depth().await > before {
            was_interrupted = true;
            break;
        }
    }
    assert!(was_interrupted, "the edge was never killed while it forwarded");
    let (mut edge, _) = fixture.start().await;
    edge.wait_for_log("the spool is empty: events go straight to the queue again").await;
    let accepted = accepted.into_inner().unwrap();
    assert_ordered(&fixture.receive_all("edge killed while it forwards", &accepted).await);
    assert_eq!(edge.stop().await, Some(0), "{}", edge.stderr());
    assert_eq!(spooled_messages(&fixture.spool()).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopping_edge_logs_what_is_left_and_forwards_it_after_a_restart() {
    let fixture = KillableEdge::open().await;
    let accepted = Mutex::new(Vec::new());
    let (mut edge, base) = fixture.start().await;
    fixture.send(&base, 1, 3, &accepted).await;
    assert_eq!(edge.stop().await, Some(0), "{}", edge.stderr());
    let message = "events are left in the spool; they are forwarded when the edge runs again";
    assert_eq!(edge.log_lines(message)[0]["messages"], 3 * SENDERS, "{}", edge.stderr());

    fixture.proxy.set(Mode::Pass);
    let (mut edge, _) = fixture.start().await;
    let mut accepted = accepted.into_inner().unwrap();
    let mut received = fixture.receive_all("edge stopped", &accepted).await;
    assert_ordered(&received);
    edge.wait_for_log("the spool is empty: events go straight to the queue again").await;
    assert_eq!(edge.stop().await, Some(0), "{}", edge.stderr());
    assert!(edge.log_lines(message).is_empty());
    received.ids.sort();
    accepted.sort();
    assert_eq!(received.ids, accepted, "each event arrived once");
}

/// If a task of the edge ends by itself, the whole edge stops, so that a supervisor restarts it. Otherwise
/// events would wait forever.
#[cfg(feature = "crash-points")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_panics_stops_the_edge_and_nothing_is_lost() {
    for (point, part) in [("spooling:5:panic", "writer"), ("forwarding:1:panic", "forwarder")] {
        let fixture = KillableEdge::open().await;
        let mut command = fixture.command();
        command.env("HOSTMATCH_CRASH_AT", point);
        let (mut edge, base) = fixture.run(command).await;
        let accepted = Mutex::new(Vec::new());
        fixture.send(&base, 1, 20, &accepted).await;
        fixture.proxy.set(Mode::Pass);
        assert_eq!(edge.wait().await.code(), Some(1), "{}", edge.stderr());
        let reported = edge.stderr();
        assert!(
            reported.contains(part) && reported.contains("ended unexpectedly: this is a bug in hostmatch"),
            "{reported}"
        );
        let (mut edge, _) = fixture.start().await;
        let accepted = accepted.into_inner().unwrap();
        assert!(!accepted.is_empty(), "{point}");
        assert_ordered(&fixture.receive_all(&format!("{part} panics"), &accepted).await);
        assert_eq!(edge.stop().await, Some(0), "{}", edge.stderr());
    }
}

/// A request that is in progress when a task of the edge fails still gets its response, as during a normal
/// stop.
#[cfg(feature = "crash-points")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_panics_does_not_interrupt_requests() {
    let fixture = KillableEdge::open().await;
    let mut command = fixture.command();
    command.env("HOSTMATCH_CRASH_AT", "spooling:1:panic");
    let (mut edge, base) = fixture.run(command).await;
    let body = event("1.1.0");
    let mut slow = TcpStream::connect(base.trim_start_matches("http://")).await.unwrap();
    let head = format!(
        "POST {RETELL} HTTP/1.1\r\nhost: edge.example\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    slow.write_all(head.as_bytes()).await.unwrap();
    assert!(!fixture.is_accepted(&base, event("1.2.0")).await, "the writer must panic");
    eventually("no new connection is accepted", WAIT_TIMEOUT, async || {
        fixture.client.get(format!("{base}/health/live")).send().await.is_err().then_some(())
    })
    .await;
    let mut answer = String::new();
    let answered = async {
        slow.write_all(body.as_bytes()).await?;
        slow.read_to_string(&mut answer).await
    };
    answered.await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert_eq!(edge.wait().await.code(), Some(1), "{}", edge.stderr());
}

/// Limits the size of files for this process only, and ignores the signal for exceeding it, which SQLite does not
/// expect.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_full_disk_events_are_refused_until_there_is_room() {
    let fixture = KillableEdge::open().await;
    let edge = fixture.command();
    let mut limited = Command::new("sh");
    let script = "trap '' XFSZ; exec \"$@\"";
    limited.args(["-c", script, "sh"]).arg(edge.get_program()).args(edge.get_args());
    limited.current_dir(fixture.home.path()).env_clear();
    limited.envs(edge.get_envs().filter_map(|(name, value)| value.map(|value| (name, value))));
    let (mut edge, base) = fixture.run(limited).await;
    let limit = |bytes: &str| {
        let pid = edge.id().to_string();
        let limited = Command::new("prlimit").args([&format!("--fsize={bytes}"), "--pid", &pid]).status();
        assert!(limited.unwrap().success());
    };
    limit("1048576:unlimited");

    let body = |id: &str| event(id).replace("uid-1", &"x".repeat(30_000));
    let mut accepted = Vec::new();
    loop {
        let id = format!("1.1.{}", accepted.len());
        if !fixture.is_accepted(&base, body(&id)).await {
            break;
        }
        accepted.push(id);
        assert!(accepted.len() < 1_000, "the disk limit has no effect");
    }
    assert!(accepted.len() > 5, "{}", edge.stderr());
    let ready = async || {
        let response = fixture.client.get(format!("{base}/health/ready")).send().await.unwrap();
        (response.status(), response.json::<Value>().await.unwrap())
    };
    let (status, reported) = ready().await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{reported}");
    assert!(reported["reasons"].to_string().contains("hostmatch-spool.db"), "{reported}");
    let reported = edge.log_lines("the spool cannot be written; trying again");
    assert_eq!(reported.len(), 1, "{}", edge.stderr());

    limit("unlimited");
    eventually("the edge is ready again by itself", WAIT_TIMEOUT, async || {
        (ready().await.0 == StatusCode::OK).then_some(())
    })
    .await;
    let id = format!("1.1.{}", accepted.len());
    assert!(fixture.is_accepted(&base, body(&id)).await, "{}", edge.stderr());
    accepted.push(id);
    fixture.proxy.set(Mode::Pass);
    assert_ordered(&fixture.receive_all("disk full", &accepted).await);
    assert_eq!(edge.stop().await, Some(0), "{}", edge.stderr());
}

/// The broker comes back while the disk stays full: the events in the spool are forwarded, and new ones queue behind
/// them. The edge can even be started again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_disk_that_stays_full_events_are_forwarded_in_order() {
    let Some(disk) = SmallDisk::mount() else { return };
    let fixture = KillableEdge::open().await;
    let command = || {
        let mut command = fixture.command();
        command.env("HOSTMATCH_EDGE__SPOOL", disk.path().join("spool.db"));
        command
    };
    let accepted = Mutex::new(Vec::new());
    let post = async |base: &str| {
        let id = format!("e{}", accepted.lock().unwrap().len());
        let is_accepted = fixture.is_accepted(base, event(&id).replace("uid-1", &"x".repeat(3_000))).await;
        if is_accepted {
            accepted.lock().unwrap().push(id);
        }
        is_accepted
    };
    let count = || accepted.lock().unwrap().len();
    let (mut edge, base) = fixture.run(command()).await;
    disk.fill(8 << 20);
    for _ in 0..3 {
        while post(&base).await {
            assert!(count() < 20_000, "the disk is never full");
        }
        disk.fill(0);
    }
    assert!(count() > 300, "more than one group: {}", count());
    fixture.proxy.set(Mode::Pass);
    let empty = "the spool is empty: events go straight to the queue again";
    let deadline = Instant::now() + WAIT_TIMEOUT;
    while edge.log_lines(empty).is_empty() {
        post(&base).await;
        assert!(Instant::now() < deadline, "{}", edge.stderr());
    }
    assert!(post(&base).await);
    assert_eq!(edge.stop().await, Some(0), "{}", edge.stderr());

    fixture.proxy.set(Mode::Refuse);
    disk.fill(0);
    let (mut edge, base) = fixture.run(command()).await;
    disk.make_room();
    assert!(post(&base).await, "{}", edge.stderr());
    fixture.proxy.set(Mode::Pass);
    let accepted = accepted.into_inner().unwrap();
    let received = fixture.receive_all("disk stays full", &accepted).await;
    assert_eq!(received.first_arrivals(), accepted);
    assert_eq!(edge.stop().await, Some(0), "{}", edge.stderr());
}
