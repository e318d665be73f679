//! Defines one migration as a function from the engine's dialect to a list of changes. `up` runs exactly the
//! statements that `sql` prints and `down` undoes. Each change knows its undo statement, and how to check
//! whether it was made.
//!
//! MySQL commits every DDL statement at once. A run that continues after an interruption checks in the
//! catalogue whether the statement in flight was executed. The other engines make all changes in one
//! transaction and need no such check.

use sea_orm_migration::sea_orm::{self, DbBackend, FromQueryResult};

use crate::definition::Definition;
use crate::dialect::Dialect;

/// A migration: its name and its changes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Migration {
    /// Its name in the bookkeeping; never changed once released. A table's migration is named after the
    /// table.
    pub(crate) name: &'static str,
    pub(crate) change: Change,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Change {
    /// One of our tables with its indexes.
    Table(fn(Definition, &Dialect) -> Definition),
    /// An existing table, the column added to it, and the statements that add it.
    Column(&'static str, &'static str, fn(&Dialect) -> Vec<Op>),
}

impl Migration {
    pub(crate) const fn table(name: &'static str, define: fn(Definition, &Dialect) -> Definition) -> Self {
        Self { name, change: Change::Table(define) }
    }

    /// Returns the table that the migration creates or adds its column to.
    pub(crate) fn table_of(&self) -> &'static str {
        match self.change {
            Change::Table(_) => self.name.split_once('_').map_or(self.name, |(_, table)| table),
            Change::Column(table, ..) => table,
        }
    }

    /// Returns the column, if the migration only adds one.
    pub(crate) fn added_column(&self) -> Option<&'static str> {
        match self.change {
            Change::Table(_) => None,
            Change::Column(_, column, _) => Some(column),
        }
    }

    /// Returns the whole table, if the migration creates one.
    pub(crate) fn definition(&self, dialect: &Dialect) -> Option<Definition> {
        match self.change {
            Change::Table(define) => Some(define(Definition::new(self.table_of()), dialect)),
            Change::Column(..) => None,
        }
    }

    /// Returns the changes, in order. They are undone in reverse order.
    pub(crate) fn ops(&self, dialect: &Dialect) -> Vec<Op> {
        match self.change {
            Change::Table(define) => define(Definition::new(self.table_of()), dialect).ops(dialect.backend),
            Change::Column(_, _, ops) => ops(dialect),
        }
    }

    /// Returns the name of what the migration creates, as people write it.
    pub(crate) fn created(&self) -> String {
        match self.added_column() {
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

/// One statement and its undo statement.
#[derive(Clone, Debug, Default, PartialEq, Eq, FromQueryResult)]
pub(crate) struct Op {
    /// The statement; none if the change consists only of its undo statement.
    #[sea_orm(from_alias = "to_make")]
    pub(crate) apply: Option<String>,
    /// The undo statement; none if another one covers it (an index is dropped with its table).
    #[sea_orm(from_alias = "to_undo")]
    pub(crate) undo: Option<String>,
    /// A query that returns a number above 0 if the change is in place. None: the statement can safely run
    /// twice. If there is no statement either, this is a query that runs before anything is undone
    /// ([`Self::precheck`]).
    #[sea_orm(from_alias = "to_probe")]
    pub(crate) probe: Option<String>,
}

impl Op {
    /// Creates a table.
    pub(crate) fn table(backend: DbBackend, name: &str, create: String) -> Self {
        let probe = Probe::on(backend).table(name);
        Self { apply: Some(create), undo: Some(format!("DROP TABLE {name}")), probe }
    }

    /// Writes rows; running it twice has the same result as once.
    pub(crate) fn rows(apply: String) -> Self {
        Self { apply: Some(apply), ..Self::default() }
    }

    /// Changes nothing: before anything is undone, finds rows that the old shape cannot hold. Each row has an
    /// `id`, and a `what` that describes the problem. `but` excludes rows that will be gone by then. It is on
    /// its own line, so that it can be dropped after an interruption, when those rows, and possibly the
    /// tables that it reads, are gone.
    pub(crate) fn precheck(rows: &str, but: &str) -> Self {
        Self { probe: Some(format!("{rows}\n{but}")), ..Self::default() }
    }

    /// Runs only when the migration is undone; running it twice has the same result as once.
    pub(crate) fn only_undo(undo: String) -> Self {
        Self { undo: Some(undo), ..Self::default() }
    }
}

/// Queries on MySQL's catalogue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Probe(bool);

impl Probe {
    /// Creates the probes of an engine: only MySQL needs them.
    pub(crate) fn on(backend: DbBackend) -> Self {
        Self(backend == DbBackend::MySql)
    }

    fn query(self, table: &str, what: &str, and: &str) -> Option<String> {
        self.0.then(|| {
            format!(
                "SELECT COUNT(*) FROM information_schema.{what} WHERE table_schema = DATABASE() \
                 AND table_name = '{table}'{and}"
            )
        })
    }

    pub(crate) fn table(self, table: &str) -> Option<String> {
        self.query(table, "tables", "")
    }

    pub(crate) fn column(self, table: &str, column: &str) -> Option<String> {
        self.query(table, "columns", &format!(" AND column_name = '{column}'"))
    }

    /// Checks whether the column meets a condition on `information_schema.columns`.
    pub(crate) fn column_is(self, table: &str, column: &str, condition: &str) -> Option<String> {
        self.query(table, "columns", &format!(" AND column_name = '{column}' AND {condition}"))
    }

    pub(crate) fn index(self, table: &str, index: &str) -> Option<String> {
        self.query(table, "statistics", &format!(" AND index_name = '{index}'"))
    }

    /// Checks for a key of this name. (MariaDB hides `table_constraints` from users whose privileges are on
    /// single tables.)
    pub(crate) fn constraint(self, table: &str, name: &str) -> Option<String> {
        self.query(table, "key_column_usage", &format!(" AND constraint_name = '{name}'"))
    }

    pub(crate) fn no_constraint(self, table: &str, name: &str) -> Option<String> {
        self.constraint(table, name).map(|probe| probe.replacen("COUNT(*)", "COUNT(*) = 0", 1))
    }
}
