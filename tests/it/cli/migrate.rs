//! `hostmatch migrate` as a command: its output, confirmation, exit codes. The effect of the migrations on
//! each engine is tested in `migration`.

use std::process::Output;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::program::{command, hostmatch, json, stderr, stdout};

fn migrate(directory: &TempDir, arguments: &[&str]) -> Output {
    let url = format!("sqlite://{}", directory.path().join("gateway.db").display());
    command(&["migrate", "--output", "json"])
        .args(arguments)
        .env("HOSTMATCH_DATABASE__URL", url)
        .output()
        .unwrap()
}

fn names(report: &Value, key: &str) -> Vec<String> {
    report[key].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

#[test]
fn up_and_down_report_their_migrations_and_down_needs_confirmation() {
    let directory = tempfile::tempdir().unwrap();
    let output = migrate(&directory, &["up"]);
    assert_eq!(output.status.code(), Some(1), "the gateway's tables do not exist yet");
    assert!(stderr(&output).contains("migrate baseline"), "{}", stderr(&output));

    let created = names(&json(&migrate(&directory, &["baseline"])), "created");
    assert!(created.contains(&"appointments".to_owned()));
    assert_eq!(migrate(&directory, &["baseline"]).status.code(), Some(6), "there is a gateway now");

    assert_eq!(migrate(&directory, &["status"]).status.code(), Some(10), "all are pending");
    assert!(!names(&json(&migrate(&directory, &["sql"])), "statements").is_empty());
    let applied = names(&json(&migrate(&directory, &["up"])), "applied");
    assert!(applied.len() > 3);
    assert_eq!(json(&migrate(&directory, &["up"])), json!({ "applied": [] }));
    assert_eq!(migrate(&directory, &["status"]).status.code(), Some(0));

    let output = migrate(&directory, &["down"]);
    assert_eq!(output.status.code(), Some(4), "neither a terminal nor --yes");
    assert!(stderr(&output).contains("--yes"));
    let last = names(&json(&migrate(&directory, &["down", "--yes"])), "taken_back");
    assert_eq!(last, applied[applied.len() - 1..]);
    let rest = names(&json(&migrate(&directory, &["down", "--all", "--yes"])), "taken_back");
    let before: Vec<_> = applied[..applied.len() - 1].iter().rev().cloned().collect();
    assert_eq!(rest, before);
    assert_eq!(json(&migrate(&directory, &["down"])), json!({ "taken_back": [] }));
}

#[test]
fn statements_need_no_database_when_the_engine_is_named() {
    for engine in ["mysql", "mariadb", "postgres", "sqlite"] {
        let output = hostmatch(&["migrate", "sql", "--for", engine]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert!(stdout(&output).contains("calcom_host_mappings"), "{engine}");
    }
}

#[test]
fn an_unreachable_database_exits_with_8() {
    for url in ["mysql://gw:hunter2@127.0.0.1:1/gw", "postgres://gw:hunter2@127.0.0.1:1/gw"] {
        let output = hostmatch(&["migrate", "status", "--set", &format!("database.url={url}")]);
        assert_eq!(output.status.code(), Some(8), "{}", stderr(&output));
        assert!(!stderr(&output).contains("hunter2"));
    }
}
