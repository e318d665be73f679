//! `hostmatch deadletters list|show`: what could not be decided, and why.

mod masked;
mod payload;
mod show;

use clap::Subcommand;
use serde::Serialize;
use serde_json::json;

use super::exit::Exit;
use super::failure::Failure;
use super::gateway;
use super::global::Global;
use super::output::{self, Output};
use crate::matching::Reason;
use crate::store::{Database, DeadLetterFilter, DeadLetterSummary, dead_letter, dead_letter_summaries};

/// List dead letters, and look at one
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

/// What a dead letter can be. (Nothing makes another of an open one yet.)
const STATES: [&str; 5] = ["open", "replaying", "resolved", "skipped", "discarded"];

#[derive(Debug, Subcommand)]
enum Command {
    List(Filter),
    Show(Letter),
}

/// Dead letters, newest first
#[derive(Debug, clap::Args)]
struct Filter {
    /// Only those with this reason code, such as appointment_not_found
    #[arg(long, value_name = "CODE", hide_possible_values = true, value_parser = Reason::ALL.map(Reason::as_str))]
    reason: Option<String>,
    /// Only those of this company
    #[arg(long, value_name = "N")]
    company: Option<i64>,
    /// Only those in this state
    #[arg(long, value_parser = STATES)]
    state: Option<String>,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    limit: u64,
    /// Only older ones than this: the last id of the page before
    #[arg(long, value_name = "ID")]
    before: Option<i64>,
}

/// One dead letter: its attempts, how it came, and its payload with personal data masked
#[derive(Debug, clap::Args)]
struct Letter {
    id: i64,
    /// Show the headers and the payload as they are, personal data included
    #[arg(long)]
    reveal: bool,
}

/// Runs the command.
///
/// # Errors
/// When the database cannot be reached, or there is no such dead letter.
pub(super) async fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    let config = global.start(&[])?.config;
    let (database, _) = gateway::open(&config).await?;
    let done = match &args.command {
        Command::List(filter) => list(global.output, filter, &database).await,
        Command::Show(letter) => one(global.output, letter, &database).await,
    };
    database.close().await;
    done
}

/// One line of the list. `docs/commands.md` describes it: its JSON is a contract.
#[derive(Serialize)]
struct Line {
    id: i64,
    state: String,
    reason: String,
    error: String,
    event_id: Option<String>,
    event_type: Option<String>,
    booking: Option<String>,
    company: Option<i64>,
    attempts: i32,
    first_seen: String,
    last_failed: String,
}

impl From<DeadLetterSummary> for Line {
    fn from(row: DeadLetterSummary) -> Self {
        Self {
            id: row.id,
            state: row.state,
            reason: row.reason,
            error: row.error,
            event_id: row.event_id,
            event_type: row.event_type,
            booking: row.booking_ref,
            company: row.company_id,
            attempts: row.attempts,
            first_seen: output::moment(row.first_seen_ms),
            last_failed: output::moment(row.last_failed_ms),
        }
    }
}

async fn list(output: Output, filter: &Filter, database: &Database) -> Result<Exit, Failure> {
    let wanted = DeadLetterFilter {
        reason: filter.reason.clone(),
        company_id: filter.company,
        state: filter.state.clone(),
        before_id: filter.before,
    };
    // One more than asked for tells whether there are more.
    let mut rows = database.in_time(dead_letter_summaries(database, &wanted, filter.limit + 1)).await?;
    let more = rows.len() as u64 > filter.limit;
    rows.truncate(usize::try_from(filter.limit).unwrap_or(usize::MAX));
    let next = rows.last().map(|row| row.id).filter(|_| more);
    let lines: Vec<Line> = rows.into_iter().map(Line::from).collect();
    match output {
        Output::Json => output::json(&json!({ "dead_letters": lines, "next_before": next }))?,
        Output::Table if lines.is_empty() => output::line("No dead letters.")?,
        Output::Table => {
            let head =
                ["ID", "STATE", "REASON", "EVENT", "BOOKING", "COMPANY", "ATTEMPTS", "LAST FAILED", "ERROR"];
            output::table(&head, lines.into_iter().map(cells))?;
            if let Some(next) = next {
                output::line(&format!("There are older ones: --before {next}"))?;
            }
        }
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
fn shortened(text: &str) -> String {
    const MOST: usize = 60;
    let text = text.replace('\n', " ");
    if text.chars().count() <= MOST {
        return text;
    }
    text.chars().take(MOST - 1).chain(['…']).collect()
}

async fn one(output: Output, letter: &Letter, database: &Database) -> Result<Exit, Failure> {
    let Some(row) = database.in_time(dead_letter(database, letter.id)).await? else {
        let text = format!("there is no dead letter {}; `hostmatch deadletters list` shows all", letter.id);
        return Err(Failure::new(Exit::NotFound, text));
    };
    let told = show::Told::of(row, letter.reveal);
    match output {
        Output::Json => output::json(&told)?,
        Output::Table => show::table(&told)?,
    }
    Ok(Exit::Done)
}
