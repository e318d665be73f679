//! `deadletters list`: page by page, newest first.

use serde::Serialize;
use serde_json::json;

use super::filter::Looking;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::output::{self, Output};
use crate::cli::rows::{self, Format};
use crate::store::{Database, DeadLetterFilter, DeadLetterSummary, dead_letter_summaries};

/// Rows read at a time.
const PAGE: u64 = 1000;

/// Rows of a table or a document, unless more are asked for.
const USUAL: u64 = 50;

/// Dead letters, newest first
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    filter: Looking,
    /// At most this many [default: 50; with ndjson and csv all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Only older ones than this: the last id of the page before
    #[arg(long, value_name = "ID")]
    before: Option<i64>,
    /// What the list looks like [default: as --output]
    #[arg(long, value_enum)]
    format: Option<Format>,
}

/// One line of the list. `docs/commands.md` describes it: its JSON is a contract.
#[derive(Serialize)]
pub(super) struct Line {
    id: i64,
    state: String,
    reason: String,
    error: String,
    event_id: Option<String>,
    event_type: Option<String>,
    booking: Option<String>,
    company: Option<i64>,
    host: Option<i64>,
    starts: Option<String>,
    attempts: i32,
    replays: i32,
    group: String,
    first_seen: String,
    last_failed: String,
}

impl From<DeadLetterSummary> for Line {
    fn from(row: DeadLetterSummary) -> Self {
        Self {
            id: row.id,
            state: row.state.to_string(),
            reason: row.reason,
            error: row.error,
            event_id: row.event_id,
            event_type: row.event_type,
            booking: row.booking_ref,
            company: row.company_id,
            host: row.host_id,
            starts: row.starts_ms.map(output::moment),
            attempts: row.attempts,
            replays: row.replays,
            group: row.fingerprint,
            first_seen: output::moment(row.first_seen_ms),
            last_failed: output::moment(row.last_failed_ms),
        }
    }
}

/// Runs the command.
///
/// # Errors
/// When the database cannot be reached.
pub(super) async fn run(output: Output, args: &Args, database: &Database) -> Result<Exit, Failure> {
    let format = Format::of(args.format, output);
    let limit = args.limit.unwrap_or(if format.is_endless() { u64::MAX } else { USUAL });
    let mut filter = DeadLetterFilter { before_id: args.before, ..args.filter.chosen() };
    let (mut lines, mut shown, mut more) = (Vec::new(), 0, true);
    while more && shown < limit {
        let page = PAGE.min(limit - shown);
        // One more than wanted tells whether there are more.
        let rows = dead_letter_summaries(database, &filter, page + 1);
        let mut rows = database.in_time(rows).await?;
        more = rows.len() as u64 > page;
        rows.truncate(usize::try_from(page).unwrap_or(usize::MAX));
        filter.before_id = rows.last().map(|row| row.id).or(filter.before_id);
        let some: Vec<Line> = rows.into_iter().map(Line::from).collect();
        match format {
            Format::Ndjson => rows::ndjson(&some)?,
            Format::Csv => rows::csv(&some, shown == 0)?,
            Format::Table | Format::Json => {}
        }
        shown += some.len() as u64;
        if !format.is_endless() {
            lines.extend(some);
        }
    }
    let next = filter.before_id.filter(|_| more);
    match format {
        Format::Json => output::json(&json!({ "dead_letters": lines, "next_before": next }))?,
        Format::Table if lines.is_empty() => output::line("No dead letters.")?,
        Format::Table => {
            let head =
                ["ID", "STATE", "REASON", "EVENT", "BOOKING", "COMPANY", "ATTEMPTS", "LAST FAILED", "ERROR"];
            output::table(&head, lines.into_iter().map(cells))?;
            if let Some(next) = next {
                output::line(&format!("There are older ones: --before {next}"))?;
            }
        }
        Format::Ndjson | Format::Csv => {}
    }
    Ok(Exit::Done)
}

fn cells(line: Line) -> [String; 9] {
    let dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    [
        line.id.to_string(),
        line.state,
        line.reason,
        dash(line.event_type),
        dash(line.booking),
        dash(line.company.map(|id| id.to_string())),
        line.attempts.to_string(),
        line.last_failed,
        shortened(&line.error),
    ]
}

/// An error in one cell; `show` has all of it.
pub(super) fn shortened(text: &str) -> String {
    const MOST: usize = 60;
    let text = text.replace('\n', " ");
    if text.chars().count() <= MOST {
        return text;
    }
    text.chars().take(MOST - 1).chain(['…']).collect()
}
