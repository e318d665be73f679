//! Use cases that discard and restore dead letters and write notes on groups. The author's reason is recorded.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::app::{AppContext, AppError};
use crate::store::{
    ActionResult, DeadLetterFilter, LetterAction, LetterState, NewLetterAction, RefusedLetter,
    dead_letter_ids, groups, perform_letter_action, record_note,
};

/// The result for each letter.
#[derive(Debug, Serialize)]
pub(crate) struct StateChangeView {
    /// The changed letters. The key is `discarded` or `restored`.
    #[serde(flatten)]
    pub(crate) done: BTreeMap<&'static str, Vec<i64>>,
    /// The letters that could not be changed.
    pub(crate) refused: Vec<RefusedLetter>,
}

/// Returns the past participle of an action that changes a letter's state.
pub(crate) fn past_participle(action: LetterAction) -> &'static str {
    if action == LetterAction::Restore { "restored" } else { "discarded" }
}

/// Returns the letters that would be discarded or restored. Includes letters chosen by id whatever their
/// state, so that the result lists each of them. Fails if the filter matches no letter.
pub(crate) async fn preview(
    context: &AppContext,
    action: LetterAction,
    filter: &DeadLetterFilter,
) -> Result<Vec<i64>, AppError> {
    let required_state = action.state_change().map(|(from, _)| from);
    let chosen = DeadLetterFilter { state: required_state, ..filter.clone() };
    let ids = dead_letter_ids(&context.database, &context.scope, &chosen);
    let mut ids = context.with_deadline(ids).await?;
    ids.extend(&filter.ids);
    ids.sort_unstable();
    ids.dedup();
    if ids.is_empty() {
        let state = required_state.map_or("", LetterState::as_str);
        return Err(AppError::NotFound(format!("{state} dead letter that matches the filter")));
    }
    Ok(ids)
}

/// Discards or restores these letters. On failure the letters changed so far stay changed and recorded.
pub(crate) async fn change_state(
    context: &AppContext,
    action: LetterAction,
    filter: &DeadLetterFilter,
    ids: &[i64],
    why: &str,
) -> Result<StateChangeView, AppError> {
    let record = NewLetterAction {
        why: Some(why.to_owned()),
        chosen: Some(filter.to_json(&context.scope)),
        ..NewLetterAction::new(action, context.author.as_str())
    };
    let ActionResult { done, refused } =
        perform_letter_action(&context.database, &context.scope, ids, &record).await?;
    Ok(StateChangeView { done: [(past_participle(action), done)].into(), refused })
}

/// A note on a group.
#[derive(Debug, Serialize)]
pub(crate) struct NoteView {
    pub(crate) group: String,
    pub(crate) note: String,
}

/// Writes a note on the group whose fingerprint begins with `group`. Fails if there is no such group, or more
/// than one.
pub(crate) async fn note(context: &AppContext, group: &str, note: &str) -> Result<NoteView, AppError> {
    let filter = DeadLetterFilter { fingerprint: Some(group.to_owned()), ..DeadLetterFilter::default() };
    let found = groups(&context.database, &context.scope, &filter, 0, 10);
    let found = context.with_deadline(found).await?;
    let mut found: Vec<String> = found.into_iter().map(|group| group.fingerprint).collect();
    found.dedup();
    let group = match found.as_slice() {
        [] => return Err(AppError::NotFound(format!("group {group}"))),
        [group] => group.clone(),
        several => {
            let text = format!(
                "several groups begin with {group}; give more of the fingerprint: {}",
                several.join(", ")
            );
            return Err(AppError::Invalid(text));
        }
    };
    let record = NewLetterAction {
        why: Some(note.to_owned()),
        fingerprint: Some(group.clone()),
        ..NewLetterAction::new(LetterAction::Note, context.author.as_str())
    };
    context.with_deadline(record_note(&context.database, &record)).await?;
    Ok(NoteView { group, note: note.to_owned() })
}
