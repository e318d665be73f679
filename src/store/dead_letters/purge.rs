//! Deletes old letters, plans, replays and actions. Open letters are never deleted.

use sea_orm::{EntityTrait, Select};

use super::{LetterAction, LetterState};
use crate::store::Database;
use crate::store::entity::{
    dead_letter as letter, dead_letter_action as action, dead_letter_action_letter as action_letter, replay,
    replay_item as item,
};
use crate::store::prelude::*;
use crate::store::replays::ReplayState;
use crate::store::retention::{delete, in_steps};

/// The number of rows per statement.
const STEP: u64 = 200;

/// The states of open letters, and of closed ones.
const OPEN_STATES: [LetterState; 2] = [LetterState::Open, LetterState::Replaying];
const CLOSED_STATES: [LetterState; 3] = [LetterState::Resolved, LetterState::Skipped, LetterState::Discarded];

/// Deletes dead letters that were closed before `before_ms`, and returns how many. After an error, the
/// completed steps remain.
pub async fn purge_closed_letters(database: &Database, before_ms: i64) -> Result<u64> {
    use letter::Column;
    let closed = Column::ClosedMs.lt(before_ms).and(Column::State.is_in(CLOSED_STATES));
    let oldest = letter::Entity::find().filter(closed.clone()).order_by_asc(Column::ClosedMs);
    in_steps(database, first_step(oldest, Column::Id), Column::Id, |ids: Vec<i64>| {
        // A letter may have been opened again in the meantime.
        delete::<letter::Entity>(database, Column::Id.is_in(ids).and(closed.clone()))
    })
    .await
}

/// Deletes plans and replays that were created before `before_ms`, with their items, and actions from before
/// then. (The letters of the items are kept.) It keeps replays that are running or paused, replays with a
/// letter in flight or with a sent letter that is open, and actions on an open letter or on a kept replay.
/// Returns the number of replays. After an error, the completed steps remain.
pub async fn purge_replays(database: &Database, before_ms: i64) -> Result<u64> {
    let old = replay::Entity::find()
        .filter(replay::Column::CreatedMs.lt(before_ms))
        .filter(replay::Column::State.is_not_in(ReplayState::LIVE))
        .filter(Expr::exists(unfinished_items()).not());
    let old = first_step(old, replay::Column::Id);
    let purged = in_steps(database, old, replay::Column::Id, |replays: Vec<i64>| async move {
        // The items of a replay are deleted before it: after an error, the next purge finds the replay again.
        for replay in &replays {
            delete_items(database, *replay).await?;
        }
        delete::<replay::Entity>(database, replay::Column::Id.is_in(replays)).await
    });
    let purged = purged.await?;
    let mut replay = Query::select();
    replay
        .expr(Expr::val(1))
        .from(replay::Entity)
        .and_where(replay::Column::Id.into_expr().eq(action::Column::ReplayId.into_expr()));
    let old = action::Entity::find()
        .filter(action::Column::AtMs.lt(before_ms))
        // Notes stay with their group.
        .filter(action::Column::Action.ne(LetterAction::Note))
        .filter(Expr::exists(replay).not())
        .filter(Expr::exists(open_letters_of_action()).not());
    in_steps(
        database,
        first_step(old, action::Column::Id),
        action::Column::Id,
        |actions: Vec<i64>| async move {
            let letters = action_letter::Column::ActionId.is_in(actions.iter().copied());
            delete::<action_letter::Entity>(database, letters).await?;
            delete::<action::Entity>(database, action::Column::Id.is_in(actions)).await
        },
    )
    .await?;
    Ok(purged)
}

/// Selects the items of the outer query's replay whose letter is in flight, or was sent and is open.
fn unfinished_items() -> SelectStatement {
    let mut open = Query::select();
    open.expr(Expr::val(1))
        .from(letter::Entity)
        .and_where(letter::Column::Id.into_expr().eq(item::Column::LetterId.into_expr()))
        .and_where(letter::Column::State.is_in(OPEN_STATES));
    let was_sent = Cond::all().add(item::Column::SentMs.is_not_null()).add(Expr::exists(open));
    let mut select = Query::select();
    select
        .expr(Expr::val(1))
        .from(item::Entity)
        .and_where(item::Column::ReplayId.into_expr().eq(replay::Column::Id.into_expr()))
        .cond_where(Cond::any().add(item::Column::Outstanding.is_not_null()).add(was_sent));
    select
}

/// Selects the open letters of the outer query's action.
fn open_letters_of_action() -> SelectStatement {
    let same_letter = letter::Column::Id.into_expr().eq(action_letter::Column::LetterId.into_expr());
    let mut select = Query::select();
    select
        .expr(Expr::val(1))
        .from(action_letter::Entity)
        .inner_join(letter::Entity, same_letter)
        .and_where(action_letter::Column::ActionId.into_expr().eq(action::Column::Id.into_expr()))
        .and_where(letter::Column::State.is_in(OPEN_STATES));
    select
}

/// Deletes the items of a replay step by step, since there may be very many.
async fn delete_items(database: &Database, replay: i64) -> Result<u64> {
    let of_replay = item::Column::ReplayId.eq(replay);
    let items = first_step(item::Entity::find().filter(of_replay.clone()), item::Column::LetterId);
    in_steps(database, items, item::Column::LetterId, |letters: Vec<i64>| {
        delete::<item::Entity>(database, of_replay.clone().and(item::Column::LetterId.is_in(letters)))
    })
    .await
}

/// Limits rows to one step, in the order of this column.
fn first_step<E: EntityTrait>(rows: Select<E>, column: E::Column) -> Select<E> {
    rows.order_by_asc(column).limit(STEP)
}
