//! The metrics of a process at `/metrics`, read as Prometheus reads them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Process, eventually};

/// One response of `/metrics`.
pub(crate) struct Scrape {
    pub(crate) text: String,
    /// The samples by series (`name{label="value",…}`).
    samples: BTreeMap<String, f64>,
}

impl Scrape {
    /// Returns the address of the metrics of this process, for which `metrics.listen` must be set.
    pub(crate) async fn base(process: &mut Process) -> String {
        let line = process.wait_for_log("serving metrics").await;
        format!("http://{}", line["address"].as_str().unwrap())
    }

    /// Scrapes the metrics at this address.
    pub(crate) async fn fetch(base: &str) -> Self {
        let client = crate::support::http_client();
        let response = client.get(format!("{base}/metrics")).send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
        let text = response.text().await.unwrap();
        let samples = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            (series.to_owned(), value.parse().unwrap_or_else(|_| panic!("{line}")))
        });
        let samples: BTreeMap<String, f64> = samples.collect();
        Self { text, samples }
    }

    /// Scrapes until the condition is met.
    pub(crate) async fn until(base: &str, what: &str, mut condition: impl FnMut(&Self) -> bool) -> Self {
        let time_limit = Duration::from_secs(120);
        eventually(what, time_limit, async || Some(Self::fetch(base).await).filter(&mut condition)).await
    }

    /// Returns the names of all metrics.
    pub(crate) fn names(&self) -> BTreeSet<&str> {
        let types = self.text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        types.map(|line| line.split(' ').next().unwrap()).collect()
    }

    /// Returns the sample of this series, which must exist.
    pub(crate) fn value(&self, series: &str) -> f64 {
        *self.samples.get(series).unwrap_or_else(|| panic!("the series {series} is missing"))
    }

    /// Returns the samples of this metric, by the values of their labels, separated by spaces.
    pub(crate) fn samples_of(&self, name: &str) -> BTreeMap<String, f64> {
        let values = |labels: &str| {
            labels.split('"').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>().join(" ")
        };
        let own = self.samples.iter().filter_map(|(series, value)| {
            let labels = series.strip_prefix(name)?;
            (labels.is_empty() || labels.starts_with('{')).then(|| (values(labels), *value))
        });
        own.collect()
    }

    /// Returns the samples that are not 0, as `values of labels: number`.
    pub(crate) fn nonzero(&self, name: &str) -> Vec<String> {
        let all = self.samples_of(name).into_iter().filter(|(_, value)| *value != 0.0);
        all.map(|(labels, value)| format!("{labels}: {value}")).collect()
    }

    /// Returns the sum of all samples of this metric.
    pub(crate) fn sum(&self, name: &str) -> f64 {
        self.samples_of(name).values().sum()
    }
}
