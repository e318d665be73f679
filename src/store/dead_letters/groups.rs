//! Dead letters of one cause, together.

use std::collections::BTreeMap;

use sea_orm::sea_query::{Expr, ExprTrait as _, Func, Order, Query, SelectStatement};
use sea_orm::{
    ColumnTrait as _, EntityTrait as _, FromQueryResult, QueryFilter as _, QueryOrder as _, QuerySelect as _,
};

use super::DeadLetterFilter;
use crate::store::entity::dead_letter::{Column, Entity};
use crate::store::entity::dead_letter_action;
use crate::store::{Database, StoreError};

/// Dead letters with one fingerprint.
#[derive(Clone, Debug, PartialEq, Eq, FromQueryResult)]
pub struct Group {
    /// The fingerprint.
    pub fingerprint: String,
    /// Their reason code.
    pub reason: String,
    /// How many.
    pub count: i64,
    /// Of how many tenants.
    pub companies: i64,
    /// When the first of them was received, in ms since 1970 (UTC).
    pub first_seen_ms: i64,
    /// When the last of them failed, in ms since 1970 (UTC).
    pub last_failed_ms: i64,
    /// When the earliest of their meetings starts, in ms since 1970 (UTC).
    pub earliest_start_ms: Option<i64>,
    /// The newest of them.
    pub newest: i64,
    /// What went wrong with that one.
    #[sea_orm(skip)]
    pub error: String,
    /// The newest note on it.
    #[sea_orm(skip)]
    pub note: Option<String>,
}

/// The groups among these, the largest first, at most `limit` of them from the `skip`th on.
///
/// # Errors
/// [`StoreError`]
pub async fn groups(
    database: &Database,
    filter: &DeadLetterFilter,
    skip: u64,
    limit: u64,
) -> Result<Vec<Group>, StoreError> {
    let letters = Expr::col(Column::Fingerprint).count();
    let mut query = Query::select();
    query
        .columns([Column::Fingerprint, Column::Reason])
        .expr_as(letters.clone(), "count")
        .expr_as(Func::count_distinct(Expr::col(Column::CompanyId)), "companies")
        .expr_as(Expr::col(Column::FirstSeenMs).min(), "first_seen_ms")
        .expr_as(Expr::col(Column::LastFailedMs).max(), "last_failed_ms")
        .expr_as(Expr::col(Column::StartsMs).min(), "earliest_start_ms")
        .expr_as(Expr::col(Column::Id).max(), "newest")
        .group_by_columns([Column::Fingerprint, Column::Reason])
        .order_by_expr(letters, Order::Desc)
        .order_by(Column::Fingerprint, Order::Asc)
        .order_by(Column::Reason, Order::Asc)
        .limit(limit)
        .offset(skip);
    if filter.text.is_none() {
        query.from(Entity).cond_where(filter.condition());
    } else {
        query.from_subquery(found(filter), "found");
    }
    let db = database.connection();
    let mut groups = Group::find_by_statement(database.backend().build(&query)).all(db).await?;
    let errors: Vec<(i64, String)> = Entity::find()
        .select_only()
        .columns([Column::Id, Column::Error])
        .filter(Column::Id.is_in(groups.iter().map(|group| group.newest)))
        .into_tuple()
        .all(db)
        .await?;
    let mut errors: BTreeMap<i64, String> = errors.into_iter().collect();
    let notes: Vec<(String, Option<String>)> = dead_letter_action::Entity::find()
        .select_only()
        .columns([dead_letter_action::Column::Fingerprint, dead_letter_action::Column::Why])
        .filter(
            dead_letter_action::Column::Fingerprint
                .is_in(groups.iter().map(|group| group.fingerprint.as_str())),
        )
        .filter(dead_letter_action::Column::Action.eq("note"))
        .order_by_asc(dead_letter_action::Column::Id)
        .into_tuple()
        .all(db)
        .await?;
    // Of several notes the last one stays.
    let notes: BTreeMap<String, Option<String>> = notes.into_iter().collect();
    for group in &mut groups {
        group.error = errors.remove(&group.newest).unwrap_or_default();
        group.note = notes.get(&group.fingerprint).cloned().flatten();
    }
    Ok(groups)
}

/// What was found by its text, apart. Together MariaDB would sort where the rows are, and visit each a
/// second time for what it groups, all over the disk; the limit keeps it from making it one.
fn found(filter: &DeadLetterFilter) -> SelectStatement {
    let mut query = Query::select();
    query
        .columns([
            Column::Id,
            Column::Fingerprint,
            Column::Reason,
            Column::CompanyId,
            Column::FirstSeenMs,
            Column::LastFailedMs,
            Column::StartsMs,
        ])
        .from(Entity)
        .cond_where(filter.condition())
        .limit(i64::MAX.unsigned_abs());
    query
}
