//! Plans and replays for people.

use std::collections::BTreeMap;

use crate::cli::failure::Failure;
use crate::cli::output;
use crate::replay::Report;
use crate::store::{FAILED, LEFT, LOST, REFUSED};

/// What was foretold.
///
/// # Errors
/// When stdout cannot be written.
pub(super) fn foretold(report: &Report) -> Result<(), Failure> {
    let more = |outcome: &str| match outcome {
        "assigned" => counts(&report.strategies),
        FAILED => counts(&report.failures_foretold),
        "stale" => "a newer event has been decided".to_owned(),
        "unchanged" => "has that person already".to_owned(),
        "kept" => "somebody else decided".to_owned(),
        _ => String::new(),
    };
    let rows = report.foretold.iter().map(|(outcome, count)| {
        let name = if outcome == FAILED { "would fail again" } else { outcome };
        [format!("  {name}"), count.to_string(), more(outcome)]
    });
    output::table(&[], rows)
}

/// What became of it.
///
/// # Errors
/// When stdout cannot be written.
pub(super) fn became(report: &Report) -> Result<(), Failure> {
    let rows = report.results.iter().map(|(result, count)| {
        let name = match result.as_str() {
            FAILED => "failed again",
            REFUSED => "refused: not what had been planned any more",
            LEFT => "left as they were",
            LOST => "given up: nothing came back",
            other => other,
        };
        [format!("  {name}"), count.to_string()]
    });
    output::table(&[], rows)?;
    for (what, count) in [("on the way", report.on_the_way), ("not sent", report.pending)] {
        if count > 0 {
            output::line(&format!("  {what}: {count}"))?;
        }
    }
    if let Some(percent) = report.as_planned_percent {
        output::line(&format!("As planned: {percent} % ({})", report.as_planned))?;
    }
    if !report.differences.is_empty() {
        output::line("Not as planned:")?;
        let rows = report.differences.iter();
        let rows =
            rows.map(|one| [format!("  {}", one.letters), format!("{} → {}", one.foretold, one.became)]);
        output::table(&[], rows)?;
    }
    Ok(())
}

/// Which letters something could not be done on.
///
/// # Errors
/// When stdout cannot be written.
pub(super) fn left_out(letters: &[(i64, String)]) -> Result<(), Failure> {
    letters.iter().try_for_each(|(id, why)| output::line(&format!("  not {id}: {why}")))
}

fn counts(counts: &BTreeMap<String, i64>) -> String {
    counts.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
}
