//! `hostmatch demo`, as a new user runs it.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sea_orm::ConnectionTrait as _;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::program::{command, json, stderr, stdout};

fn demo(directory: &TempDir, arguments: &[&str]) -> Output {
    command(&["demo"]).args(arguments).current_dir(directory).output().unwrap()
}

/// Returns the commands under "What to type next", as a user copies them.
fn commands(text: &str) -> Vec<String> {
    let (_, next) = text.split_once("What to type next\n").unwrap();
    // Long commands continue on the next line, indented; where they break depends on the program's path.
    let lines: Vec<_> = next.split("\\\n").map(str::trim_start).collect();
    lines
        .concat()
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

/// Runs a copied command in a shell.
fn shell(directory: &TempDir, line: &str) -> Output {
    Command::new("sh").args(["-c", line]).current_dir(directory).stdin(Stdio::null()).output().unwrap()
}

/// A demo that keeps running until this is dropped, so that a failing test does not leave it behind.
struct RunningDemo(Child);

impl Drop for RunningDemo {
    fn drop(&mut self) {
        // The process may already have ended.
        let _ended = self.0.kill().and_then(|()| self.0.wait());
    }
}

/// Returns the member of staff of a booking's appointment.
async fn staff_of(directory: &TempDir, booking: &str) -> Option<i64> {
    let url = format!("sqlite://{}", directory.path().join("hostmatch-demo/salon.db").display());
    let database = sea_orm::Database::connect(url).await.unwrap();
    let sql = format!("SELECT staff_id FROM appointments WHERE calcom_v2_booking_id = '{booking}'");
    let statement = sea_orm::Statement::from_string(sea_orm::DbBackend::Sqlite, sql);
    let row = database.query_one_raw(statement).await.unwrap().unwrap();
    let staff = row.try_get_by_index(0).unwrap();
    database.close().await.unwrap();
    staff
}

#[test]
fn every_booking_has_the_expected_result_on_every_run() {
    let directory = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let output = demo(&directory, &["--output", "json"]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let report = json(&output);
        let bookings: Vec<Value> = report["bookings"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| {
                json!([
                    one["booking"],
                    one["outcome"],
                    one["reason"],
                    one["staff"],
                    one["strategy"],
                    one["confidence"]
                ])
            })
            .collect();
        assert_eq!(
            bookings,
            [
                json!(["ABC123", "assigned", null, "Clara Sommer", "email", 95]),
                json!(["ABC124", "assigned", null, "Clara Sommer", "existing", 95]),
                json!(["ABC125", "needs_review", "below_threshold", null, null, null]),
                json!(["ABC126", "needs_review", "ambiguous", null, null, null]),
                json!(["ABC127", "unmatched", null, null, null, null]),
                json!(["ABC128", "no_host", "absent", null, null, null]),
                json!(["ABC129", "dead_letter", "malformed", null, null, null]),
                json!(["ABC130", "assigned", null, "Mira Aydin", "email", 95]),
                json!(["ABC123", "stale", null, "Clara Sommer", "email", 95]),
                json!(["ABC131", "dead_letter", "tenant_mismatch", null, null, null]),
            ]
        );
        let late = &report["bookings"][7];
        assert!(late["retries"].as_u64().unwrap() >= 1, "{late}");
        assert_eq!(report["audits"].as_array().unwrap().len(), 2);
        assert_eq!(report["audits"][0]["host_id"], 1_420_209);
        let kinds: Vec<_> = report["inbox"].as_array().unwrap().iter().map(|host| &host["kind"]).collect();
        assert_eq!(kinds, ["below_threshold", "ambiguous", "unknown"]);
        for letter in report["dead_letters"].as_array().unwrap() {
            assert_eq!(letter["attempts"], 1, "{letter}");
        }
        assert_eq!((&report["ok"], &report["differences"]), (&json!(true), &json!([])));
        assert_eq!(stderr(&output).lines().filter(|line| line.starts_with('[')).count(), 10);
    }
}

#[tokio::test]
async fn the_suggested_commands_work() {
    let directory = tempfile::tempdir().unwrap();
    let output = demo(&directory, &[]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    // The length of the program's path depends on the machine.
    let shortened = text.replace(env!("CARGO_BIN_EXE_hostmatch"), "hostmatch");
    assert!(shortened.lines().all(|line| line.chars().count() <= 100), "{shortened}");
    assert!(text.contains("All 10 bookings have the expected outcome."));

    let all = commands(text);
    for part in
        ["match explain", "deadletters show", "publish", "serve worker", "config show", "migrate status"]
    {
        assert!(all.iter().any(|command| command.contains(part)), "{part} is not among {all:?}");
    }
    assert_eq!(staff_of(&directory, "ABC125").await, None);
    for command in &all {
        let has_word = |word: &str| command.split(' ').any(|part| part == word);
        if has_word("--keep") {
            continue;
        }
        if has_word("--reset") {
            let staff = (staff_of(&directory, "ABC125").await, staff_of(&directory, "ABC132").await);
            assert_eq!(staff, (Some(2), Some(2)), "the published booking decides both appointments");
        }
        let output = shell(&directory, command);
        assert_eq!(output.status.code(), Some(0), "{command}\n{}", stderr(&output));
    }
    assert!(!directory.path().join("hostmatch-demo").exists(), "the last command is --reset");
    assert_eq!(
        demo(&directory, &["--reset"]).status.code(),
        Some(0),
        "--reset succeeds when there is nothing to remove"
    );
}

#[test]
fn a_directory_with_other_files_is_refused_and_unchanged() {
    let directory = tempfile::tempdir().unwrap();
    let other_directory = directory.path().join("hostmatch-demo");
    std::fs::create_dir(&other_directory).unwrap();
    for (name, text) in [("salon.db", "a stranger's"), ("hostmatch.toml", "[log]\nlevel = \"info\"\n")] {
        std::fs::write(other_directory.join(name), text).unwrap();
        for arguments in [&[][..], &["--reset"]] {
            let output = demo(&directory, arguments);
            assert_eq!(output.status.code(), Some(6), "{}", stderr(&output));
            assert!(stderr(&output).contains("--dir"), "{}", stderr(&output));
        }
        assert_eq!(std::fs::read_to_string(other_directory.join(name)).unwrap(), text);
    }
    assert_eq!(other_directory.read_dir().unwrap().count(), 2);

    // A path that a URL cannot contain is refused before anything is created.
    assert_eq!(demo(&directory, &["--dir", "a?b"]).status.code(), Some(2));
    assert!(!directory.path().join("a?b").exists());

    // Files that a user adds to a demo's directory are kept.
    assert_eq!(demo(&directory, &["--dir", "ours"]).status.code(), Some(0));
    let notes = directory.path().join("ours/notes.txt");
    std::fs::write(&notes, "mine").unwrap();
    assert_eq!(demo(&directory, &["--dir", "ours"]).status.code(), Some(0));
    assert_eq!(demo(&directory, &["--dir", "ours", "--reset"]).status.code(), Some(0));
    assert_eq!(notes.parent().unwrap().read_dir().unwrap().count(), 1);
}

#[test]
fn the_demo_uses_its_own_configuration_and_reports_conflicting_variables() {
    let directory = tempfile::tempdir().unwrap();
    for arguments in [["--set", "matching.auto_accept=75"], ["--config", "other.toml"]] {
        let output = demo(&directory, &arguments);
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    }
    assert_eq!(directory.path().read_dir().unwrap().count(), 0);
    let output = command(&["demo"])
        .env("HOSTMATCH_DATABASE__URL", "mysql://gw:hunter2@127.0.0.1:1/gw")
        .current_dir(&directory)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stderr(&output).contains("HOSTMATCH_DATABASE__URL is set"), "{}", stderr(&output));
    assert!(!stderr(&output).contains("hunter2"));
}

#[test]
fn a_port_in_use_is_reported_before_anything_changes() {
    let directory = tempfile::tempdir().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let output = demo(&directory, &["--port", &port]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("--port"), "{}", stderr(&output));
    assert_eq!(directory.path().read_dir().unwrap().count(), 0);
}

#[test]
fn secret_files_are_readable_by_the_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(demo(&directory, &[]).status.code(), Some(0));
    for name in ["hostmatch.toml", "token"] {
        let file = directory.path().join("hostmatch-demo").join(name);
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{name}");
    }
}

#[tokio::test]
async fn with_keep_the_servers_run_until_they_are_stopped() {
    let directory = tempfile::tempdir().unwrap();
    let mut running_demo = RunningDemo(
        command(&["demo", "--keep", "--output", "json"])
            .current_dir(&directory)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let mut lines = BufReader::new(running_demo.0.stderr.take().unwrap()).lines().map(Result::unwrap);
    let running = lines.find(|line| line.contains("keep running")).unwrap();
    let url = running.split_whitespace().find(|word| word.starts_with("http://")).unwrap();

    let client = crate::support::http_client();
    let ready = client.get(format!("{url}/health/ready")).send().await.unwrap();
    assert_eq!(ready.status().as_u16(), 200);
    let files = directory.path().join("hostmatch-demo");
    let text = |name: &str| std::fs::read_to_string(Path::new(&files).join(name)).unwrap();
    let event = client.post(format!("{url}/v1/events")).bearer_auth(text("token").trim());
    let response = event.body(text("next-booking.json")).send().await.unwrap();
    assert_eq!(response.status().as_u16(), 202);
    // The recorder may count the demo's own dead letters late.
    let decided = lines.find(|line| !line.ends_with(": recorded_dead_letter"));
    assert_eq!(decided.as_deref(), Some("1 more: assigned"));
    assert_eq!(staff_of(&directory, "ABC125").await, Some(2), "this appointment waited for the host");

    let second = demo(&directory, &[]);
    assert_eq!(second.status.code(), Some(6), "a second demo in the same directory is refused");
    assert!(stderr(&second).contains("is running"), "{}", stderr(&second));

    kill(Pid::from_raw(i32::try_from(running_demo.0.id()).unwrap()), Signal::SIGTERM).unwrap();
    assert_eq!(running_demo.0.wait().unwrap().code(), Some(0));
    let report: Value = serde_json::from_reader(running_demo.0.stdout.take().unwrap()).unwrap();
    assert_eq!(report["listening"], url);
    let next = report["next"].as_array().unwrap();
    assert!(next.iter().any(|next| next["command"].as_str().unwrap().starts_with("curl ")), "{next:?}");
}
