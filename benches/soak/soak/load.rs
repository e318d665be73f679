//! Creates the load: posts mixed bookings over HTTP without pause, as fast as the worker can decide them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::try_join_all;
use hostmatch::http::client::{Client, ClientError};
use hostmatch::runtime::shutdown::Shutdown;
use hostmatch::worker::Tally;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::Result;
use super::salon::{APPOINTMENTS, STAFF, address, reference};

/// The number of concurrent requests.
const POSTERS: u64 = 8;
/// The maximum number of accepted events that are not decided yet, so that no backlog is measured.
const MAX_UNDECIDED: u64 = 1_000;
const PAUSE: Duration = Duration::from_millis(5);
/// The pause after a response that asks the client to retry later.
const BUSY_PAUSE: Duration = Duration::from_millis(200);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// One in this many events is sent twice.
const REPEAT: u64 = 10;

/// Posts events, and counts how many are accepted.
pub(super) struct Load {
    url: String,
    run: String,
    tally: Tally,
    next: AtomicU64,
    posted: AtomicU64,
    accepted: AtomicU64,
    distinct: AtomicU64,
}

impl Load {
    /// Creates the load for the edge at this address; `tally` is that of its worker.
    pub(super) fn new(url: String, tally: Tally) -> Self {
        let run = format!("soak{}", Uuid::new_v4().simple());
        let zero = AtomicU64::default;
        Self { url, run, tally, next: zero(), posted: zero(), accepted: zero(), distinct: zero() }
    }

    /// Returns the prefix of the id of every event of this run.
    pub(super) fn run_id(&self) -> &str {
        &self.run
    }

    /// Returns the number of requests that were sent.
    pub(super) fn posted(&self) -> u64 {
        self.posted.load(Ordering::SeqCst)
    }

    /// Returns the number of requests with a successful response.
    pub(super) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::SeqCst)
    }

    /// Returns the number of distinct events among these requests.
    pub(super) fn distinct(&self) -> u64 {
        self.distinct.load(Ordering::SeqCst)
    }

    /// Posts until `stop` is cancelled.
    ///
    /// # Errors
    /// Fails if the edge cannot be reached, or refuses an event.
    pub(super) async fn run(&self, stop: &Shutdown) -> Result<()> {
        let failed = |error: ClientError| format!("posting to the soak's own edge failed: {error}");
        let client = Client::new(&self.url, REQUEST_TIMEOUT).map_err(failed)?;
        let posters = (0..POSTERS).map(|_| async {
            while !stop.is_cancelled() {
                if self.accepted().saturating_sub(self.tally.finished()) >= MAX_UNDECIDED {
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
                let n = self.next.fetch_add(1, Ordering::SeqCst);
                let event = self.event(n).to_string();
                for repeat in 0..=u64::from(n.is_multiple_of(REPEAT)) {
                    self.posted.fetch_add(1, Ordering::SeqCst);
                    let post = client.request(Method::POST, "/api/retell/webhook").body(event.clone());
                    let status = client.send(post).await.map_err(failed)?.status();
                    if status.is_success() {
                        self.accepted.fetch_add(1, Ordering::SeqCst);
                        self.distinct.fetch_add(1 - repeat, Ordering::SeqCst);
                    } else if status.is_client_error() && status.as_u16() != 429 {
                        return Err(format!("the soak's own edge refused an event with {status}").into());
                    } else {
                        tokio::time::sleep(BUSY_PAUSE).await;
                    }
                }
            }
            Ok(())
        });
        try_join_all(posters).await.map(drop)
    }

    /// Returns an event of each kind in turn.
    fn event(&self, n: u64) -> Value {
        let host = n % STAFF + 1;
        let mut event = json!({
            "event": "appointment.created",
            "event_id": format!("{}-{n}", self.run),
            "calcom_booking": {
                "uid": reference(n % APPOINTMENTS + 1),
                "hosts": [{ "id": 1_000 + host, "name": "S.", "email": address(host) }],
                "attendees": [{ "name": "Guest", "email": "guest@soak.example", "timeZone": "Europe/Berlin" }],
                "description": "x".repeat(usize::try_from(n % 7).unwrap_or_default() * 500),
            },
        });
        match n % 20 {
            1 => event["calcom_booking"]["hosts"] = json!([]),
            2 => event["calcom_booking"]["hosts"] = json!([{ "id": 9_000 + host, "name": "Nobody Known" }]),
            3 => event["event"] = json!("appointment.cancelled"),
            4 => event["calcom_booking"] = json!("not a booking"),
            5 => event["event"] = json!("appointment.updated"),
            _ => {}
        }
        event
    }
}
