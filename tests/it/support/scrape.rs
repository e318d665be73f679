//! What a process tells at `/metrics`, read as Prometheus reads it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Process, eventually};

/// One answer of `/metrics`.
pub(crate) struct Scrape {
    pub(crate) text: String,
    /// By `name{label="value",…}`.
    samples: BTreeMap<String, f64>,
}

impl Scrape {
    /// Where this process, for which `metrics.listen` is set, tells.
    pub(crate) async fn base(process: &mut Process) -> String {
        let line = process.says("metrics are answered").await;
        format!("http://{}", line["address"].as_str().unwrap())
    }

    /// Asks there.
    pub(crate) async fn of(base: &str) -> Self {
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

    /// Asks until the answer is as it should be.
    pub(crate) async fn until(base: &str, what: &str, mut is_so: impl FnMut(&Self) -> bool) -> Self {
        let within = Duration::from_secs(120);
        eventually(what, within, async || Some(Self::of(base).await).filter(&mut is_so)).await
    }

    /// The names of all metrics.
    pub(crate) fn names(&self) -> BTreeSet<&str> {
        let types = self.text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        types.map(|line| line.split(' ').next().unwrap()).collect()
    }

    /// The sample of this series; it must be there.
    pub(crate) fn value(&self, series: &str) -> f64 {
        *self.samples.get(series).unwrap_or_else(|| panic!("there is no {series}"))
    }

    /// The samples of this name, by the values of their labels, with blanks between them.
    pub(crate) fn all(&self, name: &str) -> BTreeMap<String, f64> {
        let values = |labels: &str| {
            labels.split('"').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>().join(" ")
        };
        let own = self.samples.iter().filter_map(|(series, value)| {
            let labels = series.strip_prefix(name)?;
            (labels.is_empty() || labels.starts_with('{')).then(|| (values(labels), *value))
        });
        own.collect()
    }

    /// The same of those that are not 0, as `values of labels: number`.
    pub(crate) fn counted(&self, name: &str) -> Vec<String> {
        let all = self.all(name).into_iter().filter(|(_, value)| *value != 0.0);
        all.map(|(labels, value)| format!("{labels}: {value}")).collect()
    }

    /// All samples of this name together.
    pub(crate) fn sum(&self, name: &str) -> f64 {
        self.all(name).values().sum()
    }
}
