//! Floods of clients that do not read, or send their bodies slowly: signed webhooks are answered meanwhile,
//! because their senders would not send them again.

use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;
use sha2::Sha256;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::support::flood::send_without_reading;
use crate::support::{Backend, GatewayShape, Ledger, Mix, Process, Stack, Stream, is_full};

/// Every signed webhook has to be answered within this time.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a client waits before it connects again.
const PAUSE: Duration = Duration::from_secs(1);

const SECRET: &str = "gateway-secret";

/// Starts an edge that may open 256 files.
async fn edge_with_few_files(stack: &Stack) -> (Process, SocketAddr) {
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -n 256; exec \"$0\" \"$@\""]);
    let mut edge = stack.start_through(shell, &["serve", "edge", "--listen", "127.0.0.1:0"]);
    let line = edge.wait_for_log("the edge is listening").await;
    (edge, line["address"].as_str().unwrap().parse().unwrap())
}

/// Sends requests without reading, again and again.
async fn never_read(edge: SocketAddr) {
    loop {
        if let Ok(stream) = TcpStream::connect(edge).await {
            send_without_reading(&stream, "/openapi.json", Duration::MAX).await;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Sends webhooks with a forged signature, one byte of the body after the other.
async fn send_slowly(edge: SocketAddr) {
    let head = format!(
        "POST /webhooks/calcom HTTP/1.1\r\nhost: edge.example\r\ncontent-length: 1000\r\n\
         x-cal-signature-256: {}\r\n\r\n",
        "0".repeat(64)
    );
    loop {
        if let Ok(mut stream) = TcpStream::connect(edge).await {
            let mut sent = stream.write_all(head.as_bytes()).await;
            while sent.is_ok() {
                let answered = tokio::time::timeout(PAUSE / 2, stream.read_u8()).await.is_ok();
                sent = if answered {
                    Err(std::io::ErrorKind::ConnectionReset.into())
                } else {
                    stream.write_all(b" ").await
                };
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Posts these events one by one with the gateway's signature, each over a new connection. Checks that each
/// is answered with 200 in time.
async fn post_signed(ledger: &mut Ledger, edge: SocketAddr, events: &[Value]) {
    let client = crate::support::http_client();
    let (mut answered, mut slowest) = (0, Duration::ZERO);
    for event in events {
        let body = event.to_string();
        let mut signature = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
        signature.update(body.as_bytes());
        let request = client
            .post(format!("http://{edge}/api/retell/webhook"))
            .header("x-hostmatch-signature", hex::encode(signature.finalize().into_bytes()))
            .header("connection", "close")
            .timeout(ANSWER_TIMEOUT);
        let began = Instant::now();
        let response = request.body(body).send().await.unwrap_or_else(|error| {
            panic!("{answered} of {} answered, the next one not: {error:?}", events.len())
        });
        let status = response.status();
        assert_eq!(status, 200, "{answered} of {}: {}", events.len(), response.text().await.unwrap());
        ledger.record_sent(event, true);
        answered += 1;
        slowest = slowest.max(began.elapsed());
    }
    ledger.assert_all("signed webhooks answered with 200", answered, events.len());
    ledger.assert_within("slowest answer", slowest, ANSWER_TIMEOUT);
}

/// Runs a scenario: signed webhooks are posted to the edge while it serves `flood`, and all are decided.
async fn run(scenario: &str, flood: impl AsyncFn(SocketAddr) -> JoinSet<()>) {
    let mut stack = Stack::new(Backend::Sqlite, GatewayShape::Roadmap).await;
    stack.set("edge.gateway_secrets", SECRET);
    stack.set("edge.calcom_secrets", "whsec_nord");
    let stream = Stream::new(if is_full() { 3_000 } else { 200 }, Mix::Decidable);
    stream.insert_all(&stack.world).await;
    let mut ledger = Ledger::open(scenario, &stack).await;
    let (mut edge, address) = edge_with_few_files(&stack).await;
    let clients = flood(address).await;
    let events: Vec<Value> =
        stream.events.iter().filter(|event| event["event"].is_string()).cloned().collect();
    post_signed(&mut ledger, address, &events).await;
    drop(clients);
    assert_eq!(edge.stop().await, Some(0), "{}", edge.stderr());
    stack.drain().await;
    ledger.close(&stack).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signed_webhooks_are_answered_while_clients_never_read() {
    run("240 clients never read, at an edge with 256 files", async |edge| {
        let mut clients: JoinSet<()> = (0..240).map(|_| never_read(edge)).collect();
        let _ = tokio::time::timeout(PAUSE, clients.join_next()).await;
        clients
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signed_webhooks_are_answered_while_bodies_arrive_slowly() {
    run("520 bodies arrive slowly, at an edge with 256 files", async |edge| {
        let mut clients: JoinSet<()> = (0..520).map(|_| send_slowly(edge)).collect();
        let _ = tokio::time::timeout(PAUSE, clients.join_next()).await;
        clients
    })
    .await;
}
