//! Forgetting: what was resolved, skipped or discarded long ago. What is open stays for ever.

use sea_orm::sea_query::Cond;
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _};

use super::LetterState;
use crate::store::entity::dead_letter::{Column, Entity};
use crate::store::{Database, StoreError};

/// Rows in one step.
const STEP: u64 = 200;

const CLOSED: [LetterState; 3] = [LetterState::Resolved, LetterState::Skipped, LetterState::Discarded];

/// Deletes dead letters that were closed before `before_ms`. Gives how many.
///
/// # Errors
/// [`StoreError`]; what was deleted before is deleted.
pub async fn purge_closed_letters(database: &Database, before_ms: i64) -> Result<u64, StoreError> {
    let closed = Cond::all().add(Column::ClosedMs.lt(before_ms)).add(Column::State.is_in(CLOSED));
    let db = database.connection();
    let mut purged = 0;
    loop {
        let oldest = Entity::find()
            .select_only()
            .column(Column::Id)
            .filter(closed.clone())
            .order_by_asc(Column::ClosedMs)
            .limit(STEP)
            .into_tuple::<i64>();
        let ids = database.in_time(async { Ok(oldest.all(db).await?) }).await?;
        if ids.is_empty() {
            return Ok(purged);
        }
        // One may have been opened again meanwhile.
        let delete = Entity::delete_many().filter(Column::Id.is_in(ids)).filter(closed.clone());
        purged += database.in_time(async { Ok(delete.exec(db).await?) }).await?.rows_affected;
    }
}
