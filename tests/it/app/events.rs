//! Tests `hostmatch events`: which events it lists, in which order and for which company; how it follows new
//! events; and the details of one event.

use std::process::Output;
use std::time::Duration;

use hostmatch::event::CompanyId;
use hostmatch::store::{DeadLetter, LetterState, NewDeadLetter, insert_dead_letters};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::program::{command, json, stderr, stdout};
use crate::support::{Backend, Event, GatewayShape, Process, TestDatabase, World, event, eventually};

/// Records events 1 to 6, decided one second apart: odd ones of company 15, even ones of company 16; the
/// first and the fourth were rejected.
async fn record_events(backend: Backend) -> TestDatabase {
    let test = TestDatabase::migrated(backend, GatewayShape::Roadmap).await;
    for n in 1..=6 {
        let rejected = n == 1 || n == 4;
        let letter = NewDeadLetter {
            letter: DeadLetter {
                id: 0,
                state: LetterState::Open.into(),
                replays: 0,
                closed_ms: None,
                dead_id: format!("dead-{n}"),
                event_id: Some(format!("Ev-{n}")),
                event_type: Some("appointment.created".into()),
                booking_ref: Some(format!("bk'{n}")),
                company_id: Some(CompanyId(16 - n % 2)),
                host_id: None,
                starts_ms: None,
                reason: "appointment_not_found".into(),
                error: "no appointment has this booking".into(),
                fingerprint: "aaaa".into(),
                attempts: 6,
                history: "[]".into(),
                routing_key: "k".into(),
                headers: "{}".into(),
                body: vec![0],
                first_seen_ms: 1_772_323_200_000,
                last_failed_ms: decided_ms_of(n),
                recorded_ms: decided_ms_of(n),
            },
            shape: Some("native".into()),
            publisher: Some("salon app".into()),
            replayed: None,
        };
        if rejected {
            insert_dead_letters(&test.db, &[letter]).await.unwrap();
        } else {
            record_decision(&test, n, "assigned").await;
        }
    }
    test
}

fn decided_ms_of(n: i64) -> i64 {
    1_772_323_200_000 + 1000 * n
}

async fn record_decision(test: &TestDatabase, n: i64, outcome: &str) {
    let number = u32::try_from(n).unwrap();
    let (id, appointment) = (format!("Ev-{n}"), Some((16 - number % 2, number)));
    let decided_ms = decided_ms_of(n);
    test.insert_event(Event { id: &id, kind: "BOOKING_CREATED", outcome, appointment, decided_ms }).await;
}

fn run(test: &TestDatabase, arguments: &[&str]) -> Output {
    command(&["events"]).args(arguments).env("HOSTMATCH_DATABASE__URL", &test.url).output().unwrap()
}

fn ids(rows: &Value) -> Vec<&str> {
    rows.as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap()).collect()
}

on_engines!(rejected_events_come_first_and_pages_follow);
async fn rejected_events_come_first_and_pages_follow(backend: Backend) {
    let test = record_events(backend).await;
    let list = |arguments: &[&str]| json(&run(&test, &[&["list", "--output", "json"], arguments].concat()));
    let all = list(&[]);
    assert_eq!(ids(&all["rejected"]), ["Ev-4", "Ev-1"], "{backend:?}");
    assert_eq!(ids(&all["events"]), ["Ev-6", "Ev-5", "Ev-3", "Ev-2"]);
    assert_eq!((&all["more_rejected"], &all["next_before"]), (&json!(false), &Value::Null));
    let first = &all["rejected"][0];
    let expected = json!({
        "id": "Ev-4", "type": "appointment.created", "shape": "native", "publisher": "salon app",
        "booking": "bk'4", "company": 16, "appointment": null, "outcome": "dead_letter",
        "reason": "appointment_not_found", "received": "2026-03-01T00:00:00Z",
        "decided": "2026-03-01T00:00:04Z", "rejected": true,
    });
    assert_eq!(*first, expected);

    let page = list(&["--limit", "3"]);
    assert_eq!(ids(&page["events"]), ["Ev-6", "Ev-5", "Ev-3"]);
    let before = page["next_before"].as_str().unwrap();
    let page = list(&["--limit", "3", "--before", before]);
    assert_eq!((ids(&page["events"]), ids(&page["rejected"])), (vec!["Ev-2"], vec![]));
    assert_eq!(list(&["--limit", "1"])["more_rejected"], true);

    // Filters. With `--company`, no other company's events are shown.
    for (arguments, rejected, events) in [
        (&["--company", "15"][..], &["Ev-1"][..], &["Ev-5", "Ev-3"][..]),
        (&["--outcome", "dead_letter"], &[], &["Ev-4", "Ev-1"]),
        (&["--outcome", "assigned", "--company", "16"], &[], &["Ev-6", "Ev-2"]),
        (&["--type", "BOOKING_CREATED", "--shape", "calcom"], &[], &["Ev-6", "Ev-5", "Ev-3", "Ev-2"]),
        (&["--publisher", "salon app"], &["Ev-4", "Ev-1"], &[]),
        (&["--booking", "bk-3"], &[], &["Ev-3"]),
        (&["--appointment", "5", "--company", "16"], &[], &[]),
        (&["--since", "2026-03-01T00:00:04Z", "--until", "2026-03-01T00:00:06Z"], &["Ev-4"], &["Ev-5"]),
        (&["--company", "15", "--before", "9999999999999:Z"], &[], &["Ev-5", "Ev-3"]),
    ] {
        let found = list(arguments);
        assert_eq!(
            (ids(&found["rejected"]), ids(&found["events"])),
            (rejected.to_vec(), events.to_vec()),
            "{backend:?} {arguments:?}"
        );
    }
    assert_eq!(run(&test, &["list", "--outcome", "nonsense"]).status.code(), Some(2));
    let table = run(&test, &["list"]);
    let lines: Vec<&str> = stdout(&table).lines().collect();
    assert!(lines[1].contains("Ev-4") && lines[3].contains("Ev-6"), "{lines:?}");
}

on_engines!(an_event_is_shown_with_its_dead_letter_to_its_own_company_only);
async fn an_event_is_shown_with_its_dead_letter_to_its_own_company_only(backend: Backend) {
    let test = record_events(backend).await;
    let show = |arguments: &[&str]| run(&test, &[&["show", "--output", "json"], arguments].concat());
    let reported = json(&show(&["Ev-4", "--company", "16"]));
    assert_eq!(reported["dead_letters"][0]["error"], "no appointment has this booking", "{backend:?}");
    assert_eq!(
        reported["next"],
        json!([format!("hostmatch deadletters show {}", reported["dead_letters"][0]["id"])])
    );
    assert!(reported["meaning"].as_str().unwrap().contains("no appointment"), "{reported}");
    let reported = json(&show(&["Ev-3"]));
    assert_eq!((&reported["publisher"], &reported["dead_letters"]), (&json!("calcom"), &json!([])));
    assert_eq!(reported["next"], json!([]), "no appointment has this booking");
    for not_visible in [&["Ev-4", "--company", "15"][..], &["Ev-9"], &["ev-4"]] {
        let output = show(not_visible);
        assert_eq!((output.status.code(), stdout(&output)), (Some(3), ""), "{}", stderr(&output));
    }
    assert!(stdout(&run(&test, &["show", "Ev-1"])).contains("Dead letter "));
    // Another company's dead letter with the same event id is not shown with it.
    test.run(&["UPDATE hostmatch_dead_letters SET company_id = 15 WHERE event_id = 'Ev-4'"]).await;
    let reported = json(&show(&["Ev-4", "--company", "16"]));
    assert_eq!((&reported["dead_letters"], &reported["next"]), (&json!([]), &json!([])), "{backend:?}");
    // The event type and the publisher come from the sender, and may contain personal data.
    test.run(&["UPDATE hostmatch_events SET event_type = 'Jane Roe', publisher = 'jane@roe.example' WHERE event_id = 'Ev-3'"]).await;
    let masked = run(&test, &["show", "Ev-3"]);
    assert!(
        stdout(&masked).contains("***") && !stdout(&masked).to_lowercase().contains("roe"),
        "{}",
        stdout(&masked)
    );
}

on_engines!(only_commands_that_find_something_are_recommended);
async fn only_commands_that_find_something_are_recommended(backend: Backend) {
    let world = World::new(backend, GatewayShape::Roadmap).await;
    world.company(15).await;
    world.staff(1, 15, "Frida Spitz", "frida@salon.example").await;
    world.appointment(1, 15, "Bk-odd").await;
    let show = |id: &str| json(&run(&world.test, &["show", id, "--output", "json"]));
    for (id, hosts, reason) in [
        ("text", json!("Frida"), "malformed at /calcom_booking/hosts"),
        ("keyed", json!({ "frida": { "id": 7 } }), "malformed at /calcom_booking/hosts"),
        ("first", json!([null, { "id": 7 }]), "malformed at /calcom_booking/hosts/0"),
        ("unnamed", json!([{ "id": null }]), "null_id at /calcom_booking/hosts/0"),
        ("empty", json!([]), "empty at /calcom_booking/hosts"),
        ("absent", json!(null), "absent"),
    ] {
        assert_eq!(world.outcome_of(event(id, "Bk-odd", 1, hosts)).await, "no_host", "{backend:?} {id}");
        let shown = show(id);
        assert_eq!((&shown["outcome"], &shown["reason"]), (&json!("no_host"), &json!(reason)), "{shown}");
        assert_eq!(shown["next"], json!([]), "{shown}");
    }
    let table = run(&world.test, &["show", "first"]);
    assert!(stdout(&table).contains("no_host (malformed at /calcom_booking/hosts/0)"), "{}", stdout(&table));
    let filtered = json!({ "1": { "id": 7, "name": "Frida Spitz", "email": "frida@salon.example" } });
    assert_eq!(world.outcome_of(event("filtered", "Bk-odd", 2, filtered)).await, "assigned");
    for id in ["filtered", "first"] {
        assert_eq!(show(id)["next"], json!(["hostmatch match explain --uid 'Bk-odd'"]), "{id}");
    }
    let mut explain = command(&["match", "explain", "--uid", "Bk-odd"]);
    let explained = explain.env("HOSTMATCH_DATABASE__URL", &world.test.url).output().unwrap();
    assert_eq!(explained.status.code(), Some(0), "{}", stderr(&explained));
    assert!(stdout(&explained).contains("Host 7  (company 15)"), "{}", stdout(&explained));
    let payload = world.rows("hostmatch_assignments", &["payload"]).await.remove(0);
    assert!(payload.contains("\"1\""), "the booking is stored as received: {payload}");
}

on_engines!(the_tail_shows_each_new_event_once);
async fn the_tail_shows_each_new_event_once(backend: Backend) {
    let test = record_events(backend).await;
    let home = tempfile::tempdir().unwrap();
    let mut tail = command(&["events", "tail", "--company", "15", "--lines", "2", "--output", "json"]);
    tail.env("HOSTMATCH_DATABASE__URL", &test.url);
    let mut tail = Process::start(tail, home.path(), "tail");
    let wait_for_lines = async |tail: &mut Process, expected: &[&str]| {
        eventually(&format!("{backend:?}: {expected:?}"), Duration::from_secs(30), async || {
            let text = tail.stdout();
            let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
            let reported: Vec<String> = lines
                .map(|line| format!("{} {}", line["id"].as_str().unwrap(), line["outcome"].as_str().unwrap()))
                .collect();
            assert!(tail.is_running() && reported.len() <= expected.len(), "{reported:?} {}", tail.stderr());
            (reported == expected).then_some(())
        })
        .await;
    };
    wait_for_lines(&mut tail, &["Ev-3 assigned", "Ev-5 assigned"]).await;
    // An event of another company, a new one, one that was decided before the last but committed later, and
    // one that got another outcome.
    record_decision(&test, 8, "assigned").await;
    record_decision(&test, 9, "kept").await;
    wait_for_lines(&mut tail, &["Ev-3 assigned", "Ev-5 assigned", "Ev-9 kept"]).await;
    record_decision(&test, 7, "stale").await;
    let first_four = ["Ev-3 assigned", "Ev-5 assigned", "Ev-9 kept", "Ev-7 stale"];
    wait_for_lines(&mut tail, &first_four).await;
    let again = format!(
        "UPDATE hostmatch_events SET outcome = 'assigned', decided_ms = {} WHERE event_id = 'Ev-1'",
        decided_ms_of(20)
    );
    test.run(&[again]).await;
    wait_for_lines(&mut tail, &[&first_four[..], &["Ev-1 assigned"]].concat()).await;
    tail.signal(Signal::SIGINT);
    assert_eq!(tail.wait().await.code(), Some(0), "{}", tail.stderr());
}
