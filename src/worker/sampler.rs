//! Samples at intervals the state that all workers share: the queue, and what waits for operators in the
//! database. Every worker reports the same values, so use the maximum over all workers, not the sum.
//!
//! When a source cannot be read, its gauges are NaN, which matches no alert, and `hostmatch_sample_up` is 0.
//! The worker continues.

use std::collections::BTreeMap;
use std::time::Duration;

use strum::VariantArray as _;
use tokio::time::MissedTickBehavior;

use super::run::Worker;
use crate::queue::{Level, QueueError, QueueRole};
use crate::runtime::clock::now_ms;
use crate::runtime::shutdown::Shutdown;
use crate::store::{
    InboxKind, Scope, StoreError, StoreErrorKind, Unassigned, WaitingCount, open_dead_letters, open_inbox,
    sum_waiting, unassigned,
};
use crate::telemetry::metrics::Kind::Gauge;
use crate::telemetry::metrics::Values::{Closed, Described};
use crate::telemetry::metrics::{Family, LabelValues as Label, on_scrape, series};

/// The time limit for reading the queue.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(10);

const QUEUE: Label = ("queue", Described("its name; all wait queues share one"));
const ROLE: Label =
    ("queue_role", Closed(|| QueueRole::VARIANTS.iter().copied().map(QueueRole::as_str).collect()));
const MESSAGE_STATE: Label = ("state", Described("`ready`, `unacked`"));
const REASON: Label =
    ("reason", Closed(|| InboxKind::VARIANTS.iter().copied().map(InboxKind::as_str).collect()));
const HORIZON: Label = ("horizon", Closed(|| vec!["24h", "7d", "all"]));
const CONNECTION_STATE: Label = ("state", Closed(|| vec!["idle", "used", "max"]));
const SOURCE: Label = ("of", Closed(|| vec!["database", "queue"]));

series! {
    /// The series that a worker samples.
    pub(super) SERIES:
    MESSAGES = Gauge, "hostmatch_queue_messages", [QUEUE, ROLE, MESSAGE_STATE],
        "Messages in a queue; `unacked` only on the embedded queue: RabbitMQ does not report it";
    CONSUMERS = Gauge, "hostmatch_queue_consumers", [QUEUE, ROLE],
        "Consumers of a queue on RabbitMQ, of all workers";
    LETTERS = Gauge, "hostmatch_dead_letters_open", [],
        "Dead letters that wait for a person";
    INBOX = Gauge, "hostmatch_inbox_items", [REASON],
        "Hosts that a person has to decide about";
    INBOX_AGE = Gauge, "hostmatch_inbox_oldest_item_age_seconds", [],
        "How long the oldest item of the inbox has waited for a person; 0 if the inbox is empty";
    UNASSIGNED = Gauge, "hostmatch_unassigned_bookings", [HORIZON],
        "Bookings without staff that start within this time from now, without cancelled ones";
    POOL = Gauge, "hostmatch_db_pool_connections", [CONNECTION_STATE],
        "Connections of this worker to the database, and their maximum";
    UP = Gauge, "hostmatch_sample_up", [SOURCE],
        "1 while the last sample of this source succeeded";
}

/// The dead letters, inbox items and bookings that wait for an operator.
struct Backlogs {
    letters: i64,
    inbox: BTreeMap<InboxKind, WaitingCount>,
    unassigned: Unassigned,
}

/// Samples and sets the gauges.
pub(super) struct Sampler {
    worker: Worker,
    letters: Family<metrics::Gauge, 0>,
    inbox: Family<metrics::Gauge, 1>,
    inbox_age: Family<metrics::Gauge, 0>,
    unassigned: Family<metrics::Gauge, 1>,
    up: Family<metrics::Gauge, 1>,
    /// The queue gauges that were set, so that they can be reset if the queue cannot be read.
    queue_gauges: Vec<metrics::Gauge>,
}

impl Sampler {
    pub(super) fn new(worker: Worker) -> Self {
        let (database, pool) = (worker.processor.database.clone(), POOL.gauges());
        let max = worker.config.database.max_connections;
        on_scrape(move || {
            let (open, idle) = database.connections();
            pool.set(["idle"], f64::from(idle));
            pool.set(["used"], f64::from(open.saturating_sub(idle)));
            pool.set(["max"], f64::from(max));
        });
        Self {
            worker,
            letters: LETTERS.gauges(),
            inbox: INBOX.gauges(),
            inbox_age: INBOX_AGE.gauges(),
            unassigned: UNASSIGNED.gauges(),
            up: UP.gauges(),
            queue_gauges: Vec::new(),
        }
    }

    /// Samples every `metrics.sample_every`, until shutdown.
    pub(super) async fn run(mut self, shutdown: Shutdown) {
        self.set_backlogs(None);
        let mut ticks = tokio::time::interval(self.worker.config.metrics.sample_every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let samples = async {
            loop {
                ticks.tick().await;
                let (database, levels) = tokio::join!(self.read_database(), self.read_queue());
                self.apply_database_sample(&database);
                self.apply_queue_sample(&levels);
            }
        };
        shutdown.run_until_cancelled(samples).await;
    }

    async fn read_database(&self) -> Result<Backlogs, StoreError> {
        let (database, now_ms) = (&self.worker.processor.database, now_ms());
        let db = database.connection();
        let reads = async {
            Ok(Backlogs {
                letters: sum_waiting(open_dead_letters(db, &Scope::All).await?.values()).count,
                inbox: open_inbox(db, &Scope::All, now_ms).await?,
                unassigned: unassigned(db, &Scope::All, now_ms).await?,
            })
        };
        database.with_deadline(reads).await
    }

    async fn read_queue(&self) -> Result<Vec<Level>, QueueError> {
        let timeout = |_| QueueError::Unavailable("it did not answer in time".to_owned());
        tokio::time::timeout(QUEUE_TIMEOUT, self.worker.queue.levels())
            .await
            .unwrap_or_else(|error| Err(timeout(error)))
    }

    fn apply_database_sample(&self, sample: &Result<Backlogs, StoreError>) {
        let error = sample.as_ref().err();
        if let Some(error) = error {
            tracing::debug!(%error, "the database was not sampled");
        }
        let is_unreachable = error.is_some_and(|error| error.kind() == StoreErrorKind::Unavailable);
        // A successful read does not mean that events can be decided.
        self.worker
            .processor
            .meters
            .set_database_up(!is_unreachable && !self.worker.availability.is_unavailable());
        self.set_backlogs(sample.as_ref().ok());
        // This is set last, so that no scrape sees it together with older values.
        self.up.set(["database"], f64::from(u8::from(sample.is_ok())));
    }

    fn set_backlogs(&self, backlogs: Option<&Backlogs>) {
        let Some(Backlogs { letters, inbox, unassigned }) = backlogs else {
            self.letters.set_unknown();
            self.inbox.set_unknown();
            self.inbox_age.set_unknown();
            self.unassigned.set_unknown();
            return;
        };
        self.letters.set([], float(*letters));
        for (kind, waits) in inbox {
            self.inbox.set([kind.as_str()], float(waits.count));
        }
        let oldest_ms = sum_waiting(inbox.values()).oldest_ms;
        let age_ms = oldest_ms.map_or(0, |since| (now_ms() - since).max(0));
        self.inbox_age.set([], float(age_ms) / 1000.0);
        let Unassigned { day, week, all, .. } = *unassigned;
        for (horizon, count) in [("24h", day), ("7d", week), ("all", all)] {
            self.unassigned.set([horizon], float(count));
        }
    }

    fn apply_queue_sample(&mut self, sample: &Result<Vec<Level>, QueueError>) {
        match sample {
            Ok(levels) => self.set_queue(levels),
            Err(error) => {
                tracing::debug!(%error, "the queue was not sampled");
                self.queue_gauges.iter().for_each(|gauge| gauge.set(f64::NAN));
            }
        }
        // This is set last, as for the database.
        self.up.set(["queue"], f64::from(u8::from(sample.is_ok())));
    }

    fn set_queue(&mut self, levels: &[Level]) {
        self.queue_gauges.clear();
        for Level { name, role, ready, unacked, consumers } in levels {
            let labels = |state: &'static str| metrics::gauge!(MESSAGES.name, "queue" => name.clone(), "queue_role" => role.as_str(), "state" => state);
            let consuming =
                || metrics::gauge!(CONSUMERS.name, "queue" => name.clone(), "queue_role" => role.as_str());
            let all = [
                Some((labels("ready"), ready)),
                unacked.as_ref().map(|count| (labels("unacked"), count)),
                consumers.as_ref().map(|count| (consuming(), count)),
            ];
            for (gauge, count) in all.into_iter().flatten() {
                gauge.set(float(i64::try_from(*count).unwrap_or(i64::MAX)));
                self.queue_gauges.push(gauge);
            }
            if *role == QueueRole::Work && *ready == 0 {
                self.worker.processor.meters.mark_queue_empty();
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "metrics are floats")]
fn float(number: i64) -> f64 {
    number as f64
}
