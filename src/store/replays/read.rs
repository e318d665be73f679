//! How far a replay is, and what became of its letters.

use sea_orm::sea_query::Cond;
use sea_orm::{
    ColumnTrait as _, DerivePartialModel, EntityTrait as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _, Select,
};

use super::{ReplayItemState, ReplayState};
use crate::matching::Stored;
use crate::store::entity::replay;
use crate::store::entity::replay_item::{Column, Entity};
use crate::store::{Database, StoreError};

/// A plan or replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayRow {
    /// Its id, growing.
    pub id: i64,
    /// Where it stands.
    pub state: ReplayState,
    /// How its letters were chosen, as JSON.
    pub chosen: String,
    /// Who planned it.
    pub made_by: String,
    /// Why it was begun.
    pub why: Option<String>,
    /// Its letters.
    pub total: i32,
    /// How fast, such as `20/s`; none before it was begun, as with the next two.
    pub rate: Option<String>,
    /// So many letters first.
    pub canary: Option<i32>,
    /// It stops when more than so many in a hundred have failed.
    pub stop_percent: Option<i32>,
    /// Why it ended before the end.
    pub ended_because: Option<String>,
    /// Which process has it.
    pub lease: Option<String>,
    /// Until when a process has it, in ms since 1970 (UTC).
    pub lease_until_ms: Option<i64>,
    /// When it was planned, in ms since 1970 (UTC).
    pub created_ms: i64,
    /// Until when it can be begun, in ms since 1970 (UTC).
    pub expires_ms: i64,
    /// When it was begun, in ms since 1970 (UTC).
    pub started_ms: Option<i64>,
    /// When it ended, in ms since 1970 (UTC).
    pub ended_ms: Option<i64>,
}

/// One letter of a replay.
#[derive(Clone, Debug, PartialEq, Eq, DerivePartialModel)]
#[sea_orm(entity = "Entity")]
pub struct ItemRow {
    /// The letter.
    #[sea_orm(from_col = "letter_id")]
    pub letter: i64,
    /// When it had failed last when it was planned.
    pub seen_ms: i64,
    /// Its appointment, as far as it was known.
    pub lane: Option<i64>,
    /// Where it stands.
    pub state: Stored<ReplayItemState>,
    /// The outcome predicted, or `failed`.
    pub predicted: String,
    /// The reason code predicted.
    pub predicted_reason: Option<String>,
    /// The outcome, or `failed`, `refused`, `left`, `lost`.
    pub result: Option<String>,
    /// The reason code of a failure, or why it was refused.
    pub result_reason: Option<String>,
}

/// How many letters of a replay have all of this in common.
#[derive(Clone, Debug, PartialEq, Eq, DerivePartialModel)]
#[sea_orm(entity = "Entity")]
pub struct Shares {
    /// Where it stands.
    pub state: Stored<ReplayItemState>,
    /// The outcome predicted, or `failed`.
    pub predicted: String,
    /// The reason code predicted.
    pub predicted_reason: Option<String>,
    /// The strategy predicted.
    pub strategy: Option<String>,
    /// The outcome, or `failed`, `refused`, `left`, `lost`.
    pub result: Option<String>,
    /// The reason code of a failure, or why it was refused.
    pub result_reason: Option<String>,
    /// So many.
    #[sea_orm(from_expr = "Column::LetterId.count()")]
    pub count: i64,
}

impl From<replay::Model> for ReplayRow {
    fn from(row: replay::Model) -> Self {
        Self {
            id: row.id,
            // One that this build does not know is none that it can go on with.
            state: row.state.known().unwrap_or(ReplayState::Stopped),
            chosen: row.chosen,
            made_by: row.made_by,
            why: row.why,
            total: row.total,
            rate: row.rate,
            canary: row.canary,
            stop_percent: row.stop_percent,
            ended_because: row.ended_because,
            lease: row.lease,
            lease_until_ms: row.lease_until_ms,
            created_ms: row.created_ms,
            expires_ms: row.expires_ms,
            started_ms: row.started_ms,
            ended_ms: row.ended_ms,
        }
    }
}

/// One plan or replay.
///
/// # Errors
/// [`StoreError`]
pub async fn replay(database: &Database, id: i64) -> Result<Option<ReplayRow>, StoreError> {
    Ok(replay::Entity::find_by_id(id).one(database.connection()).await?.map(ReplayRow::from))
}

/// Plans and replays, newest first, at most `limit` of those older than `before`.
///
/// # Errors
/// [`StoreError`]
pub async fn replays(
    database: &Database,
    before: Option<i64>,
    limit: u64,
) -> Result<Vec<ReplayRow>, StoreError> {
    let rows = replay::Entity::find()
        .filter(Cond::all().add_option(before.map(|before| replay::Column::Id.lt(before))))
        .order_by_desc(replay::Column::Id)
        .limit(limit)
        .all(database.connection())
        .await?;
    Ok(rows.into_iter().map(ReplayRow::from).collect())
}

/// The letters of a replay behind `after`, in order, at most `limit`; only with this result, if one
/// is given.
///
/// # Errors
/// [`StoreError`]
pub async fn items(
    database: &Database,
    replay: i64,
    result: Option<&str>,
    after: i64,
    limit: u64,
) -> Result<Vec<ItemRow>, StoreError> {
    let items = of_replay(replay)
        .filter(Column::LetterId.gt(after))
        .filter(Cond::all().add_option(result.map(|result| Column::Result.eq(result))))
        .order_by_asc(Column::LetterId)
        .limit(limit);
    Ok(items.into_partial_model().all(database.connection()).await?)
}

fn of_replay(replay: i64) -> Select<Entity> {
    Entity::find().filter(Column::ReplayId.eq(replay))
}

/// The letters that are still to be taken, in their order.
///
/// # Errors
/// [`StoreError`]
pub async fn pending(database: &Database, replay: i64) -> Result<Vec<ItemRow>, StoreError> {
    items_in(database, replay, &[ReplayItemState::Pending]).await
}

/// The letters that are on their way.
///
/// # Errors
/// [`StoreError`]
pub async fn in_flight(database: &Database, replay: i64) -> Result<Vec<ItemRow>, StoreError> {
    items_in(database, replay, &ReplayItemState::ON_THE_WAY).await
}

pub(super) async fn items_in(
    database: &Database,
    replay: i64,
    states: &[ReplayItemState],
) -> Result<Vec<ItemRow>, StoreError> {
    let items = of_replay(replay).filter(Column::State.is_in(states.iter().copied()));
    Ok(items.order_by_asc(Column::LetterId).into_partial_model().all(database.connection()).await?)
}

/// Since when the first of the letters on the way is on it, in ms since 1970 (UTC).
///
/// # Errors
/// [`StoreError`]
pub async fn on_the_way_since(database: &Database, replay: i64) -> Result<Option<i64>, StoreError> {
    let since = of_replay(replay)
        .select_only()
        .column_as(Column::SentMs.min(), "since_ms")
        .filter(Column::State.is_in(ReplayItemState::ON_THE_WAY));
    Ok(since.into_tuple::<Option<i64>>().one(database.connection()).await?.flatten())
}

/// How many letters of a replay are in which state, with which result. An index holds all of it.
///
/// # Errors
/// [`StoreError`]
pub async fn standings(
    database: &Database,
    replay: i64,
) -> Result<Vec<(Stored<ReplayItemState>, Option<String>, i64)>, StoreError> {
    let counts = of_replay(replay)
        .select_only()
        .columns([Column::State, Column::Result])
        .column_as(Column::LetterId.count(), "letters")
        .group_by(Column::State)
        .group_by(Column::Result);
    Ok(counts.into_tuple().all(database.connection()).await?)
}

/// How the letters of a replay are shared out.
///
/// # Errors
/// [`StoreError`]
pub async fn shares(database: &Database, replay: i64) -> Result<Vec<Shares>, StoreError> {
    let shares = of_replay(replay)
        .group_by(Column::State)
        .group_by(Column::Predicted)
        .group_by(Column::PredictedReason)
        .group_by(Column::Strategy)
        .group_by(Column::Result)
        .group_by(Column::ResultReason);
    Ok(shares.into_partial_model().all(database.connection()).await?)
}
