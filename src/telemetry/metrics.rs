//! Metrics: the definition of a series, the recorder, and the route `/metrics`.
//!
//! Each module that counts has a list of its [`Series`], from which everything else is derived: the texts
//! of HELP and TYPE, the buckets, the zeros at the start (so that the first event appears as an increase,
//! and a count of 0 differs from a missing series), and the table in `docs/metrics.md`. Without [`install`]
//! nothing is recorded, and counting costs next to nothing.
//!
//! The values of a label come from a closed list; they never contain an id, an address or a name.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use super::{TelemetryError, process};
use crate::runtime::locked;

/// Prometheus' text format.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// How often samples of histograms are moved into their buckets when nothing scrapes them.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

static METADATA: Metadata<'static> = Metadata::new("hostmatch", Level::INFO, None);
static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
static ON_SCRAPE: Mutex<Vec<Callback>> = Mutex::new(Vec::new());

/// Sets gauges to their current values.
type Callback = Box<dyn Fn() + Send>;

/// The kind of a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// A number that only grows, from 0 at the start of the process.
    Counter,
    /// A number that goes up and down.
    Gauge,
    /// Buckets with these upper bounds, and +Inf.
    Histogram(&'static [f64]),
}

impl Kind {
    /// Returns the type in a line `# TYPE`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

/// The possible values of a label.
#[derive(Clone, Copy, Debug)]
pub enum Values {
    /// One of these.
    Closed(fn() -> Vec<&'static str>),
    /// One of few values that are not known in advance; the text describes them.
    Described(&'static str),
}

/// A label: its name and its possible values.
pub type LabelValues = (&'static str, Values);

/// Declares a constant for each series, and a list of them all: `NAME = kind, "name", [labels], "help";`.
macro_rules! series {
    ($(#[$doc:meta])* $vis:vis $list:ident:
        $($name:ident = $kind:expr, $text:literal, [$($label:expr),*], $help:literal;)+
    ) => {
        $(pub(super) const $name: crate::telemetry::metrics::Series =
            crate::telemetry::metrics::Series::new($text, $kind, $help).with_labels(&[$($label),*]);)+
        $(#[$doc])*
        $vis const $list: [crate::telemetry::metrics::Series; [$($text),+].len()] = [$($name),+];
    };
}
pub(crate) use series;

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct Series {
    /// Its name, including the prefix.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// The names and possible values of its labels.
    pub labels: &'static [LabelValues],
    /// Its meaning, in one line.
    pub help: &'static str,
}

impl Series {
    /// Creates a series without labels.
    pub const fn new(name: &'static str, kind: Kind, help: &'static str) -> Self {
        Self { name, kind, labels: &[], help }
    }

    /// Adds these labels.
    #[must_use]
    pub const fn with_labels(self, labels: &'static [LabelValues]) -> Self {
        Self { labels, ..self }
    }

    /// Returns its counters, by the values of its labels, for the caller to keep.
    pub fn counters<const N: usize>(&self) -> Family<Counter, N> {
        self.family(|key| metrics::with_recorder(|recorder| recorder.register_counter(key, &METADATA)))
    }

    /// Returns its gauges, by the values of its labels, for the caller to keep.
    pub fn gauges<const N: usize>(&self) -> Family<Gauge, N> {
        self.family(|key| metrics::with_recorder(|recorder| recorder.register_gauge(key, &METADATA)))
    }

    /// Returns its histograms, by the values of its labels, for the caller to keep.
    pub fn histograms<const N: usize>(&self) -> Family<Histogram, N> {
        self.family(|key| metrics::with_recorder(|recorder| recorder.register_histogram(key, &METADATA)))
    }

    fn family<H, const N: usize>(&self, register: impl Fn(&Key) -> H) -> Family<H, N> {
        let handles = self.combinations().into_iter().filter_map(|values| {
            let handle = register(&self.key(&values));
            Some((values.try_into().ok()?, handle))
        });
        Family(handles.collect())
    }

    fn key(&self, values: &[&'static str]) -> Key {
        let labels = std::iter::zip(self.labels, values);
        let labels = labels.map(|((name, _), value)| Label::from_static_parts(name, value));
        Key::from_parts(self.name, labels.collect::<Vec<_>>())
    }

    /// Returns every combination of the values of its labels; empty if the values of a label are not known in
    /// advance.
    fn combinations(&self) -> Vec<Vec<&'static str>> {
        self.labels.iter().fold(vec![Vec::new()], |all, (_, values)| match values {
            Values::Described(_) => Vec::new(),
            Values::Closed(values) => {
                let values = values();
                let with = |one: Vec<&'static str>| {
                    values.iter().map(move |value| [one.as_slice(), &[*value]].concat()).collect::<Vec<_>>()
                };
                all.into_iter().flat_map(with).collect()
            }
        })
    }

    /// Describes the series to the recorder, and registers every combination of labels.
    fn register(&self) {
        match self.kind {
            Kind::Counter => metrics::describe_counter!(self.name, self.help),
            Kind::Gauge => metrics::describe_gauge!(self.name, self.help),
            Kind::Histogram(_) => metrics::describe_histogram!(self.name, self.help),
        }
        for values in self.combinations() {
            let key = self.key(&values);
            metrics::with_recorder(|recorder| match self.kind {
                Kind::Counter => drop(recorder.register_counter(&key, &METADATA)),
                Kind::Gauge => drop(recorder.register_gauge(&key, &METADATA)),
                Kind::Histogram(_) => drop(recorder.register_histogram(&key, &METADATA)),
            });
        }
    }
}

/// The handles of one series, by the values of its labels.
#[derive(Debug)]
pub struct Family<H, const N: usize>(HashMap<[&'static str; N], H>);

impl<H, const N: usize> Family<H, N> {
    /// Returns the handle for these values; `None` if the values are not in its lists.
    pub fn get(&self, values: [&'static str; N]) -> Option<&H> {
        self.0.get(&values)
    }
}

impl<const N: usize> Family<Counter, N> {
    /// Increases the counter for these values by one.
    pub fn increment(&self, values: [&'static str; N]) {
        if let Some(counter) = self.get(values) {
            counter.increment(1);
        }
    }
}

impl<const N: usize> Family<Gauge, N> {
    /// Sets the gauge for these values.
    pub fn set(&self, values: [&'static str; N], value: f64) {
        if let Some(gauge) = self.get(values) {
            gauge.set(value);
        }
    }

    /// Sets all gauges to NaN, because their values are no longer known.
    pub fn set_unknown(&self) {
        self.0.values().for_each(|gauge| gauge.set(f64::NAN));
    }
}

impl<const N: usize> Family<Histogram, N> {
    /// Records one sample for these values.
    pub fn record(&self, values: [&'static str; N], sample: f64) {
        if let Some(histogram) = self.get(values) {
            histogram.record(sample);
        }
    }
}

/// The series about the program itself, in every process.
pub const BUILD: Series = Series::new(
    "hostmatch_build_info",
    Kind::Gauge,
    "Always 1: the running version and its role (a process with both roles has two)",
)
.with_labels(&[
    ("version", Values::Described("the version")),
    ("revision", Values::Described("HOSTMATCH_REVISION when it was built, else `unknown`")),
    ("role", Values::Described("`edge`, `worker`")),
]);

/// Installs the recorder in this process, which has these roles, and registers these series. Call this once,
/// in a runtime, before anything that counts is created.
///
/// # Errors
/// Fails if a recorder is already installed.
pub fn install(roles: &[&'static str], lists: &[&[Series]]) -> Result<(), TelemetryError> {
    let mut builder = PrometheusBuilder::new();
    for series in lists.iter().copied().flatten() {
        if let Kind::Histogram(bounds) = series.kind {
            let matcher = Matcher::Full(series.name.to_owned());
            builder = builder
                .set_buckets_for_metric(matcher, bounds)
                .map_err(|error| TelemetryError::Metrics(error.to_string()))?;
        }
    }
    let recorder = builder.install_recorder().map_err(|error| TelemetryError::Metrics(error.to_string()))?;
    let recorder = RECORDER.get_or_init(|| recorder);
    lists.iter().copied().flatten().chain([&BUILD]).for_each(Series::register);
    let revision = option_env!("HOSTMATCH_REVISION").unwrap_or("unknown");
    for role in roles.iter().copied() {
        metrics::gauge!(BUILD.name, "version" => env!("CARGO_PKG_VERSION"), "revision" => revision, "role" => role)
            .set(1.0);
    }
    // Without this, samples would accumulate in a process that nothing scrapes.
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(UPKEEP_INTERVAL);
        loop {
            ticks.tick().await;
            recorder.run_upkeep();
        }
    });
    Ok(())
}

/// Registers a `callback` that sets gauges before each scrape, for values that are cheap to read and would
/// otherwise be outdated.
pub fn on_scrape(callback: impl Fn() + Send + 'static) {
    if RECORDER.get().is_some() {
        locked(&ON_SCRAPE).push(Box::new(callback));
    }
}

/// Converts a count into a gauge's value.
#[expect(clippy::cast_precision_loss, reason = "metrics are floats")]
pub(crate) fn float(number: u64) -> f64 {
    number as f64
}

/// Returns the route `GET /metrics` (and HEAD).
pub fn routes() -> Router {
    Router::new().route("/metrics", get(respond))
}

async fn respond() -> Response {
    match RECORDER.get() {
        Some(recorder) => ([(CONTENT_TYPE, TEXT)], render(recorder)).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn render(recorder: &PrometheusHandle) -> String {
    for callback in &*locked(&ON_SCRAPE) {
        callback();
    }
    recorder.render() + &process::render()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: Series = Series::new("both", Kind::Counter, "")
        .with_labels(&[("a", Values::Closed(|| vec!["1", "2"])), ("b", Values::Closed(|| vec!["x", "y"]))]);

    #[test]
    fn only_labels_with_closed_values_are_registered_in_advance() {
        let all: Vec<String> = BOTH.combinations().iter().map(|values| values.concat()).collect();
        assert_eq!(all, ["1x", "1y", "2x", "2y"]);
        assert_eq!(Series::new("none", Kind::Gauge, "").combinations(), [Vec::<&str>::new()]);
        let open =
            BOTH.with_labels(&[("a", Values::Closed(|| vec!["1"])), ("b", Values::Described("whatever"))]);
        assert!(open.combinations().is_empty());
        assert!(BOTH.counters::<2>().get(["2", "y"]).is_some());
        assert!(BOTH.counters::<2>().get(["y", "2"]).is_none());
    }
}
