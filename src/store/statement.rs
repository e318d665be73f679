//! Building blocks for SQL statements.

use std::fmt::Write as _;

use sea_orm::sea_query::{InsertStatement, IntoColumnRef, LockBehavior, LockType, Value};
use sea_orm::{EntityTrait, Select, Statement, TryGetable};

use super::prelude::*;
use crate::matching::HostKey;

/// The maximum number of rows in one INSERT or UPDATE: far below every engine's limit on bound values.
const MAX_CHUNK: usize = 256;

/// Chunks of this many rows or more have a multiple of it.
const CHUNK_STEP: usize = 32;

/// Splits rows into the chunks of one INSERT or UPDATE each, in order. A chunk has a multiple of
/// [`CHUNK_STEP`] rows, or fewer than [`CHUNK_STEP`] and a power of two. This gives a handful of statement
/// texts instead of one per row count, so prepared statements are reused: for the server, preparing one costs
/// more than executing it.
pub(super) fn chunk_rows<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let all = rows.len().min(MAX_CHUNK);
        let size = if all < CHUNK_STEP { 1 << all.checked_ilog2()? } else { all - all % CHUNK_STEP };
        let (chunk, rest) = rows.split_at(size);
        rows = rest;
        Some(chunk)
    })
}

/// The maximum size of the large values in one statement, in bytes: with everything else, a statement stays far
/// below the smallest `max_allowed_packet` that the doctor accepts.
const MAX_STATEMENT_BYTES: usize = 1 << 20;

/// Halves a chunk of rows until the large values of each part have at most [`MAX_STATEMENT_BYTES`], or the part
/// is one row. `size`: the size of a row's large values, in bytes.
pub(super) fn split_by_size<'a, T>(rows: &'a [T], size: &impl Fn(&T) -> usize) -> Vec<&'a [T]> {
    if rows.len() < 2 || rows.iter().map(size).sum::<usize>() <= MAX_STATEMENT_BYTES {
        return vec![rows];
    }
    let (first, second) = rows.split_at(rows.len() / 2);
    [split_by_size(first, size), split_by_size(second, size)].concat()
}

/// Repeats the last value of an `IN (…)` list until its length is a multiple of [`CHUNK_STEP`] or a power of
/// two, so that there are few different statement texts, as in [`chunk_rows`].
pub(super) fn pad_in_list<T: Clone>(values: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut values: Vec<T> = values.into_iter().collect();
    if let Some(last) = values.last().cloned() {
        let all = values.len();
        let has_step_size = (CHUNK_STEP..=MAX_CHUNK).contains(&all);
        values.resize(
            if has_step_size { all.next_multiple_of(CHUNK_STEP) } else { all.next_power_of_two() },
            last,
        );
    }
    values
}

/// Returns the first value of a query's first row; `None` without a row.
pub(super) async fn first_value<T: TryGetable>(
    db: &impl ConnectionTrait,
    sql: impl Into<String>,
) -> Result<Option<T>> {
    let query = Statement::from_string(db.get_database_backend(), sql.into());
    Ok(db.query_one_raw(query).await?.map(|row| row.try_get_by_index(0)).transpose()?)
}

/// Reads one column of these rows.
pub(super) async fn values_of<E: EntityTrait, T: TryGetable, C: FromIterator<T>>(
    db: &impl ConnectionTrait,
    rows: Select<E>,
    column: E::Column,
) -> Result<C> {
    Ok(rows.select_only().column(column).into_tuple::<T>().all(db).await?.into_iter().collect())
}

/// Escapes a string for LIKE, with `!` as the escape character.
pub(super) fn like_literal(text: &str) -> String {
    text.replace('!', "!!").replace('%', "!%").replace('_', "!_")
}

/// Builds the condition that a row, by these columns of its table, belongs to one of these hosts.
pub(super) fn any_host(
    company: impl IntoColumnRef,
    host: impl IntoColumnRef,
    keys: impl IntoIterator<Item = HostKey>,
) -> Cond {
    let (company, host) = (company.into_column_ref(), host.into_column_ref());
    // A tuple IN is not used, because SQLite does not have it, and MySQL's optimizer handles this form as
    // well.
    pad_in_list(keys).into_iter().fold(Cond::any(), |any, key| {
        any.add(Expr::col(company.clone()).eq(key.company).and(Expr::col(host.clone()).eq(key.host)))
    })
}

/// Builds an INSERT from rows in which each value is paired with its column.
pub(super) fn insert<E: EntityTrait, const N: usize>(
    rows: impl IntoIterator<Item = [(E::Column, Expr); N]>,
) -> InsertStatement {
    let mut insert = Query::insert();
    insert.into_table(E::default());
    for (number, row) in rows.into_iter().enumerate() {
        if number == 0 {
            insert.columns(row.iter().map(|(column, _)| *column));
        }
        insert.values_panic(row.map(|(_, value)| value));
    }
    insert
}

/// Makes a SELECT lock its rows until the transaction ends, and skip rows that another session has locked. On
/// PostgreSQL the lock is a weaker one, under which others can still insert rows that reference these. On
/// SQLite the transaction has already locked the whole file.
pub(super) fn for_update_skip_locked(select: &mut SelectStatement, backend: DbBackend) {
    let strength = if backend == DbBackend::Postgres { LockType::NoKeyUpdate } else { LockType::Update };
    select.lock_with_behavior(strength, LockBehavior::SkipLocked);
}

/// Makes the transaction stop waiting for locks: from now on a statement that needs one fails at once.
///
/// Call it once a transaction has locked rows of the gateway. The gateway locks its rows in its own order,
/// and a deadlock costs one transaction its work: the one with less to roll back, which would be the
/// gateway's. A session that holds such a row but never waits cannot be part of a deadlock.
pub(super) async fn set_nowait(tx: &impl ConnectionTrait, backend: DbBackend) -> Result<()> {
    let sql = match backend {
        // The setting lasts until the connection is next taken from the pool. The shortest wait is 0 on
        // MariaDB, but one second on MySQL.
        DbBackend::MySql => {
            "SET SESSION lock_wait_timeout = 1 \
             /*M! , SESSION lock_wait_timeout = 0, SESSION innodb_lock_wait_timeout = 0 */ \
             /*!80000 , SESSION innodb_lock_wait_timeout = 1 */"
        }
        // The setting lasts until the transaction ends; 0 would mean no limit. 2 ms is far below any
        // deadlock_timeout in use.
        DbBackend::Postgres => "SET LOCAL lock_timeout = '2ms'",
        _ => return Ok(()),
    };
    tx.execute_unprepared(sql).await?;
    Ok(())
}

/// What an upsert does with a column of an existing row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnExisting {
    /// The column keeps its value.
    Keep,
    /// The column gets the new row's value.
    Update,
    /// The column gets the new row's value, unless that is NULL.
    Fill,
}

/// Builds an upsert of these rows, at least one, into a table with the key column `key`. Each column comes
/// with its value, and with what happens to it in an existing row.
pub(super) fn upsert<E: EntityTrait, const N: usize>(
    backend: DbBackend,
    key: E::Column,
    rows: Vec<[(E::Column, Value, OnExisting); N]>,
) -> Statement {
    let is_mysql = backend == DbBackend::MySql;
    let entity = E::default();
    let table = entity.table_name();
    let (mut names, mut set) = (String::new(), String::new());
    for (column, _, on_existing) in rows.first().into_iter().flatten() {
        let column = column.as_str();
        names.push_str(if names.is_empty() { "" } else { ", " });
        names.push_str(column);
        let new = if is_mysql { format!("VALUES({column})") } else { format!("excluded.{column}") };
        let new = match on_existing {
            OnExisting::Keep => continue,
            OnExisting::Update => new,
            OnExisting::Fill => format!("COALESCE({new}, {table}.{column})"),
        };
        set.push_str(if set.is_empty() { "" } else { ", " });
        // Writing to a String cannot fail.
        _ = write!(set, "{column} = {new}");
    }

    let mut sql = format!("INSERT INTO {table} ({names}) VALUES ");
    let mut number = 0_usize;
    for row in 0..rows.len() {
        sql.push_str(if row == 0 { "(" } else { ", (" });
        for column in 0..N {
            sql.push_str(if column == 0 { "" } else { ", " });
            number += 1;
            match backend {
                DbBackend::Postgres => _ = write!(sql, "${number}"),
                _ => sql.push('?'),
            }
        }
        sql.push(')');
    }
    sql += &if is_mysql {
        format!(" ON DUPLICATE KEY UPDATE {set}")
    } else {
        format!(" ON CONFLICT ({}) DO UPDATE SET {set}", key.as_str())
    };
    let values = rows.into_iter().flatten().map(|(_, value, _)| value);
    Statement::from_sql_and_values(backend, sql, values)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{chunk_rows, pad_in_list, split_by_size};

    #[test]
    fn in_lists_repeat_their_last_value() {
        let sizes = [0, 1, 3, 31, 32, 33, 200, 256, 257];
        assert_eq!(sizes.map(|count| pad_in_list(0..count).len()), [0, 1, 4, 32, 32, 64, 224, 256, 512]);
        assert_eq!(pad_in_list([1, 2, 3]), [1, 2, 3, 3]);
    }

    #[test]
    fn rows_with_large_values_go_into_several_statements() {
        let sizes = [300_usize << 10; 8];
        let parts = split_by_size(&sizes, &|size| *size);
        assert_eq!(parts.iter().map(|part| part.len()).collect::<Vec<_>>(), [2, 2, 2, 2]);
        assert_eq!(split_by_size(&[9_usize << 20], &|size| *size).len(), 1);
        assert_eq!(split_by_size(&[1_usize; 256], &|size| *size).len(), 1);
    }

    #[test]
    fn chunks_have_few_different_sizes_and_contain_every_row() {
        let mut sizes = BTreeSet::new();
        for count in 0..1_000_u32 {
            let rows: Vec<u32> = (0..count).collect();
            sizes.extend(chunk_rows(&rows).map(<[u32]>::len));
            assert_eq!(chunk_rows(&rows).flatten().copied().collect::<Vec<_>>(), rows);
        }
        let expected = [1, 2, 4, 8, 16, 32, 64, 96, 128, 160, 192, 224, 256];
        assert_eq!(sizes.into_iter().collect::<Vec<_>>(), expected);
    }
}
