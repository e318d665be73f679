//! `events show`: one event, how it was read, and where to look next.

use serde::Serialize;

use super::line::Line;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::output::{self, Output};
use crate::matching::{Outcome, Reason};
use crate::store::{
    Database, DeadLetterFilter, DeadLetterSummary, RecordedEvent, dead_letter_summaries, letters_of_event,
    recorded_event,
};

/// One event: how it was read, what became of it, and where to look next
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The event's id
    id: String,
    /// Only if it is of this company
    #[arg(long, value_name = "N")]
    company: Option<i64>,
}

/// Runs the command.
///
/// # Errors
/// When there is no such event, or the database cannot be reached.
pub(super) async fn run(output: Output, args: &Args, database: &Database) -> Result<Exit, Failure> {
    let found = database.in_time(recorded_event(database, &args.id)).await?;
    let ours = |row: &RecordedEvent| args.company.is_none() || row.company_id == args.company;
    let Some(row) = found.filter(ours) else {
        let text = "there is no event with this id: it was refused (the edge's log has every request), it waits \
                    for its appointment, or retention.events is over; `hostmatch events list` shows the last ones";
        return Err(Failure::new(Exit::NotFound, text));
    };
    let ids = database.in_time(letters_of_event(database, &row)).await?;
    let letters = if ids.is_empty() {
        Vec::new()
    } else {
        let filter = DeadLetterFilter { ids, company_id: args.company, ..DeadLetterFilter::default() };
        database.in_time(dead_letter_summaries(database, &filter, 100)).await?
    };
    let told = Told::of(row, letters);
    match output {
        Output::Json => output::json(&told)?,
        Output::Table => table(&told)?,
    }
    Ok(Exit::Done)
}

/// An event. `docs/commands.md` describes it: its JSON is a contract.
#[derive(Debug, Serialize)]
struct Told {
    #[serde(flatten)]
    line: Line,
    /// What the outcome, or the reason, means.
    meaning: Option<&'static str>,
    dead_letters: Vec<Letter>,
    /// Commands that tell more.
    next: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Letter {
    id: i64,
    state: String,
    reason: String,
    error: String,
}

impl Told {
    fn of(row: RecordedEvent, letters: Vec<DeadLetterSummary>) -> Self {
        let reason = row.reason.as_deref().and_then(|reason| reason.parse().ok()).map(Reason::meaning);
        let meaning = row.outcome.parse().ok().map(Outcome::meaning).or(reason);
        let letters: Vec<Letter> = letters
            .into_iter()
            .map(|row| Letter {
                id: row.id,
                state: row.state.to_string(),
                reason: row.reason,
                error: row.error,
            })
            .collect();
        let show = letters.iter().map(|letter| format!("hostmatch deadletters show {}", letter.id));
        let explain = row.appointment_id.and(row.booking_ref.as_deref());
        let explain =
            explain.map(|uid| format!("hostmatch match explain --uid '{}'", uid.replace('\'', "'\\''")));
        let next = show.chain(explain).collect();
        Self { meaning, next, dead_letters: letters, line: Line::from(row) }
    }
}

fn table(told: &Told) -> Result<(), Failure> {
    let dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let Line {
        id,
        event_type,
        shape,
        publisher,
        booking,
        company,
        appointment,
        outcome,
        reason,
        received,
        decided,
        ..
    } = &told.line;
    let number = |id: &Option<i64>| id.map_or_else(|| "-".to_owned(), |id| id.to_string());
    let why = reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    output::line(&format!("Event {id}"))?;
    output::table(
        &[],
        [
            ["  outcome".to_owned(), format!("{outcome}{why}")],
            ["  which means".to_owned(), told.meaning.unwrap_or("-").to_owned()],
            ["  type".to_owned(), event_type.clone()],
            ["  shape".to_owned(), shape.clone()],
            ["  publisher".to_owned(), dash(publisher)],
            ["  booking".to_owned(), dash(booking)],
            ["  company".to_owned(), number(company)],
            ["  appointment".to_owned(), number(appointment)],
            ["  received".to_owned(), received.clone()],
            ["  decided".to_owned(), decided.clone()],
        ],
    )?;
    for letter in &told.dead_letters {
        output::line(&format!(
            "\nDead letter {} ({}): {}: {}",
            letter.id, letter.state, letter.reason, letter.error
        ))?;
    }
    if !told.next.is_empty() {
        output::line("\nMore:")?;
    }
    told.next.iter().try_for_each(|command| output::line(&format!("  {command}")))
}
