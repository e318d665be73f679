//! Tests that the health of a worker can be checked from outside: on its own port, and through the edge in
//! the same process.

use std::time::Duration;

use hostmatch::queue::Queue;
use lapin::options::QueueDeleteOptions;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::broker::Broker;
use crate::support::cleanup::connect;
use crate::support::flood::assert_disconnects;
use crate::support::program::{stderr, stdout};
use crate::support::proxy::{Mode, Proxy};
use crate::support::{
    Backend, DELAYS, GatewayShape, Mix, Process, Scrape, Stack, Stream, World, event, eventually, host,
};

const WAIT_TIMEOUT: Duration = Duration::from_secs(60);

async fn get_readiness(base: &str) -> (StatusCode, Value) {
    let client = crate::support::http_client();
    let response = client.get(format!("{base}/health/ready")).send().await.unwrap();
    (response.status(), response.json().await.unwrap())
}

async fn wait_for_readiness(base: &str, code: StatusCode, reason: &str) {
    eventually(&format!("{code} {reason}"), WAIT_TIMEOUT, async || {
        let (status, reported) = get_readiness(base).await;
        let reasons = reported["reasons"].as_array().cloned().unwrap_or_default();
        let matches = reasons.iter().any(|reported| reported.as_str().unwrap().contains(reason));
        (status == code && (matches || (reason.is_empty() && reasons.is_empty()))).then_some(())
    })
    .await;
}

/// Returns the address of this worker's health routes.
async fn base_of(worker: &mut Process) -> String {
    let line = worker.wait_for_log("the worker answers health routes").await;
    format!("http://{}", line["address"].as_str().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connected_worker_without_deliveries_is_not_ready_until_it_gets_some() {
    let mut stack = Stack::new(Backend::MariaDb, GatewayShape::Roadmap).await;
    let stream = Stream::new(100, Mix::Decidable);
    stream.insert_all(&stack.world).await;
    let broker = stack.config.url.expose().to_owned();
    let proxy = Proxy::start(&Proxy::target(&broker)).await;
    stack.set("queue.url", &proxy.url(&broker));
    stack.set("queue.prefetch", "20");
    stack.set("worker.batch_size", "20");
    stack.set("worker.stalled_after", "1s");
    stack.set("worker.health_listen", "127.0.0.1:0");
    let mut worker = stack.start(&["serve", "worker"]);
    let base = base_of(&mut worker).await;
    wait_for_readiness(&base, StatusCode::OK, "").await;
    // The broker never receives an acknowledgement, and soon delivers nothing more.
    proxy.set(Mode::SwallowAcks);
    stack.publish(&stream.events).await;
    wait_for_readiness(&base, StatusCode::SERVICE_UNAVAILABLE, "of the worker receives nothing").await;
    proxy.set(Mode::Pass);
    stack.wait_until_decided(stream.len()).await;
    wait_for_readiness(&base, StatusCode::OK, "").await;
    assert_eq!(worker.stop().await, Some(0), "{}", worker.stderr());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_keeps_accepting_and_reports_that_its_worker_does_not_work() {
    let mut stack = Stack::new(Backend::MariaDb, GatewayShape::Roadmap).await;
    let database = stack.world.test.url.clone();
    let proxy = Proxy::start(&Proxy::target(&database)).await;
    proxy.set(Mode::Refuse);
    stack.set("database.url", &proxy.url(&database));
    stack.set("database.acquire_timeout", "1s");
    stack.set("worker.health_listen", "127.0.0.1:0");
    let (mut both, edge) = stack.edge("all").await;
    let worker = base_of(&mut both).await;
    wait_for_readiness(&edge, StatusCode::OK, "the worker has not started yet").await;
    wait_for_readiness(&worker, StatusCode::SERVICE_UNAVAILABLE, "the worker has not started yet").await;
    assert_eq!(get_readiness(&edge).await.1["status"], "degraded");
    proxy.set(Mode::Pass);
    wait_for_readiness(&edge, StatusCode::OK, "").await;
    wait_for_readiness(&worker, StatusCode::OK, "").await;
    assert_eq!(both.stop().await, Some(0), "{}", both.stderr());
}

/// Tests a connection that sends nothing, and one that sends half a head.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_connection_to_a_worker_is_closed() {
    let mut stack = Stack::new(Backend::Sqlite, GatewayShape::Roadmap).await;
    stack.set("worker.health_listen", "127.0.0.1:0");
    let mut worker = stack.start(&["serve", "worker"]);
    let base = base_of(&mut worker).await;
    for sent in [&b""[..], b"GET /heal"] {
        let mut stream = TcpStream::connect(base.trim_start_matches("http://")).await.unwrap();
        stream.write_all(sent).await.unwrap();
        let mut answer = Vec::new();
        let end = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await;
        assert!(end.is_ok(), "still open after {:?}", String::from_utf8_lossy(sent));
    }
    assert_eq!(worker.stop().await, Some(0), "{}", worker.stderr());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_of_a_worker_that_never_reads_is_disconnected() {
    let mut stack = Stack::new(Backend::Sqlite, GatewayShape::Roadmap).await;
    stack.set("worker.health_listen", "127.0.0.1:0");
    stack.set("metrics.listen", "127.0.0.1:0");
    let mut worker = stack.start(&["serve", "worker"]);
    let health = base_of(&mut worker).await;
    let metrics = Scrape::base(&mut worker).await;
    let never_read = async |base: String, path| {
        let stream = TcpStream::connect(base.trim_start_matches("http://")).await.unwrap();
        assert_disconnects(stream, path, Duration::from_secs(30)).await;
    };
    tokio::join!(never_read(health, "/health/ready"), never_read(metrics, "/metrics"));
    assert_eq!(worker.stop().await, Some(0), "{}", worker.stderr());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_on_an_embedded_queue_becomes_ready() {
    let mut stack = Stack::new(Backend::Sqlite, GatewayShape::Roadmap).await;
    stack.set("worker.health_listen", "127.0.0.1:0");
    let mut worker = stack.start(&["serve", "worker"]);
    let base = base_of(&mut worker).await;
    wait_for_readiness(&base, StatusCode::OK, "").await;
    assert_eq!(worker.stop().await, Some(0), "{}", worker.stderr());
}

/// Returns the check with this name, as the route reports it.
async fn check(base: &str, route: &str, name: &str) -> (StatusCode, Value) {
    let client = crate::support::http_client();
    let response = client.get(format!("{base}/health/{route}")).send().await.unwrap();
    let code = response.status();
    let reported: Value = response.json().await.unwrap();
    let checks = reported["checks"].as_array().unwrap().clone();
    let found = checks.into_iter().find(|check| check["name"] == name);
    (code, found.unwrap_or_else(|| panic!("{name}: {reported}")))
}

async fn wait_for_check(base: &str, name: &str, state: &str, code: StatusCode) -> Value {
    eventually(&format!("{name} is {state}"), WAIT_TIMEOUT, async || {
        let (status, check) = check(base, "ready", name).await;
        (status == code && check["state"] == state).then_some(check)
    })
    .await
}

/// Runs `hostmatch healthcheck`; returns its line and its exit code.
fn healthcheck(stack: &Stack, arguments: &[&str]) -> (String, Option<i32>) {
    let output = stack.command(&[&["healthcheck"], arguments].concat()).output().unwrap();
    (stdout(&output).trim().to_owned(), output.status.code())
}

on_engines!(a_worker_reports_the_state_of_each_part_and_when_it_began);
async fn a_worker_reports_the_state_of_each_part_and_when_it_began(backend: Backend) {
    let mut stack = Stack::new(backend, GatewayShape::Roadmap).await;
    let database = stack.world.test.url.clone();
    // A queue in a file is never unreachable.
    let proxy = match backend {
        Backend::Sqlite => None,
        _ => Some(Proxy::start(&Proxy::target(&database)).await),
    };
    if let Some(proxy) = &proxy {
        stack.set("database.url", &proxy.url(&database));
    }
    stack.set("database.acquire_timeout", "1s");
    stack.set("worker.health_listen", "127.0.0.1:0");
    let mut worker = stack.start(&["serve", "worker"]);
    let base = base_of(&mut worker).await;
    for name in ["running", "database", "consumers", "publishing", "progress"] {
        let check = wait_for_check(&base, name, "ok", StatusCode::OK).await;
        assert_eq!((&check["role"], &check["reasons"]), (&json!("worker"), &Value::Null), "{check}");
    }
    let (_, before) = check(&base, "ready", "database").await;
    assert_eq!(healthcheck(&stack, &["--url", &base]), ("ready".to_owned(), Some(0)));
    if let Some(proxy) = &proxy {
        proxy.set(Mode::Refuse);
        proxy.cut();
        let failed = wait_for_check(&base, "database", "failed", StatusCode::SERVICE_UNAVAILABLE).await;
        assert!(failed["since"].as_str() > before["since"].as_str(), "{before} {failed}");
        assert!(failed["reasons"][0].as_str().unwrap().contains("does not answer"), "{failed}");
        let (code, _) = check(&base, "live", "database").await;
        assert_eq!(code, StatusCode::OK, "an outage must not cause a restart");
        let (line, code) = healthcheck(&stack, &["--url", &base]);
        assert_eq!((line.starts_with("not_ready: the database"), code), (true, Some(1)), "{line}");
        assert_eq!(healthcheck(&stack, &["--live", "--url", &base]), ("live".to_owned(), Some(0)));
        let reported = get_readiness(&base).await.1.to_string();
        assert!(!reported.contains("root") && !reported.contains("postgres"), "{reported}");
        proxy.set(Mode::Pass);
        wait_for_check(&base, "database", "ok", StatusCode::OK).await;
    }
    assert_eq!(worker.stop().await, Some(0), "{}", worker.stderr());
    let (line, code) = healthcheck(&stack, &["--url", &base]);
    assert_eq!((line.contains("nothing listens there"), code), (true, Some(1)), "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_short_of_memory_is_reported() {
    let Some(mut broker) = Broker::prepare() else { return };
    broker.run().await;
    let world = World::new(Backend::Postgres, GatewayShape::Roadmap).await;
    let mut stack = Stack::on(world, Some(broker.url())).await;
    stack.set("worker.health_listen", "127.0.0.1:0");
    let mut worker = stack.start(&["serve", "worker"]);
    let base = base_of(&mut worker).await;
    wait_for_readiness(&base, StatusCode::OK, "").await;
    let status = || stack.command(&["status"]).output().unwrap();
    eventually("the status is good", WAIT_TIMEOUT, async || {
        stdout(&status()).contains("OK: bookings are assigned").then_some(())
    })
    .await;
    // Nothing was published: the broker does not report the alarm by itself.
    broker.control(&["set_vm_memory_high_watermark", "0.000001"]).await;
    let check = wait_for_check(&base, "publishing", "degraded", StatusCode::OK).await;
    assert!(check["reasons"][0].as_str().unwrap().contains("short of memory or disk"), "{check}");
    let (line, code) = healthcheck(&stack, &["--url", &base]);
    assert_eq!((line.starts_with("degraded: the broker"), code), (true, Some(0)), "{line}");
    let reported = status();
    let text = stdout(&reported);
    assert_eq!(reported.status.code(), Some(10), "{text}");
    assert!(text.contains("NOT WORKING") && text.contains("check_local_alarms"), "{text}");
    broker.control(&["set_vm_memory_high_watermark", "0.9"]).await;
    wait_for_check(&base, "publishing", "ok", StatusCode::OK).await;
    assert_eq!(status().status.code(), Some(0));
    assert_eq!(worker.stop().await, Some(0), "{}", worker.stderr());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_reports_the_queue_and_its_spool() {
    let mut stack = Stack::new(Backend::MariaDb, GatewayShape::Roadmap).await;
    let broker = stack.config.url.expose().to_owned();
    let proxy = Proxy::start(&Proxy::target(&broker)).await;
    stack.set("queue.url", &proxy.url(&broker));
    stack.set("queue.confirm_timeout", "1s");
    stack.set("edge.allow_unsigned", "true");
    let (mut edge, base) = stack.edge("edge").await;
    for name in ["running", "queue", "spool"] {
        let check = wait_for_check(&base, name, "ok", StatusCode::OK).await;
        assert_eq!(check["role"], "edge", "{check}");
    }
    proxy.set(Mode::Refuse);
    proxy.cut();
    wait_for_check(&base, "queue", "failed", StatusCode::OK).await;
    let client = crate::support::http_client();
    let event = event("e-1", "Bk-1", 1, json!([]));
    let posted = client.post(format!("{base}/api/retell/webhook")).json(&event).send().await.unwrap();
    assert!(posted.status().is_success(), "{posted:?}");
    wait_for_check(&base, "spool", "degraded", StatusCode::OK).await;
    let (line, code) = healthcheck(&stack, &["--url", &base]);
    assert_eq!((line.starts_with("degraded: "), code), (true, Some(0)), "{line}");
    proxy.set(Mode::Pass);
    wait_for_check(&base, "spool", "ok", StatusCode::OK).await;
    assert_eq!(edge.stop().await, Some(0), "{}", edge.stderr());
}

#[cfg(feature = "crash-points")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipeline_stuck_on_one_batch_makes_the_process_not_live() {
    let mut stack = Stack::new(Backend::Sqlite, GatewayShape::Roadmap).await;
    stack.set("worker.health_listen", "127.0.0.1:0");
    // (1 s + 1 s + 2 * 1 s + 1 s) * 5
    for key in
        ["worker.hold", "database.acquire_timeout", "database.statement_timeout", "queue.confirm_timeout"]
    {
        stack.set(key, "1s");
    }
    let mut command = stack.command(&["serve", "all", "--listen", "127.0.0.1:0"]);
    command.env("HOSTMATCH_CRASH_AT", "received:1:hang");
    let mut both = stack.launch(command);
    let line = both.wait_for_log("the edge is listening").await;
    let (worker, edge) = (base_of(&mut both).await, format!("http://{}", line["address"].as_str().unwrap()));
    wait_for_readiness(&worker, StatusCode::OK, "").await;
    stack.publish(&[event("e-1", "Bk-1", 1, json!([]))]).await;
    both.wait_for_log("crashing here, as requested").await;
    assert_eq!(check(&worker, "live", "progress").await.0, StatusCode::OK, "the pipeline is not stuck yet");
    for base in [&worker, &edge] {
        let stuck = eventually("the pipeline is stuck", WAIT_TIMEOUT, async || {
            let (code, check) = check(base, "live", "progress").await;
            (code == StatusCode::SERVICE_UNAVAILABLE).then_some(check)
        })
        .await;
        assert_eq!(stuck["state"], "stuck", "{stuck}");
        assert!(stuck["reasons"][0].as_str().unwrap().contains("restart the process"), "{stuck}");
        let (line, code) = healthcheck(&stack, &["--live", "--url", base]);
        assert_eq!((line.starts_with("stuck: pipeline"), code), (true, Some(1)), "{line}");
    }
    both.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_healthcheck_finds_the_address_in_the_configuration() {
    let mut stack = Stack::new(Backend::Sqlite, GatewayShape::Roadmap).await;
    let (mut edge, base) = stack.edge("edge").await;
    let address = base.trim_start_matches("http://").to_owned();
    let port = address.rsplit_once(':').unwrap().1;
    for listen in [address.clone(), format!("0.0.0.0:{port}"), format!("localhost:{port}")] {
        stack.set("edge.listen", &listen);
        assert_eq!(healthcheck(&stack, &[]), ("ready".to_owned(), Some(0)), "{listen}");
    }
    // No worker responds, because it runs in another container; the check fails only if it includes the
    // worker explicitly.
    stack.set("worker.health_listen", "127.0.0.1:9");
    assert_eq!(healthcheck(&stack, &[]).1, Some(0));
    assert_eq!(healthcheck(&stack, &["edge"]).1, Some(0));
    assert_eq!(healthcheck(&stack, &["worker"]).1, Some(1));
    stack.set("worker.health_listen", "");
    let refused = stack.command(&["healthcheck", "worker"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("worker.health_listen"), "{}", stderr(&refused));
    // Another service responds at this address.
    let (line, code) = healthcheck(&stack, &["--url", &format!("{base}/nothing")]);
    assert_eq!((line.contains("no health route: 404"), code), (true, Some(1)), "{line}");
    let reported = stack.command(&["healthcheck", "--output", "json"]).output().unwrap();
    let reported = crate::support::program::json(&reported);
    assert_eq!(
        (&reported["well"], &reported["asked"][0]["status"]),
        (&json!(true), &json!("ready")),
        "{reported}"
    );
    assert_eq!(edge.stop().await, Some(0), "{}", edge.stderr());
    assert_eq!(healthcheck(&stack, &[]).1, Some(1));
}

/// A retry that the broker does not take holds up nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_cannot_publish_its_retries_is_not_ready() {
    let mut stack = Stack::new(Backend::MariaDb, GatewayShape::Roadmap).await;
    // Each new connection of the test creates what is missing, so both are opened first.
    let publisher = stack.queue.publisher();
    eventually("the test can publish", WAIT_TIMEOUT, async || publisher.is_ready().then_some(())).await;
    stack.queue.depth().await.unwrap();
    stack.set("queue.topology", "verify");
    stack.set("worker.pipelines", "1");
    stack.set("worker.health_listen", "127.0.0.1:0");
    let stream = Stream::new(20, Mix::Decidable);
    stream.insert_all(&stack.world).await;
    let mut worker = stack.worker().await;
    let base = base_of(&mut worker).await;
    wait_for_readiness(&base, StatusCode::OK, "").await;
    let connection = connect(stack.config.url.expose()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let wait_queue = format!("{}.bookings.retry.{}", stack.config.prefix, DELAYS[0].as_millis());
    channel.queue_delete(wait_queue.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
    stack.publish(&[event("e1", "nowhere", 1, host(7, "Nobody", ""))]).await;
    let waits = "retries and dead letters wait";
    wait_for_readiness(&base, StatusCode::SERVICE_UNAVAILABLE, waits).await;
    stack.publish(&stream.events).await;
    stack.wait_until_decided(stream.len()).await;
    wait_for_readiness(&base, StatusCode::SERVICE_UNAVAILABLE, waits).await;
    // A queue that is opened with `declare` creates what is missing.
    Queue::open(&stack.config).await.unwrap().depth().await.unwrap();
    wait_for_readiness(&base, StatusCode::OK, "").await;
    stack.wait_until_idle().await;
    assert_eq!(worker.stop().await, Some(0), "{}", worker.stderr());
}
