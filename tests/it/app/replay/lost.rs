//! Tests letters whose copies are lost, letters that the queue does not accept, and processes whose replay another
//! process has taken over.

use std::time::Duration;

use hostmatch::queue::{BatchLimits, Disposition, Gathered, Source};
use hostmatch::runtime::shutdown::Shutdown;
use hostmatch::store::{
    LetterAction, NewLetterAction, ReplayStart, ReplayState, ReplayTerms, StateChange, begin_replay, claim,
    renew_lease, set_replay_state,
};
use serde_json::json;

use super::{
    WAIT_TIMEOUT, add_appointment, counts, create_dead_letters, create_salon, letters, plan, replay, run,
    states, stop, with_mara,
};
use crate::support::program::{json, stderr, stdout};
use crate::support::{Backend, Stack, eventually};

/// Plans a replay of letters that can be decided now. Returns the plan's id.
async fn plan_replay(stack: &Stack, letters: u32) -> String {
    create_dead_letters(stack, &(1..=letters).map(|n| with_mara(n, 60)).collect::<Vec<_>>()).await;
    for n in 1..=letters {
        add_appointment(stack, n).await;
    }
    plan(stack, &["--all"]).0
}

/// Sends all letters of a plan, and removes their copies from the queue.
async fn lose_copies(stack: &Stack, id: &str, letters: usize) {
    let mut sending =
        stack.start(&["deadletters", "replay", "--plan", id, "--canary", "0", "--rate", "1000/s", "--yes"]);
    eventually("the letters are sent", WAIT_TIMEOUT, async || {
        let states = stack.world.rows("hostmatch_replay_items", &["state"]).await;
        states.iter().all(|state| state == "sent").then_some(())
    })
    .await;
    assert_eq!(sending.stop().await, Some(130), "{}", sending.stderr());
    let mut consumer = stack.queue.consumer(Source::Bookings, BatchLimits { size: 99, bytes: 1 << 20 });
    let mut acknowledged = 0;
    while acknowledged < letters {
        let Gathered::Batch(batch) = consumer.next_batch(&Shutdown::new(), None).await.unwrap() else {
            panic!("the queue has no copies")
        };
        let count = batch.deliveries().len();
        batch.settle(vec![Disposition::Ack; count]).await.unwrap();
        acknowledged += count;
    }
}

on_engines!(letters_whose_copies_are_lost_can_be_sent_again);
async fn letters_whose_copies_are_lost_can_be_sent_again(backend: Backend) {
    let stack = create_salon(backend).await;
    let id = plan_replay(&stack, 3).await;
    lose_copies(&stack, &id, 3).await;
    stack.world.run("UPDATE hostmatch_replay_items SET sent_ms = 1").await;
    let shown = run(&stack, &["replays", "show", &id]);
    assert!(stdout(&shown).contains("--resend"), "the remedy is missing: {}", stdout(&shown));
    let worker = stack.worker().await;
    let mut resumed = stack.start(&["deadletters", "replays", "resume", &id, "--resend", "--output", "json"]);
    assert_eq!(resumed.wait_within(Duration::from_secs(60)).await.code(), Some(0), "{}", resumed.stderr());
    stop(worker).await;
    let resumed = resumed.report();
    assert_eq!(resumed["ended"], "done", "{backend:?}: {resumed}");
    assert_eq!(states(&stack).await, [("resolved".to_owned(), 3)], "{backend:?}");
}

on_engines!(letters_that_are_given_up_are_open_again_and_can_be_replayed);
async fn letters_that_are_given_up_are_open_again_and_can_be_replayed(backend: Backend) {
    let stack = create_salon(backend).await;
    let id = plan_replay(&stack, 3).await;
    lose_copies(&stack, &id, 3).await;
    assert_eq!(run(&stack, &["replays", "cancel", &id]).status.code(), Some(0));
    assert_eq!(
        states(&stack).await,
        [("replaying".to_owned(), 3)],
        "cancelling alone must wait for the letters"
    );
    let output = run(&stack, &["replays", "cancel", &id, "--give-up"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(states(&stack).await, [("open".to_owned(), 3)], "{backend:?}");
    let again = run(&stack, &["replays", "cancel", &id, "--give-up"]);
    assert_eq!(again.status.code(), Some(6), "{}", stdout(&again));
    let shown = json(&run(&stack, &["replays", "show", &id, "--output", "json"]));
    assert_eq!(shown["report"]["results"], counts(&[("lost", 3)]), "{shown}");
    let acts = shown["acts"].as_array().unwrap();
    let last = acts.last().unwrap();
    assert_eq!((&last["action"], &last["letters"]), (&json!("give_up"), &json!(3)), "{shown}");

    let (next, _) = plan(&stack, &["--all"]);
    let worker = stack.worker().await;
    let (code, reported) = replay(&stack, &next, &[]);
    stop(worker).await;
    assert_eq!(code, Some(0), "{reported}");
    assert_eq!(states(&stack).await, [("resolved".to_owned(), 3)], "{backend:?}");
}

on_engines!(an_unroutable_letter_does_not_affect_the_others);
async fn an_unroutable_letter_does_not_affect_the_others(backend: Backend) {
    let stack = create_salon(backend).await;
    create_dead_letters(&stack, &(1..=4).map(|n| with_mara(n, 60)).collect::<Vec<_>>()).await;
    for n in 1..=4 {
        add_appointment(&stack, n).await;
    }
    let headers = json!({ "headers": {}, "message_id": "x".repeat(300) });
    stack.world.run(&format!("UPDATE hostmatch_dead_letters SET headers = '{headers}' WHERE id = 2")).await;
    let (id, _) = plan(&stack, &["--all"]);
    let worker = stack.worker().await;
    let (code, reported) = replay(&stack, &id, &[]);
    stop(worker).await;
    assert_eq!((code, &reported["ended"]), (Some(5), &json!("done")), "{backend:?}: {reported}");
    assert_eq!(reported["report"]["results"], counts(&[("assigned", 3), ("refused", 1)]), "{reported}");
    let items = json(&run(&stack, &["replays", "show", &id, "--result", "refused", "--output", "json"]));
    assert_eq!(
        (&items["items"][0]["letter"], &items["items"][0]["result_reason"]),
        (&json!(2), &json!("unfit"))
    );
    let states: Vec<_> = stack.world.rows("hostmatch_dead_letters", &["id", "state"]).await;
    assert_eq!(states, ["1|resolved", "2|open", "3|resolved", "4|resolved"], "{backend:?}");
}

on_engines!(a_process_that_lost_its_replay_changes_nothing_and_omitted_letters_stay_omitted);
async fn a_process_that_lost_its_replay_changes_nothing_and_omitted_letters_stay_omitted(backend: Backend) {
    let stack = create_salon(backend).await;
    create_dead_letters(&stack, &(1..=2).map(|n| with_mara(n, 60)).collect::<Vec<_>>()).await;
    add_appointment(&stack, 1).await;
    let (id, _) = plan(&stack, &["--all"]);
    let (id, db) = (id.parse::<i64>().unwrap(), &stack.world.test.db);
    let act = NewLetterAction { at_ms: 10, ..NewLetterAction::new(LetterAction::Pause, "cli:me@here") };
    let terms = ReplayTerms { rate: "1/s".into(), canary: 0, stop_percent: 0, skip_failing: true };
    assert!(begin_replay(db, id, ("a", 20), &ReplayStart::First(terms), &act).await.unwrap());
    // The transaction that begins the replay records these letters, so a process that continues the replay
    // omits them too.
    let results = "SELECT result FROM hostmatch_replay_items ORDER BY result IS NULL";
    assert_eq!(stack.world.test.strings(results).await, ["left", "NULL"], "{backend:?}");

    let late = NewLetterAction { at_ms: 30, ..act };
    let again = ReplayStart::Again { resend: false };
    assert!(begin_replay(db, id, ("b", 40), &again, &late).await.unwrap());
    assert!(!renew_lease(db, id, ("a", 50), 35).await.unwrap());
    let letter = "SELECT letter_id FROM hostmatch_replay_items WHERE result IS NULL";
    let letter = stack.world.test.number(letter).await;
    let seen = format!("SELECT last_failed_ms FROM hostmatch_dead_letters WHERE id = {letter}");
    let letter = [(letter, stack.world.test.number(&seen).await)];
    assert_eq!(claim(db, id, "a", &letter, 35).await.unwrap(), [] as [i64; 0], "{backend:?}");
    let change = |lease, to| StateChange {
        from: &[ReplayState::Running],
        to,
        because: None,
        lease: Some(lease),
        action: None,
        now_ms: 35,
    };
    assert!(!set_replay_state(db, id, change("a", ReplayState::Done)).await.unwrap());
    assert_eq!(claim(db, id, "b", &letter, 35).await.unwrap(), [letter[0].0]);
    assert!(set_replay_state(db, id, change("b", ReplayState::Stopped)).await.unwrap());
    assert_eq!(letters(&stack).await.iter().filter(|letter| letter.ends_with("|replaying|1")).count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_that_ends_early_releases_the_rest_in_the_same_transaction() {
    let stack = create_salon(Backend::Sqlite).await;
    let id = plan_replay(&stack, 2).await.parse().unwrap();
    let (from, to) = (&[ReplayState::Planned][..], ReplayState::Cancelled);
    let change = StateChange { from, to, because: None, lease: None, action: None, now_ms: 1 };
    assert!(set_replay_state(&stack.world.test.db, id, change).await.unwrap());
    assert_eq!(stack.world.rows("hostmatch_replay_items", &["result"]).await, ["left", "left"]);
}
