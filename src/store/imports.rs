//! Records imports of mappings. The mappings themselves are written like any other decision.

use super::Scope;
use super::entity::import::{ActiveModel, Column, Entity, Model};
use super::prelude::*;

/// Records the start of an import and returns its id.
pub async fn begin_import(tx: &impl ConnectionTrait, import: ActiveModel) -> Result<i64> {
    Ok(Entity::insert(import).exec(tx).await?.last_insert_id)
}

/// Records the progress of an import, and its end if `ended_ms` is set.
pub async fn record_import(
    tx: &impl ConnectionTrait,
    id: i64,
    changed: i32,
    failed: i32,
    ended_ms: Option<i64>,
) -> Result<()> {
    let (changed, failed, ended_ms) = (Set(changed), Set(failed), Set(ended_ms));
    let progress = ActiveModel { changed, failed, ended_ms, ..Default::default() };
    Entity::update_many().set(progress).filter(Column::Id.eq(id)).exec(tx).await?;
    Ok(())
}

/// Records that an import was undone. A second call changes nothing.
pub async fn record_import_undone(
    tx: &impl ConnectionTrait,
    id: i64,
    by: &str,
    why: Option<&str>,
    at_ms: i64,
) -> Result<()> {
    let undone = ActiveModel {
        undone_by: Set(Some(by.to_owned())),
        undone_why: Set(why.map(str::to_owned)),
        undone_ms: Set(Some(at_ms)),
        ..Default::default()
    };
    let is_not_undone = Column::Id.eq(id).and(Column::UndoneMs.is_null());
    Entity::update_many().set(undone).filter(is_not_undone).exec(tx).await?;
    Ok(())
}

/// Returns imports of these companies, newest first, at most `limit`.
pub async fn imports(db: &impl ConnectionTrait, scope: &Scope, limit: u64) -> Result<Vec<Model>> {
    let of_scope = Entity::find().filter(scope.condition(Column::CompanyId));
    Ok(of_scope.order_by_desc(Column::Id).limit(limit).all(db).await?)
}

/// Returns the import with this id, if it belongs to these companies.
pub async fn import(db: &impl ConnectionTrait, scope: &Scope, id: i64) -> Result<Option<Model>> {
    Ok(Entity::find_by_id(id).filter(scope.condition(Column::CompanyId)).one(db).await?)
}
