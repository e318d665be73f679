//! `deadletters list|groups`: lists dead letters page by page, and groups them by cause.

use super::filter::ReadFilter;
use crate::app::AppContext;
use crate::app::dead_letters::{self, DeadLetterFilter, DeadLetterSummary, Group, LettersView};
use crate::cli::{Exit, Failure, Output, output, output::Format, output::dash, output::shortened};

/// Rows per query.
const PAGE_ROWS: u64 = 1000;

/// The default number of rows of a table or a document.
const DEFAULT_LIMIT: u64 = 50;

/// The maximum number of characters of an error in a cell; `show` has the whole error.
const ERROR_CHARS: usize = 60;

/// Dead letters, newest first
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct List {
    #[command(flatten)]
    pub(super) filter: ReadFilter,
    /// At most this many [default: 50; with ndjson and csv all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Only letters older than this id: the last id of the previous page
    #[arg(long, value_name = "ID")]
    before: Option<i64>,
    /// The format [default: as --output]
    #[arg(long, value_enum)]
    format: Option<Format>,
}

/// Dead letters grouped by cause, the largest group first
///
/// Only open ones, unless --state is given.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Groups {
    #[command(flatten)]
    pub(super) filter: ReadFilter,
    /// At most this many groups
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
    /// Skip this many of the largest groups
    #[arg(long, value_name = "N", default_value_t = 0)]
    skip: u64,
    /// The format [default: as --output]
    #[arg(long, value_enum)]
    format: Option<Format>,
}

pub(super) async fn run(output: Output, args: &List, context: &AppContext) -> Result<Exit, Failure> {
    let format = Format::of(args.format, output);
    let limit = args.limit.unwrap_or(if format.is_streamed() { u64::MAX } else { DEFAULT_LIMIT });
    let mut filter = DeadLetterFilter { before_id: args.before, ..args.filter.to_filter() };
    let mut all = LettersView { dead_letters: Vec::new(), next_before: None };
    let mut shown = 0;
    loop {
        let page = dead_letters::list(context, &filter, PAGE_ROWS.min(limit - shown)).await?;
        match format {
            Format::Ndjson => output::ndjson(&page.dead_letters)?,
            Format::Csv => output::csv(&page.dead_letters, shown == 0)?,
            Format::Table | Format::Json => {}
        }
        shown += page.dead_letters.len() as u64;
        (filter.before_id, all.next_before) = (page.next_before, page.next_before);
        if !format.is_streamed() {
            all.dead_letters.extend(page.dead_letters);
        }
        if all.next_before.is_none() || shown >= limit {
            break;
        }
    }
    match format {
        Format::Json => output::json(&all)?,
        Format::Table if all.dead_letters.is_empty() => output::print_line("No dead letters.")?,
        Format::Table => {
            let head =
                ["ID", "STATE", "REASON", "EVENT", "BOOKING", "COMPANY", "ATTEMPTS", "LAST FAILED", "ERROR"];
            output::table(&head, all.dead_letters.into_iter().map(letter_cells))?;
            output::print_older_flag(all.next_before)?;
        }
        Format::Ndjson | Format::Csv => {}
    }
    Ok(Exit::Done)
}

fn letter_cells(letter: DeadLetterSummary) -> [String; 9] {
    [
        letter.id.to_string(),
        letter.state.to_string(),
        letter.reason,
        dash(letter.event_type),
        dash(letter.booking_ref),
        dash(letter.company_id),
        letter.attempts.to_string(),
        output::moment(letter.last_failed_ms),
        shortened(&letter.error, ERROR_CHARS),
    ]
}

pub(super) async fn groups(output: Output, args: &Groups, context: &AppContext) -> Result<Exit, Failure> {
    let view = dead_letters::groups(context, &args.filter.to_filter(), args.skip, args.limit).await?;
    match Format::of(args.format, output) {
        Format::Json => output::json(&view)?,
        Format::Ndjson => output::ndjson(&view.groups)?,
        Format::Csv => output::csv(&view.groups, true)?,
        Format::Table if view.groups.is_empty() => output::print_line("No dead letters.")?,
        Format::Table => {
            let head =
                ["GROUP", "LETTERS", "REASON", "COMPANIES", "FIRST", "LAST", "NEXT START", "ERROR", "NOTE"];
            output::table(&head, view.groups.into_iter().map(group_cells))?;
        }
    }
    Ok(Exit::Done)
}

fn group_cells(group: Group) -> [String; 9] {
    [
        group.fingerprint.chars().take(8).collect(),
        group.count.to_string(),
        group.reason,
        group.companies.to_string(),
        output::moment(group.first_seen_ms),
        output::moment(group.last_failed_ms),
        dash(group.earliest_start_ms.map(output::moment)),
        shortened(&group.error, ERROR_CHARS),
        dash(group.note.map(|note| shortened(&note, ERROR_CHARS))),
    ]
}
