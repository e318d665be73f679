//! Dead letters of one cause, together.

use migration::names;
use sea_orm::ConnectionTrait as _;
use sea_orm::sea_query::{Expr, ExprTrait as _, Func, Order, Query, SelectStatement};

use super::{DeadLetterFilter, TABLE};
use crate::store::{Database, DbId, StoreError};

/// Dead letters with one fingerprint.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// What went wrong with the newest of them.
    pub error: String,
    /// The newest note on it.
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
    let mut query = Query::select();
    query
        .columns(["fingerprint", "reason"])
        .expr_as(Expr::col("fingerprint").count(), "letters")
        .expr_as(Func::count_distinct(Expr::col("company_id")), "companies")
        .expr_as(Expr::col("first_seen_ms").min(), "first_seen_ms")
        .expr_as(Expr::col("last_failed_ms").max(), "last_failed_ms")
        .expr_as(Expr::col("starts_ms").min(), "starts_ms")
        .expr_as(Expr::col("id").max(), "newest")
        .group_by_columns(["fingerprint", "reason"])
        .order_by("letters", Order::Desc)
        .order_by("fingerprint", Order::Asc)
        .order_by("reason", Order::Asc)
        .limit(limit)
        .offset(skip);
    if filter.text.is_none() {
        query.from(TABLE).cond_where(filter.condition());
    } else {
        query.from_subquery(found(filter), "found");
    }
    let mut groups = Vec::new();
    let mut newest: Vec<i64> = Vec::new();
    for row in database.connection().query_all(&query).await? {
        newest.push(row.try_get::<DbId>("", "newest")?.0);
        groups.push(Group {
            fingerprint: row.try_get("", "fingerprint")?,
            reason: row.try_get("", "reason")?,
            count: row.try_get::<DbId>("", "letters")?.0,
            companies: row.try_get::<DbId>("", "companies")?.0,
            first_seen_ms: row.try_get("", "first_seen_ms")?,
            last_failed_ms: row.try_get("", "last_failed_ms")?,
            earliest_start_ms: row.try_get("", "starts_ms")?,
            error: String::new(),
            note: None,
        });
    }
    let mut query = Query::select();
    query.columns(["id", "error"]).from(TABLE).and_where(Expr::col("id").is_in(newest.iter().copied()));
    for row in database.connection().query_all(&query).await? {
        let id = row.try_get::<DbId>("", "id")?.0;
        if let Some(place) = newest.iter().position(|newest| *newest == id) {
            groups[place].error = row.try_get("", "error")?;
        }
    }
    let mut query = Query::select();
    query
        .columns(["fingerprint", "why"])
        .from(names::DEAD_LETTER_ACTIONS)
        .and_where(Expr::col("fingerprint").is_in(groups.iter().map(|group| group.fingerprint.clone())))
        .and_where(Expr::col("action").eq("note"))
        .order_by("id", Order::Asc);
    for row in database.connection().query_all(&query).await? {
        let fingerprint: String = row.try_get("", "fingerprint")?;
        let note: Option<String> = row.try_get("", "why")?;
        for group in groups.iter_mut().filter(|group| group.fingerprint == fingerprint) {
            group.note.clone_from(&note);
        }
    }
    Ok(groups)
}

/// What was found by its text, apart. Together MariaDB would sort where the rows are, and visit each a
/// second time for what it groups, all over the disk; the limit keeps it from making it one.
fn found(filter: &DeadLetterFilter) -> SelectStatement {
    let mut query = Query::select();
    query
        .columns([
            "id",
            "fingerprint",
            "reason",
            "company_id",
            "first_seen_ms",
            "last_failed_ms",
            "starts_ms",
        ])
        .from(TABLE)
        .cond_where(filter.condition())
        .limit(i64::MAX.unsigned_abs());
    query
}
