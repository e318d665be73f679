//! Replays dead letters: makes a fixed plan (`plan.rs`) with a prediction for each letter, carries the plan
//! out (`runner.rs`) at a given rate, and compares the predictions with the results (`report.rs`). This file
//! shows, pauses and cancels plans and replays.
//!
//! This module publishes copies of the letters and reads their results. A letter is done when its result is
//! written, not when its copy is sent: the worker writes the result in the transaction that decides the copy,
//! or the recorder when it records the copy as a dead letter again. The process that runs a replay holds a
//! lease, so only one process runs the replay, and another can resume it if that process dies.

mod plan;
mod picker;
mod runner;
mod report;

use serde::Serialize;
use serde_json::Value;
use strum::VariantArray as _;

pub(crate) use picker::Rate;
pub(crate) use plan::{PlanView, plan, read_predictions};
pub(crate) use report::Report;
pub(crate) use runner::{EndReason, Progress, carry_out};

use super::{AppContext, AppError, NextAction};
use crate::matching::Stored;
use crate::runtime::clock::{as_rfc3339, now_ms, rfc3339};
use crate::store::entity::replay::Model;
pub(crate) use crate::store::{FAILED, LEFT, LOST, REFUSED, ReplayStart, ReplayTerms};
use crate::store::{
    ItemRow, LetterAction, NewLetterAction, RecordedLetterAction, ReplayItemState, ReplayState, StateChange,
    give_up, letter_actions, oldest_in_flight_ms, replay, replay_items, replays, set_replay_state,
};

/// Dead letters that are in flight for longer than this may be lost.
const STUCK_AFTER_MS: i64 = 60_000;

/// Plans and replays, newest first.
#[derive(Debug, Serialize)]
pub(crate) struct ReplaysView {
    pub(crate) replays: Vec<ReplayView>,
}

/// One plan or replay. `docs/commands.md` describes it: its JSON is a contract.
#[derive(Debug, Serialize)]
pub(crate) struct ReplayView {
    pub(crate) id: i64,
    pub(crate) state: String,
    pub(crate) letters: i32,
    pub(crate) made_by: String,
    pub(crate) why: Option<String>,
    pub(crate) chosen: Value,
    pub(crate) rate: Option<String>,
    pub(crate) canary: Option<i32>,
    pub(crate) stop_on_failure: Option<i32>,
    pub(crate) ended_because: Option<String>,
    pub(crate) created: String,
    pub(crate) expires: String,
    pub(crate) started: Option<String>,
    pub(crate) ended: Option<String>,
}

impl From<Model> for ReplayView {
    fn from(row: Model) -> Self {
        Self {
            state: state(&row),
            id: row.id,
            letters: row.total,
            made_by: row.made_by,
            why: row.why,
            chosen: serde_json::from_str(&row.chosen).unwrap_or_default(),
            rate: row.rate,
            canary: row.canary,
            stop_on_failure: row.stop_percent,
            ended_because: row.ended_because,
            created: rfc3339(row.created_ms),
            expires: rfc3339(row.expires_ms),
            started: row.started_ms.map(rfc3339),
            ended: row.ended_ms.map(rfc3339),
        }
    }
}

/// Returns the state to show. This function detects an expired plan, and a replay whose process has died: the
/// stored state shows neither.
fn state(row: &Model) -> String {
    let now_ms = now_ms();
    match &row.state {
        Stored::Known(ReplayState::Planned) if row.expires_ms <= now_ms => "expired".to_owned(),
        Stored::Known(ReplayState::Running) if row.lease_until_ms.is_none_or(|until| until <= now_ms) => {
            "interrupted".to_owned()
        }
        state => state.to_string(),
    }
}

/// One plan or replay with its report and history.
#[derive(Debug, Serialize)]
pub(crate) struct ReplayDetails {
    pub(crate) replay: ReplayView,
    /// The predictions and the results.
    pub(crate) report: Report,
    /// The recorded actions on the replay.
    #[serde(rename = "acts")]
    pub(crate) actions: Vec<RecordedLetterAction>,
    /// When the oldest letter in flight was sent, in ms since 1970.
    #[serde(rename = "on_the_way_since", serialize_with = "as_rfc3339")]
    pub(crate) in_flight_since_ms: Option<i64>,
    /// Its letters, if requested.
    pub(crate) items: Option<Vec<ItemRow>>,
}

impl ReplayDetails {
    /// Returns whether letters are in flight for so long that they may be lost.
    pub(crate) fn is_stuck(&self) -> bool {
        self.in_flight_since_ms.is_some_and(|since| now_ms() - since > STUCK_AFTER_MS)
    }
}

/// Returns plans and replays, newest first, with ids below `before`, at most `limit`.
pub(crate) async fn list(
    context: &AppContext,
    before: Option<i64>,
    limit: u64,
) -> Result<ReplaysView, AppError> {
    let rows = replays(&context.database, &context.scope, before, limit);
    let rows = context.with_deadline(rows).await?;
    Ok(ReplaysView { replays: rows.into_iter().map(ReplayView::from).collect() })
}

/// Returns one plan or replay. If `with_items`, includes its letters; if `result`, only those with this
/// result.
pub(crate) async fn show(
    context: &AppContext,
    id: i64,
    with_items: bool,
    result: Option<&str>,
) -> Result<ReplayDetails, AppError> {
    let database = &context.database;
    let row = find(context, id).await?;
    let all_states = ReplayItemState::VARIANTS;
    let items = match with_items || result.is_some() {
        true => Some(context.with_deadline(replay_items(database, id, all_states, result)).await?),
        false => None,
    };
    Ok(ReplayDetails {
        replay: row.into(),
        report: Report::read(context, id).await?,
        actions: context.with_deadline(letter_actions(database, None, Some(id))).await?,
        in_flight_since_ms: context.with_deadline(oldest_in_flight_ms(database, id)).await?,
        items,
    })
}

/// Pauses a replay: letters in flight are finished, but no more are sent until the replay is resumed.
pub(crate) async fn pause(context: &AppContext, id: i64) -> Result<(), AppError> {
    change_state(context, id, LetterAction::Pause, &[ReplayState::Running], ReplayState::Paused).await
}

/// Cancels a plan or replay: letters in flight are finished, the others are not sent.
pub(crate) async fn cancel(context: &AppContext, id: i64) -> Result<(), AppError> {
    let from = [ReplayState::Planned, ReplayState::Running, ReplayState::Paused];
    change_state(context, id, LetterAction::Cancel, &from, ReplayState::Cancelled).await
}

/// Cancels a replay if it has not ended, and gives up the letters in flight: they are open again. Returns the
/// number of these letters.
pub(crate) async fn cancel_and_give_up(context: &AppContext, id: i64) -> Result<usize, AppError> {
    let refusal = match cancel(context, id).await {
        Err(AppError::NotAllowed(text)) => Some(text),
        cancelled => cancelled.map(|()| None)?,
    };
    let action = NewLetterAction {
        replay: Some(id),
        ..NewLetterAction::new(LetterAction::GiveUp, context.author.as_str())
    };
    match (context.with_deadline(give_up(&context.database, id, &action)).await?, refusal) {
        (0, Some(text)) => Err(AppError::NotAllowed(format!("{text}, and no letter is in flight"))),
        (letters, _) => Ok(letters),
    }
}

/// Changes the state of a plan or replay and records the action. Fails if the state is not in `from`.
async fn change_state(
    context: &AppContext,
    id: i64,
    action: LetterAction,
    from: &[ReplayState],
    to: ReplayState,
) -> Result<(), AppError> {
    let row = find(context, id).await?;
    let record = new_action(&row, action, context);
    let now_ms = record.at_ms;
    let change = StateChange { from, to, because: None, lease: None, action: Some(&record), now_ms };
    if set_replay_state(&context.database, id, change).await? {
        return Ok(());
    }
    let state = find(context, id).await?.state;
    Err(AppError::NotAllowed(format!("replay {id} is {state}, so it cannot be {to}")))
}

/// Reads the plan or replay with this id.
async fn find(context: &AppContext, id: i64) -> Result<Model, AppError> {
    let found = context.with_deadline(replay(&context.database, &context.scope, id)).await?;
    found.ok_or_else(|| AppError::NotFound(format!("plan or replay {id}")))
}

/// Creates the record of an action on a replay.
fn new_action(row: &Model, action: LetterAction, context: &AppContext) -> NewLetterAction {
    NewLetterAction {
        replay: Some(row.id),
        letters: usize::try_from(row.total).unwrap_or_default(),
        ..NewLetterAction::new(action, context.author.as_str())
    }
}

/// Returns the error for a replay that cannot be started or resumed, with the next step.
fn refusal(row: &Model, start: &ReplayStart, now_ms: i64) -> AppError {
    let id = row.id;
    let (why, next) = match (&row.state, start) {
        (Stored::Known(ReplayState::Planned), ReplayStart::First(_)) => {
            (format!("plan {id} has expired"), Some(NextAction::MakePlan))
        }
        (Stored::Known(ReplayState::Planned), ReplayStart::Again { .. }) => {
            (format!("{id} is a plan that has not been started"), Some(NextAction::StartPlan(id)))
        }
        (Stored::Known(ReplayState::Running), _) if row.lease_until_ms.is_some_and(|it| it > now_ms) => {
            let seconds = (row.lease_until_ms.unwrap_or(now_ms) - now_ms) / 1000 + 1;
            let text = "if that process has died, the replay can be resumed in";
            (format!("another process is running replay {id}; {text} {seconds} s"), None)
        }
        (Stored::Known(ReplayState::Running | ReplayState::Paused), ReplayStart::First(_)) => {
            (format!("replay {id} has already been started"), Some(NextAction::ResumeReplay(id)))
        }
        (state, _) => (format!("replay {id} is {state}"), Some(NextAction::MakePlan)),
    };
    AppError::Replay(why, next)
}
