//! Tests clients that do not read, send their body slowly, or have no credential: they must not keep others
//! from being answered.

use std::time::Duration;

use reqwest::StatusCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::site::*;
use crate::support::flood::assert_disconnects;

const WAIT_TIMEOUT: Duration = Duration::from_secs(30);

/// Sends the head of a request whose body does not follow, with these header fields.
async fn send_head(site: &Site, path: &str, fields: &str) -> TcpStream {
    let mut stream = site.connect().await;
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: edge.example\r\ncontent-length: 1000\r\n{fields}connection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

/// Returns the status line of the response.
async fn status_line(stream: &mut TcpStream) -> String {
    let mut answer = [0; 12];
    let read = tokio::time::timeout(WAIT_TIMEOUT, stream.read_exact(&mut answer)).await;
    read.expect("the request is answered in time").unwrap();
    String::from_utf8(answer.to_vec()).unwrap()
}

/// A signature of the right form, for a body that nobody has signed.
fn forged() -> String {
    format!("x-cal-signature-256: {}\r\n", "0".repeat(64))
}

async fn post_signed(site: &Site) -> StatusCode {
    let body = fixture("calcom-created");
    let signature = hmac(CALCOM_SECRET, &[&body]);
    site.post(CALCOM, &[("x-cal-signature-256", &signature)], body).await.status()
}

#[tokio::test]
async fn a_client_that_never_reads_is_disconnected() {
    let site = Site::open().await;
    assert_disconnects(site.connect().await, "/openapi.json", WAIT_TIMEOUT).await;
    site.close().await;
}

#[tokio::test]
async fn a_request_without_a_credential_is_refused_before_its_body() {
    let site = Site::open_with(|config| {
        config.request_timeout = Duration::from_secs(50);
        config.retell_api_keys.clear();
    })
    .await;
    let no_keys = "x-retell-signature: v=1,d=00\r\n";
    let no_secret = "x-cal-signature-256: no-secret-provided\r\n";
    for (path, fields) in [(CALCOM, ""), (CALCOM, no_secret), (RETELL, ""), (RETELL, no_keys), (EVENTS, "")] {
        let mut stream = send_head(&site, path, fields).await;
        assert_eq!(status_line(&mut stream).await, "HTTP/1.1 401", "{path} {fields}");
    }
    site.close().await;
}

#[tokio::test]
async fn a_request_without_a_credential_is_read_if_events_need_none() {
    let site = Site::open_with(|config| config.allow_unsigned = true).await;
    for path in [RETELL, EVENTS] {
        let response = site.post(path, &[], fixture("native-minimal")).await;
        assert!(response.status().is_success(), "{path}");
    }
    site.close().await;
}

#[tokio::test]
async fn a_body_that_trickles_is_refused() {
    let site = Site::open_with(|config| {
        config.request_timeout = Duration::from_secs(55);
    })
    .await;
    let token = format!("authorization: {}\r\n", bearer(TOKEN));
    let send = async |path, fields: String| {
        let (mut answers, mut body) = send_head(&site, path, &fields).await.into_split();
        let trickle = async {
            while body.write_all(b" ").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            std::future::pending().await
        };
        let mut answer = [0; 12];
        tokio::select! {
            read = tokio::time::timeout(WAIT_TIMEOUT, answers.read_exact(&mut answer)) => {
                read.expect("the slow body is refused in time").unwrap();
            }
            () = trickle => {}
        }
        assert_eq!(&answer, b"HTTP/1.1 408", "{path}");
    };
    tokio::join!(send(CALCOM, forged()), send(EVENTS, token));
    site.close().await;
}

#[tokio::test]
async fn unproven_requests_give_their_place_to_newer_ones() {
    let site = Site::open_with(|config| {
        config.max_in_flight = 2;
        config.body_min_rate = 0;
        config.request_timeout = Duration::from_secs(50);
    })
    .await;
    let mut slow = Vec::new();
    for _ in 0..5 {
        slow.push(send_head(&site, CALCOM, &forged()).await);
        assert_eq!(post_signed(&site).await, StatusCode::OK);
    }
    for stream in &mut slow[..3] {
        assert_eq!(status_line(stream).await, "HTTP/1.1 408", "the oldest give way first");
    }
    // The edge would wait for the others.
    drop(slow);
    site.close().await;
}

#[tokio::test]
async fn a_request_with_a_token_keeps_its_place() {
    let site = Site::open_with(|config| config.max_in_flight = 1).await;
    let token = format!("authorization: {}\r\n", bearer(TOKEN));
    let mut slow = send_head(&site, EVENTS, &token).await;
    crate::support::eventually("the request is in progress", WAIT_TIMEOUT, async || {
        (post_signed(&site).await == StatusCode::TOO_MANY_REQUESTS).then_some(())
    })
    .await;
    let event = String::from_utf8(fixture("native-minimal")).unwrap();
    slow.write_all(format!("{event:1000}").as_bytes()).await.unwrap();
    assert_eq!(status_line(&mut slow).await, "HTTP/1.1 202");
    site.close().await;
}
