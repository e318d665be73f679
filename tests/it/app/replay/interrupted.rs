//! Kills a replaying process, or a worker, by SIGKILL: the next one continues, and every effect happens once.

use std::os::unix::process::ExitStatusExt as _;

use serde_json::json;

use super::{
    WAIT_TIMEOUT, add_appointment, counts, create_dead_letters, create_salon, letters, plan, run, states,
    stop, with_mara,
};
use crate::support::program::{json, stderr};
use crate::support::{Backend, is_full};

const LETTERS: u32 = 30;

const POINTS: [&str; 3] = ["replay_claimed", "replay_published", "replay_sent"];

async fn kill_replay_at(backend: Backend, point: &str, passage: u32) {
    let stack = create_salon(backend).await;
    create_dead_letters(&stack, &(1..=LETTERS).map(|n| with_mara(n, 60)).collect::<Vec<_>>()).await;
    for n in 1..=LETTERS {
        add_appointment(&stack, n).await;
    }
    let (id, _) = plan(&stack, &["--all"]);
    let worker = stack.worker().await;
    let mut command = stack.command(&["deadletters", "replay", "--plan", &id, "--rate", "6/s", "--yes"]);
    command.env("HOSTMATCH_CRASH_AT", format!("{point}:{passage}"));
    let mut killed = stack.launch(command);
    let end = killed.wait().await;
    assert_eq!(end.signal(), Some(9), "the process must be killed at {point}: {end} {}", killed.stderr());
    let show = || json(&run(&stack, &["replays", "show", &id, "--output", "json"]));
    assert!(
        show()["report"]["pending"].as_i64().unwrap() > 0,
        "the process must be killed before the end of the replay: {}",
        show()
    );

    // Another process may continue only after the lease has expired.
    let refused = run(&stack, &["replays", "resume", &id]);
    assert_eq!(refused.status.code(), Some(6), "{}", stderr(&refused));
    stack.world.run("UPDATE hostmatch_replays SET lease_until_ms = 1").await;
    assert_eq!(show()["replay"]["state"], "interrupted");
    let resumed = json(&run(&stack, &["replays", "resume", &id, "--output", "json"]));
    stop(worker).await;
    assert_eq!(resumed["ended"], "done", "{point}: {resumed}");
    let report = &resumed["report"];
    assert_eq!(report["results"], counts(&[("assigned", i64::from(LETTERS))]), "{point}: {resumed}");
    assert_eq!(report["as_planned_percent"], json!(100.0), "{point}: {resumed}");
    assert_eq!(states(&stack).await, [("resolved".to_owned(), i64::from(LETTERS))]);
    assert!(letters(&stack).await.iter().all(|letter| letter.ends_with("|1")), "{point}");
    assert_eq!(stack.world.count("calcom_host_mappings").await, 1);
    assert_eq!(
        stack.world.count("calcom_host_mapping_audits").await,
        1,
        "{point}: every effect must happen once"
    );
    assert!(stack.is_empty().await, "{point}");
    let assigned = stack.world.appointments().await;
    assert!(assigned.values().all(|staff| staff == "1/11"), "{point}: {assigned:?}");
}

/// Kills a worker while it handles copies; another worker completes the work.
async fn kill_worker_at(backend: Backend, point: &str) {
    let mut stack = create_salon(backend).await;
    stack.set("worker.batch_size", "5");
    create_dead_letters(&stack, &(1..=LETTERS).map(|n| with_mara(n, 60)).collect::<Vec<_>>()).await;
    for n in 1..=LETTERS {
        add_appointment(&stack, n).await;
    }
    let (id, _) = plan(&stack, &["--all"]);
    let mut command = stack.command(&["serve", "worker"]);
    command.env("HOSTMATCH_CRASH_AT", format!("{point}:2"));
    let mut killed = stack.launch(command);
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
    let end = killed.wait().await;
    assert_eq!(end.signal(), Some(9), "the process must be killed at {point}: {end} {}", killed.stderr());
    stack.wait_until_requeued().await;
    let worker = stack.worker().await;
    assert_eq!(replay.wait_within(WAIT_TIMEOUT).await.code(), Some(0), "{point}: {}", replay.stderr());
    stop(worker).await;
    let report = replay.report();
    assert_eq!(report["report"]["as_planned_percent"], json!(100.0), "{point}: {report}");
    assert_eq!(states(&stack).await, [("resolved".to_owned(), i64::from(LETTERS))], "{point}");
    assert_eq!(
        stack.world.count("calcom_host_mapping_audits").await,
        1,
        "{point}: every effect must happen once"
    );
    assert!(stack.is_empty().await, "{point}");
}

async fn kill_at_each_point(backend: Backend, replay_point: &str, worker_point: &str) {
    for point in POINTS {
        if is_full() || point == replay_point {
            kill_replay_at(backend, point, 4).await;
        }
    }
    for point in ["received", "before_commit", "after_commit", "before_ack", "after_ack"] {
        if is_full() || point == worker_point {
            kill_worker_at(backend, point).await;
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
