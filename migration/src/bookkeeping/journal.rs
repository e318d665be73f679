//! Keeps the journal. It contains the statements of a run, written before the first of them is executed, and
//! those that `down` needs.
//!
//! MySQL commits every DDL statement at once, so an interrupted migration stays partly done. Before the first
//! of its statements runs, the journal stores each statement, its undo statement and the query that checks
//! whether it was executed. The next run continues from there, up or down. On every engine the statements of
//! an adoption stay in the journal until `down`: they are the only record of the shape that was found.

use sea_orm_migration::sea_orm::sea_query::{Alias, Query, StringLen};
use sea_orm_migration::sea_orm::{
    self, ActiveEnum as _, ConnectionTrait, DbBackend, DbErr, DeriveActiveEnum, EnumIter, FromQueryResult,
    Statement,
};

use crate::catalog::{relations, rows};
use crate::dialect::by_engine;
use crate::migration::{Op, Planned};
use crate::names::JOURNAL;
use crate::session::Session;
use crate::tables::position;

// The columns are not called "undo" and the like, because these are reserved words on some engines.
const COLUMNS: [&str; 7] = ["seq", "migration", "state", "is_kept", "to_make", "to_undo", "to_probe"];

/// Sequence numbers per migration, so that statements are ordered as their migrations are.
const STRIDE: usize = 1000;

/// The state of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(16))", rename_all = "snake_case")]
pub(crate) enum State {
    /// To be run; the first of these may have been executed.
    Planned,
    Made,
    /// To be undone; the last of these may have been undone.
    Undoing,
}

/// One statement of one migration.
#[derive(Clone, Debug, FromQueryResult)]
pub(crate) struct Entry {
    pub(crate) seq: i64,
    pub(crate) migration: String,
    pub(crate) state: State,
    /// Whether it stays after it was made, because it belongs to an adoption.
    #[sea_orm(from_alias = "is_kept")]
    pub(crate) keep: bool,
    #[sea_orm(nested)]
    pub(crate) op: Op,
}

/// Returns the statements of these migrations, in order.
pub(crate) fn entries(planned: &[Planned], state: State, keep: bool) -> Vec<Entry> {
    let mut entries = Vec::new();
    for one in planned {
        for (i, op) in one.ops.iter().enumerate() {
            let seq = i64::try_from(position(one.migration) * STRIDE + i).unwrap_or(i64::MAX);
            entries.push(Entry { seq, migration: one.migration.to_owned(), state, keep, op: op.clone() });
        }
    }
    entries
}

/// Returns the statement that creates the journal.
pub(crate) fn create(backend: DbBackend) -> String {
    let mysql = ("LONGTEXT", " ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin");
    let (long, options) = by_engine(backend, [mysql, ("TEXT", ""), ("TEXT", "")]);
    format!(
        "CREATE TABLE IF NOT EXISTS {JOURNAL} (seq BIGINT NOT NULL PRIMARY KEY, \
         migration VARCHAR(255) NOT NULL, state VARCHAR(16) NOT NULL, is_kept BOOLEAN NOT NULL, \
         to_make {long} NULL, to_undo {long} NULL, to_probe {long} NULL){options}"
    )
}

/// Builds one statement that inserts all of these entries, or none.
pub(crate) fn insert(backend: DbBackend, entries: &[Entry]) -> Statement {
    let mut insert = Query::insert();
    insert.into_table(Alias::new(JOURNAL)).columns(COLUMNS.map(Alias::new));
    for entry in entries {
        insert.values_panic([
            entry.seq.into(),
            entry.migration.clone().into(),
            entry.state.into(),
            entry.keep.into(),
            entry.op.apply.clone().into(),
            entry.op.undo.clone().into(),
            entry.op.probe.clone().into(),
        ]);
    }
    backend.build(&insert)
}

/// Reads all entries in order; none if the table does not exist.
pub(crate) async fn read<C: ConnectionTrait>(connection: &C) -> Result<Vec<Entry>, DbErr> {
    if relations(connection, &[JOURNAL]).await?.is_empty() {
        return Ok(Vec::new());
    }
    let select = format!("SELECT {} FROM {JOURNAL} ORDER BY seq", COLUMNS.join(", "));
    rows(connection, select).await?.iter().map(|row| Entry::from_query_result(row, "")).collect()
}

/// Sets the state of an entry.
pub(crate) async fn mark(session: &Session, seq: i64, state: State) -> Result<(), DbErr> {
    session.run(&format!("UPDATE {JOURNAL} SET state = '{}' WHERE seq = {seq}", state.to_value())).await
}

pub(crate) async fn delete(session: &Session, seq: i64) -> Result<(), DbErr> {
    session.run(&format!("DELETE FROM {JOURNAL} WHERE seq = {seq}")).await
}

/// Deletes the entries of a finished migration, except those to be kept.
pub(crate) async fn delete_finished(session: &Session, migration: &str) -> Result<(), DbErr> {
    session.run(&format!("DELETE FROM {JOURNAL} WHERE migration = '{migration}' AND NOT is_kept")).await
}
