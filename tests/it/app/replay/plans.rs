//! Tests which letters a plan selects, what it predicts, and that its predictions are right.

use serde_json::json;

use super::{
    add_appointment, counts, create_dead_letters, create_salon, letters, plan, replay, run, states, stop,
    with_mara,
};
use crate::support::program::{json, stderr};
use crate::support::{Backend, Stack, event, host, is_full};

/// Creates letters of five kinds, `each` of every kind: the appointment now exists; the appointment exists, and a
/// person has created the missing mapping; a newer event has been decided since; the event names another company;
/// the event cannot be read.
async fn create_letters_of_five_kinds(stack: &Stack, each: u32) {
    // Ids begin at 1: MariaDB replaces 0 by the next id.
    let (first, mapped, superseded, foreign) = (1, each + 1, 2 * each + 1, 3 * each + 1);
    let mut events = Vec::new();
    for n in 0..each {
        events.push(with_mara(first + n, 60));
        let stranger = host(77, "Nobody Known", "nobody@salon.example");
        events.push(event(&format!("m-{n}"), &format!("Bk-{}", mapped + n), 60, stranger));
        events.push(with_mara(superseded + n, 60));
        let mut wrong = with_mara(foreign + n, 60);
        wrong["company_id"] = json!(16);
        events.push(wrong);
        events.push(
            json!({ "event": "appointment.created", "event_id": format!("x-{n}"), "calcom_booking": n }),
        );
        add_appointment(stack, foreign + n).await;
    }
    create_dead_letters(stack, &events).await;
    stack.world.staff(2, 15, "Ida Berg", "ida@salon.example").await;
    stack.world.insert_manual_mapping(15, 77, 2).await;
    for n in 1..=3 * each {
        add_appointment(stack, n).await;
    }
    let newer: Vec<_> = (0..each).map(|n| with_mara(superseded + n, 90)).collect();
    stack.publish(&newer).await;
    stack.drain().await;
}

async fn assert_goes_as_planned(backend: Backend, each: u32) {
    let stack = create_salon(backend).await;
    create_letters_of_five_kinds(&stack, each).await;
    let before = stack.world.all_decided_rows().await;
    let (id, report) = plan(&stack, &["--all"]);
    let n = i64::from(each);
    assert_eq!(report["letters"], 5 * n);
    assert_eq!(report["foretold"], counts(&[("assigned", 2 * n), ("failed", 2 * n), ("stale", n)]));
    assert_eq!(report["failures_foretold"], counts(&[("malformed", n), ("tenant_mismatch", n)]));
    assert_eq!(report["strategies"]["manual"], n, "{report}");
    assert_eq!(stack.world.all_decided_rows().await, before, "a plan must not change anything");
    assert_eq!(states(&stack).await, [("open".to_owned(), 5 * n)]);

    let worker = stack.worker().await;
    let (code, reported) =
        replay(&stack, &id, &["--stop-on-failure", "100%", "--reason", "the gateway is back"]);
    assert_eq!(
        (code, &reported["ended"]),
        (Some(5), &json!("done")),
        "some letters must fail again: {reported}"
    );
    assert_eq!(reported["report"]["results"], report["foretold"]);
    assert_eq!(reported["report"]["as_planned_percent"], json!(100.0), "{reported}");
    assert_eq!(reported["report"]["differences"], json!([]));
    stop(worker).await;
    let states = states(&stack).await;
    let expected = [("open", 2 * n), ("resolved", 2 * n), ("skipped", n)];
    assert_eq!(states, expected.map(|(state, count)| (state.to_owned(), count)));
    assert!(
        letters(&stack).await.iter().all(|letter| letter.ends_with("|1")),
        "each letter must be replayed once"
    );
    assert_eq!(stack.world.assigned(1).await, "1/11");
    assert_eq!(stack.world.assigned(each + 1).await, "2/77");
    let newest =
        format!("SELECT event_id FROM hostmatch_assignments WHERE appointment_id = {}", 2 * each + 1);
    assert_eq!(
        stack.world.test.strings(&newest).await,
        [format!("e-{}-90", 2 * each + 1)],
        "the newer event must remain"
    );
    let again = stack.world.test.column("history", "hostmatch_dead_letters WHERE state = 'open'").await;
    assert!(
        again.iter().all(|history| history.matches("at_ms").count() == 2),
        "the history must have the new attempt too"
    );
    assert!(stack.is_empty().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn letters_of_five_kinds_end_as_planned_on_mariadb() {
    assert_goes_as_planned(Backend::MariaDb, if is_full() { 2000 } else { 20 }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn letters_of_five_kinds_end_as_planned_on_postgresql() {
    assert_goes_as_planned(Backend::Postgres, if is_full() { 2000 } else { 100 }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn letters_of_five_kinds_end_as_planned_on_sqlite_with_the_embedded_queue() {
    assert_goes_as_planned(Backend::Sqlite, if is_full() { 2000 } else { 20 }).await;
}

on_engines!(changes_between_plan_and_replay_are_reported_and_new_letters_stay);
async fn changes_between_plan_and_replay_are_reported_and_new_letters_stay(backend: Backend) {
    let stack = create_salon(backend).await;
    create_dead_letters(&stack, &(1..=4).map(|n| with_mara(n, 60)).collect::<Vec<_>>()).await;
    for n in 1..=4 {
        add_appointment(&stack, n).await;
    }
    let (id, report) = plan(&stack, &["--all"]);
    assert_eq!(report["foretold"], counts(&[("assigned", 4)]));

    // One letter fails again, one is closed, one is new; and Mara, whom the others need, is inactive.
    stack
        .world
        .run("UPDATE hostmatch_dead_letters SET last_failed_ms = last_failed_ms + 1 WHERE id = 1")
        .await;
    let discarded = run(&stack, &["discard", "--ids", "2,99", "--reason", "spam", "--yes"]);
    assert_eq!(discarded.status.code(), Some(5), "{}", stderr(&discarded));
    stack.publish(&[with_mara(5, 60)]).await;
    stack.drain().await;
    stack.world.set_staff_active(1, false).await;

    let worker = stack.worker().await;
    let (code, reported) = replay(&stack, &id, &[]);
    stop(worker).await;
    assert_eq!(code, Some(5), "{reported}");
    let report = &reported["report"];
    assert_eq!(report["results"], counts(&[("refused", 2), ("unmatched", 2)]), "{reported}");
    assert_eq!(report["as_planned_percent"], json!(0.0));
    let differences: Vec<String> = report["differences"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| format!("{}: {} {}", one["letters"], one["foretold"], one["became"]))
        .collect();
    assert_eq!(
        differences,
        [
            "1: \"assigned\" \"refused (changed)\"",
            "1: \"assigned\" \"refused (not_open)\"",
            "2: \"assigned\" \"unmatched\""
        ]
    );
    let expected = ["1|open|0", "2|discarded|0", "3|resolved|1", "4|resolved|1", "5|open|0"];
    assert_eq!(letters(&stack).await, expected);
}

on_engines!(a_plan_applies_each_letters_effect_to_the_next);
async fn a_plan_applies_each_letters_effect_to_the_next(backend: Backend) {
    let stack = create_salon(backend).await;
    // The newer event of one appointment was dead-lettered first, and is replayed first.
    create_dead_letters(&stack, &[with_mara(1, 90)]).await;
    stack.publish(&[with_mara(1, 60)]).await;
    stack.drain().await;
    add_appointment(&stack, 1).await;
    let (id, report) = plan(&stack, &["--code", "appointment_not_found"]);
    assert_eq!(report["foretold"], counts(&[("assigned", 1), ("stale", 1)]), "{backend:?}");
    let worker = stack.worker().await;
    let (code, reported) = replay(&stack, &id, &[]);
    stop(worker).await;
    assert_eq!((code, &reported["report"]["as_planned_percent"]), (Some(0), &json!(100.0)), "{reported}");
    assert_eq!(letters(&stack).await, ["1|resolved|1", "2|skipped|1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn letters_of_one_booking_keep_their_order_without_an_appointment() {
    let stack = create_salon(Backend::Sqlite).await;
    create_dead_letters(&stack, &[with_mara(1, 60), with_mara(1, 90), with_mara(2, 60)]).await;
    plan(&stack, &["--all"]);
    let lanes: Vec<i64> = stack
        .world
        .rows("hostmatch_replay_items", &["letter_id", "lane"])
        .await
        .iter()
        .map(|row| row.split_once('|').unwrap().1.parse().unwrap())
        .collect();
    assert_eq!(lanes.iter().collect::<std::collections::BTreeSet<_>>().len(), 2, "{lanes:?}");
    assert!(lanes.iter().all(|lane| *lane < 0), "no lane may be an appointment's id: {lanes:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_impossible_plan_or_replay_is_refused_clearly() {
    let mut stack = create_salon(Backend::Sqlite).await;
    create_dead_letters(&stack, &[with_mara(1, 60), with_mara(2, 60)]).await;
    let assert_refused = |arguments: &[&str], code: i32, what: &str| {
        let output = run(&stack, arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", stderr(&output));
        let text = format!("{}{}", stderr(&output), crate::support::program::stdout(&output));
        assert!(text.contains(what), "{arguments:?}: {text}");
    };
    for command in ["plan", "replay"] {
        assert_refused(&[command], 2, "--all");
        assert_refused(&[command, "--all", "--company", "15"], 2, "--all");
    }
    assert_refused(&["discard", "--reason", "x"], 2, "--all");
    assert_refused(&["plan", "--company", "99"], 3, "nothing to plan");
    assert_refused(&["plan", "--ids", "77"], 3, "no such dead letter");
    assert_refused(&["replay", "--plan", "77", "--yes"], 3, "no plan or replay 77");
    assert_refused(&["replay", "--plan", "1", "--all"], 2, "not both");
    assert_refused(&["replay", "--all"], 4, "needs a confirmation");
    let some = run(&stack, &["plan", "--ids", "1,77", "--output", "json"]);
    assert_eq!(some.status.code(), Some(5));
    assert_eq!(json(&some)["left_out"][0]["id"], 77);
    stack.set("replay.plan_valid", "1ms");
    let (id, _) = plan(&stack, &["--all"]);
    let output = run(&stack, &["replay", "--plan", &id, "--yes"]);
    assert_eq!(output.status.code(), Some(6));
    assert!(stderr(&output).contains("has expired"), "{}", stderr(&output));
    assert_eq!(states(&stack).await, [("open".to_owned(), 2)], "a refused command must not change anything");
}
