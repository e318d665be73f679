//! `events list`: rejected ones first, then the others, each newest first.

use serde_json::json;

use super::filter::{Filter, Time};
use super::line::{HEAD, Line};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::output::{self, Output};
use crate::matching::DEAD_LETTER;
use crate::store::{Database, EventFilter, RecordedEvent, recorded_events};

/// The last events: first those that were rejected, then the others, each newest first
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    time: Time,
    /// At most this many of either
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    limit: u64,
    /// The next page, without those that come first: what next_before of the page before says
    #[arg(long, value_name = "CURSOR", value_parser = cursor)]
    before: Option<(i64, String)>,
}

/// Runs the command.
///
/// # Errors
/// When the database cannot be reached.
pub(super) async fn run(output: Output, args: &Args, database: &Database) -> Result<Exit, Failure> {
    let chosen = args.filter.chosen(Some(&args.time));
    let one_outcome = chosen.outcome.is_some();
    let rejected = if one_outcome || args.before.is_some() {
        Page::default()
    } else {
        let filter = EventFilter { outcome: Some(DEAD_LETTER.to_owned()), ..chosen.clone() };
        page(database, &filter, args.limit).await?
    };
    let but = (!one_outcome).then_some(DEAD_LETTER);
    let filter = EventFilter { but, before: args.before.clone(), ..chosen };
    let events = page(database, &filter, args.limit).await?;
    let (more_rejected, next) = (rejected.next.is_some(), events.next);
    if output == Output::Json {
        output::json(&json!({
            "rejected": rejected.lines, "more_rejected": more_rejected,
            "events": events.lines, "next_before": next,
        }))?;
        return Ok(Exit::Done);
    }
    if rejected.lines.is_empty() && events.lines.is_empty() {
        output::line(
            "No events. What the edge refused is in its log, what waits for its appointment in the queue.",
        )?;
        return Ok(Exit::Done);
    }
    output::table(&HEAD, rejected.lines.into_iter().chain(events.lines).map(Line::cells))?;
    if more_rejected {
        output::line("There are more rejected ones: --outcome dead_letter")?;
    }
    if let Some(next) = next {
        output::line(&format!("There are older ones: --before '{next}'"))?;
    }
    Ok(Exit::Done)
}

#[derive(Default)]
struct Page {
    lines: Vec<Line>,
    /// Where the next page begins.
    next: Option<String>,
}

async fn page(database: &Database, filter: &EventFilter, limit: u64) -> Result<Page, Failure> {
    // One more than wanted tells whether there are more.
    let mut rows = database.in_time(recorded_events(database, filter, limit + 1)).await?;
    let more = rows.len() as u64 > limit;
    rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let next = rows.last().filter(|_| more).map(end);
    Ok(Page { lines: rows.into_iter().map(Line::from).collect(), next })
}

fn end(row: &RecordedEvent) -> String {
    format!("{}:{}", row.decided_ms, row.id)
}

fn cursor(text: &str) -> Result<(i64, String), String> {
    text.split_once(':')
        .and_then(|(ms, id)| Some((ms.parse().ok()?, id.to_owned())))
        .ok_or_else(|| "this is no next_before of a page".to_owned())
}
