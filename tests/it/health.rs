//! Whether a worker does its work can be asked from outside: on a port of its own, and of the edge
//! in the same process.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::proxy::{Mode, Proxy};
use crate::support::{Backend, GatewayShape, Mix, Process, Stack, Stream, eventually};

const PATIENCE: Duration = Duration::from_secs(60);

async fn asked(base: &str) -> (StatusCode, Value) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let response = client.get(format!("{base}/health/ready")).send().await.unwrap();
    (response.status(), response.json().await.unwrap())
}

async fn until(base: &str, code: StatusCode, reason: &str) {
    eventually(&format!("{code} {reason}"), PATIENCE, async || {
        let (status, told) = asked(base).await;
        let reasons = told["reasons"].as_array().cloned().unwrap_or_default();
        let fits = reasons.iter().any(|told| told.as_str().unwrap().contains(reason));
        (status == code && (fits || (reason.is_empty() && reasons.is_empty()))).then_some(())
    })
    .await;
}

/// Where this worker answers.
async fn base_of(worker: &mut Process) -> String {
    let line = worker.says("the worker answers health routes").await;
    format!("http://{}", line["address"].as_str().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_connected_and_gets_nothing_is_not_ready_until_it_does() {
    let mut stack = Stack::new(Backend::MariaDb, GatewayShape::Roadmap).await;
    let stream = Stream::new(100, Mix::Decidable);
    stream.open(&stack.world).await;
    let broker = stack.config.url.expose().to_owned();
    let proxy = Proxy::start(&Proxy::target(&broker)).await;
    stack.set("queue.url", &proxy.url(&broker));
    stack.set("queue.prefetch", "20");
    stack.set("worker.batch_size", "20");
    stack.set("worker.stalled_after", "1s");
    stack.set("worker.health_listen", "127.0.0.1:0");
    let mut worker = stack.start(&["serve", "worker"]);
    let base = base_of(&mut worker).await;
    until(&base, StatusCode::OK, "").await;
    // The broker never hears that something is done, and soon hands out no more.
    proxy.set(Mode::SwallowAcks);
    stack.publish(&stream.events).await;
    until(&base, StatusCode::SERVICE_UNAVAILABLE, "of the worker is handed out nothing").await;
    proxy.set(Mode::Pass);
    stack.until_decided(stream.len()).await;
    until(&base, StatusCode::OK, "").await;
    assert_eq!(worker.stop().await, Some(0), "{}", worker.stderr());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_goes_on_accepting_and_tells_that_the_worker_beside_it_does_not_work() {
    let mut stack = Stack::new(Backend::MariaDb, GatewayShape::Roadmap).await;
    let database = stack.world.test.url.clone();
    let proxy = Proxy::start(&Proxy::target(&database)).await;
    proxy.set(Mode::Refuse);
    stack.set("database.url", &proxy.url(&database));
    stack.set("database.acquire_timeout", "1s");
    stack.set("worker.health_listen", "127.0.0.1:0");
    let (mut both, edge) = stack.edge("all").await;
    let worker = base_of(&mut both).await;
    until(&edge, StatusCode::OK, "the worker has not started yet").await;
    until(&worker, StatusCode::SERVICE_UNAVAILABLE, "the worker has not started yet").await;
    assert_eq!(asked(&edge).await.1["status"], "degraded");
    proxy.set(Mode::Pass);
    until(&edge, StatusCode::OK, "").await;
    until(&worker, StatusCode::OK, "").await;
    assert_eq!(both.stop().await, Some(0), "{}", both.stderr());
}

/// Nothing at all, and half a head.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_to_a_worker_that_is_silent_is_ended() {
    let mut stack = Stack::new(Backend::Sqlite, GatewayShape::Roadmap).await;
    stack.set("worker.health_listen", "127.0.0.1:0");
    let mut worker = stack.start(&["serve", "worker"]);
    let base = base_of(&mut worker).await;
    for said in [&b""[..], b"GET /heal"] {
        let mut stream = TcpStream::connect(base.trim_start_matches("http://")).await.unwrap();
        stream.write_all(said).await.unwrap();
        let mut answer = Vec::new();
        let end = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await;
        assert!(end.is_ok(), "still open after {:?}", String::from_utf8_lossy(said));
    }
    assert_eq!(worker.stop().await, Some(0), "{}", worker.stderr());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_on_an_embedded_queue_is_ready_too() {
    let mut stack = Stack::new(Backend::Sqlite, GatewayShape::Roadmap).await;
    stack.set("worker.health_listen", "127.0.0.1:0");
    let mut worker = stack.start(&["serve", "worker"]);
    let base = base_of(&mut worker).await;
    until(&base, StatusCode::OK, "").await;
    assert_eq!(worker.stop().await, Some(0), "{}", worker.stderr());
}
