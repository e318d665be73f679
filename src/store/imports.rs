//! The record of imports of mappings. The mappings themselves are decided like any other.

use super::Scope;
use super::entity::import::{ActiveModel, Column, Entity, Model};
use super::prelude::*;

/// Notes that an import begins; gives its number.
pub async fn begin_import(tx: &impl ConnectionTrait, import: ActiveModel) -> Result<i64> {
    Ok(Entity::insert(import).exec(tx).await?.last_insert_id)
}

/// Notes how far an import is, and, with `ended_ms`, that this is all.
pub async fn note_import(
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

/// Notes that an import was taken back. Of several times the first stays.
pub async fn note_import_undone(
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
    let is_open = Column::Id.eq(id).and(Column::UndoneMs.is_null());
    Entity::update_many().set(undone).filter(is_open).exec(tx).await?;
    Ok(())
}

/// Imports that were of these companies, the newest first, at most `limit`.
pub async fn imports(db: &impl ConnectionTrait, scope: &Scope, limit: u64) -> Result<Vec<Model>> {
    let of_scope = Entity::find().filter(scope.condition(Column::CompanyId));
    Ok(of_scope.order_by_desc(Column::Id).limit(limit).all(db).await?)
}

/// The import with this number, if it was of these companies.
pub async fn import(db: &impl ConnectionTrait, scope: &Scope, id: i64) -> Result<Option<Model>> {
    Ok(Entity::find_by_id(id).filter(scope.condition(Column::CompanyId)).one(db).await?)
}
