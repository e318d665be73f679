//! Carrying out a plan: claim, publish confirmed, look at what came of it, until nothing is left.

use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use super::picker::{Picker, Standing};
use super::rate::Rate;
use crate::clock::now_ms;
use crate::crash;
use crate::delay::Delays;
use crate::queue::{Message, PublishError, Publisher, header};
use crate::shutdown::Shutdown;
use crate::store::{
    Database, DeadLetterRow, NewAct, ReplayRow, ReplayState, ReplayTerms, StoreError, StoreErrorKind,
    begin_replay, claim, dead_letters_of, hold_lease, in_flight, leave_pending, pending, replay, sent,
    set_state, shares, unsent,
};
use crate::worker::revived;

/// How long a process may be silent before another may go on.
const LEASE: Duration = Duration::from_secs(15);
const RENEW_EVERY: Duration = Duration::from_secs(3);

/// How often results are looked at.
const TICK: Duration = Duration::from_millis(100);

/// Letters published together; each may be as large as a message can be.
const TOGETHER: usize = 50;

/// The longest header that a person fills, in bytes.
const MAX_WORDS: usize = 1024;

/// Why a replay cannot go on here.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// There is no such plan or replay.
    #[error("there is no plan or replay {0}; `hostmatch deadletters replays list` shows all")]
    Unknown(i64),
    /// It is not in a state for this; the text says what to do.
    #[error("{0}")]
    Refused(String),
    /// The database does not take part.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A message that no queue takes.
    #[error(transparent)]
    Publish(PublishError),
}

/// How a replay ended, here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Every letter has its result.
    Done,
    /// Too many failed; the rest was left as it is.
    Stopped(String),
    /// Somebody paused it.
    Paused,
    /// Somebody cancelled it.
    Cancelled,
    /// This process was asked to stop; the replay can be resumed.
    Detached,
    /// Another process has it now.
    Lost,
}

/// How far it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Letters that have a result.
    pub finished: i64,
    /// Of these, failed again.
    pub failed: i64,
    /// Letters on the way.
    pub on_the_way: i64,
    /// Nothing more is to be sent: only results are awaited.
    pub all_sent: bool,
}

/// How it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// For the first time.
    Begin {
        /// How fast.
        rate: Rate,
        /// So many letters first.
        canary: i32,
        /// It stops when more than so many in a hundred have failed.
        stop_percent: i32,
        /// Letters that the plan says will fail again are left as they are.
        skip_failing: bool,
        /// Why, for the record.
        why: Option<String>,
    },
    /// Where it was left.
    Resume,
}

/// Carries out one replay.
pub struct Runner {
    database: Database,
    publisher: Publisher,
    replay: i64,
    made_by: String,
    lease: String,
}

impl Runner {
    /// For this plan or replay, in the name of this person.
    pub fn new(database: Database, publisher: Publisher, replay: i64, made_by: &str) -> Self {
        let lease = Uuid::new_v4().to_string();
        Self { database, publisher, replay, made_by: made_by.to_owned(), lease }
    }

    /// Carries it out, to its end or until somebody says otherwise. `watch` is told how far it is.
    ///
    /// # Errors
    /// [`ReplayError`]; what is on the way then is finished by the worker all the same.
    pub async fn run(
        &self,
        start: Start,
        shutdown: &Shutdown,
        mut watch: impl FnMut(Progress),
    ) -> Result<Ended, ReplayError> {
        let row = self.begin(&start).await?;
        if let Start::Begin { skip_failing: true, .. } = start {
            leave_pending(&self.database, self.replay, true, now_ms()).await?;
        }
        let mut delays = Delays::new(TICK, Duration::from_secs(5));
        loop {
            match self.go_on(&row, shutdown, &mut watch).await {
                // Nothing is lost by waiting: what was claimed is published when it is back.
                Err(ReplayError::Store(error))
                    if matches!(error.kind(), StoreErrorKind::Unavailable | StoreErrorKind::Conflict) =>
                {
                    tracing::warn!(%error, "the replay waits for the database");
                    tokio::select! {
                        () = tokio::time::sleep(delays.next()) => {}
                        () = shutdown.cancelled() => return Ok(Ended::Detached),
                    }
                }
                ended => return ended,
            }
        }
    }

    async fn begin(&self, start: &Start) -> Result<ReplayRow, ReplayError> {
        let row = find(&self.database, self.replay).await?;
        let now_ms = now_ms();
        let lease = (self.lease.as_str(), now_ms + millis(LEASE));
        let act = |action, why: Option<&String>| NewAct {
            action,
            made_by: self.made_by.clone(),
            at_ms: now_ms,
            why: why.cloned(),
            replay: Some(self.replay),
            letters: usize::try_from(row.total).unwrap_or_default(),
            ..NewAct::default()
        };
        let is_ours = match start {
            Start::Begin { rate, canary, stop_percent, why, .. } => {
                let terms =
                    ReplayTerms { rate: rate.to_string(), canary: *canary, stop_percent: *stop_percent };
                let act = act("replay", why.as_ref());
                begin_replay(&self.database, self.replay, lease, Some(&terms), &act).await?
            }
            Start::Resume => {
                begin_replay(&self.database, self.replay, lease, None, &act("resume", None)).await?
            }
        };
        if is_ours {
            return find(&self.database, self.replay).await;
        }
        Err(ReplayError::Refused(refusal(&find(&self.database, self.replay).await?, start, now_ms)))
    }

    async fn go_on(
        &self,
        row: &ReplayRow,
        shutdown: &Shutdown,
        watch: &mut impl FnMut(Progress),
    ) -> Result<Ended, ReplayError> {
        let database = &self.database;
        let rate = row.rate.as_deref().unwrap_or("20/s").parse().map_err(ReplayError::Refused)?;
        let (canary, stop_percent) = (row.canary.unwrap_or_default(), row.stop_percent.unwrap_or(100));
        let waiting = database.in_time(pending(database, self.replay)).await?;
        let mut picker = Picker::new(waiting, canary, stop_percent, rate);
        // Whoever had it before may have died between claiming and publishing.
        let claimed = database.in_time(unsent(database, self.replay)).await?;
        if !self.publish(row, &claimed, shutdown).await? {
            return self.detach().await;
        }
        let (mut renewed, mut picked) = (Instant::now(), Instant::now());
        loop {
            if shutdown.is_cancelled() {
                return self.detach().await;
            }
            if renewed.elapsed() >= RENEW_EVERY {
                let (now_ms, lease) = (now_ms(), self.lease.as_str());
                hold_lease(database, self.replay, (lease, now_ms + millis(LEASE)), now_ms).await?;
                renewed = Instant::now();
            }
            let now = find(database, self.replay).await?;
            match now.state {
                ReplayState::Running if now.lease.as_deref() == Some(&self.lease) => {}
                ReplayState::Paused => return Ok(Ended::Paused),
                ReplayState::Cancelled => return Ok(Ended::Cancelled),
                _ => return Ok(Ended::Lost),
            }
            let standing = Standing::of(&database.in_time(shares(database, self.replay)).await?);
            let flying = database.in_time(in_flight(database, self.replay)).await?;
            let Standing { finished, failed, .. } = standing;
            let on_the_way = standing.flying;
            watch(Progress { finished, failed, on_the_way, all_sent: picker.is_empty() });
            if picker.is_empty() && flying.is_empty() {
                self.end(ReplayState::Done, None).await?;
                return Ok(Ended::Done);
            }
            if let Some(because) = picker.stop(standing).filter(|_| !picker.is_empty()) {
                self.end(ReplayState::Stopped, Some(&because)).await?;
                leave_pending(database, self.replay, false, now_ms()).await?;
                return Ok(Ended::Stopped(because));
            }
            let next = picker.next(picked.elapsed(), standing, &flying);
            picked = Instant::now();
            for some in next.chunks(TOGETHER) {
                let some: Vec<(i64, i64)> = some.iter().map(|item| (item.letter, item.seen_ms)).collect();
                let claimed = database.in_time(claim(database, self.replay, &some, now_ms())).await?;
                crash::point("replay_claimed");
                if !self.publish(row, &claimed.taken, shutdown).await? {
                    return self.detach().await;
                }
            }
            tokio::select! {
                () = tokio::time::sleep(TICK) => {}
                () = shutdown.cancelled() => {}
            }
        }
    }

    /// Publishes copies of these letters, which are claimed, as often as it takes. False: asked to
    /// stop first; they are published when the replay is resumed.
    async fn publish(&self, row: &ReplayRow, ids: &[i64], shutdown: &Shutdown) -> Result<bool, ReplayError> {
        for ids in ids.chunks(TOGETHER) {
            let letters = self.database.in_time(dead_letters_of(&self.database, ids)).await?;
            let messages: Vec<Message> = letters.iter().map(|letter| self.copy(row, letter)).collect();
            let mut delays = Delays::new(TICK, Duration::from_secs(5));
            while let Err(error) = self.publisher.publish_to_work(messages.clone()).await {
                if let PublishError::Unfit(_) = error {
                    return Err(ReplayError::Publish(error));
                }
                tracing::warn!(%error, "the replay waits for the queue");
                let (now_ms, lease) = (now_ms(), self.lease.as_str());
                hold_lease(&self.database, self.replay, (lease, now_ms + millis(LEASE)), now_ms).await?;
                tokio::select! {
                    () = tokio::time::sleep(delays.next()) => {}
                    () = shutdown.cancelled() => return Ok(false),
                }
            }
            crash::point("replay_published");
            self.database.in_time(sent(&self.database, self.replay, ids)).await?;
            crash::point("replay_sent");
        }
        Ok(true)
    }

    fn copy(&self, row: &ReplayRow, letter: &DeadLetterRow) -> Message {
        let mut message = revived(&letter.letter);
        let words = |text: &str| text[..text.floor_char_boundary(MAX_WORDS)].replace('\0', " ");
        message.headers.extend([
            (header::REPLAY.to_owned(), self.replay.to_string()),
            (header::REPLAY_LETTER.to_owned(), letter.id.to_string()),
            (header::REPLAY_COUNT.to_owned(), letter.replays.to_string()),
            (header::REPLAY_BY.to_owned(), words(&self.made_by)),
        ]);
        if let Some(why) = &row.why {
            message.headers.insert(header::REPLAY_REASON.to_owned(), words(why));
        }
        message
    }

    async fn detach(&self) -> Result<Ended, ReplayError> {
        set_state(
            &self.database,
            self.replay,
            &[ReplayState::Running],
            ReplayState::Paused,
            None,
            None,
            now_ms(),
        )
        .await?;
        Ok(Ended::Detached)
    }

    async fn end(&self, state: ReplayState, because: Option<&str>) -> Result<(), ReplayError> {
        set_state(&self.database, self.replay, &[ReplayState::Running], state, because, None, now_ms())
            .await?;
        Ok(())
    }
}

/// Pauses a replay: what is on the way is finished, nothing more is sent until it is resumed.
///
/// # Errors
/// [`ReplayError`]
pub async fn pause(database: &Database, id: i64, made_by: &str) -> Result<(), ReplayError> {
    turn(database, id, made_by, "pause", &[ReplayState::Running], ReplayState::Paused).await
}

/// Ends a replay, or throws a plan away: what is on the way is finished, the rest stays as it is.
///
/// # Errors
/// [`ReplayError`]
pub async fn cancel(database: &Database, id: i64, made_by: &str) -> Result<(), ReplayError> {
    let from = [ReplayState::Planned, ReplayState::Running, ReplayState::Paused];
    turn(database, id, made_by, "cancel", &from, ReplayState::Cancelled).await?;
    leave_pending(database, id, false, now_ms()).await?;
    Ok(())
}

async fn turn(
    database: &Database,
    id: i64,
    made_by: &str,
    action: &'static str,
    from: &[ReplayState],
    to: ReplayState,
) -> Result<(), ReplayError> {
    let row = find(database, id).await?;
    let now_ms = now_ms();
    let act = NewAct {
        action,
        made_by: made_by.to_owned(),
        at_ms: now_ms,
        replay: Some(id),
        letters: usize::try_from(row.total).unwrap_or_default(),
        ..NewAct::default()
    };
    if set_state(database, id, from, to, None, Some(&act), now_ms).await? {
        return Ok(());
    }
    let state = find(database, id).await?.state.as_str();
    Err(ReplayError::Refused(format!("replay {id} is {state}: there is nothing to {action}")))
}

async fn find(database: &Database, id: i64) -> Result<ReplayRow, ReplayError> {
    database.in_time(replay(database, id)).await?.ok_or(ReplayError::Unknown(id))
}

fn refusal(row: &ReplayRow, start: &Start, now_ms: i64) -> String {
    let id = row.id;
    let again = "make a new one with `hostmatch deadletters plan`";
    match (row.state, start) {
        (ReplayState::Planned, Start::Begin { .. }) => format!("plan {id} has expired; {again}"),
        (ReplayState::Planned, Start::Resume) => {
            format!("{id} is only a plan; begin it with `hostmatch deadletters replay --plan {id}`")
        }
        (ReplayState::Running, _) if row.lease_until_ms.is_some_and(|until| until > now_ms) => format!(
            "a process works on replay {id}; if it has died, resume it in {} s",
            (row.lease_until_ms.unwrap_or(now_ms) - now_ms) / 1000 + 1
        ),
        (ReplayState::Running | ReplayState::Paused, Start::Begin { .. }) => {
            format!("replay {id} was begun; go on with `hostmatch deadletters replays resume {id}`")
        }
        (state, _) => format!("replay {id} is {}; {again}", state.as_str()),
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
