//! `hostmatch events`: lists and shows recorded events, and prints new ones as they are decided.

use clap::builder::PossibleValuesParser;
use strum::VariantArray as _;

use super::arguments::{CompanyFilter, ExpectedCompany, moment};
use super::{Exit, Failure, Global, Output, next_action::command, output, output::dash};
use crate::app::events::{self, EventDetails, EventFilter, EventView};
use crate::app::{AppContext, ErrorCode};
use crate::event::Shape;
use crate::matching::{DEAD_LETTER, recorded_outcomes};
use crate::runtime::shutdown;

/// Recorded events: how each was read, and its outcome
///
/// A request that the edge refused is not an event: the edge log has a line for each request.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// The latest events: first the rejected ones, then the others, each newest first
    List {
        #[command(flatten)]
        filter: Filter,
        #[command(flatten)]
        period: Period,
        /// At most this many rejected and this many other events
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=10_000))]
        limit: u64,
        /// The next page, without rejected events: the value of next_before on the previous page
        #[arg(long, value_name = "CURSOR", value_parser = cursor)]
        before: Option<(i64, String)>,
    },
    /// The latest events, and then each event as it is decided, until interrupted
    Tail {
        #[command(flatten)]
        filter: Filter,
        /// The number of past events
        #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=10_000))]
        lines: u64,
    },
    /// One event: how it was read, its outcome, and the next steps
    Show {
        /// The event's id
        id: String,
        #[command(flatten)]
        expected: ExpectedCompany,
    },
}

/// Filters for events, which must all match.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Filter {
    #[command(flatten)]
    scope: CompanyFilter,
    /// With this outcome, such as assigned; dead_letter means rejected
    #[arg(long, value_name = "OUTCOME", value_parser = PossibleValuesParser::new(recorded_outcomes()))]
    outcome: Option<String>,
    /// Of this type, such as appointment.created
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// In this shape, such as native
    #[arg(long, value_name = "SHAPE", value_parser = shapes())]
    shape: Option<String>,
    /// From this publisher
    #[arg(long, value_name = "NAME")]
    publisher: Option<String>,
    /// About the booking with exactly this reference
    #[arg(long, value_name = "REF")]
    booking: Option<String>,
    /// About this appointment
    #[arg(long, value_name = "ID")]
    appointment: Option<i64>,
}

#[derive(Clone, Debug, clap::Args)]
pub(super) struct Period {
    /// Decided at this time or later: 24h (ago), 2026-03-01 or 2026-03-01T08:00:00Z
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<i64>,
    /// Decided before this time
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<i64>,
}

impl Filter {
    fn to_filter(&self, period: Option<&Period>) -> EventFilter {
        EventFilter {
            outcome: self.outcome.clone(),
            event_type: self.event_type.clone(),
            shape: self.shape.clone(),
            publisher: self.publisher.clone(),
            booking_ref: self.booking.clone(),
            appointment_id: self.appointment,
            since_ms: period.and_then(|period| period.since),
            until_ms: period.and_then(|period| period.until),
            ..EventFilter::default()
        }
    }
}

/// Parses a shape, or `unknown` for an event that could not be read.
fn shapes() -> PossibleValuesParser {
    PossibleValuesParser::new(Shape::VARIANTS.iter().copied().map(Shape::as_str).chain(["unknown"]))
}

fn cursor(text: &str) -> Result<(i64, String), String> {
    text.split_once(':')
        .and_then(|(ms, id)| Some((ms.parse().ok()?, id.to_owned())))
        .ok_or_else(|| "expected the value of next_before on the previous page".to_owned())
}

/// Runs the command. It only reads. Fails when the database cannot be reached, or there is no such event.
pub(super) async fn run(global: &Global, command: &Command) -> Result<Exit, Failure> {
    let company = match command {
        Command::List { filter, .. } | Command::Tail { filter, .. } => filter.scope.company,
        Command::Show { expected, .. } => expected.company,
    };
    let output = global.output;
    let work = async |context: &AppContext| match command {
        Command::List { filter, period, limit, before } => {
            let filter = EventFilter { before: before.clone(), ..filter.to_filter(Some(period)) };
            list(output, filter, *limit, context).await
        }
        Command::Tail { filter, lines } => tail(output, filter.to_filter(None), *lines, context).await,
        Command::Show { id, .. } => show(output, id, context).await,
    };
    global.with_context(None, company, work).await
}

const HEAD: [&str; 9] =
    ["DECIDED", "OUTCOME", "REASON", "TYPE", "SHAPE", "PUBLISHER", "BOOKING", "COMPANY", "ID"];

fn columns(event: &EventView) -> [String; 9] {
    [
        event.decided.clone(),
        event.outcome.clone(),
        dash(event.reason.as_ref()),
        event.event_type.clone(),
        event.shape.clone(),
        dash(event.publisher.as_ref()),
        dash(event.booking.as_ref()),
        dash(event.company),
        event.id.clone(),
    ]
}

async fn list(
    output: Output,
    filter: EventFilter,
    limit: u64,
    context: &AppContext,
) -> Result<Exit, Failure> {
    let view = events::list(context, filter, limit).await?;
    let all: Vec<&EventView> = view.rejected.iter().chain(&view.events).collect();
    let none = "No events. Refused requests are in the edge log; events without an appointment yet wait in \
                the queue.";
    output.list(&view, &all, none, |events| {
        output::table(&HEAD, events.iter().map(|event| columns(event)))?;
        if view.more_rejected {
            output::print_line(&format!("There are more rejected events: --outcome {DEAD_LETTER}"))?;
        }
        output::print_older_flag(view.next_before.as_ref().map(|next| format!("'{next}'")))
    })
}

/// Writes one line for each event as soon as it is decided, with a header before the first one.
async fn tail(
    output: Output,
    filter: EventFilter,
    lines: u64,
    context: &AppContext,
) -> Result<Exit, Failure> {
    let stop = shutdown::on_signals()?;
    let mut is_first = true;
    let show = |event: EventView| {
        if output == Output::Json {
            return output::json_line(&event);
        }
        if std::mem::take(&mut is_first) {
            output::print_line(&HEAD.join("  "))?;
        }
        output::print_line(&columns(&event).join("  "))
    };
    events::tail(context, filter, lines, &stop, show).await?;
    Ok(Exit::Done)
}

async fn show(output: Output, id: &str, context: &AppContext) -> Result<Exit, Failure> {
    let mut shown = events::show(context, id).await.map_err(|error| match error.code() {
        ErrorCode::NotFound => Failure::new(
            Exit::NotFound,
            format!(
                "{error}: the event was refused (the edge log has all requests), waits for its appointment, \
                 or is older than retention.events; `hostmatch events list` shows the latest events"
            ),
        ),
        _ => error.into(),
    })?;
    shown.commands = shown.next.iter().map(command).collect();
    output.show(&shown, || table(&shown))
}

fn table(shown: &EventDetails) -> Result<(), Failure> {
    let EventDetails { event, meaning, reading, dead_letters, commands, .. } = shown;
    let why = event.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    output::print_line(&format!("Event {}", event.id))?;
    let found_by = reading.found_by.as_ref();
    let found_by = found_by.map(|by| match by.known() {
        Some(by) => by.description(),
        None => by.as_ref(),
    });
    let rows = [
        ("outcome", format!("{}{why}", event.outcome)),
        ("meaning", dash(meaning.as_ref())),
        ("type", event.event_type.clone()),
        ("shape", event.shape.clone()),
        ("publisher", dash(event.publisher.as_ref())),
        ("booking", dash(event.booking.as_ref())),
        ("company", dash(event.company)),
        ("appointment", dash(event.appointment)),
        ("found by", dash(found_by)),
        ("received", event.received.clone()),
        ("decided", event.decided.clone()),
    ];
    output::pairs(rows)?;
    for note in &reading.notes {
        output::print_line(&format!("Note: {note}."))?;
    }
    for letter in dead_letters {
        output::print_line(&format!(
            "\nDead letter {} ({}): {}: {}",
            letter.id, letter.state, letter.reason, letter.error
        ))?;
    }
    if !commands.is_empty() {
        output::print_line("\nNext:")?;
    }
    commands.iter().try_for_each(|command| output::print_line(&format!("  {command}")))
}
