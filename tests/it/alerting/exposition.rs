//! What `/metrics` answers, read.

use std::collections::BTreeMap;

/// One look at the metrics of a process.
#[derive(Clone, Debug, Default)]
pub(super) struct Exposition {
    /// The kind of each metric: counter, gauge, histogram.
    pub(super) kinds: BTreeMap<String, String>,
    pub(super) samples: Vec<Sample>,
}

#[derive(Clone, Debug)]
pub(super) struct Sample {
    /// As it is told: of a histogram with `_bucket`, `_sum` or `_count`.
    pub(super) name: String,
    pub(super) labels: Vec<(String, String)>,
    pub(super) value: f64,
}

impl Exposition {
    pub(super) async fn of(base: &str) -> Self {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let response = client.get(format!("{base}/metrics")).send().await.unwrap();
        assert_eq!(response.status(), 200);
        // Prometheus 3 takes nothing without it.
        let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
        assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
        Self::read(&response.text().await.unwrap())
    }

    fn read(text: &str) -> Self {
        let mut all = Self::default();
        for line in text.lines() {
            if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
                all.kinds.insert(name.to_owned(), kind.to_owned());
            } else if !line.starts_with('#') && !line.is_empty() {
                let (series, value) = line.rsplit_once(' ').unwrap();
                let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
                let labels = labels.strip_suffix('}').unwrap();
                let value = value.parse().unwrap();
                all.samples.push(Sample { name: name.to_owned(), labels: pairs(labels), value });
            }
        }
        all
    }

    /// What the sum of all series of this metric with this label is.
    pub(super) fn sum(&self, name: &str, label: &str, value: &str) -> f64 {
        let fits = |sample: &&Sample| {
            sample.name == name && sample.labels.iter().any(|(name, have)| name == label && have == value)
        };
        self.samples.iter().filter(fits).map(|sample| sample.value).sum()
    }

    /// The metric to which a sample belongs.
    pub(super) fn metric<'a>(&self, sample: &'a str) -> &'a str {
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| sample.strip_suffix(end));
        base.filter(|base| self.kinds.get(*base).is_some_and(|kind| kind == "histogram")).unwrap_or(sample)
    }
}

/// `a="x",b="y"`, quotes and commas inside of the values allowed.
pub(super) fn pairs(text: &str) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    let mut rest = text;
    while let Some((name, after)) = rest.split_once("=\"") {
        let mut end = 0;
        let bytes = after.as_bytes();
        while bytes[end] != b'"' {
            end += 1 + usize::from(bytes[end] == b'\\');
        }
        pairs.push((name.trim_start_matches(',').trim().to_owned(), after[..end].to_owned()));
        rest = &after[end + 1..];
    }
    pairs
}
