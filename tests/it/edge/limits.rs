//! What there is a limit to: size, time, requests at once; outages, stopping, health.

use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::site::*;

#[tokio::test]
async fn a_body_over_the_limit_is_refused_whether_announced_or_not() {
    let site = Site::with(|config| config.body_limit = 1000).await;
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

/// A request whose body is announced and not sent yet.
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
async fn more_requests_at_once_than_configured_are_told_to_wait() {
    let site = Site::with(|config| config.max_in_flight = 1).await;
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
async fn a_body_that_does_not_come_is_given_up() {
    let site = Site::with(|config| config.request_timeout = Duration::from_millis(200)).await;
    let mut slow = half_a_request(&site, b"{}").await;
    let mut answer = String::new();
    slow.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    site.close().await;
}

#[tokio::test]
async fn a_request_in_progress_is_answered_before_the_edge_stops() {
    let site = Site::with(|config| config.max_in_flight = 1).await;
    let body = fixture("native-minimal");
    let mut slow = half_a_request(&site, &body).await;
    let deadline = Instant::now() + Duration::from_secs(10);
    while send(&site, "application/json", body.clone()).await.status() != StatusCode::TOO_MANY_REQUESTS {
        assert!(Instant::now() < deadline, "the first request should be in progress");
    }
    site.take().await;
    site.shutdown.cancel();
    while site.client.get(format!("{}/health/live", site.base)).send().await.is_ok() {
        assert!(Instant::now() < deadline, "no new connection should be taken");
    }
    slow.write_all(&body).await.unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
    site.take_one().await;
    site.close().await;
}

#[tokio::test]
async fn while_the_broker_is_away_nothing_is_accepted_and_nothing_lost_silently() {
    // A port that was free a moment ago, and that nobody listens on.
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
async fn health_and_unknown_routes_have_their_answers() {
    let site = Site::open().await;
    let ready = site.get("/health/ready").await;
    assert_eq!(ready.status(), StatusCode::OK);
    assert_eq!(ready.json::<Value>().await.unwrap(), json!({"status": "ready"}));
    assert_eq!(refused(site.get("/nothing/here").await).await, StatusCode::NOT_FOUND);
    let response = site.get(EVENTS).await;
    assert_eq!(response.headers()["allow"], "POST");
    assert_eq!(refused(response).await, StatusCode::METHOD_NOT_ALLOWED);
    site.close().await;
}
