//! Tests the spool's alarms, near a limit and at it, in the health route and in the log of the real binary.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::Value;

use super::site::RETELL;
use super::spool::{WAIT_TIMEOUT, event};
use crate::support::broker::free_port;
use crate::support::program::command;
use crate::support::{Process, eventually, unique};

const NEARLY_FULL_MESSAGE: &str =
    "the spool is nearly full: repair the connection to the queue, or make room";
const FULL_MESSAGE: &str = "the spool accepts no events: they are refused while the queue is unavailable";

/// An edge whose broker is unreachable from the start.
struct EdgeWithoutBroker {
    edge: Process,
    base: String,
    client: reqwest::Client,
    _home: tempfile::TempDir,
}

impl EdgeWithoutBroker {
    async fn start(settings: &[(&str, &str)]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut command = command(&["serve", "edge", "--listen", "127.0.0.1:0"]);
        command
            .env("HOSTMATCH_QUEUE__URL", format!("amqp://guest:guest@127.0.0.1:{}", free_port()))
            .env("HOSTMATCH_EDGE__ALLOW_UNSIGNED", "true")
            .env("HOSTMATCH_LOG__FORMAT", "json")
            .envs(settings.iter().copied())
            .current_dir(home.path());
        let mut edge = Process::start(command, home.path(), &unique("edge"));
        let line = edge.wait_for_log("the edge is listening").await;
        let base = format!("http://{}", line["address"].as_str().unwrap());
        let client = crate::support::http_client();
        Self { edge, base, client, _home: home }
    }

    async fn post(&self, id: &str) -> StatusCode {
        self.client.post(format!("{}{RETELL}", self.base)).body(event(id)).send().await.unwrap().status()
    }

    async fn ready(&self) -> (StatusCode, Value) {
        let response = self.client.get(format!("{}/health/ready", self.base)).send().await.unwrap();
        (response.status(), response.json().await.unwrap())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn near_its_age_limit_the_spool_warns_and_still_accepts() {
    let mut unconnected = EdgeWithoutBroker::start(&[("HOSTMATCH_EDGE__SPOOL_MAX_AGE", "10s")]).await;
    assert_eq!(unconnected.post("old").await, StatusCode::OK);
    let mut warned = false;
    eventually("nothing more is accepted", WAIT_TIMEOUT, async || {
        let (status, body) = unconnected.ready().await;
        let near = body["reasons"].to_string().contains("is close to edge.spool_max_age");
        assert!(
            !near || body["spool"]["oldest_seconds"].as_u64().unwrap() >= 8,
            "no alarm below 80 %: {body}"
        );
        if near && status == StatusCode::OK && !warned {
            warned = true;
            assert_eq!(
                (body["status"].as_str(), unconnected.post("late").await),
                (Some("degraded"), StatusCode::OK)
            );
        }
        (status == StatusCode::SERVICE_UNAVAILABLE).then_some(())
    })
    .await;
    assert!(warned, "the edge must be ready while the alarm is on");
    assert_eq!(unconnected.post("refused").await, StatusCode::SERVICE_UNAVAILABLE);
    let line = unconnected.edge.wait_for_log(NEARLY_FULL_MESSAGE).await;
    assert!(line["problem"].as_str().unwrap().contains("edge.spool_max_age"), "{line}");
    assert_eq!(line["level"], "WARN");
    assert_eq!(unconnected.edge.stop().await, Some(0), "{}", unconnected.edge.stderr());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_names_the_limit_that_is_near_or_reached() {
    let small = [("HOSTMATCH_EDGE__BODY_LIMIT", "1KiB"), ("HOSTMATCH_EDGE__SPOOL_MAX_BYTES", "20KiB")];
    let mut near = EdgeWithoutBroker::start(&small).await;
    let mut posted = 0;
    while near.ready().await.1["spool"]["bytes"].as_u64().unwrap() < 16_500 {
        posted += 1;
        assert_eq!(near.post(&format!("e{posted}")).await, StatusCode::OK);
    }
    let line = near.edge.wait_for_log(NEARLY_FULL_MESSAGE).await;
    assert!(line["problem"].as_str().unwrap().contains("of 20480 bytes (edge.spool_max_bytes)"), "{line}");

    let mut old = EdgeWithoutBroker::start(&[("HOSTMATCH_EDGE__SPOOL_MAX_AGE", "300ms")]).await;
    assert_eq!(old.post("old").await, StatusCode::OK);
    let line = old.edge.wait_for_log(FULL_MESSAGE).await;
    assert!(line["problem"].as_str().unwrap().contains("edge.spool_max_age"), "{line}");
    assert_eq!(line["level"], "ERROR");
    // The line is logged at most once a minute.
    let (time, began) = (Duration::from_secs(3), tokio::time::Instant::now());
    eventually("the edge has checked again", WAIT_TIMEOUT, async || (began.elapsed() > time).then_some(()))
        .await;
    assert_eq!(old.edge.log_lines(FULL_MESSAGE).len(), 1, "{}", old.edge.stderr());
}
