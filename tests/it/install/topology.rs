//! Tests `hostmatch topology`: it shows the expected topology, compares it with a broker, creates missing
//! queues and exchanges, and exports the topology.

use std::path::Path;
use std::process::Output;

use hostmatch::config::QueueConfig;
use serde_json::{Value, json};

use crate::support::broker::Broker;
use crate::support::cleanup::{Cleanup, connect};
use crate::support::program::{command, json, stderr, stdout};
use crate::support::{amqp_url, unique};

/// Runs the program on its own queues, and removes them from the shared broker when dropped.
struct Site {
    url: String,
    prefix: String,
    settings: Vec<(&'static str, String)>,
    _cleanup: Option<Cleanup>,
}

impl Site {
    fn on(url: &str) -> Self {
        let prefix = unique("test");
        let site = Self { url: url.to_owned(), prefix, settings: Vec::new(), _cleanup: None };
        let cleanup = Cleanup::Broker(Box::new(site.config()));
        Self { _cleanup: Some(cleanup), ..site }
    }

    fn config(&self) -> QueueConfig {
        let flags = [("queue.url", &self.url), ("queue.prefix", &self.prefix)];
        let mut overrides = hostmatch::config::Overrides::default();
        for (key, value) in flags {
            overrides.set("test", key, value);
        }
        hostmatch::config::load_from(None, std::iter::empty(), &overrides).unwrap().config.queue
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = command(&[&["topology"], arguments].concat());
        command.env("HOSTMATCH_QUEUE__URL", &self.url).env("HOSTMATCH_QUEUE__PREFIX", &self.prefix);
        for (name, value) in &self.settings {
            command.env(name, value);
        }
        let output = command.output().unwrap();
        let reported = format!("{}{}", stdout(&output), stderr(&output));
        assert!(!reported.contains("hush"), "the output contains a secret: {reported}");
        output
    }

    fn run_json(&self, arguments: &[&str]) -> (Option<i32>, Value) {
        let output = self.run(&[arguments, &["--output", "json"]].concat());
        assert_eq!(stderr(&output), "", "{arguments:?}");
        (output.status.code(), json(&output))
    }
}

#[test]
fn show_needs_no_broker_and_an_embedded_queue_has_no_topology() {
    let site = Site::on("amqp://u:hush@127.0.0.1:1/salon");
    let (code, shown) = site.run_json(&["show"]);
    assert_eq!(code, Some(0));
    let prefix = &site.prefix;
    assert_eq!(
        shown["exchange"],
        json!({ "name": format!("{prefix}.events"), "type": "topic", "durable": true })
    );
    let work = shown["queues"].as_array().unwrap().iter().find(|queue| queue["role"] == "work").unwrap();
    assert_eq!(work["arguments"]["x-delivery-limit"], 50);
    assert_eq!(shown["bindings"][0]["routing_key"], "#");
    let table = site.run(&["show"]);
    assert!(stdout(&table).contains("x-dead-letter-strategy=at-least-once"), "{}", stdout(&table));
    assert_eq!(site.run(&["diff"]).status.code(), Some(7));

    let embedded = Site::on("sqlite://nowhere.db");
    for arguments in [&["show"][..], &["diff"], &["apply"], &["export"]] {
        let (code, reported) = embedded.run_json(arguments);
        assert_eq!((code, &reported["embedded"]), (Some(0), &json!(true)), "{arguments:?}");
    }
    assert!(!Path::new("nowhere.db").exists());
}

#[test]
fn apply_creates_what_is_missing_under_any_configuration_and_then_changes_nothing() {
    let mut site = Site::on(&amqp_url());
    site.settings.push(("HOSTMATCH_QUEUE__TOPOLOGY", "verify".into()));
    let (code, before) = site.run_json(&["diff"]);
    assert_eq!((code, &before["equal"]), (Some(10), &json!(false)));
    assert_eq!(
        before["differences"].as_array().unwrap().len(),
        8,
        "exchange, dead, work, five waits: {before:#}"
    );
    let (code, applied) = site.run_json(&["apply"]);
    assert_eq!(code, Some(0), "{applied:#}");
    assert_eq!(applied["made"].as_array().unwrap().len(), 8, "{applied:#}");
    let (code, after) = site.run_json(&["diff"]);
    assert_eq!((code, &after["equal"]), (Some(0), &json!(true)), "{after:#}");
    assert!(after["not_compared"][0]["why"].as_str().unwrap().contains("queue.management_url"), "{after:#}");
    let (code, again) = site.run_json(&["apply"]);
    assert_eq!((code, &again["made"]), (Some(0), &json!([])), "{again:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_cannot_be_changed_keeps_its_messages_and_is_reported_with_a_remedy() {
    let mut site = Site::on(&amqp_url());
    assert_eq!(site.run(&["apply"]).status.code(), Some(0));
    let connection = connect(&site.url).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let work = format!("{}.bookings", site.prefix);
    let confirmed = lapin::options::ConfirmSelectOptions::default();
    channel.confirm_select(confirmed).await.unwrap();
    let options = lapin::options::BasicPublishOptions::default();
    let properties = lapin::BasicProperties::default().with_delivery_mode(2);
    channel
        .basic_publish("".into(), work.as_str().into(), options, b"{}", properties)
        .await
        .unwrap()
        .await
        .unwrap();
    site.settings.push(("HOSTMATCH_QUEUE__DELIVERY_LIMIT", "20".into()));
    let (code, applied) = site.run_json(&["apply"]);
    assert_eq!(code, Some(10), "{applied:#}");
    assert_eq!((&applied["made"], &applied["problems"]), (&json!([]), &json!([])), "{applied:#}");
    let difference = &applied["differences"][0];
    let expected = json!(["queue", work, "argument", "x-delivery-limit", 20, 50]);
    let found =
        ["object", "name", "change", "argument", "wanted", "found"].map(|key| difference[key].clone());
    assert_eq!(json!(found), expected);
    let remedy = difference["remedy"].as_str().unwrap();
    assert!(remedy.contains("1 message is in it") && remedy.contains("delete_queue"), "{remedy}");
    let passive_only = lapin::options::QueueDeclareOptions::durable().passive();
    let table = lapin::types::FieldTable::default();
    let queue = channel.queue_declare(work.as_str().into(), passive_only, table).await.unwrap();
    assert_eq!(queue.message_count(), 1, "the queue keeps its message");
    assert!(stdout(&site.run(&["diff"])).contains("has x-delivery-limit 50 instead of 20\n  what to do: "));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exported_and_imported_topology_equals_the_expected_one() {
    let Some(mut broker) = Broker::prepare() else { return };
    let management = broker.with_management();
    broker.run().await;
    broker.control(&["add_vhost", "salon/1"]).await;
    broker.control(&["set_permissions", "-p", "salon/1", "guest", ".*", ".*", ".*"]).await;
    let mut site = Site::on(&format!("{}/salon%2F1", broker.url()));
    site.settings.push(("HOSTMATCH_QUEUE__MANAGEMENT_URL", management));
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("definitions.json");
    let exported = site.run(&["export"]);
    assert_eq!(exported.status.code(), Some(0), "{}", stderr(&exported));
    std::fs::write(&file, &exported.stdout).unwrap();
    assert_eq!(site.run(&["diff"]).status.code(), Some(10));
    broker.control(&["import_definitions", file.to_str().unwrap()]).await;
    let (code, after) = site.run_json(&["diff"]);
    assert_eq!((code, after), (Some(0), json!({ "equal": true, "differences": [], "not_compared": [] })));
    let other: Value = serde_json::from_slice(&site.run(&["export", "--vhost", "other"]).stdout).unwrap();
    assert_eq!(other["queues"][0]["vhost"], "other");
}
