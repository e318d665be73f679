//! `deadletters show`: one dead letter, as data and for people.

use std::collections::BTreeMap;

use serde::Serialize;

use super::cure::Cure;
use super::payload::Payload;
use super::replays;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::masked::masked_header;
use crate::cli::operator::who;
use crate::cli::output::{self, Output};
use crate::config::Config;
use crate::decide::{Attempt, KeptProperties};
use crate::matching::Reason;
use crate::queue::header;
use crate::runtime::clock::now_ms;
use crate::store::{
    Act, Database, DeadLetterRow, GatewaySchema, NewAct, NewDeadLetter, acts, dead_letter, record_taken,
};

/// One dead letter: its attempts, how it came, its payload with personal data masked, its cure
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    id: i64,
    /// Show the headers and the payload as they are, personal data included
    #[arg(long)]
    pub(super) reveal: bool,
}

/// Runs the command.
///
/// # Errors
/// When there is no such dead letter, or the database cannot be reached.
pub(super) async fn run(
    output: Output,
    args: &Args,
    config: &Config,
    (database, schema): (&Database, GatewaySchema),
) -> Result<Exit, Failure> {
    let Some(row) = database.in_time(dead_letter(database, args.id)).await? else {
        let text = format!("there is no dead letter {}; `hostmatch deadletters list` shows all", args.id);
        return Err(Failure::new(Exit::NotFound, text));
    };
    if args.reveal {
        let act =
            NewAct { action: "reveal", made_by: who().to_string(), at_ms: now_ms(), ..NewAct::default() };
        record_taken(database, &[row.id], &act).await?;
    }
    let acts = acts(database, Some((row.id, &row.letter.fingerprint)), None);
    let acts = database.in_time(acts).await?;
    let cure = Cure::of(&row, config, (database, schema)).await?;
    let told = Told::of(row, acts, cure, args.reveal);
    match output {
        Output::Json => output::json(&told)?,
        Output::Table => table(&told)?,
    }
    Ok(Exit::Done)
}

/// A dead letter. `docs/commands.md` describes it: its JSON is a contract.
#[derive(Debug, Serialize)]
struct Told {
    id: i64,
    dead_id: String,
    state: String,
    reason: String,
    error: String,
    /// What a person can do; none for a reason of the broker's own.
    remedy: Option<&'static str>,
    event_id: Option<String>,
    event_type: Option<String>,
    booking: Option<String>,
    company: Option<i64>,
    host: Option<i64>,
    starts: Option<String>,
    attempts: i32,
    replays: i32,
    fingerprint: String,
    timeline: Vec<Moment>,
    #[serde(serialize_with = "as_json")]
    acts: Vec<Act>,
    /// None of one that is closed, or on its way.
    cure: Option<Cure>,
    /// From the sender to here.
    path: String,
    routing_key: String,
    /// AMQP properties that were set.
    properties: BTreeMap<String, String>,
    headers: BTreeMap<String, String>,
    payload: Payload,
}

fn as_json<S: serde::Serializer>(acts: &[Act], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(acts.iter().map(replays::act))
}

/// Something that happened.
#[derive(Debug, Serialize)]
struct Moment {
    at: String,
    what: String,
    reason: Option<String>,
    error: Option<String>,
    /// The version of the worker.
    worker: Option<String>,
}

impl Told {
    fn of(row: DeadLetterRow, acts: Vec<Act>, cure: Option<Cure>, reveal: bool) -> Self {
        let DeadLetterRow { id, state, replays, letter, .. } = row;
        let kept = KeptProperties::read(&letter);
        let properties = [
            ("type", kept.message_type),
            ("message_id", kept.message_id),
            ("correlation_id", kept.correlation_id),
            ("content_type", kept.content_type),
            ("timestamp", kept.timestamp_ms.map(output::moment)),
        ];
        let properties = properties.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        let headers = kept.headers.into_iter().filter(|(name, _)| !told_elsewhere(name));
        Self {
            id,
            state: state.to_string(),
            timeline: timeline(&letter),
            path: path(&letter, replays),
            replays,
            acts,
            cure,
            host: letter.host_id,
            starts: letter.starts_ms.map(output::moment),
            remedy: letter.reason.parse().ok().map(Reason::remedy),
            reason: letter.reason,
            error: letter.error,
            dead_id: letter.dead_id,
            event_id: letter.event_id,
            event_type: letter.event_type,
            booking: letter.booking_ref,
            company: letter.company_id,
            attempts: letter.attempts,
            fingerprint: letter.fingerprint,
            routing_key: letter.routing_key,
            properties: properties.collect(),
            headers: headers
                .map(|(name, value)| {
                    let value = if reveal { value } else { masked_header(&name, &value) };
                    (name, value)
                })
                .collect(),
            payload: Payload::of(&letter.body, reveal),
        }
    }
}

/// Headers that are told as timeline, reason and error.
fn told_elsewhere(name: &str) -> bool {
    [header::HISTORY, header::REASON, header::ERROR, header::DEAD_ID].contains(&name)
}

/// The way that it went, in words.
fn path(letter: &NewDeadLetter, replays: i32) -> String {
    let sender =
        if letter.routing_key.is_empty() { "sent without a routing key" } else { &letter.routing_key };
    let times = |count: i32, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let mut path = vec![sender.to_owned(), "work queue".to_owned()];
    if replays > 0 {
        path.push(times(replays, "replay"));
    }
    path.extend([times(letter.attempts, "attempt"), "dead letters".to_owned()]);
    path.join(" → ")
}

/// Received, every failed attempt that is known, recorded. Only the newest attempts travel along.
fn timeline(letter: &NewDeadLetter) -> Vec<Moment> {
    let NewDeadLetter { attempts, reason, error, .. } = letter;
    let (first_seen, last_failed, recorded) =
        (letter.first_seen_ms, letter.last_failed_ms, letter.recorded_ms);
    let plain = |ms, what: &str| {
        let (at, what) = (output::moment(ms), what.to_owned());
        (ms, Moment { at, what, reason: None, error: None, worker: None })
    };
    let history: Vec<Attempt> = serde_json::from_str(&letter.history).unwrap_or_default();
    let mut timeline = vec![plain(first_seen, "first received")];
    let by_broker = history.last().is_none_or(|last| last.reason != *reason);
    let told = i32::try_from(history.len()).unwrap_or(i32::MAX);
    let untold = attempts.saturating_sub(told).saturating_sub(i32::from(by_broker)).max(0);
    for (number, attempt) in (untold + 1..).zip(history) {
        let (ms, moment) = plain(attempt.at_ms, &format!("attempt {number} failed"));
        let (reason, error, worker) = (Some(attempt.reason), Some(attempt.error), Some(attempt.worker));
        timeline.push((ms, Moment { reason, error, worker, ..moment }));
    }
    if by_broker {
        let (ms, moment) = plain(last_failed, "given up by the broker");
        timeline.push((ms, Moment { reason: Some(reason.clone()), error: Some(error.clone()), ..moment }));
    }
    timeline.push(plain(recorded, "recorded as a dead letter"));
    // One that was replayed has failed after it was recorded.
    timeline.sort_by_key(|(ms, _)| *ms);
    timeline.into_iter().map(|(_, moment)| moment).collect()
}

/// Writes it to stdout, for people.
fn table(told: &Told) -> Result<(), Failure> {
    let dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    output::line(&format!("Dead letter {}  ({})", told.id, told.state))?;
    output::table(
        &[],
        [
            ["  reason".to_owned(), told.reason.clone()],
            ["  error".to_owned(), told.error.clone()],
            ["  to do".to_owned(), told.remedy.unwrap_or("see the broker's log").to_owned()],
            ["  event".to_owned(), format!("{}  {}", dash(&told.event_type), dash(&told.event_id))],
            ["  booking".to_owned(), dash(&told.booking)],
            ["  company".to_owned(), dash(&told.company.map(|id| id.to_string()))],
            ["  host".to_owned(), dash(&told.host.map(|id| id.to_string()))],
            ["  starts".to_owned(), dash(&told.starts)],
            ["  group".to_owned(), told.fingerprint.clone()],
            ["  attempts".to_owned(), told.attempts.to_string()],
        ],
    )?;
    output::line("\nTimeline")?;
    output::table(
        &[],
        told.timeline.iter().map(|moment| {
            let why = [&moment.reason, &moment.error].into_iter().flatten().cloned().collect::<Vec<_>>();
            let worker = moment.worker.as_ref().map(|version| format!("worker {version}"));
            [format!("  {}", moment.at), moment.what.clone(), why.join(": "), worker.unwrap_or_default()]
        }),
    )?;
    if !told.acts.is_empty() {
        output::line("\nWhat was done")?;
        output::table(&[], told.acts.iter().map(replays::act_cells))?;
    }
    if let Some(cure) = &told.cure {
        let why = cure.reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
        output::line(&format!("\nReplayed now: {}{why}", cure.foretold))?;
        cure.commands.iter().try_for_each(|command| output::line(&format!("  {command}")))?;
    }
    output::line(&format!("\nHow it came: {}", told.path))?;
    let properties = told.properties.iter().chain(&told.headers);
    let routing_key = std::iter::once(["  routing key".to_owned(), told.routing_key.clone()]);
    let rows = properties.map(|(name, value)| [format!("  {name}"), value.clone()]);
    output::table(&[], routing_key.chain(rows))?;
    let (head, lines) = told.payload.lines();
    output::line(&format!("\n{head}"))?;
    lines.iter().try_for_each(|line| output::line(line))
}
