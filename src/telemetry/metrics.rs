//! Metrics: what a series is, the recorder that keeps them, and the route that answers them.
//!
//! Each module that counts has a list of its [`Series`], from which everything else is made: the texts
//! of HELP and TYPE, the buckets, the zeros at the start (so that the first event is seen as an
//! increase, and nothing counted is not nothing known), and the table in `docs/metrics.md`. Without
//! [`install`] nothing is kept and counting costs next to nothing.
//!
//! A label is one of a closed list: no id, no address, no name of anybody stands in one.

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

/// How often samples of histograms are put into their buckets when nobody asks for them.
const UPKEEP: Duration = Duration::from_secs(5);

static METADATA: Metadata<'static> = Metadata::new("hostmatch", Level::INFO, None);
static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
static ON_SCRAPE: Mutex<Vec<Callback>> = Mutex::new(Vec::new());

/// Sets gauges to what is true at this moment.
type Callback = Box<dyn Fn() + Send>;

/// What kind of series it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Only ever grows, from 0 at the start of the process.
    Counter,
    /// Goes up and down.
    Gauge,
    /// With these upper bounds, and +Inf.
    Histogram(&'static [f64]),
}

impl Kind {
    /// As it stands behind TYPE.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

/// What may stand in a label.
#[derive(Clone, Copy, Debug)]
pub enum Values {
    /// One of these.
    Closed(fn() -> Vec<&'static str>),
    /// One of few, which are not known before: what they are, in words.
    Few(&'static str),
}

/// A label: its name, and what may stand in it.
pub type LabelOf = (&'static str, Values);

/// Makes a constant of each series, and a list of them all: `NAME = kind, "name", [labels], "help";`.
macro_rules! series {
    ($(#[$doc:meta])* $vis:vis $list:ident:
        $($name:ident = $kind:expr, $text:literal, [$($label:expr),*], $help:literal;)+
    ) => {
        $(pub(super) const $name: crate::telemetry::metrics::Series =
            crate::telemetry::metrics::Series::new($text, $kind, $help).by(&[$($label),*]);)+
        $(#[$doc])*
        $vis const $list: [crate::telemetry::metrics::Series; [$($text),+].len()] = [$($name),+];
    };
}
pub(crate) use series;

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct Series {
    /// Its name, prefix included.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// Names and values of its labels.
    pub labels: &'static [LabelOf],
    /// What it says, in one line.
    pub help: &'static str,
}

impl Series {
    /// A series without labels.
    pub const fn new(name: &'static str, kind: Kind, help: &'static str) -> Self {
        Self { name, kind, labels: &[], help }
    }

    /// The same with these labels.
    #[must_use]
    pub const fn by(self, labels: &'static [LabelOf]) -> Self {
        Self { labels, ..self }
    }

    /// Its counters by the values of its labels, to be kept.
    pub fn counters<const N: usize>(&self) -> Family<Counter, N> {
        self.family(|key| metrics::with_recorder(|recorder| recorder.register_counter(key, &METADATA)))
    }

    /// Its gauges likewise.
    pub fn gauges<const N: usize>(&self) -> Family<Gauge, N> {
        self.family(|key| metrics::with_recorder(|recorder| recorder.register_gauge(key, &METADATA)))
    }

    /// Its histograms likewise.
    pub fn histograms<const N: usize>(&self) -> Family<Histogram, N> {
        self.family(|key| metrics::with_recorder(|recorder| recorder.register_histogram(key, &METADATA)))
    }

    fn family<H, const N: usize>(&self, make: impl Fn(&Key) -> H) -> Family<H, N> {
        let handles = self.combinations().into_iter().filter_map(|values| {
            let handle = make(&self.key(&values));
            Some((values.try_into().ok()?, handle))
        });
        Family(handles.collect())
    }

    fn key(&self, values: &[&'static str]) -> Key {
        let labels = std::iter::zip(self.labels, values);
        let labels = labels.map(|((name, _), value)| Label::from_static_parts(name, value));
        Key::from_parts(self.name, labels.collect::<Vec<_>>())
    }

    /// Every combination of the values of its labels; none when one of them is not known before.
    fn combinations(&self) -> Vec<Vec<&'static str>> {
        self.labels.iter().fold(vec![Vec::new()], |all, (_, values)| match values {
            Values::Few(_) => Vec::new(),
            Values::Closed(values) => {
                let values = values();
                let with = |one: Vec<&'static str>| {
                    values.iter().map(move |value| [one.as_slice(), &[*value]].concat()).collect::<Vec<_>>()
                };
                all.into_iter().flat_map(with).collect()
            }
        })
    }

    /// Says what it is, and begins it.
    fn begin(&self) {
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
    /// The handle of these values; none for values that are not of its lists.
    pub fn of(&self, values: [&'static str; N]) -> Option<&H> {
        self.0.get(&values)
    }
}

impl<const N: usize> Family<Counter, N> {
    /// One more of these values.
    pub fn count(&self, values: [&'static str; N]) {
        if let Some(counter) = self.of(values) {
            counter.increment(1);
        }
    }
}

impl<const N: usize> Family<Gauge, N> {
    /// Of these values it is this now.
    pub fn set(&self, values: [&'static str; N], value: f64) {
        if let Some(gauge) = self.of(values) {
            gauge.set(value);
        }
    }

    /// Nothing is known any more.
    pub fn forget(&self) {
        self.0.values().for_each(|gauge| gauge.set(f64::NAN));
    }
}

impl<const N: usize> Family<Histogram, N> {
    /// One sample of these values.
    pub fn record(&self, values: [&'static str; N], sample: f64) {
        if let Some(histogram) = self.of(values) {
            histogram.record(sample);
        }
    }
}

/// What every process tells of the program.
pub const BUILD: Series = Series::new(
    "hostmatch_build_info",
    Kind::Gauge,
    "Always 1: the version that runs, and as what (a process with both roles has two)",
)
.by(&[
    ("version", Values::Few("the version")),
    ("revision", Values::Few("HOSTMATCH_REVISION when it was built, else `unknown`")),
    ("role", Values::Few("`edge`, `worker`")),
]);

/// Keeps metrics in this process, which has these roles, from now on, and begins these series. Call it
/// once, in a runtime, before any part that counts is made.
///
/// # Errors
/// When a recorder is installed already.
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
    lists.iter().copied().flatten().chain([&BUILD]).for_each(Series::begin);
    let revision = option_env!("HOSTMATCH_REVISION").unwrap_or("unknown");
    for role in roles.iter().copied() {
        metrics::gauge!(BUILD.name, "version" => env!("CARGO_PKG_VERSION"), "revision" => revision, "role" => role)
            .set(1.0);
    }
    // Without it the samples of a process that nobody asks would pile up.
    tokio::spawn(async move {
        let mut every = tokio::time::interval(UPKEEP);
        loop {
            every.tick().await;
            recorder.run_upkeep();
        }
    });
    Ok(())
}

/// Lets `callback` set gauges each time before they are told, for what is cheap to look at and would be
/// old otherwise.
pub fn on_scrape(callback: impl Fn() + Send + 'static) {
    if RECORDER.get().is_some() {
        locked(&ON_SCRAPE).push(Box::new(callback));
    }
}

/// A count as a gauge has it.
#[expect(clippy::cast_precision_loss, reason = "metrics are floats")]
pub(crate) fn float(number: u64) -> f64 {
    number as f64
}

/// The route `GET /metrics` (and HEAD).
pub fn routes() -> Router {
    Router::new().route("/metrics", get(answer))
}

async fn answer() -> Response {
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
        .by(&[("a", Values::Closed(|| vec!["1", "2"])), ("b", Values::Closed(|| vec!["x", "y"]))]);

    #[test]
    fn a_closed_series_begins_with_every_combination_and_an_open_one_with_none() {
        let all: Vec<String> = BOTH.combinations().iter().map(|values| values.concat()).collect();
        assert_eq!(all, ["1x", "1y", "2x", "2y"]);
        assert_eq!(Series::new("none", Kind::Gauge, "").combinations(), [Vec::<&str>::new()]);
        let open = BOTH.by(&[("a", Values::Closed(|| vec!["1"])), ("b", Values::Few("whatever"))]);
        assert!(open.combinations().is_empty());
        assert!(BOTH.counters::<2>().of(["2", "y"]).is_some());
        assert!(BOTH.counters::<2>().of(["y", "2"]).is_none());
    }
}
