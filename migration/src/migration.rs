//! One migration, as a function from the engine's dialect to changes: `up` runs the very statements that
//! `sql` prints and `down` takes back.

use crate::definition::Definition;
use crate::dialect::Dialect;
use crate::op::Op;

/// A migration: what it makes, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Migration {
    /// Its name in the bookkeeping; never changed once released. That of a table ends with the table's.
    pub(crate) name: &'static str,
    change: Change,
}

#[derive(Clone, Copy, Debug)]
enum Change {
    /// A table of ours with its indexes.
    Table(fn(Definition, &Dialect) -> Definition),
    /// A column of a table that is there, and what goes with it.
    Column(&'static str, &'static str, fn(&Dialect) -> Vec<Op>),
}

impl Migration {
    pub(crate) const fn table(name: &'static str, define: fn(Definition, &Dialect) -> Definition) -> Self {
        Self { name, change: Change::Table(define) }
    }

    pub(crate) const fn column(
        name: &'static str,
        table: &'static str,
        column: &'static str,
        ops: fn(&Dialect) -> Vec<Op>,
    ) -> Self {
        Self { name, change: Change::Column(table, column, ops) }
    }

    /// The table that it makes, or that gets its column.
    pub(crate) fn table_of(&self) -> &'static str {
        match self.change {
            Change::Table(_) => self.name.split_once('_').map_or(self.name, |(_, table)| table),
            Change::Column(table, ..) => table,
        }
    }

    /// The column, if it only adds that.
    pub(crate) fn column_made(&self) -> Option<&'static str> {
        match self.change {
            Change::Table(_) => None,
            Change::Column(_, column, _) => Some(column),
        }
    }

    /// The whole table, if it makes one.
    pub(crate) fn definition(&self, dialect: &Dialect) -> Option<Definition> {
        match self.change {
            Change::Table(define) => Some(define(Definition::new(self.table_of()), dialect)),
            Change::Column(..) => None,
        }
    }

    /// The changes, in order. Taken back in the opposite one.
    pub(crate) fn ops(&self, dialect: &Dialect) -> Vec<Op> {
        match self.change {
            Change::Table(define) => define(Definition::new(self.table_of()), dialect).ops(dialect.backend),
            Change::Column(_, _, ops) => ops(dialect),
        }
    }

    /// What it makes, as people write it.
    pub(crate) fn made(&self) -> String {
        match self.column_made() {
            None => self.table_of().to_owned(),
            Some(column) => format!("{}.{column}", self.table_of()),
        }
    }
}

/// The changes of one migration in a database.
#[derive(Clone, Debug)]
pub(crate) struct Planned {
    pub(crate) migration: &'static str,
    pub(crate) ops: Vec<Op>,
}
