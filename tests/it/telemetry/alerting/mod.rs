//! Tests the alerts and dashboards in `deploy/`: they use only exported metrics, and the roadmap's four targets
//! fire and clear on metrics from a real run.

mod captured;
mod exposition;
mod pages;
mod references;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

const RULES: &str = "deploy/prometheus/hostmatch.rules.yml";
const TESTS: [&str; 2] =
    ["deploy/prometheus/hostmatch.rules.test.yml", "deploy/prometheus/hostmatch.days.test.yml"];
const DASHBOARDS: [&str; 2] = [
    "deploy/grafana/dashboards/hostmatch-business.json",
    "deploy/grafana/dashboards/hostmatch-operations.json",
];

fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

fn read(file: &str) -> String {
    std::fs::read_to_string(path(file)).unwrap()
}

/// Returns a dashboard's panels without the rows, which only group them.
fn panels(file: &str) -> Vec<Value> {
    let board: Value = serde_json::from_str(&read(file)).unwrap();
    let panels = board["panels"].as_array().unwrap().iter();
    panels.filter(|panel| panel["type"] != "row").cloned().collect()
}

/// Returns the expressions of a panel.
fn expressions(panel: &Value) -> impl Iterator<Item = &str> {
    panel["targets"].as_array().unwrap().iter().map(|target| target["expr"].as_str().unwrap())
}

/// Returns the names of all alerts.
fn alerts() -> Vec<String> {
    let rules = read(RULES);
    let named = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    named.map(ToOwned::to_owned).collect()
}

/// Runs promtool with these arguments on a file with this content; an error contains its output.
fn promtool(arguments: &[&str], content: &Value) -> Result<(), String> {
    let Some(promtool) = crate::support::promtool() else { return Ok(()) };
    let file = tempfile::Builder::new().suffix(".yml").tempfile().unwrap();
    // Every JSON document is also YAML.
    std::fs::write(&file, content.to_string()).unwrap();
    let output = Command::new(promtool).args(arguments).arg(file.path()).output().unwrap();
    let output_text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(output_text.into_owned()) }
}
