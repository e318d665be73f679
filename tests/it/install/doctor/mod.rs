//! Tests the doctor: it finds each seeded fault and shows a remedy, and has no findings on a healthy
//! installation.

mod configuration;
mod database;
mod broker;
mod policies;
mod edges;

use std::process::Output;
use std::time::Duration;

use hostmatch::install::doctor::Code;
use serde_json::Value;

use crate::support::broker::Broker;
use crate::support::program::{json, stderr, stdout};
use crate::support::{Backend, GatewayShape, Process, Server, Stack, TestDatabase, World, eventually};

/// The value of every secret. No output may contain it.
const SECRET: &str = "hush-hush-hush-hush-hush-hush-hush";

/// The disk on which the tests run may be nearly full.
const ACCEPT_FULL_DISK: [&str; 4] = ["--accept", "disk_nearly_full", "--accept", "disk_full"];

/// An installation to examine.
struct Installation {
    stack: Stack,
}

impl Installation {
    /// Creates a healthy installation with the embedded queue.
    async fn embedded(backend: Backend) -> Self {
        Self::new(Stack::on(World::new(backend, GatewayShape::Roadmap).await, None).await)
    }

    /// Creates an installation on a private broker with its management API at this address; healthy when a
    /// worker runs.
    async fn on(test: TestDatabase, broker: &Broker, management: &str) -> Self {
        let mut installation =
            Self::new(Stack::on(World::in_database(test, &[]).await, Some(broker.url())).await);
        installation.set("queue.management_url", management);
        installation
    }

    fn new(stack: Stack) -> Self {
        let mut installation = Self { stack };
        installation.set("edge.gateway_secrets", SECRET);
        installation.set("queue.connect_timeout", "5s");
        installation
    }

    fn set(&mut self, key: &str, value: &str) {
        self.stack.set(key, value);
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let output = self.stack.command(arguments).output().unwrap();
        let reported = format!("{}{}", stdout(&output), stderr(&output));
        assert!(!reported.contains("hush"), "the output contains a secret: {reported}");
        output
    }

    /// Returns the doctor's report, without findings about the disk on which the tests run.
    fn doctor(&self, arguments: &[&str]) -> Report {
        self.report(&[&ACCEPT_FULL_DISK[..], arguments].concat())
    }

    fn report(&self, arguments: &[&str]) -> Report {
        let output = self.run(&[&["doctor", "--output", "json"], arguments].concat());
        let report = Report { code: output.status.code(), json: json(&output) };
        report.assert_consistent();
        report
    }

    /// Starts a worker and waits until it consumes.
    async fn worker(&self) -> Process {
        let worker = self.stack.worker().await;
        eventually("the worker consumes", Duration::from_secs(60), async || {
            let report = self.doctor(&[]);
            let waits = ["exchange_missing", "queue_missing", "binding_missing", "no_consumers"];
            (!report.codes().iter().any(|code| waits.contains(code))).then_some(())
        })
        .await;
        worker
    }
}

/// The doctor's report as JSON.
struct Report {
    code: Option<i32>,
    json: Value,
}

impl Report {
    fn findings(&self) -> &[Value] {
        self.json["findings"].as_array().unwrap()
    }

    /// Returns the codes that were found, each once.
    fn codes(&self) -> Vec<&str> {
        let mut codes: Vec<&str> = self.findings().iter().map(|one| one["code"].as_str().unwrap()).collect();
        codes.sort_unstable();
        codes.dedup();
        codes
    }

    fn finding(&self, code: &str) -> &Value {
        let found = self.findings().iter().find(|one| one["code"] == code);
        found.unwrap_or_else(|| panic!("{code} is missing: {:#}", self.json))
    }

    /// Returns the reason why this code was not checked.
    fn reason_not_checked(&self, code: &str) -> &str {
        let all = self.json["not_checked"].as_array().unwrap();
        let one = all.iter().find(|one| one["code"] == code);
        one.unwrap_or_else(|| panic!("{code} was checked: {:#}", self.json))["why"].as_str().unwrap()
    }

    /// Checks that the report contains this finding, with this subject and this remedy, and that the exit code is
    /// the documented one.
    fn finds(&self, code: &str, subject: &str, remedy: &str) -> &Self {
        let is_expected =
            |one: &&Value| one["code"] == code && one["subject"].as_str().unwrap().contains(subject);
        let finding = self.findings().iter().find(is_expected);
        let finding = finding.unwrap_or_else(|| panic!("{code} on {subject} is missing: {:#}", self.json));
        let text = |key: &str| finding[key].as_str().unwrap();
        assert!(text("remedy").contains(remedy), "{code}: {remedy}: {finding:#}");
        assert!(!text("what").is_empty());
        let expected = if self.json["errors"].as_u64().unwrap() > 0 { 1 } else { 10 };
        assert_eq!(self.code, Some(expected), "{:#}", self.json);
        self
    }

    /// Checks that the report contains these codes and no others.
    fn only(&self, codes: &[&str]) {
        let mut codes = codes.to_vec();
        codes.sort_unstable();
        assert_eq!(self.codes(), codes, "{:#}", self.json);
    }

    /// Checks that no code is in two sections, and that each is in the closed list.
    fn assert_consistent(&self) {
        let names = |key: &str| -> Vec<String> {
            let all = self.json[key].as_array().unwrap().iter();
            all.map(|one| one.get("code").unwrap_or(one).as_str().unwrap().to_owned()).collect()
        };
        let mut all = [names("findings"), names("accepted")].concat();
        all.sort_unstable();
        all.dedup();
        all.extend([names("passed"), names("not_checked")].concat());
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count, "{:#}", self.json);
        let known = |name: &String| Code::ALL.iter().any(|code| code.as_str() == name);
        assert!(all.iter().all(known), "{all:?}");
    }
}

/// Starts a private broker with its management API.
async fn broker() -> Option<(Broker, String)> {
    let mut broker = Broker::prepare()?;
    let management = broker.with_management();
    broker.configure("channel_max = 40\nmax_message_size = 2097152\n");
    broker.run().await;
    Some((broker, management))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_healthy_installation_has_no_findings_and_one_line_of_output() {
    let Some((broker, management)) = broker().await else { return };
    for backend in [Backend::Sqlite, Backend::MariaDb, Backend::Postgres] {
        let server = if backend == Backend::Sqlite { None } else { Server::start(backend, 60).await };
        let test = match &server {
            Some(server) => TestDatabase::migrated_on(server.address(), backend, GatewayShape::Roadmap).await,
            None => TestDatabase::migrated(Backend::Sqlite, GatewayShape::Roadmap).await,
        };
        let installation = Installation::on(test, &broker, &management).await;
        let mut worker = installation.worker().await;
        let report = installation.doctor(&[]);
        assert_eq!((report.code, report.codes()), (Some(0), vec![]), "{backend:?}: {:#}", report.json);
        assert_eq!(report.json["not_checked"], serde_json::json!([]), "{backend:?}");
        let output = installation.run(&[&["doctor"], &ACCEPT_FULL_DISK[..]].concat());
        assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));
        let lines: Vec<&str> = stdout(&output).lines().collect();
        let line = lines[lines.len() - 1];
        assert!(line.starts_with("OK: ") && line.contains("RabbitMQ 3."), "{backend:?}: {line}");
        assert!(lines.len() == 1 || lines[0] == "ACCEPTED", "{backend:?}: {lines:?}");
        assert_eq!(worker.stop().await, Some(0), "{}", worker.stderr());
        drop(installation);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_embedded_queue_no_broker_is_checked() {
    let installation = Installation::embedded(Backend::Sqlite).await;
    let report = installation.doctor(&[]);
    assert_eq!((report.code, report.codes()), (Some(0), vec![]), "{:#}", report.json);
    assert_eq!(report.json["not_checked"], serde_json::json!([]));
    let passed = report.json["passed"].as_array().unwrap();
    assert!(passed.contains(&"queue_file_unusable".into()) && !passed.contains(&"queue_missing".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_table_shows_code_subject_and_remedy_and_accepted_findings_do_not_count() {
    let mut installation = Installation::embedded(Backend::Sqlite).await;
    installation.set("appointments.overwrite", "always");
    let output = installation.run(&[&["doctor", "--all"], &ACCEPT_FULL_DISK[..]].concat());
    assert_eq!(output.status.code(), Some(10));
    let text = stdout(&output);
    for line in [
        "WARNING\n  overwrite_always: appointments.overwrite",
        "what to do: set appointments.overwrite",
        "OK\n",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(text.trim_end().lines().last().unwrap().starts_with("0 errors, 1 warning, "), "{text}");
    let output =
        installation.run(&[&["doctor", "--accept", "overwrite_always"], &ACCEPT_FULL_DISK[..]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    assert!(stdout(&output).contains("ACCEPTED\n  overwrite_always"), "{}", stdout(&output));
    assert_eq!(installation.run(&["doctor", "--accept", "everything"]).status.code(), Some(2));
}
