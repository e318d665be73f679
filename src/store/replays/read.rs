//! Reads the progress of replays, and the results of their letters.

use sea_orm::Select;
use serde::Serialize;

use super::ReplayItemState;
use crate::matching::Stored;
use crate::store::entity::replay_item::{Column, Entity};
use crate::store::entity::{dead_letter, replay};
use crate::store::prelude::*;
use crate::store::{Database, Scope};

/// One letter of a replay. `docs/commands.md` describes its JSON, which is a contract.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, DerivePartialModel)]
#[sea_orm(entity = "Entity")]
pub struct ItemRow {
    #[sea_orm(from_col = "letter_id")]
    pub(crate) letter: i64,
    #[serde(skip)]
    pub(crate) seen_ms: i64,
    #[serde(skip)]
    pub(crate) lane: Option<i64>,
    pub(crate) state: Stored<ReplayItemState>,
    #[serde(rename = "foretold")]
    pub(crate) predicted: String,
    #[serde(rename = "foretold_reason")]
    pub(crate) predicted_reason: Option<String>,
    pub(crate) result: Option<String>,
    pub(crate) result_reason: Option<String>,
}

/// The number of letters of a replay that share all of these values.
#[derive(Clone, Debug, PartialEq, Eq, DerivePartialModel)]
#[sea_orm(entity = "Entity")]
pub struct ItemGroup {
    pub(crate) state: Stored<ReplayItemState>,
    pub(crate) predicted: String,
    pub(crate) predicted_reason: Option<String>,
    pub(crate) strategy: Option<String>,
    pub(crate) result: Option<String>,
    pub(crate) result_reason: Option<String>,
    #[sea_orm(from_expr = "Column::LetterId.count()")]
    pub(crate) count: i64,
}

/// Returns one plan or replay.
pub async fn replay(database: &Database, scope: &Scope, id: i64) -> Result<Option<replay::Model>> {
    Ok(replay::Entity::find_by_id(id).filter(visible_in(scope)).one(database.connection()).await?)
}

/// Returns plans and replays, newest first, at most `limit` of those older than `before`.
pub async fn replays(
    database: &Database,
    scope: &Scope,
    before: Option<i64>,
    limit: u64,
) -> Result<Vec<replay::Model>> {
    let replays = replay::Entity::find()
        .filter(visible_in(scope).add_option(before.map(|before| replay::Column::Id.lt(before))))
        .order_by_desc(replay::Column::Id)
        .limit(limit);
    Ok(replays.all(database.connection()).await?)
}

/// Limits replays to those whose existing letters all belong to this scope.
fn visible_in(scope: &Scope) -> Cond {
    if *scope == Scope::All {
        return Cond::all();
    }
    let in_scope = scope.condition(dead_letter::Column::CompanyId);
    let others = dead_letter::Entity::find()
        .select_only()
        .column(dead_letter::Column::Id)
        .filter(Cond::any().add(in_scope.not()).add(dead_letter::Column::CompanyId.is_null()));
    let with_others = Entity::find()
        .select_only()
        .column(Column::ReplayId)
        .filter(Column::LetterId.in_subquery(others.into_query()));
    Cond::all().add(replay::Column::Id.not_in_subquery(with_others.into_query()))
}

fn of_replay(replay: i64) -> Select<Entity> {
    Entity::find().filter(Column::ReplayId.eq(replay))
}

/// Returns the letters of a replay in one of these states, ordered by letter; with a `result`, only those
/// with that result.
pub async fn replay_items(
    database: &Database,
    replay: i64,
    states: &[ReplayItemState],
    result: Option<&str>,
) -> Result<Vec<ItemRow>> {
    let items = of_replay(replay)
        .filter(Column::State.is_in(states.iter().copied()))
        .filter(Cond::all().add_option(result.map(|result| Column::Result.eq(result))));
    Ok(items.order_by_asc(Column::LetterId).into_partial_model().all(database.connection()).await?)
}

/// Returns when the oldest letter in flight was sent, in ms since 1970 (UTC).
pub async fn oldest_in_flight_ms(database: &Database, replay: i64) -> Result<Option<i64>> {
    let since = of_replay(replay)
        .select_only()
        .column_as(Column::SentMs.min(), "since_ms")
        .filter(Column::State.is_in(ReplayItemState::IN_FLIGHT));
    Ok(since.into_tuple::<Option<i64>>().one(database.connection()).await?.flatten())
}

/// Counts the letters of a replay by state and result. An index covers the query.
pub async fn item_counts(
    database: &Database,
    replay: i64,
) -> Result<Vec<(Stored<ReplayItemState>, Option<String>, i64)>> {
    let counts = of_replay(replay)
        .select_only()
        .columns([Column::State, Column::Result])
        .column_as(Column::LetterId.count(), "letters")
        .group_by(Column::State)
        .group_by(Column::Result);
    Ok(counts.into_tuple().all(database.connection()).await?)
}

/// Counts the letters of a replay by everything in [`ItemGroup`].
pub async fn item_groups(database: &Database, replay: i64) -> Result<Vec<ItemGroup>> {
    let item_groups = of_replay(replay)
        .group_by(Column::State)
        .group_by(Column::Predicted)
        .group_by(Column::PredictedReason)
        .group_by(Column::Strategy)
        .group_by(Column::Result)
        .group_by(Column::ResultReason);
    Ok(item_groups.into_partial_model().all(database.connection()).await?)
}
