//! `hostmatch match`, and `match explain`: shows the strategies, what each found, the decision, and the
//! effect on the appointment. Writes nothing.

mod table;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;
use serde::de::IgnoredAny;
use serde_json::json;

use super::{Exit, Failure, Global, items, next_action::command, simulate};
use crate::app::explain::{ExplanationView, Subject, explain};
use crate::app::{AppContext, NextAction};
use crate::event::{BookingRef, CompanyId, Decoded, Envelope, Host, HostId, LocalZone, decode};
use crate::matching::HostKey;
use crate::runtime::clock::now_ms;

/// An object with one of these keys is an event of some shape; any other object is a bare booking.
const EVENT_KEYS: [&str; 6] = ["event", "calcom_booking", "triggerEvent", "specversion", "job", "event_id"];

/// Explain how hosts are matched
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    Explain(Question),
    Simulate(simulate::Args),
}

/// Show the strategies, what each finds, the decision and its effect
///
/// Writes nothing and locks nothing. Give a file with --booking, a host with --host and
/// --company, or an appointment with --uid.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("subject").required(true).args(["booking", "host", "uid"]))]
pub(super) struct Question {
    /// A file with an event or a bare Cal.com booking (or an array, or one per line); - is standard input
    #[arg(long, value_name = "FILE")]
    booking: Option<PathBuf>,
    /// The id of a Cal.com user
    #[arg(long, value_name = "ID", requires = "company", value_parser = clap::value_parser!(i64).range(1..=i64::from(i32::MAX)))]
    host: Option<i64>,
    /// The reference (uid or id) of an appointment's booking: explains its newest event
    #[arg(long, value_name = "REF")]
    uid: Option<String>,
    /// The e-mail address of --host
    #[arg(long, requires = "host")]
    email: Option<String>,
    /// The name of --host
    #[arg(long, requires = "host")]
    name: Option<String>,
    /// The company of --host; with --booking the company to assume if there is no appointment
    #[arg(long, value_name = "N", conflicts_with = "uid", value_parser = clap::value_parser!(i64).range(1..))]
    company: Option<i64>,
}

/// Runs the command; fails when the file cannot be read, the database cannot be reached, or there is no such
/// appointment.
pub(super) async fn run(global: &Global, command: &Command) -> Result<Exit, Failure> {
    let question = match command {
        Command::Explain(question) => question,
        Command::Simulate(args) => return simulate::run(global, args).await,
    };
    // Reads the file first, because this does not need the database, which knows the gateway's time zone.
    let input = question.booking.as_deref().map(items::read).transpose()?.unwrap_or_default();
    if let Some(file) = &question.booking {
        items::split_file(file, &input)?;
    }
    let work = async |context: &AppContext| {
        let subjects = subjects_of(question, &input, &context.schema.local_zone)?;
        Ok(explain(context, subjects).await?)
    };
    let explained = global.with_context(None, None, work).await?;
    let explanations: Vec<Explanation> = explained.into_iter().map(Explanation::from).collect();
    global.output.show(&json!({ "explanations": explanations }), || table::show(&explanations))?;
    let nothing = explanations.iter().all(|one| one.view.is_empty());
    Ok(if nothing { Exit::NotFound } else { Exit::Done })
}

/// Returns the subjects that the arguments select; times without a zone in `input`, the content of the file, are in
/// `zone`. Fails if the file has no known form.
fn subjects_of(question: &Question, input: &[u8], zone: &LocalZone) -> Result<Vec<Subject>, Failure> {
    let company = question.company.map(CompanyId);
    if let Some(file) = &question.booking {
        let items = items::split_file(file, input)?.into_iter();
        return Ok(items.map(|(_, bytes)| subject_of(bytes, company, zone)).collect());
    }
    if let Some(reference) = &question.uid {
        let reference = BookingRef::new(reference)
            .ok_or_else(|| Failure::new(Exit::Usage, "--uid requires a reference of 1 to 255 bytes"))?;
        return Ok(vec![Subject::Reference(reference)]);
    }
    match (question.host.and_then(HostId::new), company) {
        (Some(id), Some(company)) => {
            let non_empty = |text: &Option<String>| {
                text.as_deref().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
            };
            let (name, email) = (non_empty(&question.name), non_empty(&question.email));
            let host = Host { id: Some(id), name, email, ..Host::default() };
            Ok(vec![Subject::Host(Box::new(host), company)])
        }
        _ => Err(Failure::new(Exit::Usage, "give --booking FILE, --uid REF, or --host ID --company N")),
    }
}

fn subject_of(bytes: &[u8], company: Option<CompanyId>, zone: &LocalZone) -> Subject {
    let wrapped = wrapped(bytes);
    match decode(&Envelope { zone, ..Envelope::new(wrapped.as_deref().unwrap_or(bytes), now_ms()) }) {
        Ok(Decoded::Event(mut event)) => {
            // The company of the command line is checked against the appointment's own, as if the event
            // contained it.
            event.company = event.company.or(company);
            Subject::Event(event, company)
        }
        Ok(Decoded::Ignored(ignored)) => Subject::Ignored(ignored.event_type),
        Err(malformed) => Subject::Unreadable(malformed.kind.into(), malformed.to_string()),
    }
}

/// Wraps a bare booking, byte for byte, as the gateway would publish it. Returns `None` if it is none.
fn wrapped(bytes: &[u8]) -> Option<Vec<u8>> {
    let object: BTreeMap<String, IgnoredAny> = serde_json::from_slice(bytes).ok()?;
    let is_bare = !EVENT_KEYS.iter().any(|key| object.contains_key(*key));
    is_bare.then(|| [br#"{"event":"appointment.created","calcom_booking":"#, bytes, b"}"].concat())
}

/// An explanation with the advice for the command line.
#[derive(Debug, Serialize)]
struct Explanation {
    #[serde(flatten)]
    view: ExplanationView,
    next: String,
}

impl From<ExplanationView> for Explanation {
    fn from(view: ExplanationView) -> Self {
        let suggested = view.action.as_ref().map(|(action, staff)| match action {
            NextAction::AssignHost(HostKey { company, host }) => {
                let staff = staff.as_ref().map_or_else(|| "ID".to_owned(), ToString::to_string);
                // A host that no booking has named yet needs a flag.
                let unseen = if view.effect.is_none() { " [--unseen]" } else { "" };
                format!("hostmatch mappings set --company {company} --host {host} --staff {staff}{unseen}")
            }
            other => command(other),
        });
        let next = match suggested {
            Some(command) => format!("{}: {command}", view.advice),
            None => view.advice.clone(),
        };
        Self { view, next }
    }
}
