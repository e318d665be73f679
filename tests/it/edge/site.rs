//! An edge for tests, with its own port, queue and secrets.

use std::path::PathBuf;
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use hostmatch::config::{EdgeConfig, QueueConfig, Secret, Topology};
use hostmatch::edge::{self, EdgeError};
use hostmatch::queue::{BatchLimits, Disposition, Gathered, Message, Queue, Source};
use hostmatch::runtime::shutdown::Shutdown;
use reqwest::{Response, StatusCode};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

pub(super) const TOKEN: &str = "tok_nord_1";
pub(super) const GATEWAY_SECRET: &str = "gateway-secret";
pub(super) const CALCOM_SECRET: &str = "whsec_nord";
pub(super) const RETELL_KEY: &str = "key_nord";
pub(super) const RETELL: &str = "/api/retell/webhook";
pub(super) const CALCOM: &str = "/webhooks/calcom";
pub(super) const EVENTS: &str = "/v1/events";
pub(super) const LIMITS: BatchLimits = BatchLimits { size: 100, bytes: 1 << 20 };

/// An edge on its own port, with an embedded queue in its own directory.
pub(crate) struct Site {
    pub(super) base: String,
    pub(super) client: reqwest::Client,
    pub(super) queue: Queue,
    pub(super) shutdown: Shutdown,
    pub(super) server: JoinHandle<Result<(), EdgeError>>,
    pub(super) dir: TempDir,
}

impl Site {
    pub(crate) async fn open() -> Self {
        Self::open_with(|_| {}).await
    }

    pub(super) async fn open_with(change: impl FnOnce(&mut EdgeConfig)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/queue.db", dir.path().display());
        Self::with_queue_url(dir, &url, change).await
    }

    pub(super) async fn with_queue_url(
        dir: TempDir,
        queue_url: &str,
        change: impl FnOnce(&mut EdgeConfig),
    ) -> Self {
        Self::with_queue(dir, &queue_config(queue_url), change).await
    }

    pub(super) async fn with_queue(
        dir: TempDir,
        queue: &QueueConfig,
        change: impl FnOnce(&mut EdgeConfig),
    ) -> Self {
        let tokens_file = dir.path().join("tokens");
        std::fs::write(&tokens_file, token_line(TOKEN)).unwrap();
        let mut config = edge_config(tokens_file);
        change(&mut config);
        let queue = Queue::open(queue).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (shutdown, publisher) = (Shutdown::new(), queue.publisher());
        let stop = shutdown.clone();
        let server = tokio::spawn(async move { edge::serve(&config, publisher, listener, None, stop).await });
        let client = crate::support::http_client();
        Self { base, client, queue, shutdown, server, dir }
    }

    pub(super) async fn post(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> Response {
        let mut request = self.client.post(format!("{}{path}", self.base)).body(body.into());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.client.get(format!("{}{path}", self.base)).send().await.unwrap()
    }

    /// Removes all messages from the queue and returns them.
    pub(super) async fn drain(&self) -> Vec<Message> {
        let mut consumer = self.queue.consumer(Source::Bookings, LIMITS);
        let (never, idle) = (Shutdown::new(), Some(Duration::ZERO));
        let mut messages = Vec::new();
        while let Gathered::Batch(batch) = consumer.next_batch(&never, idle).await.unwrap() {
            messages.extend(batch.deliveries().iter().map(|delivery| delivery.message.clone()));
            let acks = vec![Disposition::Ack; batch.deliveries().len()];
            batch.settle(acks).await.unwrap();
        }
        messages
    }

    pub(super) async fn drain_one(&self) -> Message {
        let messages = self.drain().await;
        assert_eq!(messages.len(), 1, "one message in the queue");
        messages.into_iter().next().unwrap()
    }

    pub(super) async fn is_empty(&self) -> bool {
        self.queue.depth().await.unwrap().ready == 0
    }

    pub(super) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.base.trim_start_matches("http://")).await.unwrap()
    }

    pub(crate) async fn close(self) {
        self.shutdown.cancel();
        self.server.await.unwrap().unwrap();
        self.queue.close().await;
        self.dir.close().unwrap();
    }
}

pub(super) fn edge_config(tokens_file: PathBuf) -> EdgeConfig {
    EdgeConfig {
        listen: String::new(),
        body_limit: 64 * 1024,
        events_limit: 1000,
        header_limit: 16 * 1024,
        max_in_flight: 16,
        request_timeout: Duration::from_secs(10),
        idle_timeout: Duration::from_secs(60),
        write_timeout: Duration::from_secs(2),
        body_min_rate: 1024,
        max_connections: 1024,
        max_connections_per_address: 128,
        allow_unsigned: false,
        calcom_secrets: vec![Secret::new("whsec_old"), Secret::new(CALCOM_SECRET)],
        calcom_secrets_file: PathBuf::new(),
        retell_api_keys: vec![Secret::new(RETELL_KEY)],
        retell_api_keys_file: PathBuf::new(),
        retell_tolerance: Duration::from_secs(300),
        gateway_secrets: vec![Secret::new(GATEWAY_SECRET)],
        gateway_secrets_file: PathBuf::new(),
        tokens_file,
        token_rate: 0,
        spool: PathBuf::new(),
        spool_max_bytes: 1 << 20,
        spool_max_age: Duration::from_secs(3600),
    }
}

pub(super) fn queue_config(url: &str) -> QueueConfig {
    QueueConfig {
        url: Secret::new(url),
        url_file: PathBuf::new(),
        prefix: "edge-test".to_owned(),
        topology: Topology::Declare,
        prefetch: 100,
        delivery_limit: 50,
        retry_delays: vec![Duration::from_secs(1)],
        confirm_timeout: Duration::from_millis(500),
        connect_timeout: Duration::from_secs(1),
        management_url: Secret::default(),
        management_url_file: PathBuf::new(),
        header_key: Vec::new(),
        header_key_file: PathBuf::new(),
    }
}

pub(super) fn token_line(token: &str) -> String {
    format!("# tokens\n{}  gateway\n", hex::encode(Sha256::digest(token)))
}

pub(super) fn fixture(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/fixtures/events/{name}.json", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(path).unwrap()
}

pub(super) fn hmac(key: &str, parts: &[&[u8]]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap();
    parts.iter().for_each(|part| mac.update(part));
    hex::encode(mac.finalize().into_bytes())
}

pub(super) fn now_ms() -> i64 {
    i64::try_from(time::OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000).unwrap()
}

pub(super) fn retell_signature(body: &[u8], at_ms: i64) -> String {
    let at = at_ms.to_string();
    format!("v={at},d={}", hmac(RETELL_KEY, &[body, at.as_bytes()]))
}

pub(super) fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// Returns the status of a refusal and its problem document. Checks that the document has the same status, and
/// that the contract lists its type.
pub(super) async fn problem(response: Response) -> (StatusCode, Value) {
    let status = response.status();
    assert_eq!(response.headers()["content-type"], "application/problem+json", "{status}");
    let document: Value = response.json().await.unwrap();
    assert_eq!(document["status"], status.as_u16());
    let kinds = hostmatch::contract::problem::ALL;
    let known = kinds.iter().any(|kind| document["type"] == kind.urn() && document["status"] == kind.status);
    assert!(known, "not in the contract: {document}");
    for member in ["type", "title", "detail"] {
        assert!(document[member].as_str().is_some_and(|text| !text.is_empty()), "{member}: {document}");
    }
    (status, document)
}

pub(super) async fn refusal_status(response: Response) -> StatusCode {
    problem(response).await.0
}

pub(super) async fn json_body(response: Response) -> Value {
    assert_eq!(response.status(), StatusCode::OK);
    response.json().await.unwrap()
}

/// Posts to `/v1/events` with a valid token.
pub(super) async fn send(site: &Site, content_type: &str, body: impl Into<Vec<u8>>) -> Response {
    site.post(EVENTS, &[("authorization", &bearer(TOKEN)), ("content-type", content_type)], body).await
}
