//! `hostmatch validate FILE|-`: shows how messages of any shape are read, without personal data, and their
//! problems.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;
use serde_json::json;

use super::items::{self, Place};
use super::{Exit, Failure, Global, output};
use crate::app::redaction::{MASK, masked_name};
use crate::contract::CONTENT_TYPES;
use crate::event::{
    Booking, BookingEvent, BookingRef, Decoded, Envelope, EventKind, Malformed, Shape, TimeNote, decode,
};
use crate::matching::Reason;
use crate::runtime::clock::now_ms;

/// Check messages of any shape: how each is read, and what is wrong with it
///
/// Reads a JSON object, an array of them, or one per line. Sends nothing, and uses no database. The
/// exit code is 0 when all can be read, 10 when one cannot.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The file; - is standard input
    file: PathBuf,
    #[command(flatten)]
    envelope: EnvelopeArgs,
}

/// Runs the command; fails when the file cannot be read.
pub(super) fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    global.start(&[])?;
    let input = items::read(&args.file)?;
    // A file that is not JSON is one invalid message.
    let whole = || vec![(Place::Whole, &input[..])];
    // A byte order mark is refused wherever the file is sent to.
    let items = if input.starts_with(b"\xef\xbb\xbf") {
        whole()
    } else {
        items::split(&input).unwrap_or_else(|_| whole())
    };
    let readings: Vec<Reading> =
        items.into_iter().map(|(place, body)| Reading::of(place, body, &args.envelope)).collect();
    global.output.show(&json!({ "messages": readings }), || readings.iter().try_for_each(Reading::print))?;
    let is_wrong =
        readings.is_empty() || readings.iter().any(|reading| reading.verdict == Verdict::Malformed);
    Ok(if is_wrong { Exit::Findings } else { Exit::Done })
}

/// The parts of a message outside the body.
#[derive(Debug, clap::Args)]
struct EnvelopeArgs {
    /// A header, such as ce-type=appointment.created (repeatable)
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = header)]
    headers: Vec<(String, String)>,
    /// The routing key
    #[arg(long, value_name = "KEY", default_value = "")]
    routing_key: String,
    /// The content type. It does not affect how a message is read, but the edge accepts only some types
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// The AMQP property type
    #[arg(long, value_name = "TYPE")]
    message_type: Option<String>,
    /// The AMQP property message_id
    #[arg(long, value_name = "ID")]
    message_id: Option<String>,
    /// The AMQP property correlation_id
    #[arg(long, value_name = "ID")]
    correlation_id: Option<String>,
    /// The AMQP property timestamp, in seconds since 1970
    #[arg(long, value_name = "SECONDS")]
    timestamp: Option<i64>,
}

impl EnvelopeArgs {
    /// Returns whether `POST /v1/events` refuses this content type.
    fn is_refused_by_the_edge(&self) -> bool {
        self.content_type.as_ref().is_some_and(|content_type| {
            let content_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
            !CONTENT_TYPES.contains(&content_type.as_str())
        })
    }

    /// Calls `work` with the envelope of this body, as if it arrived now.
    fn with_envelope<T>(&self, body: &[u8], work: impl FnOnce(&Envelope<'_>) -> T) -> T {
        let headers: BTreeMap<String, String> = self.headers.iter().cloned().collect();
        work(&Envelope {
            headers: &headers,
            routing_key: &self.routing_key,
            message_type: self.message_type.as_deref(),
            message_id: self.message_id.as_deref(),
            correlation_id: self.correlation_id.as_deref(),
            timestamp_ms: self.timestamp.map(|seconds| seconds.saturating_mul(1000)),
            ..Envelope::new(body, now_ms())
        })
    }
}

// The error does not repeat the value, which may be secret.
fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| "expected NAME=VALUE".to_owned())?;
    if name.to_ascii_lowercase().starts_with("x-hostmatch-") {
        return Err(
            "headers that begin with x-hostmatch- count only if hostmatch itself has set them".to_owned()
        );
    }
    Ok((name.to_owned(), value.to_owned()))
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    /// An event to act on.
    Valid,
    /// Nothing to act on.
    Ignored,
    /// It cannot be read.
    #[default]
    Malformed,
}

/// How a message was read. `docs/commands.md` describes it: its JSON is a contract.
#[derive(Debug, Default, Serialize)]
struct Reading {
    place: String,
    verdict: Verdict,
    shape: Option<&'static str>,
    #[serde(rename = "type")]
    event_type: Option<String>,
    id: Option<String>,
    company: Option<i64>,
    appointment: Option<i64>,
    /// Whether it may assign staff. Otherwise it is only recorded.
    may_assign: Option<bool>,
    bookings: Vec<BookingView>,
    problem: Option<Problem>,
    /// Notes about valid parts that may not be what the sender intended.
    notes: Vec<Note>,
}

#[derive(Debug, Serialize)]
struct BookingView {
    uid: Option<String>,
    id: Option<String>,
    replaces: Option<String>,
    time: String,
    /// Whether `time` is the time of publishing or receiving, because the booking has no time of its own.
    stamped: bool,
    starts: Option<String>,
    /// Whether its status is cancelled or rejected.
    off: bool,
    host: Option<HostView>,
}

/// The host of a booking. Personal data is masked, so that only its presence is shown.
#[derive(Debug, Serialize)]
struct HostView {
    found_in: &'static str,
    id: Option<i64>,
    name: Option<&'static str>,
    email: Option<&'static str>,
    username: Option<&'static str>,
}

#[derive(Debug, Serialize)]
struct Problem {
    reason: &'static str,
    pointer: String,
    message: String,
}

#[derive(Debug, Serialize)]
struct Note {
    /// The index of the booking. Null: the event.
    booking: Option<usize>,
    message: String,
}

impl Reading {
    fn of(place: Place, body: &[u8], envelope: &EnvelopeArgs) -> Self {
        let empty = Self { place: place.to_string(), ..Self::default() };
        match envelope.with_envelope(body, decode) {
            Ok(Decoded::Event(event)) => Self {
                verdict: Verdict::Valid,
                shape: Some(event.shape.as_str()),
                event_type: Some(masked_name(&event.event_type)),
                id: Some(event.id.to_string()),
                company: event.company.map(|id| id.0),
                appointment: event.appointment.map(|id| id.0),
                may_assign: Some(event.kind == EventKind::Assigns),
                bookings: event.bookings.iter().map(BookingView::of).collect(),
                notes: notes(&event, envelope),
                ..empty
            },
            Ok(Decoded::Ignored(ignored)) => Self {
                verdict: Verdict::Ignored,
                shape: Some(ignored.shape.as_str()),
                event_type: Some(masked_name(&ignored.event_type)),
                id: Some(ignored.id.to_string()),
                ..empty
            },
            Err(Malformed { kind, pointer, message, hints }) => Self {
                event_type: hints.event_type.as_deref().map(masked_name),
                id: hints.id.map(|id| id.to_string()),
                company: hints.company.map(|id| id.0),
                shape: hints.shape.map(Shape::as_str),
                problem: Some(Problem { reason: Reason::from(kind).as_str(), pointer, message }),
                ..empty
            },
        }
    }

    fn print(&self) -> Result<(), Failure> {
        let place = if self.place == "-" { String::new() } else { format!("{}: ", self.place) };
        let shape = self.shape.map(|shape| format!(" ({shape})")).unwrap_or_default();
        let head = match self.verdict {
            Verdict::Valid => format!("{place}valid{shape}"),
            Verdict::Ignored => format!("{place}nothing to act on{shape}"),
            Verdict::Malformed => format!("{place}cannot be read"),
        };
        output::print_line(&head)?;
        let mut rows = Vec::new();
        let mut add = |name, value: Option<String>| rows.extend(value.map(|value| (name, value)));
        if let Some(problem) = &self.problem {
            let pointer = if problem.pointer.is_empty() { "the whole message" } else { &problem.pointer };
            add("at", Some(pointer.to_owned()));
            add("because", Some(problem.message.clone()));
            add("reason", Some(problem.reason.to_owned()));
        }
        add("type", self.event_type.clone());
        add(
            "effect",
            self.may_assign.map(|it| if it { "may assign staff" } else { "is only recorded" }.to_owned()),
        );
        add("id", self.id.clone());
        add("company", self.company.map(|id| id.to_string()));
        add("appointment", self.appointment.map(|id| id.to_string()));
        for booking in &self.bookings {
            booking.describe(&mut add);
        }
        for note in &self.notes {
            let of = note.booking.map(|number| format!("booking {}: ", number + 1)).unwrap_or_default();
            add("note", Some(format!("{of}{}", note.message)));
        }
        output::pairs(rows)
    }
}

impl BookingView {
    fn of(booking: &Booking) -> Self {
        let text = |reference: &Option<BookingRef>| reference.as_ref().map(ToString::to_string);
        Self {
            uid: text(&booking.uid),
            id: text(&booking.id),
            replaces: text(&booking.replaces),
            time: output::moment(booking.time.ms),
            stamped: booking.time.is_inferred,
            starts: booking.starts_ms.map(output::moment),
            off: booking.is_cancelled,
            host: booking.host.as_ref().map(|(host, source)| HostView {
                found_in: source.as_str(),
                id: host.id.map(|id| id.0),
                name: host.name.as_ref().map(|_| MASK),
                email: host.email.as_ref().or(host.display_email.as_ref()).map(|_| MASK),
                username: host.username.as_ref().map(|_| MASK),
            }),
        }
    }

    fn describe(&self, add: &mut impl FnMut(&'static str, Option<String>)) {
        let uid = self.uid.as_deref().unwrap_or("-");
        let id = self.id.as_deref().map(|id| format!(", id {id}")).unwrap_or_default();
        let replaces = self.replaces.as_deref().map(|it| format!(", replaces {it}")).unwrap_or_default();
        let off = if self.off { ", cancelled or rejected" } else { "" };
        add("booking", Some(format!("uid {uid}{id}{replaces}{off}")));
        let stamped = if self.stamped { " (of the message: the booking has no time of its own)" } else { "" };
        add("  time", Some(format!("{}{stamped}", self.time)));
        add("  starts", self.starts.clone());
        let host = self.host.as_ref().map(|host| {
            let id = host.id.map_or("no id".to_owned(), |id| format!("id {id}"));
            let has = |what: Option<&str>, name| what.map(|it| format!(", {name} {it}")).unwrap_or_default();
            format!("{id}{}{}, in {}", has(host.name, "name"), has(host.email, "email"), host.found_in)
        });
        add("  host", Some(host.unwrap_or_else(|| "nobody".to_owned())));
    }
}

/// Returns notes about missing or unusable parts that the sender may have intended to send.
fn notes(event: &BookingEvent, envelope: &EnvelopeArgs) -> Vec<Note> {
    let mut notes = Vec::new();
    let mut note = |booking, message: &str| notes.push(Note { booking, message: message.to_owned() });
    if event.id.as_str().starts_with("sha256:") {
        note(
            None,
            "the message has no id of its own: a repeat is detected only if it is identical byte for byte",
        );
    }
    if event.company.is_none() && event.appointment.is_none() {
        note(None, "there is no company_id: the appointment's own company is used without a check");
    }
    for (number, booking) in event.bookings.iter().enumerate() {
        let mut note = |message: &str| note(Some(number), message);
        if booking.time.is_inferred {
            note(
                "the booking has no readable time (updatedAt, occurred_at, createdAt): \
                 the time of arrival counts",
            );
        }
        match booking.time_note {
            Some(TimeNote::Local) => {
                note("its time has no zone: a worker reads it in gateway.timezone (here: UTC)")
            }
            Some(TimeNote::Future) => note("its time lies more than a day ahead and does not count"),
            None => {}
        }
        match &booking.host {
            None if !booking.is_cancelled => {
                let why = booking.describe_missing_host().unwrap_or_default();
                note(&format!(
                    "the booking has no usable host (hosts[0], organizer, user; {why}): nobody can be assigned"
                ));
            }
            Some((host, _)) if host.id.is_none() => {
                note(
                    "the host has no id: the match is used for this appointment, and not stored as a mapping",
                );
            }
            _ => {}
        }
    }
    for form_note in &event.form_notes {
        note(None, &form_note.to_string());
    }
    if envelope.is_refused_by_the_edge() {
        note(None, "POST /v1/events refuses this content type with 415; over AMQP it is ignored");
    }
    notes
}
