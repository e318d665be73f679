//! Use cases for dead letters: list, group and show them, change their state, move them.

mod actions;
mod show;
mod transfer;

use serde::Serialize;

pub(crate) use crate::decide::CUT_BODY;
pub(crate) use actions::{change_state, note, past_participle, preview};
pub(crate) use show::{CUT, LetterView, show};
pub(crate) use transfer::{export, import};

use super::context::page;
use super::{AppContext, AppError};
pub(crate) use crate::store::{
    Compare, DeadLetterFilter, DeadLetterSummary, Group, LetterAction, LetterState, RecordedLetterAction,
    RefusedLetter,
};
use crate::store::{dead_letter_summaries, groups as groups_of};

/// A page of dead letters, newest first.
#[derive(Debug, Serialize)]
pub(crate) struct LettersView {
    pub(crate) dead_letters: Vec<DeadLetterSummary>,
    /// The value of `--before` for the next page.
    pub(crate) next_before: Option<i64>,
}

/// Returns dead letters, newest first, at most `limit`.
pub(crate) async fn list(
    context: &AppContext,
    filter: &DeadLetterFilter,
    limit: u64,
) -> Result<LettersView, AppError> {
    let rows = dead_letter_summaries(&context.database, &context.scope, filter, limit + 1);
    let (dead_letters, next_before) = page(context.with_deadline(rows).await?, limit, |row| row.id);
    Ok(LettersView { dead_letters, next_before })
}

/// Dead letters grouped by cause.
#[derive(Debug, Serialize)]
pub(crate) struct GroupsView {
    pub(crate) groups: Vec<Group>,
}

/// Groups dead letters by cause: skips `skip` groups and returns at most `limit`. Reads only open letters
/// unless the filter names a state.
pub(crate) async fn groups(
    context: &AppContext,
    filter: &DeadLetterFilter,
    skip: u64,
    limit: u64,
) -> Result<GroupsView, AppError> {
    let filter = DeadLetterFilter { state: filter.state.or(Some(LetterState::Open)), ..filter.clone() };
    let groups = groups_of(&context.database, &context.scope, &filter, skip, limit);
    Ok(GroupsView { groups: context.with_deadline(groups).await? })
}
