//! Runs the real program: worker processes on a full queue, and at a steady rate.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use sea_orm::{ConnectionTrait as _, Statement};
use tokio::time::{sleep, sleep_until};

use crate::Result;
use crate::bookings::{Booking, Kind};
use crate::broker::Broker;
use crate::costs::{Costs, Watched};
use crate::filling;
use crate::program::{Program, peak_memory};
use crate::quantiles::Quantiles;
use crate::salon::Salon;

const WAIT_TIMEOUT: Duration = Duration::from_secs(900);
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// More events than a worker can decide in the longer interval between two polls.
const NEARLY_EMPTY: u64 = 8_000;

/// The number of worker processes, and their settings; `None` means the default.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Setup {
    pub(crate) processes: usize,
    pub(crate) batch: Option<u64>,
    pub(crate) pipelines: Option<u64>,
}

impl Setup {
    fn settings(&self, broker: &Broker, salon: &Salon) -> Vec<(&'static str, String)> {
        let mut settings = broker.settings();
        settings.push(("database.url", salon.scratch.url.clone()));
        settings.push(("log.format", "json".to_owned()));
        settings.extend(self.pipelines.map(|pipelines| ("worker.pipelines", pipelines.to_string())));
        if let Some(batch) = self.batch {
            settings.push(("worker.batch_size", batch.to_string()));
            settings.push(("queue.prefetch", (2 * batch).max(400).to_string()));
        }
        settings
    }

    /// Starts the workers.
    ///
    /// # Errors
    /// Fails if a worker cannot be started.
    pub(crate) fn start(&self, broker: &Broker, salon: &Salon, directory: &Path) -> Result<Vec<Program>> {
        let settings = self.settings(broker, salon);
        let start = |n| Program::start(directory, &format!("worker-{n}"), &["serve", "worker"], &settings);
        (0..self.processes.max(1)).map(start).collect()
    }
}

/// Lets workers drain the first `events` events, which wait in the queue. Measures from the moment when the
/// first worker begins to consume until the last outcome is committed.
///
/// # Errors
/// Fails if a worker fails, or its rows are wrong.
pub(crate) async fn drain(
    setup: &Setup,
    broker: &Broker,
    salon: &Salon,
    events: u64,
    watched: &Watched,
    directory: &Path,
) -> Result<Costs> {
    let costs = run(setup, broker, salon, events, watched, directory).await?;
    salon.check_appointments(events).await?;
    salon.check_rows(events, events).await?;
    Ok(costs)
}

/// Drains any events like [`drain`], without checking the rows.
///
/// # Errors
/// Fails if a worker fails.
pub(crate) async fn run(
    setup: &Setup,
    broker: &Broker,
    salon: &Salon,
    events: u64,
    watched: &Watched,
    directory: &Path,
) -> Result<Costs> {
    let events_before = salon.count_decided().await?;
    let mut workers = setup.start(broker, salon, directory)?;
    let until = Instant::now() + WAIT_TIMEOUT;
    while broker.inspect().await?.1 == 0 {
        ensure_before(until, &mut workers)?;
        sleep(Duration::from_millis(1)).await;
    }
    let pids = workers.iter_mut().map(Program::id).collect::<Result<Vec<u32>>>()?;
    let (before, began) = (watched.cpu(&pids), Instant::now());
    // Polling costs the broker time, and counting rows costs the database time: so poll rarely while many
    // events remain, and count only once the queue is empty.
    loop {
        let remaining = broker.inspect().await?.0;
        if remaining == 0 && salon.count_decided().await? >= events_before + events {
            break;
        }
        ensure_before(until, &mut workers)?;
        sleep(if remaining > NEARLY_EMPTY { POLL_INTERVAL * 20 } else { POLL_INTERVAL }).await;
    }
    let took = began.elapsed();
    let after = watched.cpu(&pids);
    let peak = pids.iter().copied().map(peak_memory).max();
    for worker in workers {
        worker.stop().await?;
    }
    Ok(Costs::of(events, took, before, after, peak))
}

/// Publishes events at a steady rate to a worker, and measures for each event the time from its publish until
/// another session sees its outcome.
///
/// # Errors
/// Fails if the worker fails, or its rows are wrong.
pub(crate) async fn measure_latency(
    broker: &Broker,
    salon: &Salon,
    per_second: u32,
    directory: &Path,
) -> Result<Quantiles> {
    let mut workers = Setup::default().start(broker, salon, directory)?;
    let until = Instant::now() + WAIT_TIMEOUT;
    while broker.inspect().await?.1 == 0 {
        ensure_before(until, &mut workers)?;
        sleep(POLL_INTERVAL).await;
    }
    let (sent, mut received) = tokio::sync::mpsc::unbounded_channel();
    let publishing = async {
        let began = tokio::time::Instant::now();
        for n in 0..salon.appointments {
            sleep_until(began + Duration::from_secs(n) / per_second).await;
            let before = Instant::now();
            let one = Booking::nth(n);
            filling::publish(broker, std::iter::once(one)).await?;
            if one.kind != Kind::Malformed {
                sent.send((one.event_id(), before))?;
            }
        }
        drop(sent);
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
    };
    let watching = async {
        let (mut pending, mut took, mut is_publishing) = (BTreeMap::new(), Vec::new(), true);
        while is_publishing || !pending.is_empty() {
            ensure_before(until, &mut workers)?;
            loop {
                match received.try_recv() {
                    Ok((id, at)) => _ = pending.insert(id, at),
                    Err(error) => {
                        is_publishing = error == tokio::sync::mpsc::error::TryRecvError::Empty;
                        break;
                    }
                }
            }
            for id in committed_ids(salon, pending.keys()).await? {
                took.extend(pending.remove(&id).map(|at: Instant| at.elapsed()));
            }
            sleep(Duration::from_millis(1)).await;
        }
        Ok(took)
    };
    let (published, took): (Result<()>, Result<Vec<Duration>>) = tokio::join!(publishing, watching);
    published?;
    for worker in workers {
        worker.stop().await?;
    }
    salon.check_appointments(salon.appointments).await?;
    Ok(Quantiles::of(took?))
}

/// Returns the ids of those of these events that have an outcome.
async fn committed_ids(salon: &Salon, ids: impl Iterator<Item = &String>) -> Result<Vec<String>> {
    let mut query = String::new();
    for id in ids {
        write!(query, "{}'{id}'", if query.is_empty() { "" } else { "," })?;
    }
    if query.is_empty() {
        return Ok(Vec::new());
    }
    let query = format!("SELECT event_id FROM hostmatch_events WHERE event_id IN ({query})");
    let statement = Statement::from_string(salon.scratch.database.backend(), query);
    let rows = salon.scratch.database.connection().query_all_raw(statement).await?;
    Ok(rows.iter().map(|row| row.try_get_by_index(0)).collect::<std::result::Result<_, _>>()?)
}

/// Checks that every worker still runs, and that the deadline has not passed.
///
/// # Errors
/// Fails if a worker has ended, or the deadline has passed.
pub(crate) fn ensure_before(until: Instant, workers: &mut [Program]) -> Result<()> {
    for worker in workers {
        worker.id()?;
    }
    if Instant::now() < until { Ok(()) } else { Err("the workers take too long; see their logs".into()) }
}
