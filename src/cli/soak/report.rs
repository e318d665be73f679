//! What a soak came to.

use std::time::Duration;

use serde_json::json;

use super::gauges::{Gauge, Gauges};
use super::load::Load;
use crate::cli::failure::Failure;
use crate::cli::output::{self, Output};

/// The figures of one soak.
pub(super) struct Report<'a> {
    gauges: &'a [Gauge],
    posted: u64,
    accepted: u64,
    different: u64,
    decided: u64,
    took: Duration,
}

impl<'a> Report<'a> {
    /// From what was measured and counted.
    pub(super) fn new(gauges: &'a Gauges, load: &Load, decided: u64, took: Duration) -> Self {
        Self {
            gauges: &gauges.all,
            posted: load.posted(),
            accepted: load.accepted(),
            different: load.different(),
            decided,
            took,
        }
    }

    fn lost(&self) -> u64 {
        self.different.saturating_sub(self.decided)
    }

    fn per_second(&self) -> u64 {
        self.accepted * 1000 / u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX).max(1)
    }

    /// What is wrong, in words.
    pub(super) fn problem(&self) -> Option<String> {
        let mut problems: Vec<String> = self
            .gauges
            .iter()
            .filter(|gauge| gauge.grew())
            .map(|gauge| format!("{} grew", gauge.name))
            .collect();
        if self.lost() > 0 {
            problems.push(format!("{} accepted events were not decided", self.lost()));
        }
        if self.decided == 0 {
            problems.push("nothing was decided".to_owned());
        }
        let text = || format!("{}; run it again with -v to see why", problems.join("; "));
        (!problems.is_empty()).then(text)
    }

    /// Writes it to stdout.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub(super) fn show(&self, output: Output) -> Result<(), Failure> {
        match output {
            Output::Json => {
                let gauge = |gauge: &Gauge| {
                    json!({
                        "name": gauge.name, "first": gauge.first(), "last": gauge.last(),
                        "peak": gauge.peak(), "bound": gauge.bound(), "grew": gauge.grew(),
                    })
                };
                output::json(&json!({
                    "ok": self.problem().is_none(),
                    "seconds": self.took.as_secs(),
                    "posted": self.posted, "accepted": self.accepted, "events": self.different,
                    "decided": self.decided, "lost": self.lost(), "per_second": self.per_second(),
                    "quantities": self.gauges.iter().map(gauge).collect::<Vec<_>>(),
                }))
            }
            Output::Table => {
                let text = |value: Option<u64>| value.map_or("-".to_owned(), |value| value.to_string());
                let row = |gauge: &Gauge| {
                    let verdict = if gauge.grew() { "grew" } else { "" };
                    let values = [gauge.first(), gauge.last(), gauge.peak(), gauge.bound()].map(text);
                    let [first, last, peak, bound] = values;
                    [gauge.name.to_owned(), first, last, peak, bound, verdict.to_owned()]
                };
                output::table(
                    &["QUANTITY", "FIRST", "LAST", "PEAK", "BOUND", ""],
                    self.gauges.iter().map(row),
                )?;
                output::line("")?;
                let counts = [
                    ("seconds", self.took.as_secs()),
                    ("posted", self.posted),
                    ("accepted", self.accepted),
                    ("different events", self.different),
                    ("decided", self.decided),
                    ("lost", self.lost()),
                    ("accepted per second", self.per_second()),
                ];
                output::table(&[], counts.map(|(name, count)| [name.to_owned(), count.to_string()]))
            }
        }
    }
}
