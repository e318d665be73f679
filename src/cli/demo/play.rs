//! Playing the demo: posts each booking through HTTP and waits until it is decided.

use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::Method;
use serde_json::Value;
use sha2::Sha256;
use tokio::time::Instant;

use super::bookings::{Posting, Route};
use super::progress::Progress;
use super::settings::Secrets;
use super::{findings, salon};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::http::client::{Client, ClientError};
use crate::store::Database;
use crate::worker::Tally;

/// How long one booking may take, on the slowest machine, before something is wrong.
const DEADLINE: Duration = Duration::from_secs(30);
/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A booking that was posted and has been decided.
#[derive(Debug)]
pub(super) struct Played {
    /// What was posted.
    pub(super) posting: Posting,
    /// The edge's answer.
    pub(super) status: u16,
    /// The event's id, from that answer.
    pub(super) event_id: String,
    /// How often it was put off before it was decided.
    pub(super) retries: u64,
}

/// What the bookings are played against.
pub(super) struct Stage<'a> {
    /// `http://` and the edge's address.
    pub(super) url: &'a str,
    /// How posts are proven.
    pub(super) secrets: &'a Secrets,
    /// The salon.
    pub(super) database: &'a Database,
    /// What the worker counts.
    pub(super) tally: &'a Tally,
}

impl Stage<'_> {
    /// Posts the bookings one after another, each when the one before has been decided.
    ///
    /// # Errors
    /// When the edge refuses one, or one is not decided in time.
    pub(super) async fn play(
        &self,
        postings: Vec<Posting>,
        progress: &Progress,
    ) -> Result<Vec<Played>, Failure> {
        let client = Client::new(self.url, DEADLINE).map_err(|error| failed(&error))?;
        let mut played = Vec::new();
        for posting in postings {
            progress.begins(&format!("{} posted to {}", posting.booking, posting.route.path()));
            let before = self.retries();
            let (status, event_id) = self.post(&client, &posting).await?;
            if posting.appointment_is_late {
                until("the first attempt", async || Ok((self.retries() > before).then_some(()))).await?;
                progress.begins(&format!("{} waits for its appointment", posting.booking));
                salon::add_appointment(self.database, posting.booking).await?;
            }
            let decision = until("a decision", async || findings::outcome(self.database, &event_id).await);
            let outcome = decision.await?;
            progress.ended(&format!("{} became {outcome}", posting.booking));
            played.push(Played { posting, status, event_id, retries: self.retries() - before });
        }
        // A dead letter counts as decided once it stands in its table; so nothing is left to wait for.
        Ok(played)
    }

    fn retries(&self) -> u64 {
        self.tally.counts().get("retry").copied().unwrap_or_default()
    }

    /// Posts one event as its sender would, and gives the answer's status and the event's id.
    async fn post(&self, client: &Client, posting: &Posting) -> Result<(u16, String), Failure> {
        let request =
            client.request(Method::POST, posting.route.path()).header("content-type", "application/json");
        let request = match posting.route {
            Route::Calcom => request.header("x-cal-signature-256", self.sign(&posting.body)?),
            Route::Retell | Route::Events => request.bearer_auth(&self.secrets.token),
        };
        let request = request.body(posting.body.clone());
        let answer = client.send(request).await.map_err(|error| failed(&error))?;
        let status = answer.status();
        let answer: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
        let id = answer.get("id").or_else(|| answer.pointer("/events/0/id")).and_then(Value::as_str);
        match id {
            Some(id) if status.is_success() => Ok((status.as_u16(), id.to_owned())),
            _ => {
                let detail = answer.get("detail").and_then(Value::as_str).unwrap_or("no reason given");
                let text = format!("the edge answered {status} to booking {}: {detail}", posting.booking);
                Err(Failure::new(Exit::Failed, text))
            }
        }
    }

    /// The signature with which Cal.com sends these bytes.
    fn sign(&self, body: &str) -> Result<String, Failure> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.secrets.calcom.as_bytes())
            .map_err(|error| Failure::new(Exit::Failed, format!("cannot sign a webhook: {error}")))?;
        mac.update(body.as_bytes());
        Ok(hex::encode(mac.finalize().into_bytes()))
    }
}

/// Looks until there is an answer.
async fn until<T>(
    what: &str,
    mut look: impl AsyncFnMut() -> Result<Option<T>, Failure>,
) -> Result<T, Failure> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(answer) = look().await? {
            return Ok(answer);
        }
        if Instant::now() >= deadline {
            let text = format!(
                "{what} did not come within {} s; run it again with -v to see why",
                DEADLINE.as_secs()
            );
            return Err(Failure::new(Exit::Failed, text));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn failed(error: &ClientError) -> Failure {
    Failure::new(Exit::Failed, format!("posting to the demo's own edge failed: {error}"))
}
