//! Runs two builds, from before and after a migration, side by side on one queue and one schema, while
//! upgrading and while going back.
//!
//! The older one is the program in `HOSTMATCH_TEST_OLD_PROGRAM`; without it nothing is tested here, which
//! `scripts/test` reports at its end. `scripts/rolling-upgrade` builds it. If there is no migration between
//! the two, they are tested side by side anyway.

use std::cell::RefCell;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::{Value, json};

use super::{stop_and_count, unexpected_log_lines};
use crate::support::program::{stderr, stdout};
use crate::support::{Backend, GatewayShape, Ledger, Mix, Process, Stack, Stream, eventually};

/// Enough events for all the changes below; the rest is published at once.
const EVENTS: u32 = 8000;
/// This many events are published together at this interval, as long as no more than the backlog are waiting.
const CHUNK: usize = 4;
const PUBLISH_INTERVAL: Duration = Duration::from_millis(50);
const BACKLOG: usize = 300;
/// Events decided between two changes.
const BETWEEN: i64 = 60;

/// Warnings that both builds log without any fault: about this test's settings, and about dead letters.
const EXPECTED: [&str; 4] = [
    "edge.allow_unsigned is on",
    "an event became a dead letter",
    "queued what cannot be read",
    "queued an event that cannot be read",
];

/// Returns the older program.
#[expect(clippy::print_stderr, reason = "the output must show that nothing was tested")]
fn older() -> Option<PathBuf> {
    let program = std::env::var_os("HOSTMATCH_TEST_OLD_PROGRAM");
    if program.is_none() {
        eprintln!("SKIPPED: two builds side by side; scripts/rolling-upgrade tests them");
    }
    program.map(PathBuf::from)
}

/// Returns the command of one of the two programs with these arguments.
type Build = fn(&Site, &[&str]) -> Command;

/// An installation that is upgraded.
struct Site {
    stack: Stack,
    older: PathBuf,
}

impl Site {
    /// Creates an installation with the tables of the older program.
    async fn new(mut stack: Stack, older: PathBuf) -> Self {
        stack.set("edge.allow_unsigned", "true");
        let site = Self { stack, older };
        site.runs(site.stack.command(&["migrate", "down", "--all", "--yes"]));
        site.runs(site.old(&["migrate", "up"]));
        site
    }

    /// Returns the command of the older program, as [`Stack::command`] does for the newer one.
    fn old(&self, arguments: &[&str]) -> Command {
        let like = self.stack.command(arguments);
        let mut command = Command::new(&self.older);
        command.args(arguments).current_dir(self.stack.home()).stdin(std::process::Stdio::null());
        for (name, value) in like.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }

    fn runs(&self, mut command: Command) -> Output {
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{command:?}: {}{}", stdout(&output), stderr(&output));
        output
    }

    async fn worker(&self, command: Build) -> Process {
        let mut worker = self.stack.launch(command(self, &["serve", "worker"]));
        worker.wait_for_log("the worker is running").await;
        worker
    }

    /// Starts an edge with a spool of this name; returns it with its address (`host:port`).
    async fn edge(&self, spool: &str, command: Build) -> (Process, String) {
        let mut command = command(self, &["serve", "edge", "--listen", "127.0.0.1:0"]);
        command.env("HOSTMATCH_EDGE__SPOOL", self.stack.home().join(spool));
        let mut edge = self.stack.launch(command);
        let line = edge.wait_for_log("the edge is listening").await;
        (edge, line["address"].as_str().unwrap().to_owned())
    }
}

fn old(site: &Site, arguments: &[&str]) -> Command {
    site.old(arguments)
}

fn new(site: &Site, arguments: &[&str]) -> Command {
    site.stack.command(arguments)
}

/// Events that arrive steadily, alternately over HTTP and AMQP, whatever happens.
struct Load<'a> {
    site: &'a Site,
    ledger: Ledger,
    events: &'a [Value],
    next: usize,
    /// The edges that accept events.
    edges: &'a RefCell<Vec<String>>,
}

impl Load<'_> {
    /// Makes a change while events arrive, and lets some more of them be decided after it.
    async fn during<T>(&mut self, change: impl Future<Output = T>) -> T {
        tokio::pin!(change);
        let mut tick = tokio::time::interval(PUBLISH_INTERVAL);
        let changed = loop {
            tokio::select! {
                changed = &mut change => break changed,
                _ = tick.tick() => self.publish().await,
            }
        };
        let before = self.site.stack.decided().await;
        while self.next < self.events.len() && self.site.stack.decided().await < before + BETWEEN {
            tick.tick().await;
            self.publish().await;
        }
        changed
    }

    async fn publish(&mut self) {
        let decided = usize::try_from(self.site.stack.decided().await).unwrap();
        if self.next > decided + BACKLOG {
            return;
        }
        let until = (self.next + CHUNK).min(self.events.len());
        let chunk = &self.events[self.next..until];
        self.next = until;
        // An edge does not queue an event with nothing to act on.
        let by_http = |event: &&Value| event["event"].is_string();
        let (mut posted, mut rest): (Vec<Value>, Vec<Value>) =
            chunk.iter().cloned().partition(|event| by_http(&event));
        let edge = self.edges.borrow().get(self.next / CHUNK % 3).cloned();
        match edge {
            // An edge that has just stopped is like one that a load balancer has not removed yet.
            Some(edge) => rest.extend(self.ledger.post(&edge, &posted).await),
            None => rest.append(&mut posted),
        }
        self.ledger.publish(&self.site.stack, &rest).await;
    }

    /// Publishes the remaining events and ends.
    async fn end(mut self) -> Ledger {
        self.ledger.publish(&self.site.stack, &self.events[self.next..]).await;
        self.ledger
    }
}

async fn side_by_side(backend: Backend) {
    let Some(older) = older() else { return };
    let site = Site::new(Stack::new(backend, GatewayShape::Roadmap).await, older).await;
    let stream = Stream::new(EVENTS, Mix::All);
    stream.insert_all(&site.stack.world).await;
    let ledger = Ledger::open("two builds, before and after a migration", &site.stack).await;
    let edges = RefCell::new(Vec::new());
    let mut load = Load { site: &site, ledger, events: &stream.events, next: 0, edges: &edges };
    let mut ended: Vec<Process> = Vec::new();

    // Before the change, the older program runs alone.
    let mut workers = vec![site.worker(old).await, site.worker(old).await];
    let (mut old_edge, address) = site.edge("a.db", old).await;
    edges.borrow_mut().push(address);
    load.during(async {}).await;

    // A worker of the newer program is too early, and waits if there is a migration to wait for.
    let status = new(&site, &["migrate", "status"]).output().unwrap();
    let mut early = site.stack.launch(new(&site, &["serve", "worker"]));
    if status.status.code() == Some(10) {
        load.during(early.wait_for_log("waiting for the migration")).await;
    }
    let migrate = async {
        let mut migrate = site.stack.launch(new(&site, &["migrate", "up"]));
        assert_eq!(migrate.wait().await.code(), Some(0), "{}", migrate.stderr());
        migrate
    };
    ended.push(load.during(migrate).await);
    load.during(early.wait_for_log("the worker is running")).await;
    workers.extend([early, load.during(site.worker(new)).await]);
    let (mut new_edge, address) = load.during(site.edge("b.db", new)).await;
    edges.borrow_mut().push(address);

    // The older program's remaining letters are replayed by the newer one.
    let replay = async |command: Build| {
        let which = ["deadletters", "replay", "--code", "tenant_mismatch"];
        let arguments = [&which[..], &["--reason", "a test", "--yes", "--output", "json"]].concat();
        let mut replay = site.stack.launch(command(&site, &arguments));
        // Their cause remains: they fail again, as planned.
        assert_eq!(replay.wait().await.code(), Some(5), "{}", replay.stderr());
        let report = &replay.report()["report"];
        assert_eq!(report["as_planned_percent"], json!(100.0), "{report}");
        replay
    };
    ended.push(load.during(replay(new)).await);

    // The older processes leave, one by one.
    edges.borrow_mut().remove(0);
    assert_eq!(load.during(old_edge.stop()).await, Some(0), "{}", old_edge.stderr());
    for _ in 0..2 {
        let mut worker = workers.remove(0);
        let counts = load.during(stop_and_count(&mut worker)).await;
        assert!(counts.values().sum::<u64>() > 0, "an older worker has done nothing: {counts:?}");
        ended.push(worker);
    }
    ended.push(old_edge);

    // Going back replaces only the program, not the tables.
    let back = load.during(site.worker(old)).await;
    let (edge, address) = load.during(site.edge("a.db", old)).await;
    edges.borrow_mut().splice(.., [address]);
    workers.push(back);
    ended.push(load.during(replay(old)).await);
    assert_eq!(load.during(new_edge.stop()).await, Some(0), "{}", new_edge.stderr());
    for _ in 0..2 {
        let mut worker = workers.remove(0);
        let counts = load.during(stop_and_count(&mut worker)).await;
        assert!(counts.values().sum::<u64>() > 0, "a newer worker has done nothing: {counts:?}");
        ended.push(worker);
    }
    ended.push(std::mem::replace(&mut new_edge, edge));
    site.runs(site.old(&["migrate", "status"]));
    site.runs(site.old(&["migrate", "up"]));
    let ledger = load.end().await;
    site.stack.wait_until_decided(stream.len()).await;
    site.stack.wait_until_idle().await;
    assert_eq!(new_edge.stop().await, Some(0), "{}", new_edge.stderr());
    for mut worker in workers {
        let counts = stop_and_count(&mut worker).await;
        assert!(counts.values().sum::<u64>() > 0, "the last worker has done nothing: {counts:?}");
        ended.push(worker);
    }
    ended.push(new_edge);
    ledger.close(&site.stack).await;
    stream.assert_done(&site.stack).await;
    let expected = [&EXPECTED[..], &["waiting for the migration"]].concat();
    let unexpected: Vec<String> =
        ended.iter().flat_map(|process| unexpected_log_lines(process, &expected)).collect();
    assert!(unexpected.is_empty(), "{backend:?}:\n{}", unexpected.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_builds_work_side_by_side_on_mariadb() {
    side_by_side(Backend::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_builds_work_side_by_side_on_postgresql() {
    side_by_side(Backend::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_builds_work_side_by_side_on_sqlite_with_the_embedded_queue() {
    side_by_side(Backend::Sqlite).await;
}

on_engines!(events_kept_in_a_file_by_one_build_are_forwarded_by_the_other: sqlite, mariadb);
/// A file that one build has created and filled is emptied by the other: a spool, and an embedded queue.
async fn events_kept_in_a_file_by_one_build_are_forwarded_by_the_other(backend: Backend) {
    let Some(older) = older() else { return };
    let mut stack = Stack::new(backend, GatewayShape::Roadmap).await;
    // This is not the file that the test's own program has already created.
    let queue = format!("sqlite://{}", stack.home().join("made-by-the-older.db").display());
    if backend == Backend::Sqlite {
        stack.set("queue.url", &queue);
    }
    let site = Site::new(stack, older.clone()).await;
    let stream = Stream::new(300, Mix::Decidable);
    stream.insert_all(&site.stack.world).await;
    let posted: Vec<Value> =
        stream.events.iter().filter(|event| event["event"].is_string()).cloned().collect();
    let mut ledger = Ledger::open("files of one build opened by another", &site.stack).await;
    let ways: [[Build; 2]; 2] = [[old, new], [new, old]];
    let share = posted.len().div_ceil(ways.len());
    for (number, ([keeps, forwards], events)) in ways.iter().zip(posted.chunks(share)).enumerate() {
        let spool = format!("spool-{number}.db");
        let mut command = keeps(&site, &["serve", "edge", "--listen", "127.0.0.1:0"]);
        command.env("HOSTMATCH_EDGE__SPOOL", site.stack.home().join(&spool));
        if backend != Backend::Sqlite {
            // No broker listens there.
            command.env("HOSTMATCH_queue__url", "amqp://guest:guest@127.0.0.1:9");
        }
        let mut edge = site.stack.launch(command);
        let line = edge.wait_for_log("the edge is listening").await;
        let refused = ledger.post(line["address"].as_str().unwrap(), events).await;
        assert!(refused.is_empty(), "{refused:?}");
        assert_eq!(edge.stop().await, Some(0), "{}", edge.stderr());

        site.runs(new(&site, &["migrate", "up"]));
        let (mut edge, _) = site.edge(&spool, *forwards).await;
        let mut worker = site.worker(*forwards).await;
        let all: std::collections::BTreeSet<&str> = posted[..(number * share + events.len())]
            .iter()
            .map(|event| event["event_id"].as_str().unwrap())
            .collect();
        eventually("the kept events are decided", Duration::from_secs(60), async || {
            (site.stack.decided().await >= i64::try_from(all.len()).unwrap()).then_some(())
        })
        .await;
        assert_eq!(edge.stop().await, Some(0), "{}", edge.stderr());
        stop_and_count(&mut worker).await;
        let unexpected =
            [unexpected_log_lines(&edge, &EXPECTED), unexpected_log_lines(&worker, &EXPECTED)].concat();
        assert!(unexpected.is_empty(), "{}", unexpected.join("\n"));
    }
    ledger.close(&site.stack).await;
}
