//! Reads the status from the database and the queue in parallel, with short timeouts. Leaves out what cannot be
//! read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sea_orm::{ConnectionTrait, DbBackend};
use tokio::time::timeout;

use super::assess;
use super::{Ages, Depth, Events, Problem, Spooled, StatusView, Waiting, Window};
use crate::config::{Config, DatabaseConfig, QueueConfig, Topology};
use crate::queue::{Queue, QueueError, QueueRole, Spool};
use crate::runtime::clock::now_ms;
use crate::store::{
    self, Database, Scope, StoreError, StoreErrorKind, ages_since, full_inboxes, last_decided_ms,
    open_dead_letters, open_inbox, outcomes_since, unassigned,
};

const MINUTE_MS: i64 = 60_000;

/// The time limit for connecting to a server.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The maximum number of events whose ages are read.
const MAX_AGES: u64 = 2_000;

/// The interval at which a repeated read counts the day's events again: that takes longer than the other reads.
const DAY_INTERVAL: Duration = Duration::from_secs(60);

/// Reads the status, once or repeatedly. It does not need a [`crate::app::AppContext`], so it works while the
/// database and the queue are unreachable.
pub(crate) struct StatusReader {
    database: DatabaseConfig,
    queue: QueueConfig,
    spool: PathBuf,
    scope: Scope,
    connected: Option<Database>,
    opened: Option<Queue>,
    day: Option<Day>,
}

/// The numbers of events decided in the 24 hours before a moment, by outcome.
struct Day {
    counted_at: Instant,
    until_ms: i64,
    outcomes: BTreeMap<String, i64>,
}

impl StatusReader {
    /// Creates a reader without connecting.
    pub(crate) fn new(config: &Config, scope: Scope) -> Self {
        let mut database = config.database.clone();
        database.acquire_timeout = database.acquire_timeout.min(CONNECT_TIMEOUT);
        // A reader must not create queues.
        let mut queue = QueueConfig { topology: Topology::Verify, ..config.queue.clone() };
        queue.connect_timeout = queue.connect_timeout.min(CONNECT_TIMEOUT);
        let spool = config.edge.spool.clone();
        Self { database, queue, spool, scope, connected: None, opened: None, day: None }
    }

    /// Reads and assesses the status.
    pub(crate) async fn read(&mut self) -> StatusView {
        let company = self.scope.only();
        let mut view = StatusView { at: now_ms(), company, ..StatusView::default() };
        let spool = self.spool.clone();
        // On the heap, because the futures are large.
        let depth = Box::pin(read_queue(&mut self.opened, &self.queue));
        let database =
            read_database(&mut self.connected, &self.database, &self.scope, &mut self.day, &mut view);
        let (depth, database, spool) = tokio::join!(depth, Box::pin(database), Box::pin(read_spool(&spool)));
        view.spool = spool;
        match depth {
            Ok((depth, is_blocked)) => {
                view.queue = Some(depth);
                view.is_queue_blocked = is_blocked;
            }
            Err(error) => {
                let is_unreachable = matches!(error, QueueError::Unavailable(_) | QueueError::File { .. });
                view.queue_problem = Some(Problem { message: error.to_string(), is_unreachable });
            }
        }
        if let Err(error) = database {
            let is_unreachable = error.kind() == StoreErrorKind::Unavailable;
            view.database_problem = Some(Problem { message: error.to_string(), is_unreachable });
        }
        assess::assess(&mut view);
        view
    }

    /// Closes the connections.
    pub(crate) async fn close(self) {
        if let Some(database) = self.connected {
            database.close().await;
        }
        if let Some(queue) = self.opened {
            queue.close().await;
        }
    }
}

/// Reads the depth of the queue, and whether it accepts no messages.
async fn read_queue(opened: &mut Option<Queue>, config: &QueueConfig) -> Result<(Depth, bool), QueueError> {
    let queue = match opened {
        Some(queue) => queue,
        None => {
            check_file_exists(config)?;
            opened.insert(Queue::open(config).await?)
        }
    };
    let publisher = queue.publisher();
    let (levels, is_blocked) = tokio::join!(queue.levels(), publisher.is_blocked());
    let mut depth = Depth::default();
    for level in levels? {
        match level.role {
            QueueRole::Work => {
                depth.ready += level.ready;
                depth.consumers = level.consumers;
            }
            QueueRole::Retry => depth.waiting += level.ready,
            QueueRole::Dead => depth.dead += level.ready,
        }
        depth.in_hand = level.unacked.map(|more| depth.in_hand.unwrap_or(0) + more).or(depth.in_hand);
    }
    Ok((depth, is_blocked))
}

/// Fails if the queue file does not exist, so that a read does not create it.
fn check_file_exists(config: &QueueConfig) -> Result<(), QueueError> {
    let Some(path) = config.url.expose().strip_prefix("sqlite://") else { return Ok(()) };
    let path = path.split('?').next().unwrap_or_default().to_owned();
    if Path::new(&path).exists() {
        return Ok(());
    }
    let problem = "the file does not exist: nothing has been published yet, or queue.url is wrong".to_owned();
    Err(QueueError::File { path, problem })
}

/// Reads the spool of an edge on this machine, if there is one.
async fn read_spool(path: &Path) -> Option<Spooled> {
    if path.as_os_str().is_empty() || !path.exists() {
        return None;
    }
    match timeout(CONNECT_TIMEOUT, Spool::inspect(path)).await {
        Ok(Ok(level)) => Some(Spooled {
            messages: level.messages,
            bytes: level.bytes,
            oldest_seconds: level.age().as_secs(),
            set_aside: level.set_aside,
        }),
        Ok(Err(error)) => {
            tracing::debug!(%error, "the spool cannot be read");
            None
        }
        Err(_) => None,
    }
}

/// Reads the database. Skips a part that the database refuses and returns that error at the end; stops at
/// once if the database is unreachable.
async fn read_database(
    connected: &mut Option<Database>,
    config: &DatabaseConfig,
    scope: &Scope,
    day: &mut Option<Day>,
    view: &mut StatusView,
) -> Result<(), StoreError> {
    let database = match connected {
        Some(database) => database,
        None => connected.insert(Database::connect_read_only(config).await?),
    };
    let (db, at) = (database.connection(), view.at);
    let mut first_error = None;
    let errors = &mut first_error;
    // Reading says nothing about writing.
    if database.backend() != DbBackend::Sqlite {
        let read_only = async { Ok(migration::read_only(db).await?) };
        view.read_only = part(database, read_only, errors).await?.flatten();
    }
    view.events = part(database, events(db, scope, at, day), errors).await?;
    let ages = ages_since(db, scope, at - 15 * MINUTE_MS, MAX_AGES);
    view.age = part(database, ages, errors).await?.and_then(Ages::of);
    view.unassigned = part(database, unassigned(db, scope, at), errors).await?;
    view.inbox = part(database, open_inbox(db, scope, at), errors).await?.map(Waiting::of);
    view.full_inboxes = part(database, full_inboxes(db, scope), errors).await?.unwrap_or_default();
    view.dead_letters = part(database, open_dead_letters(db, scope), errors).await?.map(Waiting::of);
    view.workers = part(database, store::workers(database), errors).await?;
    first_error.map_or(Ok(()), Err)
}

/// Reads one part. A missing or unreadable table does not stop the others; an unreachable server does.
async fn part<T>(
    database: &Database,
    query: impl Future<Output = Result<T, StoreError>>,
    first_error: &mut Option<StoreError>,
) -> Result<Option<T>, StoreError> {
    match database.with_deadline(query).await {
        Ok(result) => Ok(Some(result)),
        Err(error @ StoreError::Unavailable { .. }) => Err(error),
        Err(error) => {
            first_error.get_or_insert(error);
            Ok(None)
        }
    }
}

async fn events(
    db: &impl ConnectionTrait,
    scope: &Scope,
    now_ms: i64,
    day: &mut Option<Day>,
) -> Result<Events, StoreError> {
    if day.as_ref().is_none_or(|day| day.counted_at.elapsed() >= DAY_INTERVAL) {
        let counts = outcomes_since(db, scope, [now_ms - 24 * 60 * MINUTE_MS, now_ms]).await?;
        let outcomes = counts.into_iter().map(|(outcome, [all, later])| (outcome, all - later)).collect();
        *day = Some(Day { counted_at: Instant::now(), until_ms: now_ms, outcomes });
    }
    let until_ms = day.as_ref().map_or(now_ms, |day| day.until_ms);
    let ago = |minutes: i64| now_ms - minutes * MINUTE_MS;
    let counts = outcomes_since(db, scope, [ago(1), ago(15), ago(60), until_ms]).await?;
    let in_window = |index: usize| {
        counts.iter().map(|(outcome, counts)| (outcome.clone(), counts[index])).collect::<BTreeMap<_, _>>()
    };
    let mut last_day = day.as_ref().map(|day| day.outcomes.clone()).unwrap_or_default();
    for (outcome, count) in in_window(3) {
        *last_day.entry(outcome).or_default() += count;
    }
    Ok(Events {
        last_minute: Window::of(in_window(0)),
        last_15_minutes: Window::of(in_window(1)),
        last_hour: Window::of(in_window(2)),
        last_day: Window::of(last_day),
        last_decided: last_decided_ms(db).await?,
    })
}
