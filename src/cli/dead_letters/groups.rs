//! `deadletters groups`: dead letters of one cause, together; the place to begin.

use serde::Serialize;
use serde_json::json;

use super::filter::Looking;
use super::list::shortened;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::output::{self, Output};
use crate::cli::rows::{self, Format};
use crate::store::{Database, DeadLetterFilter, Group, LetterState, groups};

/// Dead letters by their cause, the largest group first
///
/// Only open ones, unless --state says otherwise.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    filter: Looking,
    /// At most this many groups
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
    /// Leave out so many, the largest
    #[arg(long, value_name = "N", default_value_t = 0)]
    skip: u64,
    /// What the list looks like [default: as --output]
    #[arg(long, value_enum)]
    format: Option<Format>,
}

/// One group. `docs/commands.md` describes it: its JSON is a contract.
#[derive(Serialize)]
struct Line {
    group: String,
    reason: String,
    letters: i64,
    companies: i64,
    first_seen: String,
    last_failed: String,
    earliest_start: Option<String>,
    error: String,
    note: Option<String>,
}

impl From<Group> for Line {
    fn from(group: Group) -> Self {
        Self {
            group: group.fingerprint,
            reason: group.reason,
            letters: group.count,
            companies: group.companies,
            first_seen: output::moment(group.first_seen_ms),
            last_failed: output::moment(group.last_failed_ms),
            earliest_start: group.earliest_start_ms.map(output::moment),
            error: group.error,
            note: group.note,
        }
    }
}

/// Runs the command.
///
/// # Errors
/// When the database cannot be reached.
pub(super) async fn run(output: Output, args: &Args, database: &Database) -> Result<Exit, Failure> {
    let chosen = args.filter.chosen();
    let state = chosen.state.unwrap_or(LetterState::Open);
    let filter = DeadLetterFilter { state: Some(state), ..chosen };
    let groups = database.in_time(groups(database, &filter, args.skip, args.limit)).await?;
    let lines: Vec<Line> = groups.into_iter().map(Line::from).collect();
    match Format::of(args.format, output) {
        Format::Json => output::json(&json!({ "groups": lines }))?,
        Format::Ndjson => rows::ndjson(&lines)?,
        Format::Csv => rows::csv(&lines, true)?,
        Format::Table if lines.is_empty() => output::line("No dead letters.")?,
        Format::Table => {
            let head =
                ["GROUP", "LETTERS", "REASON", "COMPANIES", "FIRST", "LAST", "NEXT START", "ERROR", "NOTE"];
            output::table(&head, lines.into_iter().map(cells))?;
        }
    }
    Ok(Exit::Done)
}

fn cells(line: Line) -> [String; 9] {
    let dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    [
        line.group.chars().take(8).collect(),
        line.letters.to_string(),
        line.reason,
        line.companies.to_string(),
        line.first_seen,
        line.last_failed,
        dash(line.earliest_start),
        shortened(&line.error),
        line.note.map_or_else(|| "-".to_owned(), |note| shortened(&note)),
    ]
}
