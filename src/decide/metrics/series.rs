//! The series of a worker, as `docs/metrics.md` lists them.

use strum::VariantArray as _;

use crate::event::{EVENT_TYPES, HostMissing};
use crate::matching::{Found, MappingSource, Reason, Strategy, recorded_outcomes};
use crate::queue::ClosedBy;
use crate::telemetry::metrics::{Kind, Series, Values};

/// What an event's type is called that is not among those that we act on.
pub(super) const UNKNOWN: &str = "unknown";
/// A reason for which the broker makes dead letters, and none of ours.
pub(super) const OTHER: &str = "other";

const FORMATS: [&str; 6] = ["native", "cloudevents", "laravel_string", "laravel_object", "calcom", UNKNOWN];
/// The sources of the mappings that workers make.
fn made_by_workers() -> Vec<&'static str> {
    MappingSource::VARIANTS
        .iter()
        .copied()
        .filter(|source| !source.is_by_person())
        .map(MappingSource::as_str)
        .collect()
}

const ACTIONS: [&str; 2] = ["reactivated", "superseded"];

const TYPE: (&str, Values) =
    ("type", Values::Closed(|| EVENT_TYPES.iter().map(|known| known.name).chain([UNKNOWN]).collect()));
const ENDS: Values = Values::Closed(|| recorded_outcomes().collect());
const REASON: (&str, Values) = (
    "reason",
    Values::Closed(|| Reason::VARIANTS.iter().copied().map(Reason::as_str).chain([OTHER]).collect()),
);
const STRATEGY: (&str, Values) = ("strategy", Values::Closed(|| Strategy::names().collect()));

/// Seconds, from a batch that was waited for to a retry that waited for an hour, and beyond.
const AGES: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0,
    3600.0, 7200.0, 21600.0, 86400.0,
];
const STAGES: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
const SIZES: &[f64] = &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0];
const RATIOS: &[f64] = &[0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0];

pub(super) const RECEIVED: Series = Series::new(
    "hostmatch_events_received_total",
    Kind::Counter,
    "Deliveries that were read, every attempt and every time that one comes again",
)
.by(&[TYPE, ("format", Values::Closed(|| FORMATS.to_vec()))]);
pub(super) const PROCESSED: Series = Series::new(
    "hostmatch_events_processed_total",
    Kind::Counter,
    "Deliveries that have left for good, each once: by their outcome, or as a dead letter",
)
.by(&[TYPE, ("outcome", ENDS)]);
pub(super) const AGE: Series = Series::new(
    "hostmatch_event_age_seconds",
    Kind::Histogram(AGES),
    "From the publishing of an event to the commit of its outcome (replays are left out)",
)
.by(&[TYPE]);
pub(super) const BATCH: Series =
    Series::new("hostmatch_batch_events", Kind::Histogram(SIZES), "Deliveries in a batch");
pub(super) const BATCHES: Series =
    Series::new("hostmatch_batches_total", Kind::Counter, "Batches, by why they had no more deliveries").by(
        &[("trigger", Values::Closed(|| ClosedBy::VARIANTS.iter().copied().map(ClosedBy::as_str).collect()))],
    );
pub(super) const STAGE: Series = Series::new(
    "hostmatch_stage_duration_seconds",
    Kind::Histogram(STAGES),
    "How long a stage took: decode and settle of a batch, load, plan and commit of a transaction",
)
.by(&[("stage", Values::Closed(|| vec!["decode", "load", "plan", "commit", "settle"]))]);
pub(super) const MATCHES: Series = Series::new(
    "hostmatch_matches_total",
    Kind::Counter,
    "Hosts that were looked for, by the strategy that found somebody and what came of it",
)
.by(&[
    ("strategy", Values::Closed(|| Strategy::names().chain(["none"]).collect())),
    (
        "result",
        Values::Closed(|| Found::VARIANTS.iter().copied().map(Found::as_str).chain(["error"]).collect()),
    ),
]);
pub(super) const CONFIDENCE: Series = Series::new(
    "hostmatch_match_confidence_ratio",
    Kind::Histogram(RATIOS),
    "How sure a strategy was of whom it found, of those accepted or suggested",
)
.by(&[STRATEGY]);
pub(super) const MISSING: Series = Series::new(
    "hostmatch_hosts_missing_total",
    Kind::Counter,
    "Bookings that may assign and name no host, or none with an id",
)
.by(&[(
    "reason",
    Values::Closed(|| HostMissing::VARIANTS.iter().copied().map(HostMissing::as_str).collect()),
)]);
pub(super) const CREATED: Series = Series::new(
    "hostmatch_mappings_created_total",
    Kind::Counter,
    "Mappings that workers made (those that people make are in the audit trail)",
)
.by(&[("source", Values::Closed(made_by_workers))]);
pub(super) const CHANGED: Series = Series::new(
    "hostmatch_mappings_changed_total",
    Kind::Counter,
    "Mappings that workers switched on again, or off because another took their place",
)
.by(&[("action", Values::Closed(|| ACTIONS.to_vec()))]);
pub(super) const RETRIES: Series =
    Series::new("hostmatch_event_retries_total", Kind::Counter, "Attempts that are to be made again")
        .by(&[REASON]);
pub(super) const DEAD: Series =
    Series::new("hostmatch_dead_letters_total", Kind::Counter, "Deliveries that became dead letters")
        .by(&[REASON]);
pub(super) const PUT_OFF: Series = Series::new(
    "hostmatch_events_put_off_total",
    Kind::Counter,
    "Deliveries put off because somebody else kept rows locked; that counts as no attempt",
);
pub(super) const REPLAYS: Series = Series::new(
    "hostmatch_replays_total",
    Kind::Counter,
    "Copies of dead letters that have left for good, by their outcome",
)
.by(&[("result", ENDS)]);
pub(super) const THRESHOLD: Series = Series::new(
    "hostmatch_auto_accept_threshold_ratio",
    Kind::Gauge,
    "From this confidence on a match is taken (matching.auto_accept)",
);
pub(super) const IN_FLIGHT: Series =
    Series::new("hostmatch_events_in_flight", Kind::Gauge, "Deliveries in hand: being decided or settled");
pub(super) const PIPELINES: Series =
    Series::new("hostmatch_worker_pipelines", Kind::Gauge, "Pipelines of this worker (worker.pipelines)");
pub(super) const LAST: Series = Series::new(
    "hostmatch_last_event_processed_timestamp_seconds",
    Kind::Gauge,
    "When a delivery last left for good, in seconds since 1970; 0 before the first one",
);
pub(super) const OLDEST: Series = Series::new(
    "hostmatch_oldest_ready_event_age_seconds",
    Kind::Gauge,
    "Age of the oldest event in hand; queues are in order, so that those which wait behind it are younger. 0: none",
);
pub(super) const DB_UP: Series = Series::new(
    "hostmatch_db_up",
    Kind::Gauge,
    "1 while the database can be used, as far as was seen last; 0 before the first time",
);

/// What a worker counts as it works. What it looks at from time to time is in `sampler.rs`.
pub const SERIES: [Series; 21] = [
    RECEIVED, PROCESSED, AGE, BATCH, BATCHES, STAGE, MATCHES, CONFIDENCE, MISSING, CREATED, CHANGED, RETRIES,
    DEAD, PUT_OFF, REPLAYS, THRESHOLD, IN_FLIGHT, PIPELINES, LAST, OLDEST, DB_UP,
];
