//! Small pieces that statements are built of.

use sea_orm::DbBackend;
use sea_orm::sea_query::{Cond, Expr, ExprTrait as _, SelectStatement, SimpleExpr};

use crate::matching::HostKey;

/// Rows in one INSERT or UPDATE: far below every engine's limit of bound values.
pub(super) const ROWS: usize = 250;

/// The values of an `IN (…)`, the last one repeated up to a power of two: a handful of statement
/// texts instead of one for each length, so that prepared statements are found again.
pub(super) fn padded<T: Clone>(values: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut values: Vec<T> = values.into_iter().collect();
    if let Some(last) = values.last().cloned() {
        values.resize(values.len().next_power_of_two(), last);
    }
    values
}

/// Rows of one of these hosts, by the columns `company_id` and `host`.
pub(super) fn any_host(host: &'static str, keys: impl IntoIterator<Item = HostKey>) -> Cond {
    // Not a tuple IN: SQLite has none, and MySQL's optimizer likes this as well.
    keys.into_iter().fold(Cond::any(), |any, (company, id)| {
        any.add(Expr::col("company_id").eq(company.0).and(Expr::col(host).eq(id.0)))
    })
}

/// Locks the rows of a SELECT until the transaction ends. PostgreSQL's weaker lock lets others
/// still insert rows that refer to them; SQLite's transaction has the whole file already.
pub(super) fn lock(select: &mut SelectStatement, backend: DbBackend) {
    use sea_orm::sea_query::LockType::{NoKeyUpdate, Update};
    select.lock(if backend == DbBackend::Postgres { NoKeyUpdate } else { Update });
}

/// The database's own clock, for our TIMESTAMP columns.
pub(super) fn now() -> SimpleExpr {
    Expr::cust("CURRENT_TIMESTAMP")
}
