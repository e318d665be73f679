//! Tests docs/upgrading.md: a running program is replaced by a newer one, and by the older one again.
//!
//! `builds` does this with two real builds, which needs `scripts/rolling-upgrade`. The others test its
//! requirements on every run: `newer` runs this program on tables and messages of a newer one, which the test
//! creates by hand, and `older` on those of an older one.

mod before_baseline;
mod builds;
mod newer;
mod older;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::Process;

/// Returns the warnings and errors of a process, except these.
fn unexpected_log_lines(process: &Process, expected: &[&str]) -> Vec<String> {
    let text = process.stderr();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap_or(Value::String(line.to_owned())));
    let bad = lines.filter(|line| !["TRACE", "DEBUG", "INFO"].iter().any(|level| line["level"] == *level));
    let unexpected = |line: &Value| {
        let message = line["message"].as_str().unwrap_or_default();
        !expected.iter().any(|expected| message.contains(expected))
    };
    bad.filter(unexpected).map(|line| line.to_string()).collect()
}

/// Asks a worker to stop, checks that it ends cleanly, and returns what it has done.
async fn stop_and_count(worker: &mut Process) -> BTreeMap<String, u64> {
    assert_eq!(worker.stop().await, Some(0), "{}", worker.stderr());
    let line = worker.log_lines("the worker has stopped").remove(0);
    serde_json::from_str(line["counts"].as_str().unwrap()).unwrap()
}
