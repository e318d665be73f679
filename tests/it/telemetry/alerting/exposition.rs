//! The response of `/metrics`, sample by sample, with labels and types.

use std::collections::BTreeMap;

use crate::support::Scrape;

/// One scrape of a process.
#[derive(Clone, Debug, Default)]
pub(super) struct Exposition {
    /// The type of each metric: counter, gauge, histogram.
    pub(super) kinds: BTreeMap<String, String>,
    pub(super) samples: Vec<Sample>,
}

#[derive(Clone, Debug)]
pub(super) struct Sample {
    /// The exposed name: for a histogram with `_bucket`, `_sum` or `_count`.
    pub(super) name: String,
    pub(super) labels: Vec<(String, String)>,
    pub(super) value: f64,
}

impl Exposition {
    pub(super) fn parse(scrape: &Scrape) -> Self {
        let mut all = Self::default();
        for line in scrape.text.lines() {
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

    /// Returns the metric to which a sample belongs.
    pub(super) fn metric<'a>(&self, sample: &'a str) -> &'a str {
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| sample.strip_suffix(end));
        base.filter(|base| self.kinds.get(*base).is_some_and(|kind| kind == "histogram")).unwrap_or(sample)
    }
}

/// Parses `a="x",b="y"`; values may contain quotes and commas.
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
