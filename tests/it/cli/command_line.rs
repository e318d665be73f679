//! Runs the real binary, and checks stdout, stderr and exit codes.

use std::process::Stdio;

use clap::CommandFactory as _;
use serde_json::{Value, json};

use crate::support::program::{command, hostmatch, stderr, stdout};

#[test]
fn the_definition_of_the_command_line_is_consistent() {
    hostmatch::cli::Cli::command().debug_assert();
}

#[test]
fn version_is_printed_for_people_and_for_programs() {
    let output = hostmatch(&["version"]);
    assert_eq!(stdout(&output), format!("hostmatch {}\n", env!("CARGO_PKG_VERSION")));
    let output = hostmatch(&["version", "--output", "json"]);
    let version: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(version, json!({ "name": "hostmatch", "version": env!("CARGO_PKG_VERSION") }));
}

#[test]
fn config_show_prints_values_and_origins() {
    let output = hostmatch(&["config", "show", "worker", "--set", "worker.pipelines=4", "--output", "json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let keys: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert!(keys.contains(
        &json!({ "key": "worker.pipelines", "value": 4, "origin": "flag --set worker.pipelines" })
    ));
    assert!(keys.iter().all(|entry| entry["key"].as_str().unwrap().starts_with("worker.")));

    let output = hostmatch(&["config", "show"]);
    assert!(
        stdout(&output).lines().any(|line| line.starts_with("queue.prefix") && line.ends_with("default"))
    );
    assert_eq!(hostmatch(&["config", "show", "nothing"]).status.code(), Some(3));
}

#[test]
fn an_invalid_configuration_exits_with_9_and_all_reasons() {
    let output = command(&["config", "validate", "--set", "worker.pipelines=0"])
        .env("HOSTMATCH_QUEUE__PREFETCH", "x")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(9));
    assert_eq!(stdout(&output), "");
    assert!(
        stderr(&output).contains("worker.pipelines (flag --set worker.pipelines)"),
        "{}",
        stderr(&output)
    );
    assert!(stderr(&output).contains("queue.prefetch (environment variable HOSTMATCH_QUEUE__PREFETCH)"));

    let output = hostmatch(&["config", "validate", "--set", "worker.pipelines=0", "--output", "json"]);
    let error: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(error["error"]["code"], "config_invalid");
    assert_eq!(error["error"]["exit"], 9);
    assert_eq!(hostmatch(&["config", "validate"]).status.code(), Some(0));
}

#[test]
fn a_wrong_command_line_exits_with_2_and_never_quotes_a_setting() {
    let output = hostmatch(&["no-such-command", "--output", "json"]);
    assert_eq!(output.status.code(), Some(2));
    let error: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(error["error"]["code"], "usage");

    let output = hostmatch(&["config", "show", "--set", "hunter2"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(!stderr(&output).contains("hunter2"));

    // A mistyped filter must not look like an empty result.
    for (filter, known) in [(["--reason", "malfromed"], "malformed"), (["--state", "opne"], "open")] {
        let output = hostmatch(&[&["deadletters", "list"][..], &filter].concat());
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains(known), "{}", stderr(&output));
    }
}

#[test]
fn errors_show_control_characters_and_do_not_send_them() {
    let hostile = "x\u{1b}[2J\u{9b}\u{61c}\u{202e}\u{2066}";
    for arguments in [
        &["no-such-command"][..],
        &["deadletters", "list", "--reason"],
        &["mappings", "import", "--company"],
        &["config", "show"],
        &["config", "validate", "--config"],
        &["publish", "--file"],
        &["validate"],
    ] {
        for format in ["table", "json"] {
            let output = hostmatch(&[&["--output", format], arguments, &[hostile]].concat());
            let (text, sent) = (stderr(&output), |c: char| hostile[1..].contains(c) && !"[2J".contains(c));
            assert!(output.status.code() != Some(0) && !text.is_empty(), "{arguments:?}");
            assert!(!text.contains(sent), "{arguments:?}: {text:?}");
        }
    }
}

#[test]
fn completions_name_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let output = hostmatch(&["completions", shell]);
        assert!(output.status.success());
        assert!(stdout(&output).contains("config"), "{shell}");
    }
}

#[test]
fn a_closed_pipe_is_not_an_error() {
    let mut child =
        command(&["config", "show"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));
}
