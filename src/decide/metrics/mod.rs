//! The metrics of deciding. A delivery is counted once, when it is finished: decided and acknowledged, or a
//! dead letter. A retry, or a redelivery after a lost acknowledgement, does not count as finished.

mod series;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime};

use metrics::{Counter, Gauge, Histogram};

use self::series::{
    AGE, BATCH, BATCHES, CHANGED, CONFIDENCE, CREATED, DB_UP, DEAD, IN_FLIGHT, LAST, MATCHES, MISSING,
    OLDEST, OTHER, PIPELINES, PROCESSED, PUT_OFF, RECEIVED, REPLAYS, RETRIES, STAGE, THRESHOLD, UNKNOWN,
};
use super::in_flight::{InFlight, Settlement};
use crate::event::{Decoded, EVENT_TYPES, Malformed, Shape};
use crate::matching::{ChangeSet, DEAD_LETTER, LookupResult, MappingWrite, MatchStats, Reason};
use crate::queue::{ClosedBy, Delivery, header};
use crate::runtime::clock::now_ms;
use crate::runtime::locked;
use crate::telemetry::metrics::{Family, on_scrape};
use crate::telemetry::traces::Span;

pub use self::series::SERIES;

/// The labels of a delivery in metrics.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DeliveryLabels {
    kind: &'static str,
    format: &'static str,
    published_ms: i64,
    is_replay: bool,
}

impl DeliveryLabels {
    /// Derives the labels from the result of decoding; `None` if decoding panicked.
    pub(crate) fn of(delivery: &Delivery, read: Option<&Result<Decoded, Malformed>>) -> Self {
        let (kind, shape) = match read {
            Some(Ok(Decoded::Event(event))) => (Some(event.event_type.as_str()), Some(event.shape)),
            Some(Ok(Decoded::Ignored(ignored))) => (Some(ignored.event_type.as_str()), Some(ignored.shape)),
            Some(Err(malformed)) => (malformed.hints.event_type.as_deref(), malformed.hints.shape),
            None => (None, None),
        };
        let is_object_job =
            matches!(read, Some(Err(malformed)) if malformed.pointer.ends_with("/data/command"));
        let format = match shape {
            Some(Shape::Native) => "native",
            Some(Shape::CloudEvents | Shape::CloudEventsBinary) => "cloudevents",
            Some(Shape::Laravel) if is_object_job => "laravel_object",
            Some(Shape::Laravel) => "laravel_string",
            Some(Shape::Calcom) => "calcom",
            None => UNKNOWN,
        };
        let (published_ms, is_replay) = (published_ms(delivery), is_replay(delivery));
        Self { kind: type_label(kind), format, published_ms, is_replay }
    }
}

/// Returns an event's type as a label.
pub(crate) fn type_label(event_type: Option<&str>) -> &'static str {
    let known = EVENT_TYPES.iter().find(|known| Some(known.name) == event_type);
    known.map_or(UNKNOWN, |known| known.name)
}

/// The handles of a worker's series, created once; all pipelines share them.
#[derive(Debug)]
pub(crate) struct Meters {
    received: Family<Counter, 2>,
    processed: Family<Counter, 2>,
    age: Family<Histogram, 1>,
    batch: Family<Histogram, 0>,
    batches: Family<Counter, 1>,
    stage: Family<Histogram, 1>,
    matches: Family<Counter, 2>,
    confidence: Family<Histogram, 1>,
    missing: Family<Counter, 1>,
    created: Family<Counter, 1>,
    changed: Family<Counter, 1>,
    retries: Family<Counter, 1>,
    dead: Family<Counter, 1>,
    put_off: Family<Counter, 0>,
    replays: Family<Counter, 1>,
    in_flight: Family<Gauge, 0>,
    last: Family<Gauge, 0>,
    db_up: Family<Gauge, 0>,
    batches_by_pipeline: Mutex<HashMap<usize, PipelineBatch>>,
}

/// The batch that a pipeline is processing, or processed last.
#[derive(Clone, Copy, Debug)]
struct PipelineBatch {
    /// When the oldest event of the batch was published.
    oldest_ms: Option<i64>,
    is_busy: bool,
}

impl Meters {
    pub(crate) fn new() -> Self {
        Self {
            received: RECEIVED.counters(),
            processed: PROCESSED.counters(),
            age: AGE.histograms(),
            batch: BATCH.histograms(),
            batches: BATCHES.counters(),
            stage: STAGE.histograms(),
            matches: MATCHES.counters(),
            confidence: CONFIDENCE.histograms(),
            missing: MISSING.counters(),
            created: CREATED.counters(),
            changed: CHANGED.counters(),
            retries: RETRIES.counters(),
            dead: DEAD.counters(),
            put_off: PUT_OFF.counters(),
            replays: REPLAYS.counters(),
            in_flight: IN_FLIGHT.gauges(),
            last: LAST.gauges(),
            db_up: DB_UP.gauges(),
            batches_by_pipeline: Mutex::default(),
        }
    }

    /// Sets the series that stay the same while a worker runs, and registers those that are set on scrape.
    pub(crate) fn register(self: &Arc<Self>, auto_accept: u8, pipelines: u16) {
        THRESHOLD.gauges().set([], f64::from(auto_accept) / 100.0);
        PIPELINES.gauges().set([], f64::from(pipelines));
        let (meters, oldest) = (Arc::downgrade(self), OLDEST.gauges());
        on_scrape(move || {
            if let Some(meters) = meters.upgrade() {
                oldest.set([], meters.oldest_age());
            }
        });
    }

    /// Counts deliveries that were decoded.
    pub(crate) fn count_received(&self, labels: impl Iterator<Item = DeliveryLabels>) {
        labels.for_each(|DeliveryLabels { kind, format, .. }| self.received.increment([kind, format]));
    }

    /// Counts the matches and mappings of a committed transaction.
    pub(crate) fn count_committed(&self, stats: &MatchStats, changes: &ChangeSet) {
        for one in &stats.lookups {
            let strategy = one.strategy.unwrap_or("none");
            self.matches.increment([strategy, one.result.as_str()]);
            if let Some(confidence) = one.confidence.filter(|_| one.result != LookupResult::Rejected) {
                self.confidence.record([strategy], f64::from(confidence.0) / 100.0);
            }
        }
        for reason in &stats.missing {
            self.missing.increment([reason.as_str()]);
        }
        for change in &changes.mappings {
            match &change.write {
                MappingWrite::Insert { source, .. } => self.created.increment([source.as_str()]),
                MappingWrite::Reactivate { .. } => self.changed.increment(["reactivated"]),
                MappingWrite::Supersede => self.changed.increment(["superseded"]),
            }
        }
    }

    /// Counts a fault in finding a host or in writing the result.
    pub(crate) fn count_fault(&self) {
        self.matches.increment(["none", "error"]);
    }

    /// Records whether the database could be used just now.
    pub(crate) fn set_database_up(&self, is_up: bool) {
        self.db_up.set([], f64::from(u8::from(is_up)));
    }

    /// Records that a pipeline has received a batch.
    pub(crate) fn begin_batch(&self, pipeline: usize, deliveries: &[Delivery], closed_by: ClosedBy) {
        self.batches.increment([closed_by.as_str()]);
        self.batch.record([], size(deliveries.len()));
        if let Some(gauge) = self.in_flight.get([]) {
            gauge.increment(size(deliveries.len()));
        }
        // Retries and replays have waited on purpose.
        let waited = deliveries.iter().filter(|one| one.attempt == 0 && !is_replay(one));
        let oldest_ms = waited.map(published_ms).min();
        locked(&self.batches_by_pipeline).insert(pipeline, PipelineBatch { oldest_ms, is_busy: true });
    }

    /// Records that a pipeline has finished `count` deliveries. `is_drained`: no more messages waited behind
    /// them.
    pub(crate) fn end_batch(&self, pipeline: usize, count: usize, is_drained: bool) {
        if let Some(gauge) = self.in_flight.get([]) {
            gauge.decrement(size(count));
        }
        if let Some(batch) = locked(&self.batches_by_pipeline).get_mut(&pipeline) {
            batch.is_busy = false;
            batch.oldest_ms = batch.oldest_ms.filter(|_| !is_drained);
        }
    }

    /// Records that no message waits in the queue, so that the last batches of idle pipelines no longer
    /// count.
    pub(crate) fn mark_queue_empty(&self) {
        locked(&self.batches_by_pipeline).retain(|_, batch| batch.is_busy);
    }

    /// Returns the seconds since the oldest event in progress was published.
    fn oldest_age(&self) -> f64 {
        let oldest = locked(&self.batches_by_pipeline).values().filter_map(|batch| batch.oldest_ms).min();
        oldest.map_or(0.0, |oldest| seconds(now_ms() - oldest))
    }

    /// Counts settled deliveries. `decided_ms`: when the last of them was committed.
    pub(crate) fn count_settled<'f>(&self, settled: impl Iterator<Item = &'f InFlight>, decided_ms: i64) {
        let mut any_finished = false;
        for flight in settled {
            let DeliveryLabels { kind, published_ms, is_replay, .. } = flight.labels;
            let end = match flight.settlement() {
                Settlement::Deferred => {
                    self.put_off.increment([]);
                    continue;
                }
                Settlement::Retried(reason) => {
                    self.retries.increment([reason.as_str()]);
                    continue;
                }
                Settlement::Decided(outcome) => {
                    if !is_replay {
                        self.age.record([kind], seconds(decided_ms - published_ms));
                    }
                    outcome.as_str()
                }
                Settlement::DeadLettered(reason) => {
                    self.dead.increment([reason.as_str()]);
                    DEAD_LETTER
                }
            };
            self.processed.increment([kind, end]);
            if is_replay {
                self.replays.increment([end]);
            }
            any_finished = true;
        }
        if any_finished {
            self.last.set([], seconds(now_ms()));
        }
    }

    /// Counts a delivery that the broker itself dead-lettered, for this reason.
    pub(crate) fn count_broker_dead_letter(&self, event_type: Option<&str>, reason: &str, is_replay: bool) {
        self.dead.increment([reason.parse().map_or(OTHER, Reason::as_str)]);
        self.processed.increment([type_label(event_type), DEAD_LETTER]);
        if is_replay {
            self.replays.increment([DEAD_LETTER]);
        }
    }
}

/// A stage in progress: its duration is recorded, and it is a step in the trace of the batch. A stage that is
/// dropped before its end because something failed is not recorded.
pub(crate) struct Stage<'m> {
    meters: &'m Meters,
    name: &'static str,
    begun: Instant,
    /// The same in wall-clock time.
    pub(super) begun_at: SystemTime,
    _step: Span,
}

impl<'m> Stage<'m> {
    pub(crate) fn begin(meters: &'m Meters, name: &'static str) -> Self {
        Self { meters, name, begun: Instant::now(), begun_at: SystemTime::now(), _step: Span::step(name) }
    }

    /// Ends the stage and records its duration.
    pub(crate) fn end(self) {
        self.meters.stage.record([self.name], self.begun.elapsed().as_secs_f64());
    }
}

fn is_replay(delivery: &Delivery) -> bool {
    delivery.message.headers.contains_key(header::REPLAY_LETTER)
}

/// Returns the time at which the event was published: the earlier of the message's timestamp (whole seconds)
/// and the first receipt, which an edge records to the millisecond.
fn published_ms(delivery: &Delivery) -> i64 {
    delivery.message.timestamp_ms.map_or(delivery.first_seen_ms, |ms| ms.min(delivery.first_seen_ms))
}

/// Converts to seconds. Returns 0 for a negative age, because clocks differ.
#[expect(clippy::cast_precision_loss, reason = "metrics are floats")]
fn seconds(ms: i64) -> f64 {
    ms.max(0) as f64 / 1000.0
}

#[expect(clippy::cast_precision_loss, reason = "metrics are floats")]
fn size(count: usize) -> f64 {
    count as f64
}
