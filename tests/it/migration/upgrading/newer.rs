//! Tables, rows, messages and files of a newer program, created by hand: this program continues with them,
//! and starts on them.

use std::collections::BTreeMap;

use hostmatch::queue::Message;
use sea_orm::ConnectionTrait as _;
use serde_json::{Value, json};

use super::{stop_and_count, unexpected_log_lines};
use crate::support::program::{json as document, stderr, stdout};
use crate::support::{Backend, GatewayShape, Ledger, Mix, Stack, Stream, event, eventually, host};

/// Returns the statements of a newer program's migration, which may add optional columns and indexes to our
/// tables, and a table of its own.
fn newer_migration() -> Vec<String> {
    let mut statements: Vec<String> = migration::TABLES
        .iter()
        .flat_map(|table| {
            [
                format!("ALTER TABLE {table} ADD COLUMN of_the_future VARCHAR(16) NULL"),
                format!("ALTER TABLE {table} ADD COLUMN count_of_the_future INT NOT NULL DEFAULT 7"),
                format!("CREATE INDEX {table}_of_the_future ON {table} (of_the_future)"),
            ]
        })
        .collect();
    statements.push("CREATE TABLE tables_of_the_future (id BIGINT NOT NULL PRIMARY KEY)".to_owned());
    statements.push("INSERT INTO hostmatch_migrations VALUES ('m9000_of_the_future', 1)".to_owned());
    statements
}

async fn runs_on_newer_tables(backend: Backend) {
    let stack = Stack::new(backend, GatewayShape::Roadmap).await;
    let stream = Stream::new(1500, Mix::All);
    stream.insert_all(&stack.world).await;
    let mut ledger = Ledger::open("tables of a newer program", &stack).await;
    let mut first = stack.worker().await;
    let (third, events) = (stream.events.len() / 3, &stream.events);
    // Each connection of the pool has already prepared each statement.
    ledger.publish(&stack, &events[..third]).await;
    stack.wait_until_decided(third / 2).await;
    let migrating = async {
        for statement in newer_migration() {
            // Tries again while another session has locked the table, as `migrate up` does.
            eventually(&statement, std::time::Duration::from_secs(60), async || {
                stack.world.test.db.connection().execute_unprepared(&statement).await.ok()
            })
            .await;
        }
    };
    tokio::join!(ledger.publish(&stack, &events[third..2 * third]), migrating);
    if backend == Backend::Sqlite {
        let file = sea_orm::Database::connect(stack.config.url.expose()).await.unwrap();
        file.execute_unprepared("ALTER TABLE messages ADD COLUMN of_the_future TEXT").await.unwrap();
        file.close().await.unwrap();
    }
    // A worker that starts on these tables does the rest.
    let mut second = stack.worker().await;
    let mut counts = vec![stop_and_count(&mut first).await];
    ledger.publish(&stack, &events[2 * third..]).await;
    stack.wait_until_decided(stream.len()).await;
    stack.wait_until_idle().await;

    let status = document(&stack.command(&["migrate", "status", "--output", "json"]).output().unwrap());
    assert_eq!(status.as_array().unwrap().last().unwrap()["name"], "m9000_of_the_future");
    for (arguments, code) in [
        (&["migrate", "up"][..], 0),
        (&["migrate", "status"], 0),
        (&["migrate", "down", "--yes"], 6),
        (&["inbox", "list"], 0),
        (&["deadletters", "list"], 0),
    ] {
        let output = stack.command(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", stderr(&output));
    }
    counts.push(stop_and_count(&mut second).await);
    assert!(counts.iter().all(|counts| counts.values().sum::<u64>() > 0), "{counts:?}");
    for worker in [first, second] {
        assert_eq!(unexpected_log_lines(&worker, &["an event became a dead letter"]), [""; 0], "{backend:?}");
    }
    ledger.close(&stack).await;
    stream.assert_done(&stack).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_continue_while_a_newer_program_migrates_mariadb() {
    runs_on_newer_tables(Backend::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_continue_while_a_newer_program_migrates_postgresql() {
    runs_on_newer_tables(Backend::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_continue_while_a_newer_program_migrates_sqlite_and_its_queue() {
    runs_on_newer_tables(Backend::Sqlite).await;
}

on_engines!(additions_of_a_newer_program_to_a_message_are_passed_on: sqlite, mariadb);
/// Headers that this program does not know are passed on, to the next attempt and to the dead letters; a
/// history with additional fields is read and extended.
async fn additions_of_a_newer_program_to_a_message_are_passed_on(backend: Backend) {
    let stack = Stack::new(backend, GatewayShape::Roadmap).await;
    stack.world.company(1).await;
    let history = json!([{
        "at_ms": 1, "reason": "reason_of_the_future", "error": "e", "worker": "9.9.9", "of_the_future": [1],
    }]);
    let headers: BTreeMap<String, String> = [
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
        ("x-hostmatch-of-the-future", "kept".to_owned()),
        ("x-hostmatch-history", history.to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    let lost = event("e1", "nowhere", 1, host(7, "Nobody", ""));
    let message = Message {
        body: lost.to_string().into(),
        routing_key: "appointment.created".to_owned(),
        headers: headers.clone(),
        ..Message::default()
    };
    stack.queue.publisher().publish(vec![message]).await.unwrap();
    let report = stack.drain().await;
    assert_eq!(
        (&report["counts"]["retry"], &report["counts"]["dead_letter"]),
        (&3.into(), &1.into()),
        "{report}"
    );
    let kept = stack.world.test.column("headers", "hostmatch_dead_letters").await.remove(0);
    let kept: Value = serde_json::from_str(&kept).unwrap();
    for name in ["traceparent", "x-hostmatch-of-the-future"] {
        assert_eq!(kept["headers"][name], headers[name].as_str(), "{backend:?}: {kept}");
    }
    let history = stack.world.test.column("history", "hostmatch_dead_letters").await.remove(0);
    assert!(
        history.contains("reason_of_the_future") && history.contains("appointment_not_found"),
        "{history}"
    );
}

on_engines!(unknown_values_of_a_newer_program_are_read);
/// Values outside of this program's closed lists are read, and processing continues.
async fn unknown_values_of_a_newer_program_are_read(backend: Backend) {
    let stack = Stack::new(backend, GatewayShape::Roadmap).await;
    let stream = Stream::new(200, Mix::All);
    stream.insert_all(&stack.world).await;
    stack.publish(&stream.events).await;
    stack.drain().await;
    // One record of each kind that is read back.
    for arguments in [
        &["deadletters", "replay", "--ids", "1", "--reason", "because", "--yes"][..],
        &["deadletters", "plan", "--all"],
    ] {
        let mut worker = stack.worker().await;
        let output = stack.command(arguments).output().unwrap();
        assert!([0, 5].contains(&output.status.code().unwrap()), "{arguments:?}: {}", stderr(&output));
        stop_and_count(&mut worker).await;
    }
    let known = [
        ("hostmatch_events", "outcome"),
        ("hostmatch_events", "reason"),
        ("hostmatch_events", "shape"),
        ("hostmatch_events", "event_type"),
        ("hostmatch_assignments", "outcome"),
        ("hostmatch_assignments", "reason"),
        ("hostmatch_assignments", "strategy"),
        ("hostmatch_assignments", "host_source"),
        ("calcom_host_mappings", "mapping_source"),
        ("calcom_host_mapping_audits", "action"),
        ("hostmatch_inbox", "state"),
        ("hostmatch_inbox", "kind"),
        ("hostmatch_dead_letters", "reason"),
        ("hostmatch_dead_letters", "state"),
        ("hostmatch_replays", "state"),
        ("hostmatch_replay_items", "state"),
        ("hostmatch_replay_items", "predicted"),
        ("hostmatch_replay_items", "result"),
        ("hostmatch_dead_letter_actions", "action"),
    ];
    for (table, column) in known {
        // Short enough for the shortest of these columns.
        stack.world.run(&format!("UPDATE {table} SET {column} = 'of_the_future'")).await;
    }
    stack.world.run("UPDATE hostmatch_assignments SET observed = 'of_the_future'").await;
    for arguments in [
        &["events", "list"][..],
        &["events", "show", "e11"],
        &["inbox", "list", "--state", "any"],
        &["inbox", "show", "--company", "1", "--host", "1005"],
        &["mappings", "list"],
        &["audit", "list"],
        &["audit", "export"],
        &["deadletters", "list"],
        &["deadletters", "groups"],
        &["deadletters", "show", "1"],
        &["deadletters", "replays", "list"],
        &["deadletters", "replays", "show", "1", "--items"],
        &["report"],
        &["match", "explain", "--uid", "L1"],
        &["match", "simulate"],
    ] {
        let output = stack.command(arguments).output().unwrap();
        assert_eq!(
            output.status.code(),
            Some(0),
            "{backend:?} {arguments:?}: {}{}",
            stdout(&output),
            stderr(&output)
        );
    }
    // All appointments can be decided again, by events newer than all of these.
    let mut again = Stream::new(200, Mix::Decidable);
    again
        .events
        .iter_mut()
        .for_each(|event| event["event_id"] = json!(format!("again-{}", event["event_id"])));
    stack.publish(&again.events).await;
    let mut worker = stack.worker().await;
    stack.wait_until_idle().await;
    stop_and_count(&mut worker).await;
    assert_eq!(unexpected_log_lines(&worker, &[]), [""; 0], "{backend:?}");
}
