//! Looking: the database and the queue at once, each as far as it can be reached, and never for long.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::super::output;
use super::super::report::percent;
use super::seen::{ASSIGNED, Ages, Bookings, Depth, Events, Seen, Spooled, Trouble, Waiting, Window, Worker};
use super::verdict;
use crate::config::{Config, DatabaseConfig, QueueConfig, Topology};
use crate::event::CompanyId;
use crate::queue::{Part, Queue, QueueError, Spool};
use crate::runtime::clock::now_ms;
use crate::store::{
    self, Database, StoreError, StoreErrorKind, WorkerRow, ages_since, decided_last, open_dead_letters,
    open_inbox, outcomes_since, unassigned,
};

const MINUTE_MS: i64 = 60_000;

/// How long a server that is away is waited for.
const PATIENCE: Duration = Duration::from_secs(3);

/// Ages are of so many events at most.
const SAMPLE: u64 = 2_000;

/// Counting a day takes longer than the rest: while it is looked at again and again, this is done so often.
const DAY_AGAIN: Duration = Duration::from_secs(60);

/// Workers tell of themselves every 10 s; whoever has missed four of them is gone.
const GONE_AFTER: Duration = Duration::from_secs(45);

/// Who looks, and what it keeps from one time to the next.
pub(super) struct Look {
    database: DatabaseConfig,
    queue: QueueConfig,
    spool: PathBuf,
    company: Option<CompanyId>,
    connected: Option<Database>,
    opened: Option<Queue>,
    day: Option<Day>,
}

/// What was decided in the 24 hours before a moment, by outcome.
struct Day {
    counted: Instant,
    until_ms: i64,
    outcomes: BTreeMap<String, i64>,
}

/// What is in the database. A part that it refuses is left out, and said.
#[derive(Default)]
struct Rows {
    events: Option<Events>,
    age: Option<Ages>,
    unassigned: Option<Bookings>,
    inbox: Option<Waiting>,
    dead_letters: Option<Waiting>,
    workers: Option<Vec<Worker>>,
    refused: Option<StoreError>,
}

impl Look {
    pub(super) fn new(config: &Config, company: Option<CompanyId>) -> Self {
        let mut database = config.database.clone();
        database.acquire_timeout = database.acquire_timeout.min(PATIENCE);
        // Who looks makes nothing.
        let mut queue = QueueConfig { topology: Topology::Verify, ..config.queue.clone() };
        queue.connect_timeout = queue.connect_timeout.min(PATIENCE);
        let spool = config.edge.spool.clone();
        Self { database, queue, spool, company, connected: None, opened: None, day: None }
    }

    /// Looks at all there is.
    pub(super) async fn at_everything(&mut self) -> Seen {
        let now_ms = now_ms();
        let (company, spool) = (self.company, self.spool.clone());
        // On the heap: together they are large.
        let levels = Box::pin(levels(&mut self.opened, &self.queue));
        let rows = Box::pin(rows(&mut self.connected, &self.database, company, now_ms, &mut self.day));
        let (levels, rows, spool) = tokio::join!(levels, rows, Box::pin(spooled(&spool)));
        let (queue, queue_trouble) = match levels {
            Ok(depth) => (Some(depth), None),
            Err(error) => {
                let is_away = matches!(error, QueueError::Unavailable(_) | QueueError::File { .. });
                (None, Some(Trouble { message: error.to_string(), is_away }))
            }
        };
        let (rows, database) = match rows {
            Ok(mut rows) => {
                let refused = rows.refused.take();
                (rows, refused.map(|error| Trouble { message: error.to_string(), is_away: false }))
            }
            Err(error) => {
                let is_away = error.kind() == StoreErrorKind::Unavailable;
                (Rows::default(), Some(Trouble { message: error.to_string(), is_away }))
            }
        };
        verdict::given(
            Seen {
                at: output::moment(now_ms),
                company: company.map(|company| company.0),
                state: verdict::State::Ok,
                assigning: verdict::Assigning::Unknown,
                reasons: Vec::new(),
                database,
                queue_trouble,
                events: rows.events,
                age: rows.age,
                queue,
                unassigned: rows.unassigned,
                inbox: rows.inbox,
                dead_letters: rows.dead_letters,
                spool,
                workers: rows.workers,
            },
            now_ms,
        )
    }

    pub(super) async fn close(self) {
        if let Some(database) = self.connected {
            database.close().await;
        }
        if let Some(queue) = self.opened {
            queue.close().await;
        }
    }
}

async fn levels(opened: &mut Option<Queue>, config: &QueueConfig) -> Result<Depth, QueueError> {
    let queue = match opened {
        Some(queue) => queue,
        None => {
            there(config)?;
            opened.insert(Queue::open(config).await?)
        }
    };
    let mut depth = Depth::default();
    for level in queue.levels().await? {
        match level.part {
            Part::Work => {
                depth.ready += level.ready;
                depth.consumers = level.consumers;
            }
            Part::Retry => depth.waiting += level.ready,
            Part::Dead => depth.dead += level.ready,
        }
        depth.in_hand = level.unacked.map(|more| depth.in_hand.unwrap_or(0) + more).or(depth.in_hand);
    }
    Ok(depth)
}

/// A queue's file that is not there is not made by who looks.
fn there(config: &QueueConfig) -> Result<(), QueueError> {
    let Some(path) = config.url.expose().strip_prefix("sqlite://") else { return Ok(()) };
    let path = path.split('?').next().unwrap_or_default().to_owned();
    if Path::new(&path).exists() {
        return Ok(());
    }
    let problem = "it is not there (yet): nothing has been published, or queue.url names another".to_owned();
    Err(QueueError::File { path, problem })
}

/// Of an edge on this machine, if it has one.
async fn spooled(path: &Path) -> Option<Spooled> {
    if path.as_os_str().is_empty() || !path.exists() {
        return None;
    }
    match timeout(PATIENCE, Spool::look(path)).await {
        Ok(Ok(level)) => Some(Spooled {
            messages: level.messages,
            bytes: level.bytes,
            oldest_seconds: level.age().as_secs(),
            set_aside: level.set_aside,
        }),
        Ok(Err(error)) => {
            tracing::debug!(%error, "the spool cannot be looked at");
            None
        }
        Err(_) => None,
    }
}

async fn rows(
    connected: &mut Option<Database>,
    config: &DatabaseConfig,
    company: Option<CompanyId>,
    now_ms: i64,
    day: &mut Option<Day>,
) -> Result<Rows, StoreError> {
    let database = match connected {
        Some(database) => database,
        None => connected.insert(Database::connect_to_look(config).await?),
    };
    let db = database.connection();
    let mut rows = Rows::default();
    let events = database.in_time(events(db, company, now_ms, day)).await;
    rows.events = allowed(events, &mut rows.refused)?;
    let ages = ages_since(db, company, now_ms - 15 * MINUTE_MS, SAMPLE);
    let ages = database.in_time(ages).await;
    rows.age = allowed(ages, &mut rows.refused)?.and_then(Ages::of);
    let bookings = database.in_time(unassigned(db, company, now_ms)).await;
    rows.unassigned = allowed(bookings, &mut rows.refused)?.map(|it| Bookings {
        within_24_hours: it.day,
        within_7_days: it.week,
        all: it.all,
        next: it.next_ms.map(output::moment),
        next_ms: it.next_ms,
    });
    let inbox = database.in_time(open_inbox(db, company, now_ms)).await;
    let inbox = allowed(inbox, &mut rows.refused)?;
    rows.inbox = inbox.map(|it| Waiting::of(it.into_iter().map(|(kind, one)| (kind.to_string(), one))));
    let letters = database.in_time(open_dead_letters(db, company)).await;
    rows.dead_letters = allowed(letters, &mut rows.refused)?.map(Waiting::of);
    let workers = database.in_time(store::workers(database)).await;
    rows.workers = allowed(workers, &mut rows.refused)?.map(|all| all.into_iter().map(worker).collect());
    Ok(rows)
}

/// A table that is not there, or may not be read, leaves the rest to be shown; a server that is away does not.
fn allowed<T>(
    asked: Result<T, StoreError>,
    refused: &mut Option<StoreError>,
) -> Result<Option<T>, StoreError> {
    match asked {
        Ok(answer) => Ok(Some(answer)),
        Err(error @ StoreError::Unavailable { .. }) => Err(error),
        Err(error) => {
            refused.get_or_insert(error);
            Ok(None)
        }
    }
}

async fn events(
    db: &impl sea_orm::ConnectionTrait,
    company: Option<CompanyId>,
    now_ms: i64,
    day: &mut Option<Day>,
) -> Result<Events, StoreError> {
    if day.as_ref().is_none_or(|day| day.counted.elapsed() >= DAY_AGAIN) {
        let counts = outcomes_since(db, company, [now_ms - 24 * 60 * MINUTE_MS, now_ms]).await?;
        let outcomes = counts.into_iter().map(|(outcome, [all, later])| (outcome, all - later)).collect();
        *day = Some(Day { counted: Instant::now(), until_ms: now_ms, outcomes });
    }
    let until_ms = day.as_ref().map_or(now_ms, |day| day.until_ms);
    let ago = |minutes: i64| now_ms - minutes * MINUTE_MS;
    let counts = outcomes_since(db, company, [ago(1), ago(15), ago(60), until_ms]).await?;
    let [last_minute, last_15_minutes, last_hour, later] = [0, 1, 2, 3].map(|place| {
        counts.iter().map(|(outcome, counts)| (outcome.clone(), counts[place])).collect::<BTreeMap<_, _>>()
    });
    let mut last_day = day.as_ref().map(|day| day.outcomes.clone()).unwrap_or_default();
    for (outcome, count) in later {
        *last_day.entry(outcome).or_default() += count;
    }
    let last_decided_ms = decided_last(db).await?;
    Ok(Events {
        last_minute: window(last_minute),
        last_15_minutes: window(last_15_minutes),
        last_hour: window(last_hour),
        last_day: window(last_day),
        last_decided: last_decided_ms.map(output::moment),
        last_decided_ms,
    })
}

fn window(mut outcomes: BTreeMap<String, i64>) -> Window {
    outcomes.retain(|_, count| *count > 0);
    let mut window = Window { outcomes, ..Window::default() };
    window.decided = window.outcomes.values().sum();
    let parts = [window.of(&ASSIGNED), window.to_assign()].map(i64::unsigned_abs);
    window.assigned_percent = percent(parts[0], parts[1]);
    window
}

fn worker(row: WorkerRow) -> Worker {
    let WorkerRow { worker, work, started, seen } = row;
    Worker {
        host: worker.host,
        pid: worker.pid,
        role: worker.role,
        version: worker.version,
        revision: worker.revision,
        mode: worker.mode,
        pipelines: worker.pipelines,
        gone: seen > GONE_AFTER,
        up_seconds: started.as_secs(),
        seen_seconds: seen.as_secs(),
        settled_seconds: work.settled.map(|ago| ago.as_secs()),
        finished: work.finished,
        retried: work.retried,
        failed: work.failed,
    }
}
