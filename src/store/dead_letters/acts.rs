//! What operators do with dead letters, and the record of it: who, when, why, on which.

use sea_orm::sea_query::Cond;
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, DatabaseTransaction, DerivePartialModel, EntityTrait as _,
    QueryFilter as _, QueryOrder as _, QuerySelect as _, QueryTrait as _, Set,
};
use uuid::Uuid;

use super::LetterState;
use crate::store::entity::dead_letter_action::{ActiveModel, Column, Entity};
use crate::store::entity::{dead_letter, dead_letter_action_letter as act_letter, replay_item};
use crate::store::replays::lock_letters;
use crate::store::statement::chunk_rows;
use crate::store::{Database, StoreError};

/// Letters in one step.
const STEP: usize = 1_000;

/// What somebody does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewAct {
    /// `plan`, `replay`, `discard`, `restore`, `note`, …
    pub action: &'static str,
    /// Who, such as `cli:anna@office-3`.
    pub made_by: String,
    /// When, in ms since 1970 (UTC).
    pub at_ms: i64,
    /// Why, in words of theirs.
    pub why: Option<String>,
    /// How the letters were chosen, as JSON.
    pub chosen: Option<String>,
    /// The plan or replay that it concerns.
    pub replay: Option<i64>,
    /// The group that it concerns.
    pub fingerprint: Option<String>,
    /// How many letters it concerns, those included on which it could not be done.
    pub letters: usize,
}

/// What somebody did.
#[derive(Clone, Debug, PartialEq, Eq, DerivePartialModel)]
#[sea_orm(entity = "Entity")]
pub struct Act {
    /// The row's id, growing.
    pub id: i64,
    /// What.
    pub action: String,
    /// Who.
    pub made_by: String,
    /// When, in ms since 1970 (UTC).
    pub at_ms: i64,
    /// Why.
    pub why: Option<String>,
    /// The plan or replay that it concerns.
    #[sea_orm(from_col = "replay_id")]
    pub replay: Option<i64>,
    /// How many letters it concerns.
    pub letters: i32,
}

/// What became of each letter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acted {
    /// It was done on these.
    pub done: Vec<i64>,
    /// It could not be done on these, and why.
    pub refused: Vec<(i64, String)>,
}

/// Puts open letters away, step by step: there may be very many.
///
/// # Errors
/// [`StoreError`]; what was done before is done, and recorded.
pub async fn discard(database: &Database, ids: &[i64], act: &NewAct) -> Result<Acted, StoreError> {
    let change = Change { from: LetterState::Open, to: LetterState::Discarded, closed_ms: Some(act.at_ms) };
    on_letters(database, ids, act, Some(change)).await
}

/// Opens discarded letters again, step by step.
///
/// # Errors
/// [`StoreError`]; what was done before is done, and recorded.
pub async fn restore(database: &Database, ids: &[i64], act: &NewAct) -> Result<Acted, StoreError> {
    let change = Change { from: LetterState::Discarded, to: LetterState::Open, closed_ms: None };
    on_letters(database, ids, act, Some(change)).await
}

/// Records that somebody takes what these letters hold, personal data included.
///
/// # Errors
/// [`StoreError`]; then they are not to be given.
pub async fn record_taken(database: &Database, ids: &[i64], act: &NewAct) -> Result<(), StoreError> {
    on_letters(database, ids, act, None).await.map(drop)
}

/// From one state of a letter to another.
#[derive(Clone, Copy, Debug)]
struct Change {
    from: LetterState,
    to: LetterState,
    closed_ms: Option<i64>,
}

/// One act on letters, changed or not, each step in a transaction of its own.
async fn on_letters(
    database: &Database,
    ids: &[i64],
    act: &NewAct,
    change: Option<Change>,
) -> Result<Acted, StoreError> {
    let (mut all, mut number) = (Acted::default(), None);
    for some in ids.chunks(STEP) {
        let work = async |tx: &DatabaseTransaction| {
            let number = match number {
                Some(number) => number,
                None => record_act(tx, &NewAct { letters: ids.len(), ..act.clone() }).await?,
            };
            let mut acted = Acted::default();
            for ids in chunk_rows(some) {
                match change {
                    Some(change) => change_state(tx, ids, change, &mut acted).await?,
                    None => acted.done.extend(ids),
                }
            }
            for ids in chunk_rows(&acted.done) {
                let of_act =
                    |id: &i64| act_letter::ActiveModel { action_id: Set(number), letter_id: Set(*id) };
                act_letter::Entity::insert_many(ids.iter().map(of_act)).exec_without_returning(tx).await?;
            }
            Ok((number, acted))
        };
        let (known, acted) = database.in_time(database.transact(work)).await?;
        number = Some(known);
        all.done.extend(acted.done);
        all.refused.extend(acted.refused);
    }
    Ok(all)
}

async fn change_state(
    tx: &impl ConnectionTrait,
    ids: &[i64],
    Change { from, to, closed_ms }: Change,
    acted: &mut Acted,
) -> Result<(), StoreError> {
    let states = lock_letters(tx, ids).await?;
    let mut chosen = Vec::new();
    for id in ids {
        match states.get(id).map(|letter| &letter.state) {
            Some(state) if state.known() == Some(from) => chosen.push(*id),
            Some(state) => acted.refused.push((*id, format!("it is {state}, not {from}"))),
            None => acted.refused.push((*id, "there is no such dead letter".to_owned())),
        }
    }
    let changed =
        dead_letter::ActiveModel { state: Set(to.into()), closed_ms: Set(closed_ms), ..Default::default() };
    let these = dead_letter::Column::Id.is_in(chosen.iter().copied());
    dead_letter::Entity::update_many().set(changed).filter(these).exec(tx).await?;
    acted.done.extend(chosen);
    Ok(())
}

/// Records an act that changes no letters, such as a note on a group.
///
/// # Errors
/// [`StoreError`]
pub async fn note(database: &Database, act: &NewAct) -> Result<(), StoreError> {
    let work = async |tx: &DatabaseTransaction| record_act(tx, act).await;
    database.transact(work).await.map(drop)
}

/// Records what somebody does, in the transaction that does it. Gives the row's id.
///
/// # Errors
/// [`StoreError`]
pub(in crate::store) async fn record_act(tx: &impl ConnectionTrait, act: &NewAct) -> Result<i64, StoreError> {
    let fit = |text: &str, most: usize| text.chars().filter(|c| *c != '\0').take(most).collect::<String>();
    let row = ActiveModel {
        token: Set(Uuid::new_v4().to_string()),
        action: Set(act.action.to_owned()),
        made_by: Set(fit(&act.made_by, 255)),
        at_ms: Set(act.at_ms),
        why: Set(act.why.as_deref().map(|why| fit(why, 8_000))),
        chosen: Set(act.chosen.clone()),
        replay_id: Set(act.replay),
        fingerprint: Set(act.fingerprint.clone()),
        letters: Set(i32::try_from(act.letters).unwrap_or(i32::MAX)),
        ..Default::default()
    };
    Ok(Entity::insert(row).exec(tx).await?.last_insert_id)
}

/// What was done on this letter (by itself, or with its group), or with this replay; oldest first.
///
/// # Errors
/// [`StoreError`]
pub async fn acts(
    database: &Database,
    letter: Option<(i64, &str)>,
    replay: Option<i64>,
) -> Result<Vec<Act>, StoreError> {
    let mut any = Cond::any().add_option(replay.map(|replay| Column::ReplayId.eq(replay)));
    if let Some((id, fingerprint)) = letter {
        let own = act_letter::Entity::find()
            .select_only()
            .column(act_letter::Column::ActionId)
            .filter(act_letter::Column::LetterId.eq(id));
        let replays = replay_item::Entity::find()
            .select_only()
            .column(replay_item::Column::ReplayId)
            .filter(replay_item::Column::LetterId.eq(id));
        any = any
            .add(Column::Id.in_subquery(own.into_query()))
            .add(Column::Fingerprint.eq(fingerprint))
            .add(Column::ReplayId.in_subquery(replays.into_query()));
    }
    let acts = Entity::find().filter(any).order_by_asc(Column::Id).into_partial_model();
    Ok(acts.all(database.connection()).await?)
}
