//! The series of a worker, as `docs/metrics.md` lists them.

use strum::VariantArray as _;

use crate::event::{EVENT_TYPES, HostMissing};
use crate::matching::{Found, MappingSource, Reason, Strategy, recorded_outcomes};
use crate::queue::ClosedBy;
use crate::telemetry::metrics::Kind::{Counter, Gauge, Histogram};
use crate::telemetry::metrics::Values::{self, Closed};
use crate::telemetry::metrics::{LabelOf as Label, series};

/// What an event's type is called that is not among those that we act on.
pub(super) const UNKNOWN: &str = "unknown";
/// A reason for which the broker makes dead letters, and none of ours.
pub(super) const OTHER: &str = "other";

const TYPE: Label =
    ("type", Closed(|| EVENT_TYPES.iter().map(|known| known.name).chain([UNKNOWN]).collect()));
const FORMAT: Label = (
    "format",
    Closed(|| vec!["native", "cloudevents", "laravel_string", "laravel_object", "calcom", UNKNOWN]),
);
const OUTCOME: Label = ("outcome", ENDS);
const RESULT: Label = ("result", ENDS);
const ENDS: Values = Closed(|| recorded_outcomes().collect());
const REASON: Label =
    ("reason", Closed(|| Reason::VARIANTS.iter().copied().map(Reason::as_str).chain([OTHER]).collect()));
const TRIGGER: Label =
    ("trigger", Closed(|| ClosedBy::VARIANTS.iter().copied().map(ClosedBy::as_str).collect()));
const STEP: Label = ("stage", Closed(|| vec!["decode", "load", "plan", "commit", "settle"]));
const STRATEGY: Label = ("strategy", Closed(|| Strategy::names().collect()));
const FOUND_BY: Label = ("strategy", Closed(|| Strategy::names().chain(["none"]).collect()));
const FOUND: Label =
    ("result", Closed(|| Found::VARIANTS.iter().copied().map(Found::as_str).chain(["error"]).collect()));
const WHY_MISSING: Label =
    ("reason", Closed(|| HostMissing::VARIANTS.iter().copied().map(HostMissing::as_str).collect()));
const SOURCE: Label = ("source", Closed(made_by_workers));
const ACTION: Label = ("action", Closed(|| vec!["reactivated", "superseded"]));

/// The sources of the mappings that workers make.
fn made_by_workers() -> Vec<&'static str> {
    let by_workers = MappingSource::VARIANTS.iter().copied().filter(|source| !source.is_by_person());
    by_workers.map(MappingSource::as_str).collect()
}

/// Seconds, from a batch that was waited for to a retry that waited for an hour, and beyond.
const AGES: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0,
    3600.0, 7200.0, 21600.0, 86400.0,
];
const STAGES: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
const SIZES: &[f64] = &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0];
const RATIOS: &[f64] = &[0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0];

series! {
    /// What a worker counts as it works. What it looks at from time to time is in `sampler.rs`.
    pub SERIES:
    RECEIVED = Counter, "hostmatch_events_received_total", [TYPE, FORMAT],
        "Deliveries that were read, every attempt and every time that one comes again";
    PROCESSED = Counter, "hostmatch_events_processed_total", [TYPE, OUTCOME],
        "Deliveries that have left for good, each once: by their outcome, or as a dead letter";
    AGE = Histogram(AGES), "hostmatch_event_age_seconds", [TYPE],
        "From the publishing of an event to the commit of its outcome (replays are left out)";
    BATCH = Histogram(SIZES), "hostmatch_batch_events", [],
        "Deliveries in a batch";
    BATCHES = Counter, "hostmatch_batches_total", [TRIGGER],
        "Batches, by why they had no more deliveries";
    STAGE = Histogram(STAGES), "hostmatch_stage_duration_seconds", [STEP],
        "How long a stage took: decode and settle of a batch, load, plan and commit of a transaction";
    MATCHES = Counter, "hostmatch_matches_total", [FOUND_BY, FOUND],
        "Hosts that were looked for, by the strategy that found somebody and what came of it";
    CONFIDENCE = Histogram(RATIOS), "hostmatch_match_confidence_ratio", [STRATEGY],
        "How sure a strategy was of whom it found, of those accepted or suggested";
    MISSING = Counter, "hostmatch_hosts_missing_total", [WHY_MISSING],
        "Bookings that may assign and name no host, or none with an id";
    CREATED = Counter, "hostmatch_mappings_created_total", [SOURCE],
        "Mappings that workers made (those that people make are in the audit trail)";
    CHANGED = Counter, "hostmatch_mappings_changed_total", [ACTION],
        "Mappings that workers switched on again, or off because another took their place";
    RETRIES = Counter, "hostmatch_event_retries_total", [REASON],
        "Attempts that are to be made again";
    DEAD = Counter, "hostmatch_dead_letters_total", [REASON],
        "Deliveries that became dead letters";
    PUT_OFF = Counter, "hostmatch_events_put_off_total", [],
        "Deliveries put off because somebody else kept rows locked; that counts as no attempt";
    REPLAYS = Counter, "hostmatch_replays_total", [RESULT],
        "Copies of dead letters that have left for good, by their outcome";
    THRESHOLD = Gauge, "hostmatch_auto_accept_threshold_ratio", [],
        "From this confidence on a match is taken (matching.auto_accept)";
    IN_FLIGHT = Gauge, "hostmatch_events_in_flight", [],
        "Deliveries in hand: being decided or settled";
    PIPELINES = Gauge, "hostmatch_worker_pipelines", [],
        "Pipelines of this worker (worker.pipelines)";
    LAST = Gauge, "hostmatch_last_event_processed_timestamp_seconds", [],
        "When a delivery last left for good, in seconds since 1970; 0 before the first one";
    OLDEST = Gauge, "hostmatch_oldest_ready_event_age_seconds", [],
        "Age of the oldest event in hand; queues are in order, so that those which wait behind it are younger. 0: none";
    DB_UP = Gauge, "hostmatch_db_up", [],
        "1 while the database can be used, as far as was seen last; 0 before the first time";
}
