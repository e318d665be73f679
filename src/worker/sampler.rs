//! Looks from time to time at what all workers share: the queue, and in the database what waits for
//! people. Every worker tells the same, so the largest counts, and not the sum.
//!
//! What cannot be looked at is not known: its gauges say NaN then, which no alert takes for a number,
//! and `hostmatch_sample_up` says 0. Nothing ends because of it.

use std::collections::BTreeMap;
use std::time::Duration;

use strum::VariantArray as _;
use tokio::time::MissedTickBehavior;

use super::run::Worker;
use crate::queue::{Level, Part, QueueError};
use crate::runtime::clock::now_ms;
use crate::runtime::shutdown::Shutdown;
use crate::store::{
    InboxKind, Scope, StoreError, StoreErrorKind, Unassigned, Waits, open_dead_letters, open_inbox,
    sum_waits, unassigned,
};
use crate::telemetry::metrics::Kind::Gauge;
use crate::telemetry::metrics::Values::{Closed, Few};
use crate::telemetry::metrics::{Family, LabelOf as Label, on_scrape, series};

/// How long a look may take.
const LIMIT: Duration = Duration::from_secs(10);

const QUEUE: Label = ("queue", Few("its name; one for all wait queues together"));
const ROLE: Label = ("queue_role", Closed(|| Part::VARIANTS.iter().copied().map(Part::as_str).collect()));
const READY: Label = ("state", Few("`ready`, `unacked`"));
const REASON: Label =
    ("reason", Closed(|| InboxKind::VARIANTS.iter().copied().map(InboxKind::as_str).collect()));
const HORIZON: Label = ("horizon", Closed(|| vec!["24h", "7d", "all"]));
const STATE: Label = ("state", Closed(|| vec!["idle", "used", "max"]));
const OF: Label = ("of", Closed(|| vec!["database", "queue"]));

series! {
    /// What a worker looks at.
    pub(super) SERIES:
    MESSAGES = Gauge, "hostmatch_queue_messages", [QUEUE, ROLE, READY],
        "Messages in a queue; `unacked` only on the embedded queue: RabbitMQ does not tell";
    CONSUMERS = Gauge, "hostmatch_queue_consumers", [QUEUE, ROLE],
        "Who consumes from a queue on RabbitMQ, all workers together";
    LETTERS = Gauge, "hostmatch_dead_letters_open", [],
        "Dead letters that wait for a person";
    INBOX = Gauge, "hostmatch_inbox_items", [REASON],
        "Hosts that need a person";
    INBOX_AGE = Gauge, "hostmatch_inbox_oldest_item_age_seconds", [],
        "For how long a host has needed a person, of the one that has longest; 0: none does";
    UNASSIGNED = Gauge, "hostmatch_unassigned_bookings", [HORIZON],
        "Bookings without staff that start within this time from now, cancelled ones left out";
    POOL = Gauge, "hostmatch_db_pool_connections", [STATE],
        "Connections of this worker to the database, and how many there may be";
    UP = Gauge, "hostmatch_sample_up", [OF],
        "1 while what is sampled could be looked at the last time";
}

/// What waits for people.
struct Backlogs {
    letters: i64,
    inbox: BTreeMap<InboxKind, Waits>,
    unassigned: Unassigned,
}

/// The one who looks.
pub(super) struct Sampler {
    worker: Worker,
    letters: Family<metrics::Gauge, 0>,
    inbox: Family<metrics::Gauge, 1>,
    inbox_age: Family<metrics::Gauge, 0>,
    unassigned: Family<metrics::Gauge, 1>,
    up: Family<metrics::Gauge, 1>,
    /// What was told of queues, to be taken back.
    told: Vec<metrics::Gauge>,
}

impl Sampler {
    pub(super) fn new(worker: Worker) -> Self {
        let (database, pool) = (worker.processor.database.clone(), POOL.gauges());
        let most = worker.config.database.max_connections;
        on_scrape(move || {
            let (open, idle) = database.connections();
            pool.set(["idle"], f64::from(idle));
            pool.set(["used"], f64::from(open.saturating_sub(idle)));
            pool.set(["max"], f64::from(most));
        });
        Self {
            worker,
            letters: LETTERS.gauges(),
            inbox: INBOX.gauges(),
            inbox_age: INBOX_AGE.gauges(),
            unassigned: UNASSIGNED.gauges(),
            up: UP.gauges(),
            told: Vec::new(),
        }
    }

    /// Looks every `metrics.sample_every`, until asked to stop.
    pub(super) async fn run(mut self, shutdown: Shutdown) {
        self.set_database(None);
        let mut ticks = tokio::time::interval(self.worker.config.metrics.sample_every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let samples = async {
            loop {
                ticks.tick().await;
                let (database, levels) = tokio::join!(self.read_database(), self.look_at_queue());
                self.take_database(&database);
                self.take_queue(&levels);
            }
        };
        shutdown.run_until_cancelled(samples).await;
    }

    async fn read_database(&self) -> Result<Backlogs, StoreError> {
        let (database, now_ms) = (&self.worker.processor.database, now_ms());
        let db = database.connection();
        let looks = async {
            Ok(Backlogs {
                letters: sum_waits(open_dead_letters(db, &Scope::All).await?.values()).count,
                inbox: open_inbox(db, &Scope::All, now_ms).await?,
                unassigned: unassigned(db, &Scope::All, now_ms).await?,
            })
        };
        database.with_deadline(looks).await
    }

    async fn look_at_queue(&self) -> Result<Vec<Level>, QueueError> {
        let late = |_| QueueError::Unavailable("it did not answer in time".to_owned());
        tokio::time::timeout(LIMIT, self.worker.queue.levels()).await.unwrap_or_else(|error| Err(late(error)))
    }

    fn take_database(&self, looked: &Result<Backlogs, StoreError>) {
        let error = looked.as_ref().err();
        if let Some(error) = error {
            tracing::debug!(%error, "the database was not sampled");
        }
        let is_away = error.is_some_and(|error| error.kind() == StoreErrorKind::Unavailable);
        // That it answers is not yet that events can be decided.
        self.worker.processor.meters.database(!is_away && !self.worker.availability.is_held());
        self.up.set(["database"], f64::from(u8::from(looked.is_ok())));
        self.set_database(looked.as_ref().ok());
    }

    fn set_database(&self, backlogs: Option<&Backlogs>) {
        let Some(Backlogs { letters, inbox, unassigned }) = backlogs else {
            self.letters.forget();
            self.inbox.forget();
            self.inbox_age.forget();
            self.unassigned.forget();
            return;
        };
        self.letters.set([], float(*letters));
        for (kind, waits) in inbox {
            self.inbox.set([kind.as_str()], float(waits.count));
        }
        let oldest_ms = sum_waits(inbox.values()).oldest_ms;
        let age_ms = oldest_ms.map_or(0, |since| (now_ms() - since).max(0));
        self.inbox_age.set([], float(age_ms) / 1000.0);
        let Unassigned { day, week, all, .. } = *unassigned;
        for (horizon, count) in [("24h", day), ("7d", week), ("all", all)] {
            self.unassigned.set([horizon], float(count));
        }
    }

    fn take_queue(&mut self, looked: &Result<Vec<Level>, QueueError>) {
        self.up.set(["queue"], f64::from(u8::from(looked.is_ok())));
        let levels = match looked {
            Ok(levels) => levels,
            Err(error) => {
                tracing::debug!(%error, "the queue was not sampled");
                self.told.iter().for_each(|gauge| gauge.set(f64::NAN));
                return;
            }
        };
        self.told.clear();
        for Level { name, part, ready, unacked, consumers } in levels {
            let labels = |state: &'static str| metrics::gauge!(MESSAGES.name, "queue" => name.clone(), "queue_role" => part.as_str(), "state" => state);
            let consuming =
                || metrics::gauge!(CONSUMERS.name, "queue" => name.clone(), "queue_role" => part.as_str());
            let all = [
                Some((labels("ready"), ready)),
                unacked.as_ref().map(|count| (labels("unacked"), count)),
                consumers.as_ref().map(|count| (consuming(), count)),
            ];
            for (gauge, count) in all.into_iter().flatten() {
                gauge.set(float(i64::try_from(*count).unwrap_or(i64::MAX)));
                self.told.push(gauge);
            }
            if *part == Part::Work && *ready == 0 {
                self.worker.processor.meters.nothing_waits();
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "metrics are floats")]
fn float(number: i64) -> f64 {
    number as f64
}
