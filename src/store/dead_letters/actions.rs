//! Performs operators' actions on dead letters and records them: who, when, why, and on which letters.

use sea_orm::DatabaseTransaction;
use serde::Serialize;
use strum::{AsRefStr, Display, EnumString, IntoStaticStr};
use uuid::Uuid;

use super::LetterState;
use crate::matching::Stored;
use crate::runtime::clock::{as_rfc3339, now_ms};
use crate::store::entity::dead_letter_action::{ActiveModel, Column, Entity};
use crate::store::entity::{dead_letter, dead_letter_action_letter as action_letter, replay_item};
use crate::store::prelude::*;
use crate::store::replays::lock_letters;
use crate::store::statement::chunk_rows;
use crate::store::{Database, Scope};

/// The number of letters per transaction.
const STEP: usize = 1_000;

/// What an operator can do with dead letters, plans and replays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, AsRefStr, Display, EnumString, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum LetterAction {
    /// Freeze a plan.
    Plan,
    /// Start a planned replay.
    Replay,
    /// Continue a replay.
    Resume,
    /// Continue a replay, and publish the letters in flight once more.
    Resend,
    /// Pause a replay: publish no more letters until it is resumed.
    Pause,
    /// End a replay, or discard a plan.
    Cancel,
    /// Treat the letters in flight as lost.
    GiveUp,
    /// Discard open letters.
    Discard,
    /// Open discarded letters again.
    Restore,
    /// Write a note on a group.
    Note,
    /// Show a letter with its personal data.
    Reveal,
    /// Export whole letters.
    Export,
    /// Import letters from another installation.
    Import,
}

impl LetterAction {
    /// Returns the states before and after, if the action changes a letter's state.
    pub fn state_change(self) -> Option<(LetterState, LetterState)> {
        match self {
            Self::Discard => Some((LetterState::Open, LetterState::Discarded)),
            Self::Restore => Some((LetterState::Discarded, LetterState::Open)),
            _ => None,
        }
    }
}

/// An action to perform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewLetterAction {
    /// The action.
    pub action: LetterAction,
    /// The author, such as `cli:anna@office-3`.
    pub made_by: String,
    /// The time of the action, in ms since 1970 (UTC).
    pub at_ms: i64,
    /// The reason, in the operator's own words.
    pub why: Option<String>,
    /// How the letters were chosen, as JSON.
    pub chosen: Option<String>,
    /// The plan or replay that it concerns.
    pub replay: Option<i64>,
    /// The group that it concerns.
    pub fingerprint: Option<String>,
    /// The number of letters that it concerns, including those for which it was refused.
    pub letters: usize,
}

impl NewLetterAction {
    /// Creates an action that an operator performs now.
    pub fn new(action: LetterAction, made_by: &str) -> Self {
        let (made_by, at_ms) = (made_by.to_owned(), now_ms());
        let (why, chosen, replay, fingerprint) = (None, None, None, None);
        Self { action, made_by, at_ms, why, chosen, replay, fingerprint, letters: 0 }
    }
}

/// A recorded action. `docs/commands.md` describes its JSON, which is a contract.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, DerivePartialModel)]
#[sea_orm(entity = "Entity")]
pub struct RecordedLetterAction {
    #[serde(rename = "at", serialize_with = "as_rfc3339")]
    pub(crate) at_ms: i64,
    pub(crate) action: Stored<LetterAction>,
    #[serde(rename = "by")]
    pub(crate) made_by: String,
    pub(crate) why: Option<String>,
    #[sea_orm(from_col = "replay_id")]
    pub(crate) replay: Option<i64>,
    pub(crate) letters: i32,
}

/// A letter for which an action was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RefusedLetter {
    pub(crate) id: i64,
    pub(crate) why: String,
}

/// The result of an action for each letter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ActionResult {
    /// The letters on which the action was performed.
    pub done: Vec<i64>,
    /// The letters for which the action was refused.
    pub refused: Vec<RefusedLetter>,
}

/// Performs an action on letters, a limited number per transaction, since there may be very many.
/// [`LetterAction::Discard`] discards open letters, [`LetterAction::Restore`] opens discarded ones again; any
/// other action is only recorded. After an error, the completed steps remain performed and recorded.
pub async fn perform_letter_action(
    database: &Database,
    scope: &Scope,
    ids: &[i64],
    action: &NewLetterAction,
) -> Result<ActionResult> {
    let (mut all, mut action_id) = (ActionResult::default(), None);
    for some in ids.chunks(STEP) {
        let work = async |tx: &DatabaseTransaction| {
            let id = match action_id {
                Some(id) => id,
                None => insert_action(tx, &NewLetterAction { letters: ids.len(), ..action.clone() }).await?,
            };
            let mut result = ActionResult::default();
            for ids in chunk_rows(some) {
                change_state(tx, scope, ids, action, &mut result).await?;
            }
            for ids in chunk_rows(&result.done) {
                let action_row =
                    |letter: &i64| action_letter::ActiveModel { action_id: Set(id), letter_id: Set(*letter) };
                action_letter::Entity::insert_many(ids.iter().map(action_row))
                    .exec_without_returning(tx)
                    .await?;
            }
            Ok((id, result))
        };
        let (id, result) = database.with_deadline(database.transact(work)).await?;
        action_id = Some(id);
        all.done.extend(result.done);
        all.refused.extend(result.refused);
    }
    Ok(all)
}

async fn change_state(
    tx: &impl ConnectionTrait,
    scope: &Scope,
    ids: &[i64],
    action: &NewLetterAction,
    result: &mut ActionResult,
) -> Result<()> {
    let Some((from, to)) = action.action.state_change() else {
        result.done.extend(ids);
        return Ok(());
    };
    let closed_ms = (to == LetterState::Discarded).then_some(action.at_ms);
    let states = lock_letters(tx, scope, ids).await?;
    let mut chosen = Vec::new();
    for id in ids {
        let why = match states.get(id).map(|(state, _)| state) {
            Some(state) if state.known() == Some(from) => {
                chosen.push(*id);
                continue;
            }
            Some(state) => format!("the letter is {state}, not {from}"),
            None => "there is no such dead letter".to_owned(),
        };
        result.refused.push(RefusedLetter { id: *id, why });
    }
    let changed =
        dead_letter::ActiveModel { state: Set(to.into()), closed_ms: Set(closed_ms), ..Default::default() };
    let is_chosen = dead_letter::Column::Id.is_in(chosen.iter().copied());
    dead_letter::Entity::update_many().set(changed).filter(is_chosen).exec(tx).await?;
    result.done.extend(chosen);
    Ok(())
}

/// Records an action that changes no letters, such as a note on a group.
pub async fn record_note(database: &Database, action: &NewLetterAction) -> Result<()> {
    let work = async |tx: &DatabaseTransaction| insert_action(tx, action).await;
    database.transact(work).await.map(drop)
}

/// Records an action, in the transaction that performs it, and returns the row's id.
pub(in crate::store) async fn insert_action(
    tx: &impl ConnectionTrait,
    action: &NewLetterAction,
) -> Result<i64> {
    let truncate =
        |text: &str, length: usize| text.chars().filter(|c| *c != '\0').take(length).collect::<String>();
    let row = ActiveModel {
        token: Set(Uuid::new_v4().to_string()),
        action: Set(action.action.into()),
        made_by: Set(truncate(&action.made_by, 255)),
        at_ms: Set(action.at_ms),
        why: Set(action.why.as_deref().map(|why| truncate(why, 8_000))),
        chosen: Set(action.chosen.clone()),
        replay_id: Set(action.replay),
        fingerprint: Set(action.fingerprint.clone()),
        letters: Set(i32::try_from(action.letters).unwrap_or(i32::MAX)),
        ..Default::default()
    };
    Ok(Entity::insert(row).exec(tx).await?.last_insert_id)
}

/// Returns the actions on this letter (by itself, or with its group), or on this replay; oldest first.
pub async fn letter_actions(
    database: &Database,
    letter: Option<(i64, &str)>,
    replay: Option<i64>,
) -> Result<Vec<RecordedLetterAction>> {
    let mut any = Cond::any().add_option(replay.map(|replay| Column::ReplayId.eq(replay)));
    if let Some((id, fingerprint)) = letter {
        let own = action_letter::Entity::find()
            .select_only()
            .column(action_letter::Column::ActionId)
            .filter(action_letter::Column::LetterId.eq(id));
        let replays = replay_item::Entity::find()
            .select_only()
            .column(replay_item::Column::ReplayId)
            .filter(replay_item::Column::LetterId.eq(id));
        any = any
            .add(Column::Id.in_subquery(own.into_query()))
            .add(Column::Fingerprint.eq(fingerprint))
            .add(Column::ReplayId.in_subquery(replays.into_query()));
    }
    let actions = Entity::find().filter(any).order_by_asc(Column::Id).into_partial_model();
    Ok(actions.all(database.connection()).await?)
}
