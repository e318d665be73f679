//! Shows one dead letter: its attempts, its path, its payload, and the predicted result of a replay.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::app::redaction::{PayloadView, masked_header};
use crate::app::{AppContext, AppError, NextAction, pluralize};
use crate::decide::{Attempt, DeliveryResult, is_cut, message_for_replay, stored_properties};
use crate::event::HostId;
use crate::matching::{HostKey, Outcome, Reason};
use crate::queue::header;
use crate::runtime::clock::rfc3339;
use crate::store::{
    DeadLetter, FAILED, LetterAction, LetterState, NewLetterAction, RecordedLetterAction, dead_letter,
    letter_actions, perform_letter_action,
};

/// A dead letter. `docs/commands.md` describes it: its JSON is a contract.
#[derive(Debug, Serialize)]
pub(crate) struct LetterView {
    pub(crate) id: i64,
    pub(crate) dead_id: String,
    pub(crate) state: String,
    pub(crate) reason: String,
    pub(crate) error: String,
    pub(crate) remedy: Option<&'static str>,
    pub(crate) event_id: Option<String>,
    pub(crate) event_type: Option<String>,
    pub(crate) booking: Option<String>,
    pub(crate) company: Option<i64>,
    pub(crate) host: Option<i64>,
    pub(crate) starts: Option<String>,
    pub(crate) attempts: i32,
    pub(crate) replays: i32,
    pub(crate) fingerprint: String,
    pub(crate) timeline: Vec<TimelineEntry>,
    #[serde(rename = "acts")]
    pub(crate) actions: Vec<RecordedLetterAction>,
    #[serde(rename = "cure")]
    pub(crate) forecast: Option<ReplayForecast>,
    pub(crate) path: String,
    pub(crate) routing_key: String,
    pub(crate) properties: BTreeMap<&'static str, String>,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) payload: PayloadView,
}

/// One entry of a letter's timeline.
#[derive(Debug, Default, Serialize)]
pub(crate) struct TimelineEntry {
    pub(crate) at: String,
    pub(crate) what: String,
    pub(crate) reason: Option<String>,
    pub(crate) error: Option<String>,
    pub(crate) worker: Option<String>,
}

/// The reason why a letter cannot be replayed of which only the beginning is stored.
pub(crate) const CUT: &str = "cut";

/// The predicted result of a replay, and the next steps.
#[derive(Debug, Serialize)]
pub(crate) struct ReplayForecast {
    /// The predicted outcome of a replay now; can be `failed`.
    #[serde(rename = "foretold")]
    pub(crate) predicted: &'static str,
    /// The reason why a replay would fail again: a reason code, or [`CUT`].
    pub(crate) reason: Option<&'static str>,
    /// The next steps, in order.
    #[serde(skip)]
    pub(crate) next: Vec<NextAction>,
    /// The next steps as commands. The front end fills them in.
    pub(crate) commands: Vec<String>,
}

/// Returns one dead letter. With `reveal`, the result includes personal data, and the access is recorded
/// first. Fails if the dead letter does not exist.
pub(crate) async fn show(context: &AppContext, id: i64, reveal: bool) -> Result<LetterView, AppError> {
    let database = &context.database;
    let found = context.with_deadline(dead_letter(database, &context.scope, id)).await?;
    let letter = found.ok_or_else(|| AppError::NotFound(format!("dead letter {id}")))?;
    if reveal {
        let action = NewLetterAction::new(LetterAction::Reveal, context.author.as_str());
        perform_letter_action(database, &context.scope, &[id], &action).await?;
    }
    let actions =
        context.with_deadline(letter_actions(database, Some((id, &letter.fingerprint)), None)).await?;
    let forecast = predict_replay(context, &letter).await?;
    let stored = stored_properties(&letter);
    let properties = [
        ("type", stored.message_type),
        ("message_id", stored.message_id),
        ("correlation_id", stored.correlation_id),
        ("content_type", stored.content_type),
        ("timestamp", stored.timestamp_ms.map(rfc3339)),
    ];
    // These headers are already shown as the timeline, the reason, the error and the id.
    let shown_as_fields = [header::HISTORY, header::REASON, header::ERROR, header::DEAD_ID];
    let headers = stored.headers.into_iter().filter(|(name, _)| !shown_as_fields.contains(&name.as_str()));
    Ok(LetterView {
        id,
        state: letter.state.to_string(),
        remedy: letter.reason.parse().ok().map(Reason::remedy),
        starts: letter.starts_ms.map(rfc3339),
        replays: letter.replays,
        timeline: timeline(&letter),
        actions,
        forecast,
        path: path(&letter),
        properties: properties.into_iter().filter_map(|(name, value)| Some((name, value?))).collect(),
        headers: headers
            .map(|(name, value)| {
                let value = if reveal { value } else { masked_header(&name, &value) };
                (name, value)
            })
            .collect(),
        payload: PayloadView::of(&letter.body, reveal),
        dead_id: letter.dead_id,
        reason: letter.reason,
        error: letter.error,
        event_id: letter.event_id,
        event_type: letter.event_type,
        booking: letter.booking_ref,
        company: letter.company_id.map(|id| id.0),
        host: letter.host_id,
        attempts: letter.attempts,
        fingerprint: letter.fingerprint,
        routing_key: letter.routing_key,
    })
}

/// Predicts the result of replaying an open letter, by a dry run of the whole replay.
async fn predict_replay(
    context: &AppContext,
    letter: &DeadLetter,
) -> Result<Option<ReplayForecast>, AppError> {
    let id = letter.id;
    let forecast =
        |predicted, reason, next| Ok(Some(ReplayForecast { predicted, reason, next, commands: Vec::new() }));
    match letter.state.known() {
        Some(LetterState::Open) => {}
        Some(state @ LetterState::Discarded) => {
            return forecast(state.as_str(), None, vec![NextAction::RestoreLetter(id)]);
        }
        _ => return Ok(None),
    }
    if is_cut(letter) {
        return forecast(FAILED, Some(CUT), vec![NextAction::DiscardLetter(id)]);
    }
    let processor = context.processor();
    let message = (message_for_replay(letter), letter.first_seen_ms);
    match processor.dry_run().predict(vec![message]).await?.pop().map(|prediction| prediction.result) {
        Some(DeliveryResult::Done(outcome @ (Outcome::NeedsReview | Outcome::Unmatched))) => {
            let host = letter.company_id.zip(letter.host_id);
            let key = |(company, host)| HostKey { company, host: HostId(host) };
            let assign = host.map(key).map(NextAction::MapUnseenHost);
            let next = [Some(NextAction::ExplainLetter(id)), assign, Some(NextAction::ReplayLetter(id))];
            forecast(outcome.as_str(), None, next.into_iter().flatten().collect())
        }
        Some(DeliveryResult::Done(outcome)) => {
            forecast(outcome.as_str(), None, vec![NextAction::ReplayLetter(id)])
        }
        Some(DeliveryResult::Retry(reason, _) | DeliveryResult::Dead(reason, _)) => {
            // Once the cause is fixed, the whole group can be replayed.
            let next = vec![NextAction::PlanGroup(letter.fingerprint.clone())];
            forecast(FAILED, Some(reason.as_str()), next)
        }
        Some(DeliveryResult::Deferred) | None => Ok(None),
    }
}

/// Describes the letter's path through the queues.
fn path(letter: &DeadLetter) -> String {
    let routing_key =
        if letter.routing_key.is_empty() { "sent without a routing key" } else { &letter.routing_key };
    let mut path = vec![routing_key.to_owned(), "work queue".to_owned()];
    if letter.replays > 0 {
        path.push(pluralize(letter.replays, "replay", "replays"));
    }
    path.extend([pluralize(letter.attempts, "attempt", "attempts"), "dead letters".to_owned()]);
    path.join(" → ")
}

/// Lists when the message was first received, when each known attempt failed, and when the dead letter was
/// recorded. A message carries only its newest attempts, so older ones may be unknown.
fn timeline(letter: &DeadLetter) -> Vec<TimelineEntry> {
    let entry = |ms, what: String| (ms, TimelineEntry { at: rfc3339(ms), what, ..TimelineEntry::default() });
    let history: Vec<Attempt> = serde_json::from_str(&letter.history).unwrap_or_default();
    let mut timeline = vec![entry(letter.first_seen_ms, "first received".to_owned())];
    let by_broker = history.last().is_none_or(|last| last.reason != letter.reason);
    let known = i32::try_from(history.len()).unwrap_or(i32::MAX);
    let unknown = letter.attempts.saturating_sub(known).saturating_sub(i32::from(by_broker)).max(0);
    for (number, attempt) in (unknown + 1..).zip(history) {
        let (ms, at_failure) = entry(attempt.at_ms, format!("attempt {number} failed"));
        let (reason, error, worker) =
            (Some(attempt.reason), Some(attempt.error), Some(attempt.worker_version));
        timeline.push((ms, TimelineEntry { reason, error, worker, ..at_failure }));
    }
    if by_broker {
        let (ms, at_failure) = entry(letter.last_failed_ms, "dead-lettered by the broker".to_owned());
        let (reason, error) = (Some(letter.reason.clone()), Some(letter.error.clone()));
        timeline.push((ms, TimelineEntry { reason, error, ..at_failure }));
    }
    timeline.push(entry(letter.recorded_ms, "recorded as a dead letter".to_owned()));
    // A replayed letter may have failed again after it was first recorded, so the entries have to be sorted.
    timeline.sort_by_key(|(ms, _)| *ms);
    timeline.into_iter().map(|(_, entry)| entry).collect()
}
