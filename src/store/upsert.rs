//! `INSERT … ON CONFLICT DO UPDATE` for the tables that get a row or more for each event.
//!
//! It is text, with the values one after the other. A tree of expressions for the same takes more of the
//! worker's time than the values themselves.

use std::fmt::Write as _;

use sea_orm::sea_query::Value;
use sea_orm::{DbBackend, Statement};

/// Rows of a table of ours with one column as its key.
pub(super) struct Upsert<const N: usize> {
    pub(super) table: &'static str,
    pub(super) key: &'static str,
    pub(super) columns: [&'static str; N],
}

impl<const N: usize> Upsert<N> {
    /// Writes these rows, of which there is at least one. Of a row that is there already the `updated` columns
    /// become those of the new one; the `filled` ones only where the new one has a value.
    pub(super) fn statement(
        &self,
        backend: DbBackend,
        rows: Vec<[Value; N]>,
        updated: impl Iterator<Item = &'static str>,
        filled: Option<&'static str>,
    ) -> Statement {
        let Self { table, key, columns } = self;
        let is_mysql = backend == DbBackend::MySql;
        let new =
            |column: &str| if is_mysql { format!("VALUES({column})") } else { format!("excluded.{column}") };
        let updated = updated.map(|column| format!("{column} = {}", new(column)));
        let filled = filled.map(|column| format!("{column} = COALESCE({}, {table}.{column})", new(column)));
        let set = updated.chain(filled).collect::<Vec<_>>().join(", ");

        let mut sql = format!("INSERT INTO {table} ({}) VALUES ", columns.join(", "));
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
            format!(" ON CONFLICT ({key}) DO UPDATE SET {set}")
        };
        Statement::from_sql_and_values(backend, sql, rows.into_iter().flatten())
    }
}

fn placeholder(sql: &mut String, backend: DbBackend, number: usize) {
    match backend {
        // Writing to a text does not fail.
        DbBackend::Postgres => _ = write!(sql, "${number}"),
        _ => sql.push('?'),
    }
}
