//! Tests the edge's limits (size, time, concurrent requests), outages, stopping and health.

use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::site::*;

#[tokio::test]
async fn a_body_over_the_limit_is_refused_whether_announced_or_not() {
    let site = Site::open_with(|config| config.body_limit = 1000).await;
    let token = bearer(TOKEN);
    // Requests without a credential are refused before their body.
    let signature = "0".repeat(64);
    let auth = [("authorization", token.as_str()), ("x-cal-signature-256", &signature)];
    for path in [RETELL, CALCOM, EVENTS] {
        let response = site.post(path, &auth, vec![b' '; 1001]).await;
        assert_eq!(refusal_status(response).await, StatusCode::PAYLOAD_TOO_LARGE, "{path}");
        let mut stream = site.connect().await;
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: edge.example\r\nauthorization: {token}\r\n\
             x-cal-signature-256: {signature}\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n3e9\r\n{}\r\n0\r\n\r\n",
            " ".repeat(1001)
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    }
    let exact = format!("{:1000}", String::from_utf8(fixture("native-minimal")).unwrap());
    assert_eq!(send(&site, "application/json", exact).await.status(), StatusCode::ACCEPTED);
    assert_eq!(site.drain().await.len(), 1);
    site.close().await;
}

#[tokio::test]
async fn a_body_in_chunks_of_one_byte_arrives_complete() {
    let site = Site::open().await;
    let body = fixture("native-full");
    let mut stream = site.connect().await;
    let mut request = format!(
        "POST {EVENTS} HTTP/1.1\r\nhost: edge.example\r\nauthorization: {}\r\ntransfer-encoding: chunked\r\n\
         connection: close\r\n\r\n",
        bearer(TOKEN)
    )
    .into_bytes();
    for byte in &body {
        request.extend([b'1', b'\r', b'\n', *byte, b'\r', b'\n']);
    }
    request.extend(b"0\r\n\r\n");
    stream.write_all(&request).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
    assert_eq!(site.drain_one().await.body, body);
    site.close().await;
}

#[tokio::test]
async fn a_head_over_the_limit_is_refused_and_the_connection_closed() {
    let site = Site::open_with(|config| config.header_limit = 16 << 10).await;
    let long = format!("x-long: {}\r\n", "x".repeat(20 << 10));
    let many = "x-many: x\r\n".repeat(101);
    let fits = format!("x-long: {}\r\n", "x".repeat(12 << 10));
    for (fields, status) in [(long, "431"), (many, "431"), (fits, "200")] {
        let mut stream = site.connect().await;
        let head =
            format!("GET /health/live HTTP/1.1\r\nhost: edge.example\r\n{fields}connection: close\r\n\r\n");
        // The request may be refused before all of it is sent.
        let _ = stream.write_all(head.as_bytes()).await;
        let mut answer = vec![0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(String::from_utf8(answer).unwrap(), format!("HTTP/1.1 {status}"));
    }
    site.close().await;
}

/// Sends the head of a request, without the body that it announces.
async fn send_head(site: &Site, body: &[u8]) -> TcpStream {
    let mut stream = site.connect().await;
    let head = format!(
        "POST {EVENTS} HTTP/1.1\r\nhost: edge.example\r\nauthorization: {}\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n",
        bearer(TOKEN),
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn requests_over_the_concurrency_limit_get_429() {
    let site = Site::open_with(|config| config.max_in_flight = 1).await;
    let body = fixture("native-minimal");
    let mut slow = send_head(&site, &body).await;
    let deadline = Instant::now() + Duration::from_secs(10);
    let busy = loop {
        let response = send(&site, "application/json", body.clone()).await;
        if response.status() == StatusCode::TOO_MANY_REQUESTS {
            break response;
        }
        assert!(Instant::now() < deadline, "the first request should be in progress");
    };
    assert_eq!(busy.headers()["retry-after"], "1");
    assert_eq!(refusal_status(busy).await, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(site.get("/health/live").await.status(), StatusCode::OK, "health is always answered");
    slow.write_all(&body).await.unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
    assert_eq!(
        send(&site, "application/json", body).await.status(),
        StatusCode::ACCEPTED,
        "a permit is free again"
    );
    site.close().await;
}

#[tokio::test]
async fn a_body_that_does_not_arrive_times_out() {
    let site = Site::open_with(|config| config.request_timeout = Duration::from_millis(200)).await;
    let mut slow = send_head(&site, b"{}").await;
    let mut answer = String::new();
    slow.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    site.close().await;
}

/// Tests a connection that sends nothing, half a head, a head byte by byte, a whole request and then nothing, half
/// of an HTTP/2 preface, and a whole one.
#[tokio::test]
async fn a_silent_connection_is_closed() {
    let site = Site::open_with(|config| {
        config.request_timeout = Duration::from_millis(200);
        config.idle_timeout = Duration::from_millis(500);
    })
    .await;
    const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let whole = b"GET /health/live HTTP/1.1\r\nhost: edge.example\r\n\r\n";
    for sent in [&b""[..], b"GET /heal", whole, &HTTP2_PREFACE[..5], HTTP2_PREFACE] {
        let mut stream = site.connect().await;
        stream.write_all(sent).await.unwrap();
        assert_closes(&mut stream, sent).await;
    }
    let mut stream = site.connect().await;
    let slow_head = async {
        for byte in b"GET /health/live HTTP/1.1\r\nx-endless: ".iter().chain(std::iter::repeat(&b'x')) {
            if stream.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), slow_head)
        .await
        .expect("the connection with the slow head was not closed");
    // HTTP/2 is disabled: pings alone could keep such a connection open.
    let mut stream = site.connect().await;
    let pings = async {
        let mut frame = HTTP2_PREFACE;
        while stream.write_all(frame).await.is_ok() {
            frame = b"\0\0\x08\x06\0\0\0\0\0\0\0\0\0\0\0\0\0";
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), pings).await.expect("pings kept the connection open");
    // A client that pauses for less than the idle timeout can send further requests.
    let mut stream = site.connect().await;
    for _ in 0..8 {
        stream.write_all(whole).await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
        tokio::time::sleep(Duration::from_millis(100)).await;
        while stream.try_read(&mut [0; 1024]).is_ok() {}
    }
    site.close().await;
}

async fn assert_closes(stream: &mut TcpStream, sent: &[u8]) {
    let mut answer = Vec::new();
    let end = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await;
    assert!(end.is_ok(), "still open after {:?}", String::from_utf8_lossy(sent));
}

#[tokio::test]
async fn a_request_in_progress_is_answered_before_the_edge_stops() {
    let site = Site::open_with(|config| config.max_in_flight = 1).await;
    let body = fixture("native-minimal");
    let mut slow = send_head(&site, &body).await;
    let deadline = Instant::now() + Duration::from_secs(10);
    while send(&site, "application/json", body.clone()).await.status() != StatusCode::TOO_MANY_REQUESTS {
        assert!(Instant::now() < deadline, "the first request should be in progress");
    }
    site.drain().await;
    site.shutdown.cancel();
    while site.client.get(format!("{}/health/live", site.base)).send().await.is_ok() {
        assert!(Instant::now() < deadline, "no new connection should be accepted");
    }
    slow.write_all(&body).await.unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
    site.drain_one().await;
    site.close().await;
}

#[tokio::test]
async fn without_a_broker_or_spool_every_event_is_refused() {
    // This port was free a moment ago, and nothing listens on it.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("amqp://guest:s3cret@127.0.0.1:{port}");
    let site = Site::with_queue_url(tempfile::tempdir().unwrap(), &url, |_| {}).await;
    let response = send(&site, "application/json", fixture("native-minimal")).await;
    assert_eq!(response.headers()["retry-after"], "5");
    let (status, document) = problem(response).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(!document.to_string().contains("s3cret"));
    let ready = site.get("/health/ready").await;
    assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE);
    let ready: Value = ready.json().await.unwrap();
    assert_eq!(ready["status"], "not_ready");
    assert!(ready["reasons"][0].is_string());
    assert_eq!(site.get("/health/live").await.status(), StatusCode::OK);
    site.close().await;
}

#[tokio::test]
async fn health_and_unknown_routes_are_answered() {
    let site = Site::open().await;
    let ready = site.get("/health/ready").await;
    assert_eq!(ready.status(), StatusCode::OK);
    let ready: Value = ready.json().await.unwrap();
    assert_eq!((&ready["status"], ready.get("reasons"), ready.get("spool")), (&json!("ready"), None, None));
    let checks = ready["checks"].as_array().unwrap();
    assert!(!checks.is_empty() && checks.iter().all(|check| check["state"] == "ok"), "{ready}");
    assert_eq!(refusal_status(site.get("/nothing/here").await).await, StatusCode::NOT_FOUND);
    let response = site.get(EVENTS).await;
    assert_eq!(response.headers()["allow"], "POST");
    assert_eq!(refusal_status(response).await, StatusCode::METHOD_NOT_ALLOWED);
    site.close().await;
}
