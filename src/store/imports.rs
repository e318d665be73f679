//! The record of imports of mappings. The mappings themselves are decided like any other.

use migration::names;
use sea_orm::sea_query::{Expr, ExprTrait as _, Order, Query, SelectStatement};
use sea_orm::{ConnectionTrait, QueryResult};
use uuid::Uuid;

use super::dead_letters::id_of;
use super::{DbId, StoreError};
use crate::event::CompanyId;

const TABLE: &str = names::IMPORTS;

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

/// Notes that an import begins; gives its number.
///
/// # Errors
/// [`StoreError`]
pub async fn begin_import(tx: &impl ConnectionTrait, import: &NewImport) -> Result<i64, StoreError> {
    let token = import.act.to_string();
    let mut insert = Query::insert();
    insert
        .into_table(TABLE)
        .columns([
            "token",
            "company_id",
            "file",
            "line_count",
            "changed",
            "failed",
            "made_by",
            "why",
            "at_ms",
        ])
        .values_panic([
            token.as_str().into(),
            import.company.map(|company| company.0).into(),
            import.file.chars().take(255).collect::<String>().into(),
            count(import.lines).into(),
            0_i32.into(),
            count(import.failed).into(),
            import.made_by.as_str().into(),
            import.why.clone().into(),
            import.at_ms.into(),
        ]);
    tx.execute(&insert).await?;
    id_of(tx, TABLE, &token).await
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
    let mut update = Query::update();
    update
        .table(TABLE)
        .value("changed", count(changed))
        .value("failed", count(failed))
        .value("ended_ms", ended_ms)
        .and_where(Expr::col("id").eq(id));
    tx.execute(&update).await?;
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
    let mut update = Query::update();
    update
        .table(TABLE)
        .value("undone_by", by)
        .value("undone_why", why.map(str::to_owned))
        .value("undone_ms", at_ms)
        .and_where(Expr::col("id").eq(id))
        .and_where(Expr::col("undone_ms").is_null());
    tx.execute(&update).await?;
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
    let mut select = select();
    select.and_where_option(company.map(|company| Expr::col("company_id").eq(company.0)));
    select.order_by("id", Order::Desc).limit(limit);
    db.query_all(&select).await?.iter().map(read).collect()
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
    let mut select = select();
    select.and_where(Expr::col("id").eq(id));
    select.and_where_option(company.map(|company| Expr::col("company_id").eq(company.0)));
    db.query_one(&select).await?.as_ref().map(read).transpose()
}

fn select() -> SelectStatement {
    let mut select = Query::select();
    select.from(TABLE).columns([
        "id",
        "token",
        "company_id",
        "file",
        "line_count",
        "changed",
        "failed",
        "made_by",
        "why",
        "at_ms",
        "ended_ms",
        "undone_by",
        "undone_ms",
    ]);
    select
}

fn read(row: &QueryResult) -> Result<ImportRow, StoreError> {
    let number = |column: &str| row.try_get::<DbId>("", column).map(|id| id.0);
    Ok(ImportRow {
        id: number("id")?,
        act: Uuid::parse_str(&row.try_get::<String>("", "token")?).unwrap_or_default(),
        company: row.try_get("", "company_id")?,
        file: row.try_get("", "file")?,
        lines: number("line_count")?,
        changed: number("changed")?,
        failed: number("failed")?,
        made_by: row.try_get("", "made_by")?,
        why: row.try_get("", "why")?,
        at_ms: number("at_ms")?,
        ended_ms: row.try_get::<Option<DbId>>("", "ended_ms")?.map(|ms| ms.0),
        undone_by: row.try_get("", "undone_by")?,
        undone_ms: row.try_get::<Option<DbId>>("", "undone_ms")?.map(|ms| ms.0),
    })
}

fn count(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}
