//! Tests every command for the office with `--output json`, on every engine: the keys are a contract
//! (docs/commands.md).

use serde_json::{Value, json};

use super::{read_for_json, run, run_for_json, staff_of, with_start};
use crate::app::people::decisions::create_salon;
use crate::support::program::{stderr, stdout};
use crate::support::{Backend, GatewayShape, World, event, host};

/// Replaces times by `<time>`: they differ from run to run.
fn without_times(value: Value) -> Value {
    let is_time = |text: &str| text.len() == 20 && text.starts_with("20") && text.ends_with('Z');
    match value {
        Value::String(text) if is_time(&text) => json!("<time>"),
        Value::Array(all) => all.into_iter().map(without_times).collect(),
        Value::Object(all) => all.into_iter().map(|(name, value)| (name, without_times(value))).collect(),
        other => other,
    }
}

fn assert_same(world: &World, what: &str, found: Value, expected: Value) {
    let found = without_times(found);
    assert_eq!(found, expected, "{:?} {what}: {}", world.test, serde_json::to_string_pretty(&found).unwrap());
}

/// Creates two bookings that wait for Boris (host 7), one of them in the future. Host 8 is unknown.
async fn create_waiting_bookings(world: &World) {
    let boris = || host(7, "boris kamm", "b@else.example");
    let sent = [
        event("e1", "B11", 1, boris()),
        with_start(event("e2", "B12", 2, boris()), "2099-03-02T09:00:00Z"),
        event("e3", "B13", 3, host(8, "Nobody", "")),
    ];
    world.send(&sent).await;
}

const HOST: [&str; 4] = ["--company", "1", "--host", "7"];

fn for_host(words: &[&'static str], more: &[&'static str]) -> Vec<&'static str> {
    [words, &HOST, more].concat()
}

on_engines!(the_documents_of_the_inbox_mappings_repairs_and_the_audit_trail);
async fn the_documents_of_the_inbox_mappings_repairs_and_the_audit_trail(backend: Backend) {
    let shape = if backend == Backend::Sqlite { GatewayShape::Roadmap } else { GatewayShape::Live };
    let world = create_salon(backend, shape).await;
    create_waiting_bookings(&world).await;
    check_inbox(&world);
    let (mapping, audit) = check_decisions_and_repairs(&world).await;
    check_mappings_and_audits(&world, mapping, audit);
    check_changes(&world, mapping).await;
}

/// Returns the id of a member of staff as JSON.
fn staff(world: &World, n: u32) -> Value {
    json!(staff_of(world, n))
}

fn check_inbox(world: &World) {
    let suggestion = json!({
        "staff": staff(world, 12), "staff_name": "Boris Kamm", "strategy": "name", "confidence": 75,
        "because": "has the same name, boris kamm",
    });
    let line = json!({
        "company": 1, "host": 7, "name": "boris kamm", "email": "b@else.example", "kind": "suggestion",
        "what": "somebody fits, but with too little confidence", "state": "open", "ignored_by": null,
        "ignored_reason": null, "ignored_until": null, "waiting": 2, "bookings": 2,
        "next_booking": "<time>", "last_booking": "<time>", "first_seen": "<time>", "last_seen": "<time>",
        "suggestions": [suggestion],
    });
    let list = read_for_json(world, &["inbox", "list", "--kind", "suggestion"]);
    assert_same(world, "inbox list", list, json!({ "hosts": [line], "next_skip": null }));
    let page = read_for_json(world, &["inbox", "list", "--company", "1", "--limit", "1"]);
    assert_eq!(
        (&page["hosts"][0]["host"], &page["next_skip"]),
        (&json!(7), &json!(1)),
        "the host with the next booking must be first"
    );
    let page = read_for_json(world, &["inbox", "list", "--company", "1", "--limit", "1", "--skip", "1"]);
    assert_eq!((&page["hosts"][0]["kind"], &page["next_skip"]), (&json!("unknown"), &Value::Null));

    let ignored =
        run_for_json(world, 0, &for_host(&["inbox", "ignore"], &["--reason", "a test", "--until", "14d"]));
    let expected =
        json!({ "did": "ignored", "company": 1, "host": 7, "until": "<time>", "reason": "a test" });
    assert_same(world, "inbox ignore", ignored, expected);
    let shown = read_for_json(world, &for_host(&["inbox", "show"], &[]));
    assert_eq!(shown["host"]["ignored_by"], "cli:anna@office", "{shown}");
    assert_eq!(
        read_for_json(world, &["inbox", "list", "--company", "1"])["hosts"].as_array().unwrap().len(),
        1
    );
    let reopened = run_for_json(world, 0, &for_host(&["inbox", "reopen"], &[]));
    assert_same(world, "inbox reopen", reopened, json!({ "did": "reopened", "company": 1, "host": 7 }));
    assert_eq!(run_for_json(world, 0, &for_host(&["inbox", "reopen"], &[]))["did"], "unchanged");

    let mut shown = read_for_json(world, &for_host(&["inbox", "show"], &[]));
    assert_eq!(shown["next"], "hostmatch inbox accept --company 1 --host 7");
    let action = |name: &str, why: Value, until: Value| json!({ "at": "<time>", "action": name, "by": "cli:anna@office", "why": why, "until": until });
    let actions = json!([
        action("ignore", json!("a test"), json!("<time>")),
        action("reopen", Value::Null, Value::Null)
    ]);
    shown["next"] = Value::Null;
    let counts = json!({ "future": 1, "past": 1, "unknown": 0 });
    let expected = json!({
        "host": line, "waiting": counts, "mappings": [], "history": [], "acts": actions, "next": null,
    });
    assert_same(world, "inbox show", shown, expected);
}

/// Returns the ids of the mapping and of its audit row.
async fn check_decisions_and_repairs(world: &World) -> (i64, i64) {
    let counts = json!({ "future": 1, "past": 1, "unknown": 0 });
    let accepted = run_for_json(world, 0, &for_host(&["inbox", "accept"], &["--repair", "future"]));
    let mapping = accepted["mapping"].as_i64().unwrap();
    let audit = accepted["audits"][0].as_i64().unwrap();
    let repair = json!({
        "id": 1, "company": 1, "host": 7, "staff": staff(world, 12), "staff_name": "Boris Kamm", "scope": "future",
        "state": "done", "appointments": 1,
        "counts": { "pending": 0, "done": 1, "left": 0, "undone": 0, "kept": 0 },
        "made_by": "cli:anna@office", "why": "suggestion accepted: name (75)", "created": "<time>",
        "ended": "<time>", "undone_by": null, "undone_why": null, "undone": null,
    });
    let expected = json!({
        "did": "made", "company": 1, "host": 7, "mapping": mapping, "staff": staff(world, 12),
        "staff_name": "Boris Kamm", "before": [], "audits": [audit], "waiting": counts, "repair": repair,
    });
    assert_same(world, "inbox accept", accepted, expected);
    assert_eq!((world.assigned(11).await, world.assigned(12).await), ("-/7".into(), "12/7".into()));

    let preview = read_for_json(world, &for_host(&["repair", "preview"], &[]));
    let expected = json!({
        "company": 1, "host": 7, "staff": staff(world, 12), "staff_name": "Boris Kamm", "future": [],
        "past": [{ "appointment": 11, "starts": "<time>", "booking": "B11" }], "unknown": [],
    });
    assert_same(world, "repair preview", preview, expected);
    let applied = run_for_json(
        world,
        0,
        &for_host(&["repair", "apply"], &["--scope", "all", "--yes", "--reason", "old"]),
    );
    let id = applied["repair"]["id"].to_string();
    assert_eq!(applied["repair"]["counts"]["done"], 1, "{applied}");
    let undone = run_for_json(world, 0, &["repair", "undo", &id, "--yes"]);
    assert_eq!(undone["repair"]["state"], "undone", "{undone}");
    let undone = without_times(undone["repair"].clone());
    let shown = read_for_json(world, &["repair", "show", &id]);
    let items = json!([{ "appointment": 11, "starts": "<time>", "state": "undone", "reason": null }]);
    assert_same(world, "repair show", shown, json!({ "repair": undone, "items": items }));
    let repairs = read_for_json(world, &["repair", "list", "--company", "1", "--host", "7"]);
    assert_eq!(without_times(repairs["repairs"][0].clone()), undone);
    assert_eq!((&repairs["next_before"], repairs["repairs"].as_array().unwrap().len()), (&Value::Null, 2));

    (mapping, audit)
}

fn check_mappings_and_audits(world: &World, mapping: i64, audit: i64) {
    let mapping_row = json!({
        "id": mapping, "company": 1, "host": 7, "host_name": "boris kamm", "host_email": "b@else.example",
        "staff": staff(world, 12), "staff_name": "Boris Kamm", "source": "manual", "confidence": 100,
        "active": true, "staff_valid": true, "last_used": "<time>", "last_audit": audit,
    });
    let list = read_for_json(world, &["mappings", "list", "--source", "manual", "--confidence", ">=100"]);
    assert_same(world, "mappings list", list, json!({ "mappings": [mapping_row], "next_before": null }));
    let made = json!({
        "company_id": 1, "is_active": true, "mapping_source": "manual", "confidence_score": 100,
        "staff_id": staff(world, 12), "calcom_host_id": 7, "calcom_name": "boris kamm",
        "calcom_email": "b@else.example", "calcom_username": "x", "calcom_timezone": "Europe/Berlin",
    });
    let row = json!({
        "id": audit, "at": "<time>", "mapping": mapping, "company": 1, "host": 7, "staff": staff(world, 12),
        "action": "created", "actor": "cli:anna@office", "reason": "suggestion accepted: name (75)",
        "old": null, "new": made,
    });
    let mapping_id = mapping.to_string();
    let shown = read_for_json(world, &["mappings", "show", &mapping_id]);
    let counts = json!({ "future": 0, "past": 1, "unknown": 0 });
    assert_same(
        world,
        "mappings show",
        shown,
        json!({ "mapping": mapping_row, "waiting": counts, "history": [row] }),
    );
    let history = read_for_json(world, &["mappings", "history", &mapping_id]);
    assert_same(world, "mappings history", history, json!({ "history": [row] }));
    let trail =
        read_for_json(world, &["audit", "list", "--actor", "cli:*", "--since", "1h", "--company", "1"]);
    assert_same(world, "audit list", trail, json!({ "audits": [row], "next_before": null }));
    assert_eq!(
        read_for_json(world, &["audit", "list", "--until", "1h"])["audits"],
        json!([]),
        "{:?}",
        world.test
    );
    let exported = run(world, &["audit", "export", "--action", "created"]);
    let exported: Value = serde_json::from_str(stdout(&exported).trim()).unwrap();
    assert_same(world, "audit export", exported, row);
}

async fn check_changes(world: &World, mapping: i64) {
    let mapping_id = mapping.to_string();
    // Replacing a mapping asks for confirmation, or needs --yes.
    let third = staff_of(world, 13).to_string();
    let set = ["mappings", "set", "--company", "1", "--host", "7", "--staff", &third];
    assert_eq!(run_for_json(world, 4, &set)["error"]["code"], "needs_confirmation");
    let replaced = run_for_json(world, 0, &[&set[..], &["--yes", "--repair", "none"]].concat());
    let before = json!([{
        "mapping": mapping, "staff": staff(world, 12), "staff_name": "Boris Kamm", "source": "manual",
        "confidence": 100,
    }]);
    assert_eq!((&replaced["did"], &replaced["before"]), (&json!("replaced"), &before));
    let last = replaced["audits"][1].to_string();
    let reverted = run_for_json(world, 0, &["mappings", "revert", &last]);
    assert_eq!((&reverted["did"], &reverted["mapping"]), (&json!("reverted"), &json!(mapping)), "{reverted}");
    assert_eq!(run_for_json(world, 0, &["mappings", "revert", &last])["did"], "unchanged");
    assert_eq!(run_for_json(world, 0, &["mappings", "deactivate", &mapping_id])["did"], "switched_off");
    assert_eq!(run_for_json(world, 6, &["mappings", "revert", &last])["error"]["code"], "not_allowed");
    assert_eq!(run_for_json(world, 0, &["mappings", "deactivate", &mapping_id])["did"], "unchanged");
    assert_eq!(run_for_json(world, 0, &["mappings", "reactivate", &mapping_id])["did"], "switched_on");
    let eleven = staff_of(world, 11).to_string();
    let assign = ["inbox", "assign", "--company", "1", "--host", "8", "--staff", &eleven, "--repair", "all"];
    let assigned = run_for_json(world, 0, &assign);
    assert_eq!((&assigned["did"], &assigned["repair"]["counts"]["done"]), (&json!("made"), &json!(1)));
    assert_eq!(world.assigned(13).await, "11/8");
}

on_engines!(filters_of_mappings_select_problems);
async fn filters_of_mappings_select_problems(backend: Backend) {
    let world = create_salon(backend, GatewayShape::Live).await;
    world.send(&[event("e1", "B11", 1, host(7, "A", "anna@salon.example"))]).await;
    let eleven = staff_of(&world, 11).to_string();
    let twelve = staff_of(&world, 12).to_string();
    for (host, staff) in [("8", &eleven), ("9", &twelve)] {
        let set = ["mappings", "set", "--company", "1", "--host", host, "--staff", staff, "--unseen"];
        run_for_json(&world, 0, &set);
    }
    world.set_staff_active(12, false).await;
    let hosts = |filter: &[&str]| {
        let list = read_for_json(&world, &[&["mappings", "list"], filter].concat());
        let all = list["mappings"].as_array().unwrap().iter().map(|row| row["host"].as_i64().unwrap());
        all.collect::<Vec<_>>()
    };
    assert_eq!(hosts(&[]), [9, 8, 7], "{backend:?}");
    assert_eq!(hosts(&["--conflict"]), [8, 7], "{backend:?}");
    assert_eq!(hosts(&["--staff-inactive"]), [9], "{backend:?}");
    assert_eq!(hosts(&["--unused-since", "1h"]), [9, 8], "{backend:?}");
    assert_eq!(hosts(&["--source", "auto_email"]), [7]);
    assert_eq!(hosts(&["--confidence", "<=95"]), [7]);
    assert_eq!(hosts(&["--staff", &eleven, "--active", "true"]), [8, 7]);
    assert_eq!(hosts(&["--staff", "nobody"]), [] as [i64; 0]);
    assert_eq!(hosts(&["--company", "2"]), [] as [i64; 0]);
    assert_eq!(hosts(&["--active", "false"]), [] as [i64; 0]);
    let page = read_for_json(&world, &["mappings", "list", "--limit", "2"]);
    let before = page["next_before"].to_string();
    assert_eq!(hosts(&["--before", &before]), [7]);
}

#[tokio::test]
async fn tables_explain_and_suggest_the_next_command() {
    let world = create_salon(Backend::Sqlite, GatewayShape::Roadmap).await;
    create_waiting_bookings(&world).await;
    let assert_output = |arguments: &[&str], parts: &[&str]| {
        let output = run(&world, arguments);
        let text = format!("{}{}", stdout(&output), stderr(&output));
        for part in parts {
            assert!(text.contains(part), "{arguments:?}: {part}: {text}");
        }
    };
    assert_output(&["inbox", "list"], &["KIND", "boris kamm", "suggestion", "staff 12 Boris Kamm (75)"]);
    let show = ["inbox", "show", "--company", "1", "--host", "7"];
    assert_output(
        &show,
        &[
            "somebody fits, but with too little confidence",
            "has the same name",
            "What to do: hostmatch inbox accept",
        ],
    );
    let explain = ["match", "explain", "--uid", "B11"];
    assert_output(&explain, &["hostmatch mappings set --company 1 --host 7 --staff 12\n"]);
    assert_output(
        &["inbox", "accept", "--company", "1", "--host", "8"],
        &["no member of staff is suggested for host 8"],
    );
    let accept = ["inbox", "accept", "--company", "1", "--host", "7"];
    assert_output(
        &accept,
        &["Host 7 is Boris Kamm (staff 12) from now on", "mappings revert 1 --company 1", "repair preview"],
    );
    assert_output(&accept, &["it has a mapping"]);
    let apply = ["repair", "apply", "--company", "1", "--host", "7"];
    assert_output(&apply, &["needs a confirmation"]);
    assert_output(&[&apply[..], &["--yes"]].concat(), &["Repair 1 (done): 1 appointment ", "repair undo 1"]);
    assert_output(&["mappings", "list"], &["in force", "Boris Kamm"]);
    assert_output(&["audit", "list"], &["mapping_source manual", "suggestion accepted"]);
    let nobody = ["mappings", "set", "--company", "1", "--host", "77", "--staff", "12"];
    assert_output(&nobody, &["no booking of company 1 has named host 77 yet"]);
    let as_process = [&nobody[..], &["--actor", "Worker", "--unseen"]].concat();
    assert_eq!(run(&world, &as_process).status.code(), Some(2));
}

on_engines!(one_of_several_suggestions_is_named_and_a_deactivated_mapping_is_a_conflict);
async fn one_of_several_suggestions_is_named_and_a_deactivated_mapping_is_a_conflict(backend: Backend) {
    let world = create_salon(backend, GatewayShape::Live).await;
    world.staff(14, 1, "Boris Kamm", "").await;
    world.send(&[event("e1", "B11", 1, host(7, "boris kamm", ""))]).await;
    let kind = || read_for_json(&world, &["inbox", "list"])["hosts"][0]["kind"].clone();
    assert_eq!(kind(), "ambiguous", "{backend:?}");
    let [eleven, twelve, fourteen] = [11, 12, 14].map(|n| staff_of(&world, n).to_string());
    let accept = for_host(&["inbox", "accept"], &[]);
    let reported = run_for_json(&world, 2, &accept)["error"]["message"].to_string();
    assert!(reported.contains(&format!("--staff ({twelve}, {fourteen})")), "{reported}");
    let accept_with =
        |staff: &str, code: i32| run_for_json(&world, code, &[&accept[..], &["--staff", staff]].concat());
    accept_with(&eleven, 3);
    let mapping = accept_with(&fourteen, 0)["mapping"].to_string();
    assert_eq!(kind(), Value::Null, "{backend:?}");
    // The host now has the address of Carla, whose mapping to this host a person has deactivated.
    let thirteen = staff_of(&world, 13).to_string();
    let set = ["mappings", "set", "--company", "1", "--host", "7", "--yes", "--repair", "none"];
    let carla = run_for_json(&world, 0, &[&set[..], &["--staff", &thirteen]].concat())["mapping"].to_string();
    run_for_json(&world, 0, &["mappings", "deactivate", &carla]);
    world.send(&[event("e2", "B12", 2, host(7, "C", "carla@salon.example"))]).await;
    assert_eq!(kind(), "conflict", "{backend:?}");
    let list = read_for_json(&world, &["inbox", "list", "--kind", "conflict"]);
    assert_eq!(list["hosts"].as_array().unwrap().len(), 1, "{list}");
    assert_eq!(read_for_json(&world, &["inbox", "list", "--kind", "ambiguous"])["hosts"], json!([]));
    // The suggestion can still be accepted, because a person decides.
    assert_eq!(run_for_json(&world, 0, &[&accept[..], &["--repair", "all"]].concat())["did"], "made");
    assert_eq!(world.assigned(12).await, "13/7", "{backend:?}");
    assert_ne!(mapping, carla);
}
