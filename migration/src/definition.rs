//! Builds a table with its indexes for all three engines, with sea-query's builders.
//!
//! On MySQL, where DDL cannot be rolled back, all of it is one statement. Types that only one engine has, and
//! the gateway's key types, are given as text ([`typed`], [`Dialect`](crate::dialect::Dialect)).

use sea_orm_migration::schema::{big_integer_null, big_pk_auto, string_len, string_len_null, text_null};
use sea_orm_migration::sea_orm::DbBackend;
use sea_orm_migration::sea_orm::sea_query::{
    Alias, ColumnDef, ConditionalStatement as _, Expr, ForeignKey, ForeignKeyAction, Index, IntoColumnDef,
    Table, TableCreateStatement,
};

use crate::migration::Op;

type Names = &'static [&'static str];

#[derive(Clone, Copy, Debug)]
struct PlannedIndex {
    name: &'static str,
    columns: Names,
    unique: bool,
    only: Option<&'static str>,
}

/// A table being described.
#[derive(Clone, Debug)]
pub(crate) struct Definition {
    name: &'static str,
    table: TableCreateStatement,
    indexes: Vec<PlannedIndex>,
    /// The collation of its text columns on MySQL.
    collation: &'static str,
}

impl Definition {
    /// Creates a table whose text columns are compared by their bytes, on every engine.
    pub(crate) fn new(name: &'static str) -> Self {
        let table = Table::create().table(name).take();
        Self { name, table, indexes: Vec::new(), collation: "utf8mb4_bin" }
    }

    /// Uses the collation of the gateway's text columns on MySQL.
    pub(crate) fn gateway_collation(self) -> Self {
        Self { collation: "utf8mb4_unicode_ci", ..self }
    }

    pub(crate) fn column(mut self, column: impl IntoColumnDef) -> Self {
        self.table.col(column);
        self
    }

    /// Adds several columns.
    pub(crate) fn columns<const N: usize>(self, columns: [ColumnDef; N]) -> Self {
        columns.into_iter().fold(self, Self::column)
    }

    /// Adds the unique token that identifies an action.
    pub(crate) fn token(self) -> Self {
        self.column(string_len("token", 36)).unique("unique_token", &["token"])
    }

    /// Adds the columns for who undid an action, why and when.
    pub(crate) fn undone(self) -> Self {
        self.columns([
            string_len_null("undone_by", 255),
            text_null("undone_why"),
            big_integer_null("undone_ms"),
        ])
    }

    pub(crate) fn primary_key(mut self, columns: &[&'static str]) -> Self {
        let mut key = Index::create();
        columns.iter().for_each(|column| _ = key.col(*column));
        self.table.primary_key(&mut key);
        self
    }

    pub(crate) fn foreign_key(
        mut self,
        column: &'static str,
        table: &'static str,
        on_delete: ForeignKeyAction,
    ) -> Self {
        let name = format!("{}_{column}_foreign", self.name);
        self.table.foreign_key(
            ForeignKey::create().name(name).from(self.name, column).to(table, "id").on_delete(on_delete),
        );
        self
    }

    pub(crate) fn index(mut self, name: &'static str, columns: Names) -> Self {
        self.indexes.push(PlannedIndex { name, columns, unique: false, only: None });
        self
    }

    pub(crate) fn unique(mut self, name: &'static str, columns: Names) -> Self {
        self.indexes.push(PlannedIndex { name, columns, unique: true, only: None });
        self
    }

    /// Limits the last index to the rows that meet a condition. MySQL has no partial indexes: there it covers
    /// all rows.
    pub(crate) fn only(mut self, condition: &'static str) -> Self {
        self.indexes.last_mut().into_iter().for_each(|index| index.only = Some(condition));
        self
    }

    pub(crate) fn column_names(&self) -> Vec<String> {
        self.table.get_columns().iter().map(ColumnDef::get_column_name).collect()
    }

    /// Returns the indexes except the primary key: their names on this engine, and their columns.
    pub(crate) fn indexes(&self, backend: DbBackend) -> Vec<(String, Names)> {
        self.indexes.iter().map(|one| (self.index_name(backend, one.name), one.columns)).collect()
    }

    /// Returns the name of an index: names are unique in the whole schema, except on MySQL.
    fn index_name(&self, backend: DbBackend, name: &str) -> String {
        if backend == DbBackend::MySql { name.to_owned() } else { format!("{}_{name}", self.name) }
    }

    /// Returns the statements that create the table.
    pub(crate) fn statements(&self, backend: DbBackend) -> Vec<String> {
        let mut table = self.table.clone();
        let indexes = self.indexes.iter().map(|one| {
            let mut index = Index::create().name(self.index_name(backend, one.name)).take();
            one.columns.iter().for_each(|column| _ = index.col(*column));
            if one.unique {
                index.unique();
            }
            if let Some(condition) = one.only.filter(|_| backend != DbBackend::MySql) {
                index.and_where(Expr::cust(condition));
            }
            index
        });
        if backend == DbBackend::MySql {
            indexes.for_each(|mut index| _ = table.index(&mut index));
            table.engine("InnoDB").character_set("utf8mb4").collate(self.collation);
            return vec![backend.build(&table).sql];
        }
        let indexes = indexes.map(|mut index| backend.build(index.table(self.name)).sql);
        std::iter::once(backend.build(&table).sql).chain(indexes).collect()
    }

    /// Returns the changes that create the table.
    pub(crate) fn ops(&self, backend: DbBackend) -> Vec<Op> {
        let mut sql = self.statements(backend).into_iter();
        let table = sql.next().map(|create| Op::table(backend, self.name, create));
        // Indexes are dropped with their table. They are separate statements only where DDL is transactional.
        table.into_iter().chain(sql.map(Op::rows)).collect()
    }
}

/// Builds an auto-increment key. Ids are never reused, on SQLite either: audits and lists refer to them.
pub(crate) fn counting_key(name: &'static str) -> ColumnDef {
    big_pk_auto(name)
}

/// Builds a column of a type that the builders lack.
pub(crate) fn typed(name: &'static str, kind: &str) -> ColumnDef {
    ColumnDef::new(name).custom(Alias::new(kind)).take()
}
