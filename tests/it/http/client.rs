//! Tests the shared HTTP client: what it sends and accepts, and how it describes a failing server.

use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Redirect;
use axum::routing::get;
use hostmatch::http::client::{Client, ClientError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::support::broker::free_port;
use crate::support::program::{command, stderr, stdout};

const TIMEOUT: Duration = Duration::from_secs(30);
const LARGE: usize = 100_000;

/// Starts a server and returns its `host:port`.
async fn start_server() -> String {
    let whoami = async |headers: HeaderMap| {
        headers.get("authorization").map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
    };
    let routes = Router::new()
        .route("/whoami", get(whoami))
        .route("/moved", get(async || Redirect::temporary("/whoami")))
        .route("/large", get(async || "x".repeat(LARGE)))
        .route("/health/ready", get(async || r#"{"status":"ready"}"#));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move { axum::serve(listener, routes).await });
    address
}

/// Answers one request with these bytes and closes the connection. Returns the `host:port`.
async fn serve_one_response(bytes: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let mut stream = listener.accept().await.unwrap().0;
        let _ = stream.read(&mut [0; 4096]).await.unwrap();
        stream.write_all(bytes).await.unwrap();
    });
    address
}

#[tokio::test]
async fn a_login_in_the_url_takes_precedence() {
    let address = start_server().await;
    let plain = Client::new(&format!("http://{address}/"), TIMEOUT).unwrap();
    let own = Client::new(&format!("http://monitor:p%40ss@{address}"), TIMEOUT).unwrap();
    for (client, expected) in [
        (plain.clone(), ""),
        (plain.with_login("guest", "a:b%41@/ü"), "Basic Z3Vlc3Q6YTpiJTQxQC/DvA=="),
        (own.clone(), "Basic bW9uaXRvcjpwQHNz"),
        (own.with_login("guest", "guest"), "Basic bW9uaXRvcjpwQHNz"),
    ] {
        assert_eq!(client.base(), format!("http://{address}"));
        assert_eq!(client.get("/whoami").await.unwrap().body(), expected);
    }
}

#[tokio::test]
async fn any_status_is_a_response_and_no_redirect_is_followed() {
    let client = Client::new(&format!("http://{}", start_server().await), TIMEOUT).unwrap();
    let moved = client.get("/moved").await.unwrap();
    assert_eq!(
        (moved.status(), &moved.headers()["location"]),
        (StatusCode::TEMPORARY_REDIRECT, &"/whoami".parse().unwrap())
    );
    assert_eq!(client.get("/nothing").await.unwrap().status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn failures_are_distinguished_and_contain_no_secret() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (closed_port, silent_address) =
        (format!("127.0.0.1:{}", free_port()), silent.local_addr().unwrap().to_string());
    let truncated = serve_one_response(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf").await;
    let not_http = serve_one_response(b"SSH-2.0-OpenSSH\r\n").await;
    for (address, timeout, expected) in [
        (closed_port, TIMEOUT, "ConnectFailed: Connection refused"),
        (silent_address, Duration::from_secs(1), "Timeout: did not answer within 1 s"),
        (truncated, TIMEOUT, "Broken: the response ended early"),
        (not_http, TIMEOUT, "Broken: invalid HTTP version parsed"),
        (start_server().await, TIMEOUT, "Broken: the response is larger than 99999 bytes"),
    ] {
        let client = Client::new(&format!("http://monitor:s3cret@{address}"), timeout).unwrap();
        let client = client.with_max_response(LARGE - 1);
        let error = client.get("/large?email=mara.lind@salon.example").await.unwrap_err();
        let (kind, expected) = expected.split_once(": ").unwrap();
        let text = error.to_string();
        assert!(format!("{error:?}").starts_with(kind) && text.contains(expected), "{error:?}");
        assert!(text.starts_with(&format!("http://{address}")), "{text}");
        assert!(!text.contains("s3cret") && !text.contains("mara"), "{text}");
    }
    let whole =
        Client::new(&format!("http://{}", start_server().await), TIMEOUT).unwrap().with_max_response(LARGE);
    assert_eq!(whole.get("/large").await.unwrap().body().len(), LARGE);
    assert!(matches!(Client::new("nothing", TIMEOUT), Err(ClientError::Unusable(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proxies_in_the_environment_are_ignored() {
    let (url, unused_proxy) =
        (format!("http://{}", start_server().await), format!("http://127.0.0.1:{}", free_port()));
    let mut healthcheck = command(&["healthcheck", "--url", &url]);
    for variable in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
        healthcheck.env(variable, &unused_proxy);
    }
    let output = healthcheck.env_remove("NO_PROXY").env_remove("no_proxy").output().unwrap();
    assert_eq!((output.status.code(), stdout(&output).trim()), (Some(0), "ready"), "{}", stderr(&output));
}

/// Reading the system's certificates takes longer than most requests.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_read_only_if_needed() {
    let address = start_server().await;
    let healthcheck = |scheme: &str| {
        let mut healthcheck = command(&["healthcheck", "--url", &format!("{scheme}://{address}")]);
        healthcheck.env("SSL_CERT_FILE", "/nonexistent").env("SSL_CERT_DIR", "/nonexistent").output().unwrap()
    };
    let plain = healthcheck("http");
    assert_eq!((plain.status.code(), stdout(&plain).trim()), (Some(0), "ready"), "{}", stderr(&plain));
    let encrypted = healthcheck("https");
    assert_eq!(encrypted.status.code(), Some(1), "{}", stderr(&encrypted));
    assert!(stderr(&encrypted).contains("certificates cannot be read"), "{}", stderr(&encrypted));
}
