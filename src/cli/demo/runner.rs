//! Plays the demo: posts each booking by HTTP and waits until it is decided.

use std::io::Write as _;
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use indicatif::{ProgressBar, ProgressDrawTarget};
use reqwest::Method;
use serde_json::Value;
use sha2::Sha256;
use tokio::time::Instant;

use super::bookings::{CALCOM, Posting};
use super::settings::Secrets;
use super::{findings, salon};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::output;
use crate::http::client::{Client, ClientError};
use crate::store::Database;
use crate::worker::Tally;

/// The time limit for one booking on the slowest machine.
const DEADLINE: Duration = Duration::from_secs(30);
/// The interval between checks of a condition.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// The maximum number of characters shown of an unexpected response.
const MAX_SHOWN: usize = 200;

/// A booking that was posted and has been decided.
#[derive(Debug)]
pub(super) struct PostedBooking {
    pub(super) posting: Posting,
    pub(super) status: u16,
    /// The event's id from the response.
    pub(super) event_id: String,
    /// The number of retries before the event was decided.
    pub(super) retries: u64,
}

/// The progress of the demo: a bar on a terminal, plain lines elsewhere. Always on stderr.
struct Progress {
    bar: ProgressBar,
    /// Whether to write lines: there is no terminal, or log lines would break the bar.
    plain: bool,
}

impl Progress {
    /// Creates a progress display for `steps` steps. `plain`: always write lines.
    fn new(steps: usize, plain: bool) -> Self {
        let bar = output::progress(steps, "");
        let plain = plain || bar.is_hidden();
        if plain {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        Self { bar, plain }
    }

    /// Shows the current step.
    fn start_step(&self, what: String) {
        self.bar.set_message(what);
        self.bar.tick();
    }

    /// Counts one step as done.
    fn finish_step(&self, what: &str) {
        self.bar.inc(1);
        if self.plain {
            let (at, of) = (self.bar.position(), self.bar.length().unwrap_or_default());
            // A closed stderr is not a failure of the demo.
            let _unwritten = writeln!(std::io::stderr().lock(), "[{at:>2}/{of}] {what}");
        }
    }
}

/// Posts the bookings of the demo to its servers.
pub(super) struct DemoRunner<'a> {
    /// The edge's address, with `http://`.
    pub(super) url: &'a str,
    pub(super) secrets: &'a Secrets,
    pub(super) database: &'a Database,
    pub(super) tally: &'a Tally,
}

impl DemoRunner<'_> {
    /// Posts the bookings one after another, each after the previous one has been decided. `verbose`: log
    /// lines are written.
    ///
    /// # Errors
    /// Fails if the edge refuses a booking, or if a booking is not decided in time.
    pub(super) async fn post_all(
        &self,
        postings: Vec<Posting>,
        verbose: bool,
    ) -> Result<Vec<PostedBooking>, Failure> {
        let progress = Progress::new(postings.len(), verbose);
        let client = Client::new(self.url, DEADLINE).map_err(|error| post_failure(&error))?;
        let mut posted = Vec::new();
        for posting in postings {
            progress.start_step(format!("{} posted to {}", posting.booking, posting.route));
            let before = self.retries();
            let (status, event_id) = self.post(&client, &posting).await?;
            if posting.appointment_is_late {
                poll_until("the first attempt", async || Ok((self.retries() > before).then_some(()))).await?;
                progress.start_step(format!("{} waits for its appointment", posting.booking));
                salon::add_appointment(self.database, &posting.booking).await?;
            }
            let decision =
                poll_until("a decision", async || findings::outcome(self.database, &event_id).await);
            let outcome = decision.await?;
            progress.finish_step(&format!("{} became {outcome}", posting.booking));
            posted.push(PostedBooking { posting, status, event_id, retries: self.retries() - before });
        }
        progress.bar.finish_and_clear();
        // A dead letter counts as decided once it is recorded, so there is nothing left to wait for.
        Ok(posted)
    }

    fn retries(&self) -> u64 {
        self.tally.counts().get("retry").copied().unwrap_or_default()
    }

    /// Posts one event as its sender would. Returns the response's status and the event's id.
    async fn post(&self, client: &Client, posting: &Posting) -> Result<(u16, String), Failure> {
        let request = client.request(Method::POST, &posting.route).header("content-type", "application/json");
        let body = posting.body();
        let request = if posting.route == CALCOM {
            request.header("x-cal-signature-256", self.sign(&body)?)
        } else {
            request.bearer_auth(&self.secrets.token)
        };
        let request = request.body(body);
        let answer = client.send(request).await.map_err(|error| post_failure(&error))?;
        let (status, body) = (answer.status(), answer.body());
        let id = event_id_in(status.is_success(), body).map_err(|said| {
            let text = format!("the edge responded with {status} to booking {}: {said}", posting.booking);
            Failure::new(Exit::Failed, text)
        })?;
        Ok((status.as_u16(), id))
    }

    /// Signs these bytes as Cal.com does.
    fn sign(&self, body: &str) -> Result<String, Failure> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.secrets.calcom.as_bytes())
            .map_err(|error| Failure::new(Exit::Failed, format!("cannot sign a webhook: {error}")))?;
        mac.update(body.as_bytes());
        Ok(hex::encode(mac.finalize().into_bytes()))
    }
}

/// Returns the event's id in a response, or else the response's problem or its beginning.
fn event_id_in(is_success: bool, body: &[u8]) -> Result<String, String> {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    let id = answer.get("id").or_else(|| answer.pointer("/events/0/id")).and_then(Value::as_str);
    let detail = answer.get("detail").and_then(Value::as_str);
    match (id, detail) {
        (Some(id), _) if is_success => Ok(id.to_owned()),
        (_, Some(detail)) => Err(detail.to_owned()),
        _ if body.is_empty() => Err("nothing".to_owned()),
        _ => Err(String::from_utf8_lossy(body).chars().take(MAX_SHOWN).collect()),
    }
}

/// Polls `check` until it returns a result.
async fn poll_until<T>(
    what: &str,
    mut check: impl AsyncFnMut() -> Result<Option<T>, Failure>,
) -> Result<T, Failure> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = check().await? {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            let text = format!(
                "{what} did not happen within {} s; run the demo again with -v to see why",
                DEADLINE.as_secs()
            );
            return Err(Failure::new(Exit::Failed, text));
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

fn post_failure(error: &ClientError) -> Failure {
    Failure::new(Exit::Failed, format!("posting to the demo's edge failed: {error}"))
}

#[cfg(test)]
mod tests {
    use super::{MAX_SHOWN, event_id_in};

    #[test]
    fn a_response_without_an_id_is_shown_as_received() {
        let refused = |said: &str| Err(said.to_owned());
        assert_eq!(event_id_in(true, br#"{"events": [{"id": "e-1"}]}"#), Ok("e-1".to_owned()));
        assert_eq!(event_id_in(false, br#"{"id": "e-1", "detail": "too large"}"#), refused("too large"));
        assert_eq!(event_id_in(true, br#"{"ok": true}"#), refused(r#"{"ok": true}"#));
        assert_eq!(event_id_in(false, b"<h1>Bad Gateway</h1>"), refused("<h1>Bad Gateway</h1>"));
        assert_eq!(event_id_in(false, &[b'x'; 2 * MAX_SHOWN]), refused(&"x".repeat(MAX_SHOWN)));
        assert_eq!(event_id_in(false, b""), refused("nothing"));
    }
}
