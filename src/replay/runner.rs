//! Carrying out a plan: claim, publish confirmed, look at what came of it, until nothing is left.

use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use super::control::{find, refusal, stuck};
use super::picker::{Picker, Standing};
use super::rate::Rate;
use crate::decide::revived;
use crate::queue::{Message, PublishError, Publisher, header};
use crate::runtime::backoff::Delays;
use crate::runtime::clock::now_ms;
use crate::runtime::crash_points;
use crate::runtime::shutdown::Shutdown;
use crate::store::{
    Beginning, Database, DeadLetterRow, NewAct, ReplayRow, ReplayState, ReplayTerms, StoreError,
    StoreErrorKind, Turn, begin_replay, claim, dead_letters_of, hold_lease, in_flight, pending, refuse, sent,
    set_state, standings, unsent,
};

/// How long a process may be silent before another may go on.
const LEASE: Duration = Duration::from_secs(15);
const RENEW_EVERY: Duration = Duration::from_secs(3);

/// How often results are looked at while letters are sent or come back, and while nothing happens.
const TICK: Duration = Duration::from_millis(100);
const IDLE_TICK: Duration = Duration::from_secs(1);

/// After so long without a result somebody may want to know what to do about it.
const STILL: Duration = Duration::from_secs(60);

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
    /// Letters that have a result, or will have none.
    pub ended: i64,
    /// Of these, failed again.
    pub failed: i64,
    /// Letters on the way.
    pub on_the_way: i64,
    /// Nothing more is to be sent: only results are awaited.
    pub all_sent: bool,
    /// Letters are on the way, and for a while nothing has come back.
    pub still: bool,
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
    Resume {
        /// The copies of letters without a result are taken for lost, and published once more.
        resend: bool,
    },
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
        let (beginning, act) = match start {
            Start::Begin { rate, canary, stop_percent, skip_failing, why } => {
                let terms = ReplayTerms {
                    rate: rate.to_string(),
                    canary: *canary,
                    stop_percent: *stop_percent,
                    skip_failing: *skip_failing,
                };
                (Beginning::First(terms), act("replay", why.as_ref()))
            }
            Start::Resume { resend } => {
                let action = if *resend { "resend" } else { "resume" };
                (Beginning::Again { resend: *resend }, act(action, None))
            }
        };
        if begin_replay(&self.database, self.replay, lease, &beginning, &act).await? {
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
        let mut idle = Delays::new(TICK, IDLE_TICK);
        let (mut renewed, mut gathered): (Option<Instant>, Option<Instant>) = (None, None);
        let (mut picked, mut moved) = (Instant::now(), (Standing::default(), Instant::now()));
        let mut is_still = false;
        loop {
            if shutdown.is_cancelled() {
                return self.detach().await;
            }
            if renewed.is_none_or(|at| at.elapsed() >= RENEW_EVERY) {
                self.renew().await?;
                renewed = Some(Instant::now());
            }
            let now = find(database, self.replay).await?;
            match now.state {
                ReplayState::Running if now.lease.as_deref() == Some(&self.lease) => {}
                ReplayState::Paused => return Ok(Ended::Paused),
                ReplayState::Cancelled => return Ok(Ended::Cancelled),
                _ => return Ok(Ended::Lost),
            }
            // Whoever had it before may have died between claiming and publishing. Nothing that this
            // process has claimed is unsent here.
            if gathered.is_none_or(|at| at.elapsed() >= LEASE) {
                let claimed = database.in_time(unsent(database, self.replay)).await?;
                if !self.publish(row, &claimed, shutdown).await? {
                    return self.detach().await;
                }
                gathered = Some(Instant::now());
            }
            let standing = Standing::of(&database.in_time(standings(database, self.replay)).await?);
            let flying = database.in_time(in_flight(database, self.replay)).await?;
            if standing != moved.0 {
                moved = (standing, Instant::now());
                idle.reset();
            }
            let was_still =
                std::mem::replace(&mut is_still, !flying.is_empty() && moved.1.elapsed() >= STILL);
            if is_still && !was_still {
                tracing::warn!(
                    letters = standing.flying,
                    problem = stuck(self.replay),
                    "a replay stands still"
                );
            }
            let Standing { ended, failed, flying: on_the_way, .. } = standing;
            watch(Progress { ended, failed, on_the_way, all_sent: picker.is_empty(), still: is_still });
            if picker.is_empty() && flying.is_empty() {
                let is_ours = self.end(ReplayState::Done, None).await?;
                return Ok(if is_ours { Ended::Done } else { Ended::Lost });
            }
            if let Some(because) = picker.stop(standing).filter(|_| !picker.is_empty()) {
                let is_ours = self.end(ReplayState::Stopped, Some(&because)).await?;
                return Ok(if is_ours { Ended::Stopped(because) } else { Ended::Lost });
            }
            let next = picker.next(picked.elapsed(), standing, &flying);
            picked = Instant::now();
            for some in next.chunks(TOGETHER) {
                let some: Vec<(i64, i64)> = some.iter().map(|item| (item.letter, item.seen_ms)).collect();
                let claimed = claim(database, self.replay, &self.lease, &some, now_ms());
                let claimed = database.in_time(claimed).await?;
                crash_points::point("replay_claimed");
                if !self.publish(row, &claimed, shutdown).await? {
                    return self.detach().await;
                }
            }
            let pause = if next.is_empty() { idle.next() } else { TICK };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = shutdown.cancelled() => {}
            }
        }
    }

    /// Publishes copies of these letters, which are claimed, as often as it takes. False: asked to
    /// stop first; they are published when the replay is resumed.
    async fn publish(&self, row: &ReplayRow, ids: &[i64], shutdown: &Shutdown) -> Result<bool, ReplayError> {
        let database = &self.database;
        for ids in ids.chunks(TOGETHER) {
            let letters = database.in_time(dead_letters_of(database, ids)).await?;
            for gone in ids.iter().filter(|id| letters.iter().all(|letter| letter.id != **id)) {
                database.in_time(refuse(database, self.replay, *gone, "gone", now_ms())).await?;
            }
            let copies: Vec<Message> = letters.iter().map(|letter| self.copy(row, letter)).collect();
            let put = self.put(copies.clone(), shutdown).await?;
            if put == Put::Stopped {
                return Ok(false);
            }
            if put == Put::Unfit {
                // One by one, so that one letter costs the others nothing.
                for (letter, copy) in letters.iter().zip(copies) {
                    match self.put(vec![copy], shutdown).await? {
                        Put::Sent => {}
                        Put::Unfit => {
                            let refused = refuse(database, self.replay, letter.id, "unfit", now_ms());
                            database.in_time(refused).await?;
                        }
                        Put::Stopped => return Ok(false),
                    }
                }
            }
            crash_points::point("replay_published");
            database.in_time(sent(database, self.replay, ids)).await?;
            crash_points::point("replay_sent");
        }
        Ok(true)
    }

    /// Puts copies into the work queue together, as often as it takes.
    async fn put(&self, copies: Vec<Message>, shutdown: &Shutdown) -> Result<Put, ReplayError> {
        let mut delays = Delays::new(TICK, Duration::from_secs(5));
        loop {
            match self.publisher.publish_to_work(copies.clone()).await {
                Ok(()) => return Ok(Put::Sent),
                Err(error @ PublishError::Unfit(_)) => {
                    if copies.len() == 1 {
                        tracing::warn!(%error, "no queue takes this letter");
                    }
                    return Ok(Put::Unfit);
                }
                Err(error) => tracing::warn!(%error, "the replay waits for the queue"),
            }
            self.renew().await?;
            tokio::select! {
                () = tokio::time::sleep(delays.next()) => {}
                () = shutdown.cancelled() => return Ok(Put::Stopped),
            }
        }
    }

    /// Renews the lease. Whether it was lost, the replay's row tells.
    async fn renew(&self) -> Result<(), ReplayError> {
        let (now_ms, lease) = (now_ms(), self.lease.as_str());
        hold_lease(&self.database, self.replay, (lease, now_ms + millis(LEASE)), now_ms).await?;
        Ok(())
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
        self.end(ReplayState::Paused, None).await?;
        Ok(Ended::Detached)
    }

    /// False: another process has it, or somebody has paused or cancelled it.
    async fn end(&self, to: ReplayState, because: Option<&str>) -> Result<bool, ReplayError> {
        let lease = Some(self.lease.as_str());
        let turn = Turn { from: &[ReplayState::Running], to, because, lease, act: None, now_ms: now_ms() };
        Ok(set_state(&self.database, self.replay, turn).await?)
    }
}

/// What became of some copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Put {
    /// They are surely in the queue.
    Sent,
    /// No queue takes one of them.
    Unfit,
    /// Asked to stop first.
    Stopped,
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
