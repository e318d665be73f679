//! Checks rules and dashboards without a server: each alert has an instruction, a page and a test;
//! each panel has an instruction; nothing in them depends on one Grafana installation.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{DASHBOARDS, RULES, TESTS, alerts, expressions, panels, path, promtool, read};

#[test]
fn every_alert_has_an_instruction_and_a_page() {
    let rules = read(RULES);
    let mut wrong = Vec::new();
    for (alert, rule) in alerts().iter().zip(rules.split("- alert: ").skip(1)) {
        for (what, part) in [
            ("severity", "labels: {severity: "),
            ("summary", "summary: '"),
            ("action", "action: '"),
            ("page", &format!("runbook_url: docs/runbooks/{alert}.md")),
        ] {
            if !rule.contains(part) {
                wrong.push(format!("{alert}: no {what}"));
            }
        }
        let page = std::fs::read_to_string(path(&format!("docs/runbooks/{alert}.md"))).unwrap_or_default();
        for head in [&format!("# {alert}"), "## What it means", "## Check first", "## Do", "## Escalate"] {
            if !page.lines().any(|line| line == head) {
                wrong.push(format!("docs/runbooks/{alert}.md: no line {head}"));
            }
        }
    }
    let pages: BTreeSet<String> = path("docs/runbooks")
        .read_dir()
        .unwrap()
        .map(|page| page.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    let expected: BTreeSet<String> = alerts().into_iter().chain(["README".to_owned()]).collect();
    assert_eq!(pages, expected, "exactly one page for each alert");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_alert_is_tested() {
    let tests = TESTS.map(read).concat();
    let missing: Vec<String> = alerts().into_iter().filter(|alert| !tests.contains(alert)).collect();
    assert!(missing.is_empty(), "no unit test names {missing:?}");
}

#[test]
fn every_panel_has_an_instruction_and_no_dashboard_depends_on_one_grafana() {
    let mut wrong = Vec::new();
    for file in DASHBOARDS {
        let board: Value = serde_json::from_str(&read(file)).unwrap();
        assert!(board["id"].is_null(), "{file}: an id of one Grafana installation");
        let mut ids = BTreeSet::new();
        for panel in panels(file) {
            let title = panel["title"].as_str().unwrap();
            assert!(ids.insert(panel["id"].as_i64().unwrap()), "{file}: {title}: its id is used twice");
            if panel["description"].as_str().unwrap_or_default().len() < 40 {
                wrong.push(format!("{file}: {title}: no description"));
            }
            let own = panel["targets"].as_array().unwrap().iter().map(|target| &target["datasource"]);
            if own.chain([&panel["datasource"]]).any(|source| source["uid"] != "${datasource}") {
                wrong.push(format!("{file}: {title}: a data source of one Grafana installation"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn prometheus_can_parse_every_expression_of_the_dashboards() {
    let panels = DASHBOARDS.into_iter().flat_map(panels);
    let expressions = panels.flat_map(|panel| {
        expressions(&panel).map(|text| text.replace("$__rate_interval", "5m")).collect::<Vec<_>>()
    });
    let record = |(number, text)| json!({ "record": format!("panel:{number}:value"), "expr": text });
    let rules: Vec<Value> = expressions.enumerate().map(record).collect();
    assert!(rules.len() > 50, "the scan found only {}", rules.len());
    let group = json!({ "groups": [{ "name": "dashboards", "rules": rules }] });
    promtool(&["check", "rules"], &group).unwrap();
}
