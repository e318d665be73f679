//! Finding them again: pages, one, many by their ids.

use sea_orm::{
    ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _, Select,
};

use super::{DeadLetterFilter, DeadLetterRow, DeadLetterSummary};
use crate::store::entity::dead_letter::{Column, Entity};
use crate::store::{Database, StoreError};

/// Lists dead letters, newest first, at most `limit`.
///
/// # Errors
/// [`StoreError`]
pub async fn dead_letters(
    database: &Database,
    filter: &DeadLetterFilter,
    limit: u64,
) -> Result<Vec<DeadLetterRow>, StoreError> {
    Ok(newest_first(filter, limit).into_partial_model().all(database.connection()).await?)
}

/// The same list without what may be large: for tables, and for many.
///
/// # Errors
/// [`StoreError`]
pub async fn dead_letter_summaries(
    database: &Database,
    filter: &DeadLetterFilter,
    limit: u64,
) -> Result<Vec<DeadLetterSummary>, StoreError> {
    Ok(newest_first(filter, limit).into_partial_model().all(database.connection()).await?)
}

fn newest_first(filter: &DeadLetterFilter, limit: u64) -> Select<Entity> {
    Entity::find().filter(filter.condition()).order_by_desc(Column::Id).limit(limit)
}

/// The ids of all of these, oldest first.
///
/// # Errors
/// [`StoreError`]
pub async fn dead_letter_ids(database: &Database, filter: &DeadLetterFilter) -> Result<Vec<i64>, StoreError> {
    let ids = Entity::find().select_only().column(Column::Id).filter(filter.condition());
    Ok(ids.order_by_asc(Column::Id).into_tuple().all(database.connection()).await?)
}

/// Those of these ids that are there, in the order of the ids.
///
/// # Errors
/// [`StoreError`]
pub async fn dead_letters_of(database: &Database, ids: &[i64]) -> Result<Vec<DeadLetterRow>, StoreError> {
    let these = Entity::find().filter(Column::Id.is_in(ids.iter().copied())).order_by_asc(Column::Id);
    Ok(these.into_partial_model().all(database.connection()).await?)
}

/// One dead letter by its id.
///
/// # Errors
/// [`StoreError`]
pub async fn dead_letter(database: &Database, id: i64) -> Result<Option<DeadLetterRow>, StoreError> {
    Ok(Entity::find_by_id(id).into_partial_model().one(database.connection()).await?)
}
