//! Runs the real program.

use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// Runs the program without our variables in its environment, and waits for its end.
pub(crate) fn hostmatch(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

/// Returns the program with these arguments, no input, and without our variables in its environment.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hostmatch"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("HOSTMATCH_") {
            command.env_remove(name);
        }
    }
    command.args(arguments).stdin(Stdio::null());
    command
}

pub(crate) fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

pub(crate) fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// Returns the one JSON document on stdout.
pub(crate) fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("{error}: {} {}", stdout(output), stderr(output));
    })
}
