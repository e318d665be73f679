//! A replaying process is killed by SIGKILL: the next one continues, and every effect happens once.

use std::os::unix::process::ExitStatusExt as _;

use serde_json::json;

use super::{WAIT_TIMEOUT, appears, counts, die, letters, plan, run, salon, states, stops, with_mara};
use crate::support::program::{json, stderr};
use crate::support::{Backend, is_full};

const LETTERS: u32 = 30;

const POINTS: [&str; 3] = ["replay_claimed", "replay_published", "replay_sent"];

async fn is_killed_at(backend: Backend, point: &str, passage: u32) {
    let stack = salon(backend).await;
    die(&stack, &(1..=LETTERS).map(|n| with_mara(n, 60)).collect::<Vec<_>>()).await;
    for n in 1..=LETTERS {
        appears(&stack, n).await;
    }
    let (id, _) = plan(&stack, &["--all"]);
    let worker = stack.worker().await;
    let mut command = stack.command(&["deadletters", "replay", "--plan", &id, "--rate", "6/s", "--yes"]);
    command.env("HOSTMATCH_CRASH_AT", format!("{point}:{passage}"));
    let mut killed = stack.launch(command);
    let end = killed.end().await;
    assert_eq!(end.signal(), Some(9), "it should have died at {point}: {end} {}", killed.stderr());
    let shown = || json(&run(&stack, &["replays", "show", &id, "--output", "json"]));
    assert!(
        shown()["report"]["pending"].as_i64().unwrap() > 0,
        "the process died in the middle: {}",
        shown()
    );

    // Another process may continue only after the lease has expired.
    let refused = run(&stack, &["replays", "resume", &id]);
    assert_eq!(refused.status.code(), Some(6), "{}", stderr(&refused));
    stack.world.run("UPDATE hostmatch_replays SET lease_until_ms = 1").await;
    assert_eq!(shown()["replay"]["state"], "interrupted");
    let resumed = json(&run(&stack, &["replays", "resume", &id, "--output", "json"]));
    stops(worker).await;
    assert_eq!(resumed["ended"], "done", "{point}: {resumed}");
    let report = &resumed["report"];
    assert_eq!(report["results"], counts(&[("assigned", i64::from(LETTERS))]), "{point}: {resumed}");
    assert_eq!(report["as_planned_percent"], json!(100.0), "{point}: {resumed}");
    assert_eq!(states(&stack).await, [("resolved".to_owned(), i64::from(LETTERS))]);
    assert!(letters(&stack).await.iter().all(|letter| letter.ends_with("|1")), "{point}");
    assert_eq!(stack.world.count("calcom_host_mappings").await, 1);
    assert_eq!(stack.world.count("calcom_host_mapping_audits").await, 1, "{point}: every effect once");
    assert!(stack.is_empty().await, "{point}");
    let assigned = stack.world.appointments().await;
    assert!(assigned.values().all(|staff| staff == "1/11"), "{point}: {assigned:?}");
}

/// A worker dies while it handles copies; another one completes the work.
async fn worker_dies_at(backend: Backend, point: &str) {
    let mut stack = salon(backend).await;
    stack.set("worker.batch_size", "5");
    die(&stack, &(1..=LETTERS).map(|n| with_mara(n, 60)).collect::<Vec<_>>()).await;
    for n in 1..=LETTERS {
        appears(&stack, n).await;
    }
    let (id, _) = plan(&stack, &["--all"]);
    let mut command = stack.command(&["serve", "worker"]);
    command.env("HOSTMATCH_CRASH_AT", format!("{point}:2"));
    let mut dying = stack.launch(command);
    let mut replay = stack.start(&[
        "deadletters",
        "replay",
        "--plan",
        &id,
        "--rate",
        "100/s",
        "--yes",
        "--output",
        "json",
    ]);
    let end = dying.end().await;
    assert_eq!(end.signal(), Some(9), "it should have died at {point}: {end} {}", dying.stderr());
    stack.wait_until_requeued().await;
    let worker = stack.worker().await;
    assert_eq!(replay.ends_within(WAIT_TIMEOUT).await.code(), Some(0), "{point}: {}", replay.stderr());
    stops(worker).await;
    let report = replay.report();
    assert_eq!(report["report"]["as_planned_percent"], json!(100.0), "{point}: {report}");
    assert_eq!(states(&stack).await, [("resolved".to_owned(), i64::from(LETTERS))], "{point}");
    assert_eq!(stack.world.count("calcom_host_mapping_audits").await, 1, "{point}: every effect once");
    assert!(stack.is_empty().await, "{point}");
}

async fn kill_at_each_point(backend: Backend, usual: &str, usual_of_worker: &str) {
    for point in POINTS {
        if is_full() || point == usual {
            is_killed_at(backend, point, 4).await;
        }
    }
    for point in ["received", "before_commit", "after_commit", "before_ack", "after_ack"] {
        if is_full() || point == usual_of_worker {
            worker_dies_at(backend, point).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_replay_is_continued_on_mariadb() {
    kill_at_each_point(Backend::MariaDb, "replay_published", "after_commit").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_replay_is_continued_on_postgresql() {
    kill_at_each_point(Backend::Postgres, "replay_claimed", "before_commit").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_replay_is_continued_on_sqlite_with_the_embedded_queue() {
    kill_at_each_point(Backend::Sqlite, "replay_published", "after_commit").await;
}
