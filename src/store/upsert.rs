//! `INSERT … ON CONFLICT DO UPDATE` for the tables that get a row or more for each event.
//!
//! It is text, with the values one after the other. A tree of expressions for the same takes more of the
//! worker's time than the values themselves.

use std::fmt::Write as _;

use sea_orm::sea_query::Value;
use sea_orm::{DbBackend, EntityTrait, IdenStatic as _, Statement};

/// What becomes of a column of a row that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// It stays.
    Keep,
    /// It becomes the new row's.
    Update,
    /// It becomes the new row's where that has a value.
    Fill,
}

/// A column of a row: its value, and what becomes of it in a row that is there already.
pub(super) type Cell<E> = (<E as EntityTrait>::Column, Value, Then);

/// Writes these rows, of which there is at least one, to a table whose key is the column `key`.
pub(super) fn upsert<E: EntityTrait, const N: usize>(
    backend: DbBackend,
    key: E::Column,
    rows: Vec<[Cell<E>; N]>,
) -> Statement {
    let is_mysql = backend == DbBackend::MySql;
    let entity = E::default();
    let table = entity.table_name();
    let (mut names, mut set) = (String::new(), String::new());
    for (column, _, then) in rows.first().into_iter().flatten() {
        let column = column.as_str();
        names.push_str(if names.is_empty() { "" } else { ", " });
        names.push_str(column);
        let new = if is_mysql { format!("VALUES({column})") } else { format!("excluded.{column}") };
        let new = match then {
            Then::Keep => continue,
            Then::Update => new,
            Then::Fill => format!("COALESCE({new}, {table}.{column})"),
        };
        set.push_str(if set.is_empty() { "" } else { ", " });
        // Writing to a text does not fail.
        _ = write!(set, "{column} = {new}");
    }

    let mut sql = format!("INSERT INTO {table} ({names}) VALUES ");
    let mut number = 0_usize;
    for row in 0..rows.len() {
        sql.push_str(if row == 0 { "(" } else { ", (" });
        for column in 0..N {
            sql.push_str(if column == 0 { "" } else { ", " });
            number += 1;
            placeholder(&mut sql, backend, number);
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

fn placeholder(sql: &mut String, backend: DbBackend, number: usize) {
    match backend {
        DbBackend::Postgres => _ = write!(sql, "${number}"),
        _ => sql.push('?'),
    }
}
