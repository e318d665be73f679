//! `hostmatch publish FILE|-`: events from a file into the queue, checked first.

use std::path::PathBuf;

use serde::Serialize;
use serde_json::json;
use time::OffsetDateTime;

use super::exit::Exit;
use super::failure::Failure;
use super::global::Global;
use super::items::{self, Place};
use super::output::{self, Output};
use crate::config::Config;
use crate::event::{Decoded, Envelope, decode};
use crate::queue::{Message, Queue, header};
use crate::runtime::shutdown;
use crate::telemetry;
use crate::telemetry::traces::{self, Parent, Span, SpanKind};

/// Messages per confirmed publish: enough to be quick, few enough for a bar that moves.
const CHUNK: usize = 200;

/// Publish events from a file: a JSON object, an array, or one object a line
///
/// All of them are checked first. When one is invalid, nothing is published, unless
/// --skip-invalid says otherwise. Publishing the same events again does no harm.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The file; - is standard input
    file: PathBuf,
    /// Check only; ends with the code with which publishing would end
    #[arg(long)]
    dry_run: bool,
    /// Publish the valid ones and leave out the others (exit code 5 if there are any)
    #[arg(long)]
    skip_invalid: bool,
}

/// What was found out about one event.
#[derive(Debug, Serialize)]
struct Report {
    place: String,
    status: Status,
    event_type: Option<String>,
    event_id: Option<String>,
    bookings: Vec<String>,
    /// Where in the event it is wrong: a JSON pointer.
    pointer: Option<String>,
    problem: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Valid,
    Ignored,
    Invalid,
}

impl Status {
    fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Ignored => "nothing to act on",
            Self::Invalid => "invalid",
        }
    }
}

/// Runs the command.
///
/// # Errors
/// When the file cannot be read or is invalid, or the queue cannot be reached.
pub(super) async fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    let effective = global.start(&[])?;
    let name = args.file.display().to_string();
    let input = items::read(&args.file)?;
    let items =
        items::split(&input).map_err(|problem| Failure::new(Exit::Failed, format!("{name} {problem}")))?;

    let now_ms = now_ms();
    let (mut reports, mut messages) = (Vec::new(), Vec::new());
    for (place, body) in items {
        let (report, message) = check(place, body, now_ms);
        reports.push(report);
        messages.extend(message);
    }
    let invalid = reports.iter().filter(|report| report.status == Status::Invalid).count();
    let refused = invalid > 0 && (!args.skip_invalid || messages.is_empty());

    let count = if refused || args.dry_run { 0 } else { publish(&effective.config, messages).await? };
    show(global.output, args, &reports, count)?;
    if refused {
        let hint =
            if args.skip_invalid { "" } else { "; correct them, or leave them out with --skip-invalid" };
        let text =
            format!("nothing was published: {invalid} of {} in {name} are invalid{hint}", reports.len());
        return Err(Failure::new(Exit::Failed, text));
    }
    Ok(if invalid > 0 { Exit::Partial } else { Exit::Done })
}

/// Reads one event as the worker will, and makes the message of it, unless it is invalid.
fn check(place: Place, body: &[u8], now_ms: i64) -> (Report, Option<Message>) {
    let mut message = Message {
        body: body.to_vec().into(),
        headers: [
            (header::FIRST_SEEN.to_owned(), now_ms.to_string()),
            (header::PUBLISHER.to_owned(), "hostmatch publish".to_owned()),
        ]
        .into(),
        content_type: Some("application/json".to_owned()),
        timestamp_ms: Some(now_ms),
        ..Message::default()
    };
    let envelope = Envelope {
        headers: &message.headers,
        timestamp_ms: message.timestamp_ms,
        ..Envelope::new(body, now_ms)
    };
    let mut report = Report {
        place: place.to_string(),
        status: Status::Valid,
        event_type: None,
        event_id: None,
        bookings: Vec::new(),
        pointer: None,
        problem: None,
    };
    match decode(&envelope) {
        Ok(Decoded::Event(event)) => {
            report.bookings = event
                .bookings
                .iter()
                .filter_map(|booking| booking.reference())
                .map(ToString::to_string)
                .collect();
            report.event_id = Some(event.id.to_string());
            report.event_type = Some(event.event_type);
        }
        Ok(Decoded::Ignored(ignored)) => {
            report.status = Status::Ignored;
            report.event_id = Some(ignored.id.to_string());
            report.event_type = Some(ignored.event_type);
        }
        Err(malformed) => {
            report.status = Status::Invalid;
            report.pointer = Some(malformed.pointer);
            report.problem = Some(malformed.message);
            return (report, None);
        }
    }
    // The type as routing key, for whoever else listens to the exchange. AMQP takes 255 bytes.
    message.routing_key = report.event_type.clone().filter(|key| key.len() <= 255).unwrap_or_default();
    (report, Some(message))
}

/// Publishes in order; gives the number. A failure tells how many were accepted before it.
async fn publish(config: &Config, messages: Vec<Message>) -> Result<usize, Failure> {
    let stop = shutdown::on_signals()?;
    let collecting = telemetry::collect(&config.traces, "publish")?;
    let queue = Queue::open(&config.queue).await?;
    // Tells a broker that is away before the first message is sent.
    queue.depth().await?;
    let publisher = queue.publisher();
    let total = messages.len();
    let bar = output::progress(total, "publishing");
    let mut published = 0;
    let mut result = Ok(());
    for chunk in messages.chunks(CHUNK) {
        if stop.is_cancelled() {
            result = Err(Failure::new(Exit::Interrupted, "interrupted"));
            break;
        }
        let mut chunk = chunk.to_vec();
        // Each event begins a trace of its own.
        let spans: Vec<Span> =
            chunk.iter_mut().map(|message| traced(message, publisher.destination())).collect();
        let count = chunk.len();
        if let Err(error) = publisher.publish(chunk).await {
            spans.iter().for_each(|span| span.failed("not_confirmed"));
            result = Err(error.into());
            break;
        }
        published += count;
        bar.set_position(published as u64);
    }
    bar.finish_and_clear();
    queue.close().await;
    collecting.end().await;
    let rest =
        format!("{published} of {total} were surely published; to publish all of them again does no harm");
    result.map(|()| published).map_err(|failure: Failure| failure.with(&rest))
}

/// The span of publishing one event, whose context it carries from now on.
fn traced(message: &mut Message, (system, destination): (&'static str, &str)) -> Span {
    if !traces::are_on() {
        return Span::NONE;
    }
    let span = Span::begin(Parent::None, SpanKind::Producer, format!("publish {destination}"), []);
    span.set("messaging.system", system);
    span.set("messaging.destination.name", destination.to_owned());
    span.set("messaging.operation.name", "publish");
    span.set("messaging.operation.type", "send");
    if let Some(origin) = span.origin() {
        origin.write(&mut message.headers);
    }
    span
}

fn show(output: Output, args: &Args, reports: &[Report], published: usize) -> Result<(), Failure> {
    let count = |status| reports.iter().filter(|report| report.status == status).count();
    let (valid, ignored, invalid) = (count(Status::Valid), count(Status::Ignored), count(Status::Invalid));
    if output == Output::Json {
        let summary = json!({
            "dry_run": args.dry_run, "published": published,
            "valid": valid, "ignored": ignored, "invalid": invalid, "events": reports,
        });
        return output::json(&summary);
    }
    let told = reports.iter().filter(|report| args.dry_run || report.status == Status::Invalid);
    let rows: Vec<_> = told.map(row).collect();
    if !rows.is_empty() {
        output::table(&["AT", "STATUS", "TYPE", "BOOKING", "PROBLEM"], rows)?;
    }
    let found = format!("{valid} valid, {ignored} with nothing to act on, {invalid} invalid");
    output::line(&if args.dry_run { found } else { format!("{published} published ({found})") })
}

fn row(report: &Report) -> [String; 5] {
    let pointer = report.pointer.as_deref().filter(|pointer| !pointer.is_empty());
    let problem = match (&report.problem, pointer) {
        (Some(problem), Some(pointer)) => format!("{problem} (at {pointer})"),
        (Some(problem), None) => problem.clone(),
        (None, _) => String::new(),
    };
    [
        report.place.clone(),
        report.status.as_str().to_owned(),
        report.event_type.clone().unwrap_or_default(),
        report.bookings.join(", "),
        problem,
    ]
}

fn now_ms() -> i64 {
    i64::try_from(OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX)
}
