//! Tests `hostmatch publish`: formats, errors with their position in the file, all-or-nothing publishing, and
//! exit codes.

use std::process::{Output, Stdio};

use hostmatch::config::{Overrides, load_from};
use hostmatch::queue::Queue;
use serde_json::json;
use tempfile::TempDir;

use crate::support::program::{command, json, stderr, stdout};

/// A directory with its own queue file and one file of events.
struct Installation {
    directory: TempDir,
    queue: String,
}

impl Installation {
    fn new(events: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("events"), events).unwrap();
        let queue = format!("sqlite://{}", directory.path().join("queue.db").display());
        Self { directory, queue }
    }

    fn publish(&self, arguments: &[&str]) -> Output {
        command(&["publish", "events"])
            .args(arguments)
            .env("HOSTMATCH_QUEUE__URL", &self.queue)
            .current_dir(&self.directory)
            .output()
            .unwrap()
    }

    /// Returns the number of messages in the queue.
    async fn queued_messages(&self) -> u64 {
        let mut flags = Overrides::default();
        flags.set("test", "queue.url", &self.queue);
        let config = load_from(None, std::iter::empty(), &flags).unwrap().config;
        let queue = Queue::open(&config.queue).await.unwrap();
        let depth = queue.depth().await.unwrap();
        queue.close().await;
        depth.ready
    }
}

fn event(uid: &str) -> String {
    json!({ "event": "appointment.created", "calcom_booking": { "uid": uid, "hosts": [{ "id": 7 }] } })
        .to_string()
}

#[tokio::test]
async fn an_object_an_array_and_lines_are_published() {
    for (events, count) in [
        (event("a"), 1),
        (format!("[{}, {}]", event("a"), event("b")), 2),
        (format!("{}\n\n{}\n{}\n", event("a"), event("b"), event("c")), 3),
        ("[]".to_owned(), 0),
    ] {
        let installation = Installation::new(&events);
        let output = installation.publish(&["--output", "json"]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let report = json(&output);
        assert_eq!((&report["published"], &report["valid"]), (&json!(count), &json!(count)));
        assert_eq!(installation.queued_messages().await, count);
    }
}

#[tokio::test]
async fn a_dry_run_checks_events_and_publishes_none() {
    let installation = Installation::new(&format!("{}\n{}", event("a"), json!({ "triggerEvent": "PING" })));
    let output = installation.publish(&["--dry-run"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let row = |start: &str| stdout(&output).lines().find(|line| line.starts_with(start)).unwrap().to_owned();
    assert!(row("line 1").contains("appointment.created") && row("line 1").contains("valid"));
    assert!(row("line 2").contains("nothing to act on"));
    assert!(stdout(&output).contains("1 valid, 1 with nothing to act on, 0 invalid"));
    assert_eq!(installation.queued_messages().await, 0);
}

#[tokio::test]
async fn an_invalid_event_prevents_publishing_unless_it_is_skipped() {
    let broken = json!({ "event": "appointment.created", "calcom_booking": { "title": "no reference" } });
    let installation = Installation::new(&format!("{}\n{broken}\n{}\n", event("a"), event("b")));
    let output = installation.publish(&["--output", "json"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("nothing was published: 1 of 3"), "{}", stderr(&output));
    let report = json(&output);
    assert_eq!(report["published"], 0);
    assert_eq!(report["events"][1]["status"], "invalid");
    assert_eq!(report["events"][1]["place"], "line 2");
    assert!(report["events"][1]["pointer"].as_str().unwrap().starts_with("/calcom_booking"));
    assert_eq!(installation.queued_messages().await, 0);

    let output = installation.publish(&["--skip-invalid"]);
    assert_eq!(output.status.code(), Some(5));
    assert!(stdout(&output).lines().any(|line| line.starts_with("line 2") && line.contains("invalid")));
    assert_eq!(installation.queued_messages().await, 2);
}

#[test]
fn unreadable_events_are_reported_without_quoting_them() {
    let output = Installation::new("{\n\"name\": \"Jane Roe\"\n").publish(&[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("not valid JSON") && stderr(&output).contains("line 2"),
        "{}",
        stderr(&output)
    );
    assert!(!stderr(&output).contains("Jane"));
    let output = command(&["publish", "/nowhere/events.json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
}

#[test]
fn events_are_read_from_standard_input() {
    let installation = Installation::new("");
    let input = installation.directory.path().join("input");
    std::fs::write(&input, event("a")).unwrap();
    let output = command(&["publish", "-", "--dry-run"])
        .stdin(Stdio::from(std::fs::File::open(&input).unwrap()))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).contains("1 valid"));
}

#[test]
fn an_unreachable_broker_exits_with_7() {
    let installation = Installation::new(&event("a"));
    let output = installation.publish(&[
        "--set",
        "queue.url=amqp://guest:hunter2@127.0.0.1:1",
        "--set",
        "queue.connect_timeout=500ms",
    ]);
    assert_eq!(output.status.code(), Some(7), "{}", stderr(&output));
    assert!(!stderr(&output).contains("hunter2"));
}
