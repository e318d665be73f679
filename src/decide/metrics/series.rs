//! The series of deciding, as `docs/metrics.md` lists them.

use strum::VariantArray as _;

use crate::event::{EVENT_TYPES, HostMissing};
use crate::matching::{LookupResult, MappingSource, Reason, Strategy, recorded_outcomes};
use crate::queue::ClosedBy;
use crate::telemetry::metrics::Kind::{Counter, Gauge, Histogram};
use crate::telemetry::metrics::Values::{self, Closed};
use crate::telemetry::metrics::{LabelValues as Label, series};

/// The label of an event type on which we do not act.
pub(super) const UNKNOWN: &str = "unknown";
/// The label of a broker's dead-letter reason that is not one of our reasons.
pub(super) const OTHER: &str = "other";

const TYPE: Label =
    ("type", Closed(|| EVENT_TYPES.iter().map(|known| known.name).chain([UNKNOWN]).collect()));
const FORMAT: Label = (
    "format",
    Closed(|| vec!["native", "cloudevents", "laravel_string", "laravel_object", "calcom", UNKNOWN]),
);
const OUTCOME: Label = ("outcome", OUTCOMES);
const RESULT: Label = ("result", OUTCOMES);
const OUTCOMES: Values = Closed(|| recorded_outcomes().collect());
const REASON: Label =
    ("reason", Closed(|| Reason::VARIANTS.iter().copied().map(Reason::as_str).chain([OTHER]).collect()));
const TRIGGER: Label =
    ("trigger", Closed(|| ClosedBy::VARIANTS.iter().copied().map(ClosedBy::as_str).collect()));
const STEP: Label = ("stage", Closed(|| vec!["decode", "load", "plan", "commit", "settle"]));
const STRATEGY: Label = ("strategy", Closed(|| Strategy::names().collect()));
const FOUND_BY: Label = ("strategy", Closed(|| Strategy::names().chain(["none"]).collect()));
const FOUND: Label = (
    "result",
    Closed(|| LookupResult::VARIANTS.iter().copied().map(LookupResult::as_str).chain(["error"]).collect()),
);
const WHY_MISSING: Label =
    ("reason", Closed(|| HostMissing::VARIANTS.iter().copied().map(HostMissing::as_str).collect()));
const SOURCE: Label = ("source", Closed(made_by_workers));
const ACTION: Label = ("action", Closed(|| vec!["reactivated", "superseded"]));

/// Returns the sources of the mappings that workers create.
fn made_by_workers() -> Vec<&'static str> {
    let by_workers = MappingSource::VARIANTS.iter().copied().filter(|source| !source.is_by_person());
    by_workers.map(MappingSource::as_str).collect()
}

/// Seconds, from an event that did not wait to a retry after an hour and beyond.
const AGES: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0,
    3600.0, 7200.0, 21600.0, 86400.0,
];
const STAGES: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
const SIZES: &[f64] = &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0];
const RATIOS: &[f64] = &[0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0];

series! {
    /// The series that a worker records while it decides. `sampler.rs` has those that it samples.
    pub SERIES:
    RECEIVED = Counter, "hostmatch_events_received_total", [TYPE, FORMAT],
        "Deliveries that were read, every attempt and every redelivery included";
    PROCESSED = Counter, "hostmatch_events_processed_total", [TYPE, OUTCOME],
        "Deliveries that are finished, each counted once: by their outcome, or as a dead letter";
    AGE = Histogram(AGES), "hostmatch_event_age_seconds", [TYPE],
        "Time from publishing an event to committing its outcome (without replays)";
    BATCH = Histogram(SIZES), "hostmatch_batch_events", [],
        "Deliveries in a batch";
    BATCHES = Counter, "hostmatch_batches_total", [TRIGGER],
        "Batches, by the reason why no more deliveries were added";
    STAGE = Histogram(STAGES), "hostmatch_stage_duration_seconds", [STEP],
        "Duration of a stage: decode and settle of a batch, load, plan and commit of a transaction";
    MATCHES = Counter, "hostmatch_matches_total", [FOUND_BY, FOUND],
        "Host lookups, by the strategy that found a member of staff and by result";
    CONFIDENCE = Histogram(RATIOS), "hostmatch_match_confidence_ratio", [STRATEGY],
        "Confidence of the matches that were accepted or suggested";
    MISSING = Counter, "hostmatch_hosts_missing_total", [WHY_MISSING],
        "Bookings that could assign staff but have no host, or only hosts without an id";
    CREATED = Counter, "hostmatch_mappings_created_total", [SOURCE],
        "Mappings that workers created (those by people are in the audit trail)";
    CHANGED = Counter, "hostmatch_mappings_changed_total", [ACTION],
        "Mappings that workers switched on again, or off because another replaced them";
    RETRIES = Counter, "hostmatch_event_retries_total", [REASON],
        "Failed attempts that are retried";
    DEAD = Counter, "hostmatch_dead_letters_total", [REASON],
        "Deliveries that became dead letters";
    PUT_OFF = Counter, "hostmatch_events_put_off_total", [],
        "Deliveries deferred because another session kept rows locked; this does not count as an attempt";
    REPLAYS = Counter, "hostmatch_replays_total", [RESULT],
        "Copies of dead letters that are finished, by their outcome";
    THRESHOLD = Gauge, "hostmatch_auto_accept_threshold_ratio", [],
        "The confidence from which on a match is accepted (matching.auto_accept)";
    IN_FLIGHT = Gauge, "hostmatch_events_in_flight", [],
        "Deliveries in progress: being decided or settled";
    PIPELINES = Gauge, "hostmatch_worker_pipelines", [],
        "Pipelines of this worker (worker.pipelines)";
    LAST = Gauge, "hostmatch_last_event_processed_timestamp_seconds", [],
        "When a delivery was last finished, in seconds since 1970; 0 before the first one";
    OLDEST = Gauge, "hostmatch_oldest_ready_event_age_seconds", [],
        "Age of the oldest event in progress; queues are in order, so waiting events are younger. 0: none";
    DB_UP = Gauge, "hostmatch_db_up", [],
        "1 while the database can be used, as last seen; 0 before the first check";
}
