//! Tests that every metric, label and label value in rules and dashboards is exported. For Prometheus a
//! selector that matches nothing is not an error: the alert just never fires.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::captured::MonitoredStack;
use super::exposition::{Exposition, pairs};
use super::{DASHBOARDS, RULES, expressions, panels, read};
use crate::support::Scrape;

const WAIT_TIMEOUT: Duration = Duration::from_secs(60);

/// Labels that Prometheus itself adds.
const PROMETHEUS_LABELS: [&str; 4] = ["job", "instance", "alertname", "severity"];
/// Labels whose values do not all exist from the start.
const LABELS_WITH_LATE_VALUES: [&str; 1] = ["code"];
/// Metrics that Prometheus itself exports.
const PROMETHEUS_METRICS: [&str; 2] = ["up", "ALERTS"];

/// The exported metrics: for each its labels, and for each label its values.
type Exported = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

fn exported(scrapes: &[Scrape]) -> Exported {
    let mut all = Exported::new();
    for exposition in scrapes.iter().map(Exposition::parse) {
        for sample in &exposition.samples {
            let metric = all.entry(exposition.metric(&sample.name).to_owned()).or_default();
            for (label, value) in &sample.labels {
                metric.entry(label.clone()).or_default().insert(value.clone());
            }
        }
    }
    all
}

/// Returns all expressions, each with the file and panel that contain it.
fn all_expressions() -> Vec<(String, String)> {
    let rules = read(RULES);
    // The lines of the rules are searched as a whole: apart from comments, only expressions contain metrics.
    let code = rules.lines().filter(|line| !line.trim_start().starts_with('#'));
    let code = code.filter(|line| !line.contains("summary: ") && !line.contains("action: "));
    let mut all = vec![(RULES.to_owned(), code.collect::<Vec<_>>().join("\n"))];
    for file in DASHBOARDS {
        for panel in panels(file) {
            let source = format!("{file}: {}", panel["title"].as_str().unwrap());
            all.extend(expressions(&panel).map(|expression| (source.clone(), expression.to_owned())));
        }
    }
    all
}

/// Returns the metrics that `text` contains, each with its selector in braces.
fn selectors(text: &str) -> Vec<(&str, &str)> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find(is_name) {
        let from = &rest[start..];
        let (name, after) = from.split_at(from.find(|c| !is_name(c)).unwrap_or(from.len()));
        let ours =
            name.starts_with("hostmatch_") || name.starts_with("hostmatch:") || name.starts_with("process_");
        let inside = after.strip_prefix('{').and_then(|inside| Some(&inside[..end_of_braces(inside)?]));
        if ours || (PROMETHEUS_METRICS.contains(&name) && inside.is_some()) {
            found.push((name, inside.unwrap_or_default()));
        }
        rest = &after[inside.map_or(0, |inside| inside.len() + 2)..];
    }
    found
}

/// Returns the position of the closing brace outside of quotes.
fn end_of_braces(text: &str) -> Option<usize> {
    let mut quoted = false;
    text.char_indices().find_map(|(position, c)| {
        quoted ^= c == '"';
        (c == '}' && !quoted).then_some(position)
    })
}

/// Returns the metrics, labels and values in this selector that are not exported.
fn find_unexported(
    exported: &Exported,
    recorded: &BTreeSet<String>,
    name: &str,
    braces: &str,
) -> Vec<String> {
    if name.contains(':') {
        return if recorded.contains(name) { vec![] } else { vec![format!("{name} is not recorded")] };
    }
    if PROMETHEUS_METRICS.contains(&name) {
        return vec![];
    }
    let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
    let base = base.filter(|base| exported.contains_key(*base)).unwrap_or(name);
    let Some(labels) = exported.get(base) else { return vec![format!("{name} is not exported")] };
    let plain = braces.replace("=~\"", "=\"").replace("!~\"", "=\"").replace("!=\"", "=\"");
    let mut wrong = Vec::new();
    for (label, values) in pairs(&plain) {
        let Some(known) = labels.get(&label) else {
            if !PROMETHEUS_LABELS.contains(&label.as_str()) {
                wrong.push(format!("{name} has no label {label}"));
            }
            continue;
        };
        // A pattern, such as 5.., may match anything.
        let is_plain = |value: &&str| {
            !value.contains(['.', '*', '$', '+']) && !LABELS_WITH_LATE_VALUES.contains(&label.as_str())
        };
        let values = values.split('|').filter(is_plain).filter(|value| !known.contains(*value));
        wrong.extend(values.map(|value| format!("{name}: {label} is never {value}")));
    }
    wrong
}

#[test]
fn selectors_are_found() {
    let text =
        "sum by (a) (rate(hostmatch_x_total{a=\"}|b\",c=~\"d\"}[5m])) / hostmatch:y:ratio > up{job=\"z\"}";
    let expected =
        [("hostmatch_x_total", "a=\"}|b\",c=~\"d\""), ("hostmatch:y:ratio", ""), ("up", "job=\"z\"")];
    assert_eq!(selectors(text), expected);
    let exported = Exported::from([(
        "hostmatch_x_total".to_owned(),
        BTreeMap::from([("a".to_owned(), BTreeSet::from(["b".to_owned()]))]),
    )]);
    let wrong = find_unexported(&exported, &BTreeSet::new(), "hostmatch_x_total", "a=~\"b|e\",c=\"d\"");
    assert_eq!(wrong, ["hostmatch_x_total: a is never e", "hostmatch_x_total has no label c"]);
    assert_eq!(
        find_unexported(&exported, &BTreeSet::new(), "hostmatch_y", ""),
        ["hostmatch_y is not exported"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_that_rules_and_dashboards_refer_to_is_exported() {
    let rules = read(RULES);
    let recorded = rules.lines().filter_map(|line| line.trim().strip_prefix("- record: "));
    let recorded: BTreeSet<String> = recorded.map(ToOwned::to_owned).collect();
    let expressions = all_expressions();
    let references: usize = expressions.iter().map(|(_, text)| selectors(text).len()).sum();
    assert!(references > 150, "the scan found only {references} references");

    let mut stack = MonitoredStack::start().await;
    stack.send_good(3).await;
    // Sampled metrics appear with a delay.
    let deadline = Instant::now() + WAIT_TIMEOUT;
    let missing = loop {
        let exported = exported(&stack.scrape().await);
        let wrong = expressions.iter().flat_map(|(source, text)| {
            let wrong = selectors(text).into_iter();
            let wrong = wrong.flat_map(|(name, braces)| find_unexported(&exported, &recorded, name, braces));
            wrong.map(|wrong| format!("{source}: {wrong}")).collect::<Vec<_>>()
        });
        let missing: BTreeSet<String> = wrong.collect();
        if missing.is_empty() || Instant::now() > deadline {
            break missing;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert!(missing.is_empty(), "{missing:#?}");
    stack.stop().await;
}
