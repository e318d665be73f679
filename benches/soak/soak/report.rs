//! The result of a soak.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::gauges::{Gauge, Measured};
use super::load::Load;

/// The figures of one soak.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    seconds: u64,
    posted: u64,
    /// The number of requests with a successful response, including repeats.
    pub(crate) accepted: u64,
    /// The number of distinct events among them.
    pub(crate) events: u64,
    pub(crate) decided: u64,
    per_second: u64,
    pub(crate) quantities: Vec<Measured>,
}

impl Report {
    /// Creates the report from the measurements and counts.
    pub(super) fn new(
        gauges: impl IntoIterator<Item = Gauge>,
        load: &Load,
        decided: u64,
        took: Duration,
    ) -> Self {
        let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1);
        Self {
            seconds: took.as_secs(),
            posted: load.posted(),
            accepted: load.accepted(),
            events: load.distinct(),
            decided,
            per_second: load.accepted() * 1000 / milliseconds,
            quantities: gauges.into_iter().map(|gauge| gauge.result()).collect(),
        }
    }

    /// Describes the problems, if there are any.
    pub(crate) fn problem(&self) -> Option<String> {
        let grown = self.quantities.iter().filter(|quantity| quantity.grew);
        let mut problems: Vec<String> = grown.map(|quantity| format!("{} grew", quantity.name)).collect();
        if self.events > self.decided {
            problems.push(format!("{} accepted events were not decided", self.events - self.decided));
        }
        if self.decided == 0 {
            problems.push("nothing was decided".to_owned());
        }
        (!problems.is_empty()).then(|| problems.join("; "))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<18}{:>9}{:>9}{:>9}{:>9}", "quantity", "first", "last", "peak", "bound")?;
        let text = |value: Option<u64>| value.map_or("-".to_owned(), |value| value.to_string());
        for Measured { name, first, last, peak, bound, grew } in &self.quantities {
            let [first, last, peak, bound] = [*first, *last, *peak, *bound].map(text);
            let grew = if *grew { "  grew" } else { "" };
            writeln!(f, "{name:<18}{first:>9}{last:>9}{peak:>9}{bound:>9}{grew}")?;
        }
        let Self { seconds, posted, accepted, events, decided, per_second, .. } = self;
        writeln!(
            f,
            "\n{seconds} s: {posted} posted, {accepted} accepted ({per_second}/s), {events} distinct events"
        )?;
        write!(f, "{decided} decided")
    }
}
