//! Tests that the memory of an edge is bounded, whatever is posted to it and while its queue stalls.

use std::time::{Duration, Instant};

use reqwest::StatusCode;
use sea_orm::ConnectionTrait as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::bounds::{MIB, peak_memory};
use crate::support::{Backend, GatewayShape, Ledger, Mix, Process, Stack, Stream, eventually};

const TOKEN: &str = "tok_batches";

/// The documented maximum in MiB (`docs/delivery.md`, "Memory"), with at most 36 bodies of 1 MiB in progress.
const DOCUMENTED: usize = 36 + 48 + 200;

/// How long the edge may take to answer while it decodes large bodies.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// An edge on the embedded queue.
struct Edge {
    stack: Stack,
    process: Process,
    base: String,
    client: reqwest::Client,
    /// The memory that it had used before the first request, in bytes.
    idle: usize,
}

impl Edge {
    async fn open() -> Self {
        let mut stack = Stack::new(Backend::Sqlite, GatewayShape::Roadmap).await;
        let tokens = stack.home().join("tokens");
        std::fs::write(&tokens, format!("{}  batches\n", hex::encode(Sha256::digest(TOKEN)))).unwrap();
        stack.set("edge.tokens_file", tokens.to_str().unwrap());
        stack.set("edge.calcom_secrets", "whsec_batches");
        // A busy machine needs a minute for two million chunks.
        stack.set("edge.request_timeout", "4m");
        stack.set("edge.idle_timeout", "5m");
        stack.set("edge.body_min_rate", "0");
        let (process, base) = stack.edge("edge").await;
        let idle = peak_memory(&process);
        Self { stack, process, base, client: crate::support::http_client(), idle }
    }

    /// Posts a body of events. They are sent when the result is awaited.
    fn post(&self, body: String) -> impl Future<Output = reqwest::Result<reqwest::Response>> + use<> {
        let request = self
            .client
            .post(format!("{}/v1/events", self.base))
            .header("content-type", "application/x-ndjson");
        request.header("authorization", format!("Bearer {TOKEN}")).body(body).send()
    }

    /// Returns how much more memory it has used than before the first request, in MiB.
    fn above_idle(&self) -> usize {
        (peak_memory(&self.process) - self.idle).div_ceil(MIB)
    }

    async fn close(mut self, mut ledger: Ledger) {
        ledger.assert_at_most("peak memory", peak_memory(&self.process).div_ceil(MIB), DOCUMENTED, " MiB");
        assert_eq!(self.process.stop().await, Some(0), "{}", self.process.stderr());
        ledger.close(&self.stack).await;
    }
}

/// Posts a webhook with a wrong signature in chunks of one byte; returns the status line of the response.
async fn post_byte_by_byte(address: String, bytes: usize) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /webhooks/calcom HTTP/1.1\r\nhost: edge.example\r\nx-cal-signature-256: {}\r\n\
         transfer-encoding: chunked\r\nconnection: close\r\n\r\n",
        "0".repeat(64)
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let part = b"1\r\nx\r\n".repeat(1000);
    for _ in 0..bytes / 1000 {
        stream.write_all(&part).await.unwrap();
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.lines().next().unwrap_or_default().to_owned()
}

/// Returns a body of nearly 1 MiB with this many events as lines, and the events.
fn lines(request: usize, count: usize) -> (String, Vec<Value>) {
    let padding = "x".repeat((MIB - 16_384) / count - 130);
    let event = |n| {
        json!({ "event": "appointment.cancelled", "event_id": format!("m{request}-{n}"), "notes": padding,
                "calcom_booking": { "uid": format!("m{request}-{n}") } })
    };
    let events: Vec<Value> = (0..count).map(event).collect();
    (events.iter().map(|event| format!("{event}\n")).collect(), events)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_of_one_byte_take_no_more_than_twice_the_memory_of_their_body() {
    let edge = Edge::open().await;
    let mut ledger =
        Ledger::open("webhooks without a valid signature, in chunks of one byte", &edge.stack).await;
    let (connections, bytes) = (8, 250_000);
    let address = edge.base.trim_start_matches("http://");
    let posting: JoinSet<_> =
        (0..connections).map(|_| post_byte_by_byte(address.to_owned(), bytes)).collect();
    let answers = posting.join_all().await;
    assert!(answers.iter().all(|answer| answer.starts_with("HTTP/1.1 401 ")), "{answers:?}");
    let bound = (2 * connections * bytes).div_ceil(MIB) + 8;
    ledger.assert_at_most(
        &format!("memory above idle, {connections} bodies"),
        edge.above_idle(),
        bound,
        " MiB",
    );
    edge.close(ledger).await;
}

/// Here 17 bodies of 1 MiB are in progress, with 16,000 messages of 3 KiB each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_takes_no_more_memory_than_documented_while_its_queue_stalls() {
    let edge = Edge::open().await;
    let stream = Stream::new(40, Mix::Decidable);
    stream.insert_all(&edge.stack.world).await;
    let mut ledger = Ledger::open("large requests while the queue stalls", &edge.stack).await;

    let began = Instant::now();
    for body in ["1\n".repeat(MIB / 2), lines(0, 4_000).0] {
        assert_eq!(edge.post(body).await.unwrap().status(), StatusCode::PAYLOAD_TOO_LARGE);
    }
    ledger.assert_within("until too many events are refused", began.elapsed(), ANSWER_TIMEOUT);

    // The queue stalls: another process holds its lock.
    let file = sea_orm::Database::connect(edge.stack.config.url.expose()).await.unwrap();
    file.execute_unprepared("BEGIN IMMEDIATE").await.unwrap();
    let mut requests = JoinSet::new();
    for number in 1..=30 {
        let (body, events) = lines(number, 1_000);
        let sent = edge.post(body);
        requests.spawn(async move { (sent.await.unwrap().status(), events) });
    }
    let mut results = Vec::new();
    eventually("the requests over the limit are refused", Duration::from_secs(50), async || {
        while let Some(result) = requests.try_join_next() {
            results.push(result.unwrap());
        }
        (results.len() >= 14).then_some(())
    })
    .await;
    // A single event is not refused.
    let (single, event) = (edge.post(stream.events[0].to_string()), stream.events[0].clone());
    requests.spawn(async move { (single.await.unwrap().status(), vec![event]) });
    ledger.assert_at_most("memory above idle", edge.above_idle(), 80, " MiB");
    file.execute_unprepared("COMMIT").await.unwrap();
    results.extend(requests.join_all().await);
    for (status, events) in &results {
        let expected = [StatusCode::ACCEPTED, StatusCode::TOO_MANY_REQUESTS];
        assert!(expected.contains(status), "{status}");
        events.iter().for_each(|event| ledger.record_sent(event, *status == StatusCode::ACCEPTED));
    }
    let accepted = results.iter().filter(|(status, _)| *status == StatusCode::ACCEPTED).count();
    assert_eq!(accepted, 17, "16 with 1000 events, and one with one");
    file.close().await.unwrap();
    edge.close(ledger).await;
}

/// A value takes many times its size while its event is decoded.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_of_small_values_take_bounded_memory_and_do_not_hold_up_others() {
    let edge = Edge::open().await;
    let mut ledger = Ledger::open("36 bodies of as many values as possible", &edge.stack).await;
    let mut decoding = JoinSet::new();
    // The third number is over the limit.
    for (number, hosts) in [24_000, 24_000, (MIB - 4096) / 9].into_iter().cycle().take(36).enumerate() {
        let (id, hosts) = (format!("h{number}"), vec![r#"{"id":1}"#; hosts].join(","));
        let start = format!(
            r#"{{"event":"appointment.cancelled","event_id":"{id}","calcom_booking":{{"uid":"{id}","#
        );
        let sent = edge.post(format!(r#"{start}"hosts":[{hosts}]}}}}"#));
        decoding.spawn(async move { (sent.await.unwrap().status(), number, json!({ "event_id": id })) });
    }
    let (mut slowest, mut results) = (Duration::ZERO, Vec::new());
    while results.len() < 36 {
        let began = Instant::now();
        let live = edge.client.get(format!("{}/health/live", edge.base)).send().await.unwrap();
        assert_eq!(live.status(), StatusCode::OK);
        slowest = slowest.max(began.elapsed());
        while let Some(result) = decoding.try_join_next() {
            results.push(result.unwrap());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for (status, number, event) in results {
        let is_accepted = number % 3 != 2;
        let expected = if is_accepted { StatusCode::ACCEPTED } else { StatusCode::BAD_REQUEST };
        assert_eq!(status, expected, "{number}");
        ledger.record_sent(&event, is_accepted);
    }
    ledger.assert_within("slowest answer of its health meanwhile", slowest, ANSWER_TIMEOUT);
    ledger.assert_at_most("memory above idle", edge.above_idle(), 160, " MiB");
    edge.close(ledger).await;
}
