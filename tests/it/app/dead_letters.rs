//! Tests `hostmatch deadletters list|show`: pages, filters, and which values are masked.

use std::process::Output;

use hostmatch::event::CompanyId;
use hostmatch::store::{
    DeadLetter, DeadLetterFilter, LetterState, NewDeadLetter, Scope, dead_letter_summaries, dead_letters,
    insert_dead_letters,
};
use serde_json::{Value, json};

use crate::support::program::{command, json, stderr, stdout};
use crate::support::{Backend, GatewayShape, TestDatabase};

fn letter(number: u32, reason: &str, body: &[u8]) -> NewDeadLetter {
    let failed =
        |at_ms: i64| json!({ "at_ms": at_ms, "reason": reason, "error": "it failed", "worker": "1.2.3" });
    let headers = json!({
        "headers": { "x-hostmatch-attempt": "2", "x-hostmatch-history": "long", "x-tenant-mail": "jane@roe.example" },
        "type": null, "message_id": "m-1", "content_type": "application/json", "timestamp_ms": 1_759_738_443_000_i64,
    });
    NewDeadLetter {
        letter: DeadLetter {
            id: 0,
            state: LetterState::Open.into(),
            replays: 0,
            closed_ms: None,
            dead_id: format!("dead-{number}"),
            event_id: Some(format!("ev-{number}")),
            event_type: Some("appointment.created".into()),
            booking_ref: Some(format!("Bk-{number}")),
            company_id: Some(CompanyId(i64::from(number % 2) + 15)),
            host_id: None,
            starts_ms: None,
            reason: reason.into(),
            error: "it failed\u{1b}[2J".into(),
            fingerprint: "f".into(),
            attempts: 2,
            history: json!([failed(1_759_738_444_000), failed(1_759_738_449_000)]).to_string(),
            routing_key: "appointment.created".into(),
            headers: headers.to_string(),
            body: body.to_vec(),
            first_seen_ms: 1_759_738_443_120,
            last_failed_ms: 1_759_738_449_000,
            recorded_ms: 1_759_738_449_500,
        },
        shape: Some("native".into()),
        publisher: None,
        replayed: None,
    }
}

fn booking() -> Vec<u8> {
    json!({
        "event": "appointment.created", "company_id": 15,
        "calcom_booking": {
            "uid": "Bk-1", "status": "accepted", "title": "Cut for Jane Roe",
            "hosts": [{ "id": 7, "name": "Mara Lind", "email": "mara@salon.example" }],
            "attendees": [{ "name": "Jane Roe", "email": "jane@roe.example", "phoneNumber": "+491701234567" }],
        }
    })
    .to_string()
    .into_bytes()
}

async fn record_letters(letters: &[NewDeadLetter]) -> TestDatabase {
    let test = TestDatabase::migrated(Backend::Sqlite, GatewayShape::Roadmap).await;
    for letter in letters {
        insert_dead_letters(&test.db, std::slice::from_ref(letter)).await.unwrap();
    }
    test
}

fn run(test: &TestDatabase, arguments: &[&str]) -> Output {
    command(&["deadletters"]).args(arguments).env("HOSTMATCH_DATABASE__URL", &test.url).output().unwrap()
}

fn ids(output: &Output) -> Vec<i64> {
    let list = json(output);
    list["dead_letters"].as_array().unwrap().iter().map(|row| row["id"].as_i64().unwrap()).collect()
}

#[tokio::test]
async fn the_list_has_pages_and_filters() {
    let letters: Vec<_> = (1..=5)
        .map(|number| letter(number, if number < 4 { "malformed" } else { "no_company" }, b"{}"))
        .collect();
    let test = record_letters(&letters).await;
    let json_list = |arguments: &[&str]| run(&test, &[&["list", "--output", "json"], arguments].concat());
    assert_eq!(ids(&json_list(&[])), [5, 4, 3, 2, 1]);
    assert_eq!(ids(&json_list(&["--reason", "malformed", "--company", "16"])), [3, 1]);
    assert!(ids(&json_list(&["--state", "discarded"])).is_empty());
    let page = json_list(&["--limit", "2"]);
    assert_eq!((ids(&page), &json(&page)["next_before"]), (vec![5, 4], &json!(4)));
    let page = json_list(&["--limit", "3", "--before", "4"]);
    assert_eq!((ids(&page), &json(&page)["next_before"]), (vec![3, 2, 1], &Value::Null));

    let table = run(&test, &["list", "--limit", "1"]);
    let text = stdout(&table);
    assert_eq!(table.status.code(), Some(0), "{}", stderr(&table));
    assert!(text.starts_with("ID "), "{text}");
    for part in ["no_company", "appointment.created", "Bk-5", "2025-10-06T08:14:09Z", "--before 5"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(text.contains("it failed\\u{1b}[2J") && !text.contains('\u{1b}'), "{text}");
    assert_eq!(stdout(&run(&test, &["list", "--company", "99"])), "No dead letters.\n");
}

#[tokio::test]
async fn a_letter_is_shown_with_its_timeline_and_without_personal_data() {
    let test = record_letters(&[letter(1, "appointment_not_found", &booking())]).await;
    let table = run(&test, &["show", "1"]);
    assert_eq!(table.status.code(), Some(0), "{}", stderr(&table));
    let text = stdout(&table);
    let lines: Vec<String> =
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    for line in [
        "Dead letter 1 (open)",
        "reason appointment_not_found",
        "2025-10-06T08:14:03Z first received",
        "2025-10-06T08:14:04Z attempt 1 failed appointment_not_found: it failed worker 1.2.3",
        "2025-10-06T08:14:09Z attempt 2 failed appointment_not_found: it failed worker 1.2.3",
        "2025-10-06T08:14:09Z recorded as a dead letter",
        "routing key appointment.created",
        "message_id m-1",
        "x-tenant-mail ***",
        "\"uid\": \"Bk-1\"",
    ] {
        assert!(lines.iter().any(|found| found == line), "{line}: {text}");
    }
    let personal_data = ["Jane", "Mara", "mara@", "jane@", "+4917", "Cut for"];
    assert!(personal_data.iter().all(|part| !text.contains(part)), "{text}");
    assert!(!text.contains('\u{1b}') && !text.contains("x-hostmatch-history"), "{text}");
    let masked = json(&run(&test, &["show", "1", "--output", "json"]));
    assert!(personal_data.iter().all(|part| !masked.to_string().contains(part)), "{masked}");

    let complete = json(&run(&test, &["show", "1", "--reveal", "--output", "json"]));
    assert_eq!(complete["payload"]["value"], serde_json::from_slice::<Value>(&booking()).unwrap());
    assert_eq!(complete["headers"]["x-tenant-mail"], "jane@roe.example");
    assert_eq!(complete["acts"][0]["action"], "reveal", "{complete}");
    assert_eq!(masked["acts"], json!([]), "masked output must not be recorded as an action");

    let missing = run(&test, &["show", "2"]);
    assert_eq!(missing.status.code(), Some(3));
    assert!(stderr(&missing).contains("no dead letter 2"), "{}", stderr(&missing));
}

#[tokio::test]
async fn a_workers_letter_counts_its_attempts_and_names_its_cause() {
    let test = TestDatabase::migrated(Backend::Sqlite, GatewayShape::Roadmap).await;
    let directory = tempfile::tempdir().unwrap();
    let lost = json!({ "event": "appointment.created", "calcom_booking": { "uid": "Bk-lost", "hosts": [{ "id": 7 }] } });
    std::fs::write(directory.path().join("event.json"), lost.to_string()).unwrap();
    let run_program = |arguments: &[&str]| {
        let queue = format!("sqlite://{}", directory.path().join("queue.db").display());
        let output = command(arguments)
            .args(["--set", "queue.retry_delays=1ms,2ms"])
            .env("HOSTMATCH_DATABASE__URL", &test.url)
            .env("HOSTMATCH_QUEUE__URL", queue)
            .current_dir(&directory)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    };
    run_program(&["publish", "event.json"]);
    run_program(&["serve", "worker", "--until-empty"]);
    let reported = json(&run(&test, &["show", "1", "--output", "json"]));
    assert_eq!(
        (&reported["reason"], &reported["attempts"]),
        (&json!("appointment_not_found"), &json!(3)),
        "{reported}"
    );
    assert!(reported["remedy"].as_str().unwrap().contains("calcom_v2_booking_id"));
    let events: Vec<&str> = reported["timeline"]
        .as_array()
        .unwrap()
        .iter()
        .map(|moment| moment["what"].as_str().unwrap())
        .collect();
    let attempts = ["attempt 1 failed", "attempt 2 failed", "attempt 3 failed"];
    assert_eq!(events, [&["first received"], &attempts[..], &["recorded as a dead letter"]].concat());
}

#[tokio::test]
async fn raw_bytes_never_reach_a_terminal_unescaped() {
    let mut by_broker = letter(2, "appointment_not_found", b"\xff\x1b]0;owned\x07");
    (by_broker.letter.reason, by_broker.letter.attempts) = ("delivery_limit".into(), 3);
    let not_json = "{\"name\": \"Jane Roe\u{9b}31m\u{202e}".as_bytes();
    let test = record_letters(&[letter(1, "malformed", not_json), by_broker]).await;
    for id in ["1", "2"] {
        let masked = run(&test, &["show", id]);
        assert!(stdout(&masked).contains("not shown without --reveal"), "{}", stdout(&masked));
        assert!(!stdout(&masked).contains("Jane"));
        for output in ["table", "json"] {
            let shown = run(&test, &["show", id, "--reveal", "--output", output]);
            let is_command = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
            assert!(!stdout(&shown).contains(is_command), "{}", stdout(&shown));
        }
    }
    let text = stdout(&run(&test, &["show", "1", "--reveal"])).to_owned();
    assert!(text.contains("Jane Roe\\u{9b}31m\\u{202e}"), "{text}");
    let json_text = json(&run(&test, &["show", "1", "--reveal", "--output", "json"]));
    assert_eq!(
        json_text["payload"]["text"],
        std::str::from_utf8(not_json).unwrap(),
        "the JSON must contain the whole text, escaped"
    );
    let text = stdout(&run(&test, &["show", "2", "--reveal"])).to_owned();
    assert!(text.contains("000000  ff 1b 5d 30") && text.contains("dead-lettered by the broker"), "{text}");
}

on_engines!(summaries_are_the_list_without_large_columns);
async fn summaries_are_the_list_without_large_columns(backend: Backend) {
    let test = TestDatabase::migrated(backend, GatewayShape::Live).await;
    let letters = [letter(1, "malformed", b"\xff"), letter(2, "poison", b"{}"), letter(3, "poison", b"{}")];
    insert_dead_letters(&test.db, &letters).await.unwrap();
    let poison = DeadLetterFilter { reason: Some("poison".into()), ..DeadLetterFilter::default() };
    for filter in [DeadLetterFilter::default(), poison] {
        let complete = dead_letters(&test.db, &Scope::All, &filter, 10).await.unwrap();
        let summaries = dead_letter_summaries(&test.db, &Scope::All, &filter, 10).await.unwrap();
        assert_eq!(summaries.len(), complete.len(), "{test:?}");
        for (summary, complete) in summaries.iter().zip(&complete) {
            assert_eq!((summary.id, &summary.state), (complete.id, &complete.state));
            assert_eq!((&summary.reason, &summary.error), (&complete.reason, &complete.error));
            assert_eq!((&summary.event_id, &summary.event_type), (&complete.event_id, &complete.event_type));
            assert_eq!(
                (&summary.booking_ref, summary.company_id.map(CompanyId)),
                (&complete.booking_ref, complete.company_id)
            );
            assert_eq!(
                (summary.attempts, summary.last_failed_ms),
                (complete.attempts, complete.last_failed_ms)
            );
        }
    }
    assert_eq!(
        dead_letter_summaries(&test.db, &Scope::All, &DeadLetterFilter::default(), 2).await.unwrap().len(),
        2
    );
}
