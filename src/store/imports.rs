//! The record of imports of mappings. The mappings themselves are decided like any other.

use sea_orm::prelude::TextUuid;
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _,
    Select, Set,
};
use uuid::Uuid;

use super::StoreError;
use super::entity::import::{ActiveModel, Column, Entity, Model};
use crate::event::CompanyId;

/// An import that begins.
#[derive(Clone, Debug)]
pub struct NewImport {
    /// Names the act of its decisions.
    pub act: Uuid,
    /// The one company of which it is, if it was said.
    pub company: Option<CompanyId>,
    /// The file's name.
    pub file: String,
    /// How many lines it has.
    pub lines: usize,
    /// How many of them cannot be imported, as far as it is known before.
    pub failed: usize,
    /// Who.
    pub made_by: String,
    /// Why.
    pub why: Option<String>,
    /// When, ms since 1970.
    pub at_ms: i64,
}

/// An import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportRow {
    /// Its number.
    pub id: i64,
    /// The act of its decisions.
    pub act: Uuid,
    /// The company, if it was said.
    pub company: Option<CompanyId>,
    /// The file's name.
    pub file: String,
    /// Lines of the file.
    pub lines: i64,
    /// Lines by which a mapping was made or changed.
    pub changed: i64,
    /// Lines that were not imported.
    pub failed: i64,
    /// Who.
    pub made_by: String,
    /// Why.
    pub why: Option<String>,
    /// When it began, ms since 1970.
    pub at_ms: i64,
    /// When it ended; none: it was interrupted, or goes on.
    pub ended_ms: Option<i64>,
    /// Who has taken it back.
    pub undone_by: Option<String>,
    /// When, ms since 1970.
    pub undone_ms: Option<i64>,
}

impl From<Model> for ImportRow {
    fn from(row: Model) -> Self {
        Self {
            id: row.id,
            act: row.token.0,
            company: row.company_id,
            file: row.file,
            lines: row.line_count.into(),
            changed: row.changed.into(),
            failed: row.failed.into(),
            made_by: row.made_by,
            why: row.why,
            at_ms: row.at_ms,
            ended_ms: row.ended_ms,
            undone_by: row.undone_by,
            undone_ms: row.undone_ms,
        }
    }
}

/// Notes that an import begins; gives its number.
///
/// # Errors
/// [`StoreError`]
pub async fn begin_import(tx: &impl ConnectionTrait, import: &NewImport) -> Result<i64, StoreError> {
    let row = ActiveModel {
        token: Set(TextUuid(import.act)),
        company_id: Set(import.company),
        file: Set(import.file.chars().take(255).collect()),
        line_count: Set(count(import.lines)),
        changed: Set(0),
        failed: Set(count(import.failed)),
        made_by: Set(import.made_by.clone()),
        why: Set(import.why.clone()),
        at_ms: Set(import.at_ms),
        ..Default::default()
    };
    Ok(Entity::insert(row).exec(tx).await?.last_insert_id)
}

/// Notes how far an import is, and, with `ended_ms`, that this is all.
///
/// # Errors
/// [`StoreError`]
pub async fn note_import(
    tx: &impl ConnectionTrait,
    id: i64,
    changed: usize,
    failed: usize,
    ended_ms: Option<i64>,
) -> Result<(), StoreError> {
    let progress = ActiveModel {
        changed: Set(count(changed)),
        failed: Set(count(failed)),
        ended_ms: Set(ended_ms),
        ..Default::default()
    };
    Entity::update_many().set(progress).filter(Column::Id.eq(id)).exec(tx).await?;
    Ok(())
}

/// Notes that an import was taken back. Of several times the first stays.
///
/// # Errors
/// [`StoreError`]
pub async fn note_import_undone(
    tx: &impl ConnectionTrait,
    id: i64,
    by: &str,
    why: Option<&str>,
    at_ms: i64,
) -> Result<(), StoreError> {
    let undone = ActiveModel {
        undone_by: Set(Some(by.to_owned())),
        undone_why: Set(why.map(str::to_owned)),
        undone_ms: Set(Some(at_ms)),
        ..Default::default()
    };
    Entity::update_many()
        .set(undone)
        .filter(Column::Id.eq(id))
        .filter(Column::UndoneMs.is_null())
        .exec(tx)
        .await?;
    Ok(())
}

/// Imports, the newest first, at most `limit`; with a `company`, only those that were of that one.
///
/// # Errors
/// [`StoreError`]
pub async fn imports(
    db: &impl ConnectionTrait,
    company: Option<CompanyId>,
    limit: u64,
) -> Result<Vec<ImportRow>, StoreError> {
    let rows = of_company(company).order_by_desc(Column::Id).limit(limit).all(db).await?;
    Ok(rows.into_iter().map(ImportRow::from).collect())
}

/// The import with this number; with a `company`, only if it was of that one.
///
/// # Errors
/// [`StoreError`]
pub async fn import(
    db: &impl ConnectionTrait,
    id: i64,
    company: Option<CompanyId>,
) -> Result<Option<ImportRow>, StoreError> {
    let row = of_company(company).filter(Column::Id.eq(id)).one(db).await?;
    Ok(row.map(ImportRow::from))
}

fn of_company(company: Option<CompanyId>) -> Select<Entity> {
    let all = Entity::find();
    match company {
        Some(company) => all.filter(Column::CompanyId.eq(company)),
        None => all,
    }
}

fn count(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}
