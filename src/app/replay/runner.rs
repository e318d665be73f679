//! Carries out a plan: claims letters, publishes copies with confirms and reads the results, until every
//! letter has one.

use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;
use uuid::Uuid;

use super::picker::{ItemCounts, Picker};
use super::{Report, find, new_action, refusal};
use crate::app::{AppContext, AppError};
use crate::decide::message_for_replay;
use crate::queue::{Message, PublishError, Publisher, header};
use crate::runtime::backoff::Delays;
use crate::runtime::clock::now_ms;
use crate::runtime::crash_points;
use crate::runtime::shutdown::Shutdown;
use crate::store::entity::replay::Model;
use crate::store::{
    DeadLetter, LetterAction, NewLetterAction, ReplayItemState, ReplayStart, ReplayState, Scope, StateChange,
    StoreErrorKind, begin_replay, claim, dead_letters_of, item_counts, mark_sent, refuse, renew_lease,
    replay_items, set_replay_state,
};

/// How long a lease is valid. If the process does not renew it, another may resume the replay.
const LEASE: Duration = Duration::from_secs(15);
const RENEW_EVERY: Duration = Duration::from_secs(3);

/// How often to read results while letters are sent or results arrive, and while nothing happens.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
const IDLE_POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The maximum delay before a failed step is retried.
const MAX_BACKOFF: Duration = Duration::from_secs(5);

/// How long to wait for a result before warning that letters may be lost.
const STUCK_AFTER: Duration = Duration::from_secs(60);

/// The number of letters published at a time. Each may have the maximum size of a message.
const PUBLISH_CHUNK: usize = 50;

/// The maximum length of a header that contains a person's words, in bytes.
const MAX_HEADER: usize = 1024;

/// Why this process stopped running a replay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, strum::IntoStaticStr)]
#[serde(into = "&'static str")]
#[strum(serialize_all = "snake_case")]
pub(crate) enum EndReason {
    /// Every letter has its result.
    Done,
    /// Too many letters failed; the others were not sent.
    Stopped(String),
    Paused,
    Cancelled,
    /// This process was asked to stop; the replay can be resumed.
    Detached,
    /// Another process runs the replay now.
    #[strum(serialize = "lost")]
    LeaseLost,
}

/// The result of a replay. `docs/commands.md` describes it: its JSON is a contract.
#[derive(Debug, Serialize)]
pub(crate) struct ReplayEnd {
    pub(crate) replay: i64,
    #[serde(rename = "ended")]
    pub(crate) reason: EndReason,
    /// The end as text. The front end fills it in.
    #[serde(rename = "said")]
    pub(crate) message: String,
    pub(crate) report: Report,
}

/// The progress of a replay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Letters with a result, including those that were never sent.
    pub(crate) ended: i64,
    /// Letters that failed again.
    pub(crate) failed: i64,
    pub(crate) in_flight: i64,
    /// Whether all letters are sent, and only results are missing.
    pub(crate) all_sent: bool,
    /// Whether letters are in flight and no result has arrived for a while.
    pub(crate) is_stuck: bool,
}

/// Carries out a plan or replay until it ends or a person stops it. Calls `watch` with the number of letters
/// and the progress. On failure the worker still finishes the letters in flight.
pub(crate) async fn carry_out(
    context: &AppContext,
    replay: i64,
    (start, why): (&ReplayStart, Option<String>),
    shutdown: &Shutdown,
    mut watch: impl FnMut(i64, Progress),
) -> Result<ReplayEnd, AppError> {
    let queue = context.queue().await?;
    // Fails before the replay starts if the broker is unreachable.
    queue.depth().await?;
    let runner = Runner { context, publisher: queue.publisher(), replay, lease: Uuid::new_v4().to_string() };
    let letters = Report::read(context, replay).await?.letters;
    let reason = runner.run((start, why), shutdown, |progress| watch(letters, progress)).await?;
    let report = Report::read(context, replay).await?;
    Ok(ReplayEnd { replay, reason, message: String::new(), report })
}

struct Runner<'a> {
    context: &'a AppContext,
    publisher: Publisher,
    replay: i64,
    lease: String,
}

impl Runner<'_> {
    async fn run(
        &self,
        (start, why): (&ReplayStart, Option<String>),
        shutdown: &Shutdown,
        mut watch: impl FnMut(Progress),
    ) -> Result<EndReason, AppError> {
        let row = self.start(start, why).await?;
        let mut delays = Delays::new(POLL_INTERVAL, MAX_BACKOFF);
        loop {
            match self.run_until_end(&row, shutdown, &mut watch).await {
                // Nothing is lost meanwhile: claimed letters are published once the database is available.
                Err(AppError::Store(error))
                    if matches!(error.kind(), StoreErrorKind::Unavailable | StoreErrorKind::Conflict) =>
                {
                    tracing::warn!(%error, "the replay waits for the database");
                    tokio::select! {
                        () = tokio::time::sleep(delays.next()) => {}
                        () = shutdown.cancelled() => return Ok(EndReason::Detached),
                    }
                }
                ended => return ended,
            }
        }
    }

    async fn start(&self, start: &ReplayStart, why: Option<String>) -> Result<Model, AppError> {
        let row = find(self.context, self.replay).await?;
        let action = match start {
            ReplayStart::First(_) => LetterAction::Replay,
            ReplayStart::Again { resend: true } => LetterAction::Resend,
            ReplayStart::Again { resend: false } => LetterAction::Resume,
        };
        let action = NewLetterAction { why, ..new_action(&row, action, self.context) };
        let lease = (self.lease.as_str(), action.at_ms + millis(LEASE));
        let is_started = begin_replay(&self.context.database, self.replay, lease, start, &action).await?;
        let row = find(self.context, self.replay).await?;
        if is_started { Ok(row) } else { Err(refusal(&row, start, action.at_ms)) }
    }

    async fn run_until_end(
        &self,
        row: &Model,
        shutdown: &Shutdown,
        watch: &mut impl FnMut(Progress),
    ) -> Result<EndReason, AppError> {
        let (context, database) = (self.context, &self.context.database);
        let items = |states: &'static [ReplayItemState]| replay_items(database, self.replay, states, None);
        let rate = row.rate.as_deref().unwrap_or("20/s").parse().map_err(AppError::NotAllowed)?;
        let (canary, stop_percent) = (row.canary.unwrap_or_default(), row.stop_percent.unwrap_or(100));
        let pending = context.with_deadline(items(&[ReplayItemState::Pending])).await?;
        let mut picker = Picker::new(pending, canary, stop_percent, rate);
        let mut idle = Delays::new(POLL_INTERVAL, IDLE_POLL_INTERVAL);
        let (mut renewed_at, mut republished_at): (Option<Instant>, Option<Instant>) = (None, None);
        let mut picked_at = Instant::now();
        let (mut last_counts, mut changed_at) = (ItemCounts::default(), Instant::now());
        let mut is_stuck = false;
        loop {
            if shutdown.is_cancelled() {
                return self.detach().await;
            }
            if renewed_at.is_none_or(|at| at.elapsed() >= RENEW_EVERY) {
                self.renew().await?;
                renewed_at = Some(Instant::now());
            }
            let now = find(context, self.replay).await?;
            match now.state.known() {
                Some(ReplayState::Running) if now.lease.as_deref() == Some(&self.lease) => {}
                Some(ReplayState::Paused) => return Ok(EndReason::Paused),
                Some(ReplayState::Cancelled) => return Ok(EndReason::Cancelled),
                _ => return Ok(EndReason::LeaseLost),
            }
            // An earlier process may have died between claiming and publishing: publish its claimed letters.
            // At this point, this process has published everything that it claimed.
            if republished_at.is_none_or(|at| at.elapsed() >= LEASE) {
                let claimed = context.with_deadline(items(&[ReplayItemState::Claimed])).await?;
                let claimed: Vec<i64> = claimed.into_iter().map(|item| item.letter).collect();
                if !self.publish(row, &claimed, shutdown).await? {
                    return self.detach().await;
                }
                republished_at = Some(Instant::now());
            }
            let counts = context.with_deadline(item_counts(database, self.replay)).await?;
            let counts = ItemCounts::of(&counts);
            let in_flight = context.with_deadline(items(&ReplayItemState::IN_FLIGHT)).await?;
            if counts != last_counts {
                (last_counts, changed_at) = (counts, Instant::now());
                idle.reset();
            }
            let was_stuck = is_stuck;
            is_stuck = !in_flight.is_empty() && changed_at.elapsed() >= STUCK_AFTER;
            if is_stuck && !was_stuck {
                tracing::warn!(
                    replay = self.replay,
                    letters = counts.in_flight,
                    "no result of the replay for a minute: check whether a worker is running, and how long retries take"
                );
            }
            watch(Progress {
                ended: counts.ended,
                failed: counts.failed,
                in_flight: counts.in_flight,
                all_sent: picker.is_empty(),
                is_stuck,
            });
            if picker.is_empty() && in_flight.is_empty() {
                let is_ours = self.set_state(ReplayState::Done, None).await?;
                return Ok(if is_ours { EndReason::Done } else { EndReason::LeaseLost });
            }
            if let Some(because) = picker.stop_reason(counts).filter(|_| !picker.is_empty()) {
                let is_ours = self.set_state(ReplayState::Stopped, Some(&because)).await?;
                return Ok(if is_ours { EndReason::Stopped(because) } else { EndReason::LeaseLost });
            }
            let next = picker.next(picked_at.elapsed(), counts, &in_flight);
            picked_at = Instant::now();
            for chunk in next.chunks(PUBLISH_CHUNK) {
                let chunk: Vec<(i64, i64)> = chunk.iter().map(|item| (item.letter, item.seen_ms)).collect();
                let claimed = claim(database, self.replay, &self.lease, &chunk, now_ms());
                let claimed = context.with_deadline(claimed).await?;
                crash_points::point("replay_claimed");
                if !self.publish(row, &claimed, shutdown).await? {
                    return self.detach().await;
                }
            }
            let pause = if next.is_empty() { idle.next() } else { POLL_INTERVAL };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = shutdown.cancelled() => {}
            }
        }
    }

    /// Publishes copies of these claimed letters, and retries until it succeeds. Returns false if the process
    /// was asked to stop first: then the process that resumes the replay publishes them.
    async fn publish(&self, row: &Model, ids: &[i64], shutdown: &Shutdown) -> Result<bool, AppError> {
        let (context, database) = (self.context, &self.context.database);
        let refuse = async |letter, why| {
            context.with_deadline(refuse(database, self.replay, letter, why, now_ms())).await
        };
        for ids in ids.chunks(PUBLISH_CHUNK) {
            let letters = context.with_deadline(dead_letters_of(database, &Scope::All, ids)).await?;
            for missing in ids.iter().filter(|id| letters.iter().all(|letter| letter.id != **id)) {
                refuse(*missing, "gone").await?;
            }
            let copies: Vec<Message> = letters.iter().map(|letter| self.copy(row, letter)).collect();
            let result = self.publish_batch(copies.clone(), shutdown).await?;
            if result == PublishResult::Stopped {
                return Ok(false);
            }
            if result == PublishResult::ExceedsLimit {
                // One by one, so that one letter does not block the others.
                for (letter, copy) in letters.iter().zip(copies) {
                    match self.publish_batch(vec![copy], shutdown).await? {
                        PublishResult::Sent => {}
                        PublishResult::ExceedsLimit => refuse(letter.id, "unfit").await?,
                        PublishResult::Stopped => return Ok(false),
                    }
                }
            }
            crash_points::point("replay_published");
            context.with_deadline(mark_sent(database, self.replay, ids)).await?;
            crash_points::point("replay_sent");
        }
        Ok(true)
    }

    /// Publishes copies to the work queue in one batch, and retries until it succeeds.
    async fn publish_batch(
        &self,
        copies: Vec<Message>,
        shutdown: &Shutdown,
    ) -> Result<PublishResult, AppError> {
        let mut delays = Delays::new(POLL_INTERVAL, MAX_BACKOFF);
        loop {
            match self.publisher.publish_to_work(copies.clone()).await {
                Ok(()) => return Ok(PublishResult::Sent),
                Err(error @ PublishError::ExceedsLimit(_)) => {
                    if copies.len() == 1 {
                        tracing::warn!(%error, "no queue accepts this letter");
                    }
                    return Ok(PublishResult::ExceedsLimit);
                }
                Err(error) => tracing::warn!(%error, "the replay waits for the queue"),
            }
            self.renew().await?;
            tokio::select! {
                () = tokio::time::sleep(delays.next()) => {}
                () = shutdown.cancelled() => return Ok(PublishResult::Stopped),
            }
        }
    }

    /// Renews the lease. If the lease was lost, the replay's row shows it.
    async fn renew(&self) -> Result<(), AppError> {
        let (now_ms, lease) = (now_ms(), self.lease.as_str());
        renew_lease(&self.context.database, self.replay, (lease, now_ms + millis(LEASE)), now_ms).await?;
        Ok(())
    }

    fn copy(&self, row: &Model, letter: &DeadLetter) -> Message {
        let mut message = message_for_replay(letter);
        let header_value = |text: &str| text[..text.floor_char_boundary(MAX_HEADER)].replace('\0', " ");
        message.headers.extend([
            (header::REPLAY.to_owned(), self.replay.to_string()),
            (header::REPLAY_LETTER.to_owned(), letter.id.to_string()),
            (header::REPLAY_COUNT.to_owned(), letter.replays.to_string()),
            (header::REPLAY_BY.to_owned(), header_value(self.context.author.as_str())),
        ]);
        if let Some(why) = &row.why {
            message.headers.insert(header::REPLAY_REASON.to_owned(), header_value(why));
        }
        message
    }

    /// Pauses the replay, because the process was asked to stop.
    async fn detach(&self) -> Result<EndReason, AppError> {
        self.set_state(ReplayState::Paused, None).await?;
        Ok(EndReason::Detached)
    }

    /// Sets the replay's final or paused state. Returns false if another process runs the replay, or a person
    /// has paused or cancelled it.
    async fn set_state(&self, to: ReplayState, because: Option<&str>) -> Result<bool, AppError> {
        let lease = Some(self.lease.as_str());
        let change =
            StateChange { from: &[ReplayState::Running], to, because, lease, action: None, now_ms: now_ms() };
        Ok(set_replay_state(&self.context.database, self.replay, change).await?)
    }
}

/// The result of publishing copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PublishResult {
    /// The broker has confirmed all of them.
    Sent,
    /// No queue accepts at least one of them.
    ExceedsLimit,
    /// The process was asked to stop first.
    Stopped,
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
