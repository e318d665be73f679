//! Tests canaries, stopping, pausing and cancelling a replay, and which messages end a replay.

use std::time::Duration;

use hostmatch::queue::{BatchLimits, Disposition, Gathered, Message, Source, header};
use hostmatch::runtime::shutdown::Shutdown;
use serde_json::json;

use super::{
    WAIT_TIMEOUT, add_appointment, counts, create_dead_letters, create_salon, letters, plan, replay, run,
    states, stop, with_mara,
};
use crate::support::program::{json, stderr, stdout};
use crate::support::{Backend, eventually};

on_engines!(failing_canaries_stop_a_replay_and_the_rest_is_unchanged);
async fn failing_canaries_stop_a_replay_and_the_rest_is_unchanged(backend: Backend) {
    let stack = create_salon(backend).await;
    create_dead_letters(&stack, &(1..=12).map(|n| with_mara(n, 60)).collect::<Vec<_>>()).await;
    for n in 1..=12 {
        add_appointment(&stack, n).await;
    }
    let (id, _) = plan(&stack, &["--all"]);
    let first = "SELECT booking_ref FROM hostmatch_dead_letters ORDER BY id LIMIT 3";
    let first = stack.world.test.strings(first).await.join("', '");
    stack.world.run(&format!("DELETE FROM appointments WHERE calcom_v2_booking_id IN ('{first}')")).await;
    let worker = stack.worker().await;
    let (code, reported) = replay(&stack, &id, &["--canary", "3"]);
    stop(worker).await;
    assert_eq!((code, &reported["ended"]), (Some(5), &json!("stopped")), "{reported}");
    assert!(reported["said"].as_str().unwrap().contains("3 of 3 failed again"), "{reported}");
    assert_eq!(reported["report"]["results"], counts(&[("failed", 3), ("left", 9)]));
    let letters = letters(&stack).await;
    assert_eq!(letters.iter().filter(|letter| letter.ends_with("|open|1")).count(), 3);
    assert_eq!(letters.iter().filter(|letter| letter.ends_with("|open|0")).count(), 9, "{letters:?}");
    assert!(stack.world.appointments().await.values().all(|staff| staff == "-/-"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_stops_in_the_middle_when_too_many_fail() {
    let stack = create_salon(Backend::Sqlite).await;
    create_dead_letters(&stack, &(1..=60).map(|n| with_mara(n, 60)).collect::<Vec<_>>()).await;
    for n in 1..=60 {
        add_appointment(&stack, n).await;
    }
    let (id, report) = plan(&stack, &["--all"]);
    // A letter's prediction includes the mappings of earlier letters, however many letters are read at once.
    assert_eq!(report["strategies"], counts(&[("email", 1), ("existing", 59)]));
    // The canaries succeed, and later letters fail.
    let later = "SELECT booking_ref FROM hostmatch_dead_letters WHERE id > 20";
    stack.world.run(&format!("DELETE FROM appointments WHERE calcom_v2_booking_id IN ({later})")).await;
    let worker = stack.worker().await;
    let output = run(&stack, &["replay", "--plan", &id, "--rate", "8/s", "--yes", "--output", "json"]);
    stop(worker).await;
    let reported = json(&output);
    assert_eq!((output.status.code(), &reported["ended"]), (Some(5), &json!("stopped")), "{reported}");
    assert!(reported["report"]["results"]["left"].as_i64().unwrap() >= 10, "{reported}");
}

on_engines!(a_replay_is_paused_resumed_and_cancelled_by_other_processes);
async fn a_replay_is_paused_resumed_and_cancelled_by_other_processes(backend: Backend) {
    // At this rate so many letters take half a minute: the replay is running at each step, even on a slow
    // machine.
    const LETTERS: u32 = 60;
    let stack = create_salon(backend).await;
    create_dead_letters(&stack, &(1..=LETTERS).map(|n| with_mara(n, 60)).collect::<Vec<_>>()).await;
    for n in 1..=LETTERS {
        add_appointment(&stack, n).await;
    }
    let worker = stack.worker().await;
    let (id, _) = plan(&stack, &["--all"]);
    let arguments = ["deadletters", "replay", "--plan", &id, "--rate", "2/s", "--canary", "0", "--yes"];
    let mut first = stack.start(&arguments);
    until_resolved(&stack, 1).await;
    // Only one process may run a replay at a time.
    let second = run(&stack, &["replays", "resume", &id]);
    assert_eq!(second.status.code(), Some(6), "{}", stderr(&second));
    assert!(stderr(&second).contains("another process is running replay"), "{}", stderr(&second));
    assert_eq!(run(&stack, &["replays", "pause", &id]).status.code(), Some(0));
    assert_eq!(first.wait_within(WAIT_TIMEOUT).await.code(), Some(5), "{}", first.stderr());
    let shown = json(&run(&stack, &["replays", "show", &id, "--output", "json"]));
    assert_eq!(shown["replay"]["state"], "paused", "{shown}");
    assert!(shown["report"]["pending"].as_i64().unwrap() > 0, "{shown}");

    // Ctrl-C detaches, and prints how to continue.
    let mut third = stack.start(&["deadletters", "replays", "resume", &id]);
    eventually("the replay continues", WAIT_TIMEOUT, async || {
        let states = stack.world.rows("hostmatch_replays", &["state"]).await;
        (states == ["running"]).then_some(())
    })
    .await;
    assert_eq!(third.stop().await, Some(130), "{}", third.stderr());
    assert!(third.stdout().contains(&format!("replays resume {id}")), "{}", third.stdout());
    assert_eq!(run(&stack, &["replays", "cancel", &id]).status.code(), Some(0));
    let refused = run(&stack, &["replays", "resume", &id]);
    assert_eq!(refused.status.code(), Some(6));
    assert!(stderr(&refused).contains("is cancelled"), "{}", stderr(&refused));
    // Copies that were in flight at the time of the cancel still arrive.
    eventually("no copy is in flight", WAIT_TIMEOUT, async || {
        states(&stack).await.iter().all(|(state, _)| state != "replaying").then_some(())
    })
    .await;
    stop(worker).await;

    let states = states(&stack).await;
    assert_eq!(states.iter().map(|(_, count)| count).sum::<i64>(), i64::from(LETTERS));
    assert!(states.iter().all(|(state, _)| state == "open" || state == "resolved"), "{states:?}");
    let shown = json(&run(&stack, &["replays", "show", &id, "--output", "json"]));
    let actions: Vec<&str> =
        shown["acts"].as_array().unwrap().iter().map(|act| act["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["plan", "replay", "pause", "resume", "cancel"]);
    assert!(shown["acts"][0]["by"].as_str().unwrap().starts_with("cli:"), "{shown}");
    let list = run(&stack, &["replays", "list"]);
    assert!(stdout(&list).contains("cancelled"), "{}", stdout(&list));
}

async fn until_resolved(stack: &crate::support::Stack, least: i64) -> i64 {
    eventually("letters are resolved", Duration::from_secs(60), async || {
        let count = stack.world.count("hostmatch_dead_letters WHERE state = 'resolved'").await;
        (count >= least).then_some(count)
    })
    .await
}

on_engines!(a_message_that_claims_to_be_a_copy_does_not_end_a_replay);
async fn a_message_that_claims_to_be_a_copy_does_not_end_a_replay(backend: Backend) {
    let stack = create_salon(backend).await;
    create_dead_letters(&stack, &[with_mara(1, 60)]).await;
    add_appointment(&stack, 1).await;
    add_appointment(&stack, 2).await;
    // The letter is in flight, without a result yet.
    let (id, _) = plan(&stack, &["--all"]);
    stack.world.set_letters_state("replaying").await;
    stack.world.run("UPDATE hostmatch_replay_items SET state = 'sent', outstanding = letter_id").await;
    let forged = Message {
        body: with_mara(2, 60).to_string().into(),
        headers: [(header::REPLAY.to_owned(), id), (header::REPLAY_LETTER.to_owned(), "1".to_owned())].into(),
        ..Message::default()
    };
    let malformed = Message { body: "nonsense".into(), ..forged.clone() };
    stack.queue.publisher().publish_to_work(vec![forged, malformed]).await.unwrap();
    stack.drain().await;
    assert_eq!(stack.world.assigned(2).await, "1/11", "the message must be decided like any other");
    let states = stack.world.rows("hostmatch_dead_letters", &["id", "state"]).await;
    assert_eq!(states, ["1|replaying", "2|open"], "{backend:?}");
    assert_eq!(stack.world.rows("hostmatch_replay_items", &["state"]).await, ["sent"]);
}

on_engines!(the_copy_is_the_original_message_with_actor_and_reason_of_the_replay);
async fn the_copy_is_the_original_message_with_actor_and_reason_of_the_replay(backend: Backend) {
    let stack = create_salon(backend).await;
    let event = json!({ "event": "appointment.created", "event_id": "x", "calcom_booking": 1 });
    create_dead_letters(&stack, std::slice::from_ref(&event)).await;
    let (id, _) = plan(&stack, &["--all"]);
    let arguments = ["deadletters", "replay", "--plan", &id, "--reason", "sender corrected", "--yes"];
    let mut replay = stack.start(&arguments);
    let mut consumer = stack.queue.consumer(Source::Bookings, BatchLimits { size: 9, bytes: 1 << 20 });
    let Gathered::Batch(batch) = consumer.next_batch(&Shutdown::new(), None).await.unwrap() else {
        panic!("the queue has no copy")
    };
    let copy = batch.deliveries()[0].clone();
    assert_eq!((copy.attempt, copy.first_seen_ms), (0, 1_772_323_200_000), "{backend:?}");
    assert_eq!(copy.message.body, event.to_string());
    assert_eq!(copy.message.routing_key, "appointment.created");
    let header = |name: &str| copy.message.headers.get(name).map(String::as_str);
    assert_eq!(header(header::REPLAY), Some(id.as_str()));
    assert_eq!((header(header::REPLAY_LETTER), header(header::REPLAY_COUNT)), (Some("1"), Some("1")));
    assert_eq!(header(header::REPLAY_REASON), Some("sender corrected"));
    assert!(header(header::REPLAY_BY).unwrap().starts_with("cli:"));
    assert_eq!(header(header::REASON), None);
    batch.settle(vec![Disposition::Release]).await.unwrap();
    drop(consumer);
    stack.drain().await;
    assert_eq!(replay.wait_within(WAIT_TIMEOUT).await.code(), Some(5), "{}", replay.stderr());
    let shown = json(&run(&stack, &["show", "1", "--output", "json"]));
    let reported = (&shown["replays"], &shown["state"], &shown["attempts"]);
    assert_eq!(reported, (&json!(1), &json!("open"), &json!(1)));
    assert_eq!(shown["acts"].as_array().unwrap().len(), 2, "{shown}");
    assert_eq!(shown["cure"]["foretold"], "failed");
    assert_eq!(letters(&stack).await, ["1|open|1"]);
}
