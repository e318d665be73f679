//! How many events were decided lately, by outcome, and how old they were: for people who look. Read by an
//! index, no further back than is asked for.

use migration::names;
use std::collections::BTreeMap;

use sea_orm::ConnectionTrait;
use sea_orm::sea_query::{CaseStatement, Expr, ExprTrait as _, Order, Query};
use strum::VariantArray as _;

use super::{DbId, StoreError};
use crate::event::CompanyId;
use crate::matching::{DEAD_LETTER, Outcome};

const TABLE: &str = names::EVENTS;

/// How many events were decided last at each of these moments (ms since 1970) or later, by outcome
/// ([`DEAD_LETTER`] among them); only outcomes of which there are any.
///
/// # Errors
/// [`StoreError`]
pub async fn outcomes_since<const N: usize>(
    db: &impl ConnectionTrait,
    company: Option<CompanyId>,
    since_ms: [i64; N],
) -> Result<BTreeMap<String, [i64; N]>, StoreError> {
    let at = || Expr::col("decided_ms");
    let mut select = Query::select();
    select.column("outcome").from(TABLE);
    for (number, since_ms) in since_ms.iter().enumerate() {
        let counted = CaseStatement::new().case(at().gte(*since_ms), 1);
        select.expr_as(Expr::expr(counted).count(), format!("n{number}"));
    }
    select
        // All of them: for the index that has the outcome first, and nothing else to be read.
        .and_where(
            Expr::col("outcome")
                .is_in(Outcome::VARIANTS.iter().copied().map(Outcome::as_str).chain([DEAD_LETTER])),
        )
        .and_where(at().gte(since_ms.into_iter().min().unwrap_or(i64::MAX)))
        .and_where_option(company.map(|company| Expr::col("company_id").eq(company.0)))
        .group_by_col("outcome");
    let mut counts = BTreeMap::new();
    for row in db.query_all(&select).await? {
        let mut of_outcome = [0; N];
        for (number, count) in of_outcome.iter_mut().enumerate() {
            *count = row.try_get::<DbId>("", &format!("n{number}"))?.0;
        }
        counts.insert(row.try_get("", "outcome")?, of_outcome);
    }
    Ok(counts)
}

/// How old events were when they were decided, in ms, from when they were published as far as that is known
/// (`x-hostmatch-first-seen`), else from when a worker first had them: of the last `most` that were decided
/// at `since_ms` or later. Dead letters are left out.
///
/// # Errors
/// [`StoreError`]
pub async fn ages_since(
    db: &impl ConnectionTrait,
    company: Option<CompanyId>,
    since_ms: i64,
    most: u64,
) -> Result<Vec<i64>, StoreError> {
    let mut select = Query::select();
    select
        .columns(["decided_ms", "received_ms"])
        .from(TABLE)
        .and_where(Expr::col("decided_ms").gte(since_ms))
        .and_where(Expr::col("outcome").ne(DEAD_LETTER))
        .and_where_option(company.map(|company| Expr::col("company_id").eq(company.0)))
        .order_by("decided_ms", Order::Desc)
        .limit(most);
    let rows = db.query_all(&select).await?;
    rows.iter()
        .map(|row| {
            let ms = |column: &str| row.try_get::<DbId>("", column).map(|ms| ms.0);
            Ok(Ord::max(ms("decided_ms")? - ms("received_ms")?, 0))
        })
        .collect()
}

/// When an event was decided last, of whatever company, in ms since 1970.
///
/// # Errors
/// [`StoreError`]
pub async fn decided_last(db: &impl ConnectionTrait) -> Result<Option<i64>, StoreError> {
    let mut select = Query::select();
    select.column("decided_ms").from(TABLE).order_by("decided_ms", Order::Desc).limit(1);
    let row = db.query_one(&select).await?;
    Ok(row.map(|row| row.try_get::<DbId>("", "decided_ms")).transpose()?.map(|ms| ms.0))
}
