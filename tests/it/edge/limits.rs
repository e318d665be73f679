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
    let auth = [("authorization", token.as_str())];
    for path in [RETELL, CALCOM, EVENTS] {
        let response = site.post(path, &auth, vec![b' '; 1001]).await;
        assert_eq!(refused(response).await, StatusCode::PAYLOAD_TOO_LARGE, "{path}");
        let mut stream = site.connect().await;
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: edge.example\r\nauthorization: {token}\r\ntransfer-encoding: chunked\r\n\
             connection: close\r\n\r\n3e9\r\n{}\r\n0\r\n\r\n",
            " ".repeat(1001)
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    }
    let just = format!("{:1000}", String::from_utf8(fixture("native-minimal")).unwrap());
    assert_eq!(send(&site, "application/json", just).await.status(), StatusCode::ACCEPTED);
    assert_eq!(site.take().await.len(), 1);
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

/// Sends a request that announces its body without sending it.
async fn half_a_request(site: &Site, body: &[u8]) -> TcpStream {
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
    let mut slow = half_a_request(&site, &body).await;
    let deadline = Instant::now() + Duration::from_secs(10);
    let busy = loop {
        let response = send(&site, "application/json", body.clone()).await;
        if response.status() == StatusCode::TOO_MANY_REQUESTS {
            break response;
        }
        assert!(Instant::now() < deadline, "the first request should be in progress");
    };
    assert_eq!(busy.headers()["retry-after"], "1");
    assert_eq!(refused(busy).await, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(site.get("/health/live").await.status(), StatusCode::OK, "health is always answered");
    slow.write_all(&body).await.unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
    assert_eq!(
        send(&site, "application/json", body).await.status(),
        StatusCode::ACCEPTED,
        "there is room again"
    );
    site.close().await;
}

#[tokio::test]
async fn a_body_that_does_not_arrive_times_out() {
    let site = Site::open_with(|config| config.request_timeout = Duration::from_millis(200)).await;
    let mut slow = half_a_request(&site, b"{}").await;
    let mut answer = String::new();
    slow.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    site.close().await;
}

/// Tests whatever a client may begin: nothing at all, half a head, a head that arrives byte by byte, a
/// connection that stays open after its request, half of an HTTP/2 preface, and a whole one.
#[tokio::test]
async fn a_silent_connection_is_closed() {
    let site = Site::open_with(|config| {
        config.request_timeout = Duration::from_millis(200);
        config.idle_timeout = Duration::from_millis(500);
    })
    .await;
    const GREETING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let whole = b"GET /health/live HTTP/1.1\r\nhost: edge.example\r\n\r\n";
    for said in [&b""[..], b"GET /heal", whole, &GREETING[..5], GREETING] {
        let mut stream = site.connect().await;
        stream.write_all(said).await.unwrap();
        ends(&mut stream, said).await;
    }
    let mut stream = site.connect().await;
    let drops = async {
        for drop in b"GET /health/live HTTP/1.1\r\nx-endless: ".iter().chain(std::iter::repeat(&b'x')) {
            if stream.write_all(&[*drop]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), drops)
        .await
        .expect("the connection with the slow head was not closed");
    // HTTP/2 is disabled: pings alone could keep such a connection open.
    let mut stream = site.connect().await;
    let pings = async {
        let mut said = GREETING;
        while stream.write_all(said).await.is_ok() {
            said = b"\0\0\x08\x06\0\0\0\0\0\0\0\0\0\0\0\0\0";
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), pings).await.expect("pings kept the connection open");
    // A client that sends something in time can send further requests.
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

async fn ends(stream: &mut TcpStream, said: &[u8]) {
    let mut answer = Vec::new();
    let end = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await;
    assert!(end.is_ok(), "still open after {:?}", String::from_utf8_lossy(said));
}

#[tokio::test]
async fn a_request_in_progress_is_answered_before_the_edge_stops() {
    let site = Site::open_with(|config| config.max_in_flight = 1).await;
    let body = fixture("native-minimal");
    let mut slow = half_a_request(&site, &body).await;
    let deadline = Instant::now() + Duration::from_secs(10);
    while send(&site, "application/json", body.clone()).await.status() != StatusCode::TOO_MANY_REQUESTS {
        assert!(Instant::now() < deadline, "the first request should be in progress");
    }
    site.take().await;
    site.shutdown.cancel();
    while site.client.get(format!("{}/health/live", site.base)).send().await.is_ok() {
        assert!(Instant::now() < deadline, "no new connection should be accepted");
    }
    slow.write_all(&body).await.unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
    site.take_one().await;
    site.close().await;
}

#[tokio::test]
async fn without_a_broker_or_spool_every_event_is_refused() {
    // This port was free a moment ago, and nothing listens on it.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("amqp://guest:s3cret@127.0.0.1:{port}");
    let site = Site::on(tempfile::tempdir().unwrap(), &url, |_| {}).await;
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
    assert_eq!(refused(site.get("/nothing/here").await).await, StatusCode::NOT_FOUND);
    let response = site.get(EVENTS).await;
    assert_eq!(response.headers()["allow"], "POST");
    assert_eq!(refused(response).await, StatusCode::METHOD_NOT_ALLOWED);
    site.close().await;
}
