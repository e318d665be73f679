//! One migration, as a function from the engine's dialect to changes: `up` runs the very statements that
//! `sql` prints and `down` takes back. Each change knows how to take it back, and how to find out whether it was made.
//!
//! On MySQL every DDL statement is committed at once. Whoever goes on after an interruption asks
//! the catalogue whether the statement that was in flight has been carried out. The other engines
//! make all changes in one transaction and need no such question.

use sea_orm_migration::sea_orm::{self, DbBackend, FromQueryResult};

use crate::definition::Definition;
use crate::dialect::Dialect;

/// A migration: what it makes, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Migration {
    /// Its name in the bookkeeping; never changed once released. That of a table ends with the table's.
    pub(crate) name: &'static str,
    pub(crate) change: Change,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Change {
    /// A table of ours with its indexes.
    Table(fn(Definition, &Dialect) -> Definition),
    /// A table that is there, the column that it gets, and what goes with it.
    Column(&'static str, &'static str, fn(&Dialect) -> Vec<Op>),
}

impl Migration {
    pub(crate) const fn table(name: &'static str, define: fn(Definition, &Dialect) -> Definition) -> Self {
        Self { name, change: Change::Table(define) }
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

/// One statement with its opposite.
#[derive(Clone, Debug, Default, PartialEq, Eq, FromQueryResult)]
pub(crate) struct Op {
    /// The statement; none for what only has to happen when it is taken back.
    #[sea_orm(from_alias = "to_make")]
    pub(crate) make: Option<String>,
    /// What takes it back; none where something else does (an index goes with its table).
    #[sea_orm(from_alias = "to_undo")]
    pub(crate) undo: Option<String>,
    /// A query for a number above 0 when the change is there. None: running it twice is as once. Beside
    /// no statement at all it is a question to be asked before the way back.
    #[sea_orm(from_alias = "to_probe")]
    pub(crate) probe: Option<String>,
}

impl Op {
    /// A new table.
    pub(crate) fn table(backend: DbBackend, name: &str, create: String) -> Self {
        let probe = Probe::on(backend).table(name);
        Self { make: Some(create), undo: Some(format!("DROP TABLE {name}")), probe }
    }

    /// Rows that are written; written twice they are the same.
    pub(crate) fn rows(make: String) -> Self {
        Self { make: Some(make), ..Self::default() }
    }

    /// Changes nothing: asks, before anything is taken back, for rows that would be in the way of that.
    /// Each has an `id`, and says in `what` why. `but` leaves out those that will be gone by then: it is a
    /// line of its own, since half-way they are gone, and maybe what it asks about is, too.
    pub(crate) fn question(rows: &str, but: &str) -> Self {
        Self { probe: Some(format!("{rows}\n{but}")), ..Self::default() }
    }

    /// Only when it is taken back; done twice it is as done once.
    pub(crate) fn only_undo(undo: String) -> Self {
        Self { undo: Some(undo), ..Self::default() }
    }
}

/// Questions to MySQL's catalogue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Probe(bool);

impl Probe {
    /// None are needed but on MySQL.
    pub(crate) fn on(backend: DbBackend) -> Self {
        Self(backend == DbBackend::MySql)
    }

    fn ask(self, table: &str, what: &str, and: &str) -> Option<String> {
        self.0.then(|| {
            format!(
                "SELECT COUNT(*) FROM information_schema.{what} WHERE table_schema = DATABASE() \
                 AND table_name = '{table}'{and}"
            )
        })
    }

    pub(crate) fn table(self, table: &str) -> Option<String> {
        self.ask(table, "tables", "")
    }

    pub(crate) fn column(self, table: &str, column: &str) -> Option<String> {
        self.ask(table, "columns", &format!(" AND column_name = '{column}'"))
    }

    /// The column meets a condition on `information_schema.columns`.
    pub(crate) fn column_is(self, table: &str, column: &str, condition: &str) -> Option<String> {
        self.ask(table, "columns", &format!(" AND column_name = '{column}' AND {condition}"))
    }

    pub(crate) fn index(self, table: &str, index: &str) -> Option<String> {
        self.ask(table, "statistics", &format!(" AND index_name = '{index}'"))
    }

    /// A key of this name. (MariaDB shows `table_constraints` to nobody whose rights are on single tables.)
    pub(crate) fn constraint(self, table: &str, name: &str) -> Option<String> {
        self.ask(table, "key_column_usage", &format!(" AND constraint_name = '{name}'"))
    }

    pub(crate) fn no_constraint(self, table: &str, name: &str) -> Option<String> {
        self.constraint(table, name).map(|probe| probe.replacen("COUNT(*)", "COUNT(*) = 0", 1))
    }
}
