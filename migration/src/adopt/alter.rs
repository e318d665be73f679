//! Builds one ALTER TABLE and its undo statement part by part, with one line that describes each part. It
//! removes only what prevents our rows from being inserted.

use sea_orm_migration::sea_orm::DbBackend;

use super::existing::{ExistingColumn, ExistingTable};
use super::obstacles::Kind;
use crate::dialect::Dialect;
use crate::migration::{Op, Probe};

/// The changes of one table.
pub(super) struct Alter<'a> {
    found: &'a ExistingTable,
    backend: DbBackend,
    parts: Vec<String>,
    undo: Vec<String>,
    probe: Option<String>,
    /// PostgreSQL creates indexes with separate statements.
    indexes: Vec<Op>,
}

impl<'a> Alter<'a> {
    pub(super) fn new(found: &'a ExistingTable, backend: DbBackend) -> Self {
        Self { found, backend, parts: Vec::new(), undo: Vec::new(), probe: None, indexes: Vec::new() }
    }

    fn mysql(&self) -> bool {
        self.backend == DbBackend::MySql
    }

    fn part(&mut self, apply: String, undo: String, probe: Option<String>) {
        self.parts.push(apply);
        self.undo.push(undo);
        // A statement runs whole or not at all, so one probe is enough.
        self.probe = self.probe.take().or(probe);
    }

    /// Adds a missing column.
    pub(super) fn add(&mut self, name: &str, definition: &str) {
        let probe = Probe::on(self.backend).column(&self.found.table, name);
        self.part(format!("ADD COLUMN {name} {definition}"), format!("DROP COLUMN {name}"), probe);
    }

    /// Adds those of these columns that are missing, and describes each.
    pub(super) fn add_missing(&mut self, columns: &[(&str, Kind, Option<&str>)], d: &Dialect) -> Vec<String> {
        let mut said = Vec::new();
        for (name, _, definition) in columns {
            let Some(definition) = definition.filter(|_| !self.found.has(name)) else { continue };
            self.add(name, &d.filled(definition));
            said.push(format!("{name} is missing: it will be added"));
        }
        said
    }

    /// Adds those of these plain indexes that are missing, and describes each.
    pub(super) fn index_missing(&mut self, indexes: &[(&str, &[&str], bool)]) -> Vec<String> {
        let mut said = Vec::new();
        for (name, columns, _) in indexes.iter().filter(|(_, columns, _)| !self.found.has_index(columns)) {
            let columns = columns.join(", ");
            self.index(false, name, &columns, "");
            said.push(format!("there is no index on ({columns}): {name} will be added"));
        }
        said
    }

    /// Adds an index.
    pub(super) fn index(&mut self, unique: bool, name: &str, columns: &str, condition: &str) {
        let unique = if unique { "UNIQUE " } else { "" };
        let table = &self.found.table;
        if self.mysql() {
            let probe = Probe::on(self.backend).index(table, name);
            self.part(format!("ADD {unique}KEY {name} ({columns})"), format!("DROP KEY {name}"), probe);
        } else {
            self.indexes.push(Op {
                apply: Some(format!("CREATE {unique}INDEX {table}_{name} ON {table} ({columns}){condition}")),
                undo: Some(format!("DROP INDEX {table}_{name}")),
                probe: None,
            });
        }
    }

    /// Adds a foreign key.
    pub(super) fn foreign_key(&mut self, column: &str, refers_to: &str, on_delete: &str) {
        let name = format!("{}_{column}_foreign", self.found.table);
        let drop = if self.mysql() { "FOREIGN KEY" } else { "CONSTRAINT" };
        let probe = Probe::on(self.backend).constraint(&self.found.table, &name);
        let refers = format!("REFERENCES {refers_to} (id) ON DELETE {on_delete}");
        let apply = format!("ADD CONSTRAINT {name} FOREIGN KEY ({column}) {refers}");
        self.part(apply, format!("DROP {drop} {name}"), probe);
    }

    /// Changes the definition of a column, on MySQL.
    fn modify(&mut self, column: &ExistingColumn, definition: &str, condition: &str) {
        let name = &column.name;
        self.part(
            format!("MODIFY COLUMN `{name}` {definition}"),
            format!("MODIFY COLUMN `{name}` {}", column.definition),
            Probe::on(self.backend).column_is(&self.found.table, name, condition),
        );
    }

    /// Changes the type of a column, and whether it may be NULL; the rest of its definition stays.
    pub(super) fn retype(&mut self, column: &ExistingColumn, new: &str, nullable: bool) {
        let name = &column.name;
        if self.mysql() {
            let rest = column.definition[type_length(&column.definition)..].trim_start();
            // A type with its own collation replaces the column's collation.
            let rest = if new.contains(" COLLATE ") { without_collation(rest) } else { rest.to_owned() };
            let rest = if nullable { rest.replacen("NOT NULL", "NULL", 1) } else { rest };
            let (bare, collation) = new.split_once(" CHARACTER SET ").unwrap_or((new, ""));
            let collation = collation
                .split_once(" COLLATE ")
                .map_or(String::new(), |(_, name)| format!(" AND collation_name = '{name}'"));
            let condition = format!("column_type = '{}'{collation}", bare.to_lowercase());
            self.modify(column, &format!("{new} {rest}"), &condition);
            return;
        }
        let old = &column.definition;
        let collation = old.find(" COLLATE ").map_or("", |at| &old[at..]);
        let collation = if new.contains(" COLLATE ") { "" } else { collation };
        let mut parts = vec![format!("ALTER COLUMN {name} TYPE {new}{collation} USING {name}::text::{new}")];
        // A cast to a type of limited length truncates longer values; without the cast they are refused.
        let cast = if width(old).is_some() { String::new() } else { format!("::{old}") };
        let mut undo = vec![format!("ALTER COLUMN {name} TYPE {old} USING {name}::text{cast}")];
        if let Some(default) = column.default.as_ref().filter(|_| column.is_enum) {
            // The default has the old type, and is not converted automatically.
            parts.insert(0, format!("ALTER COLUMN {name} DROP DEFAULT"));
            parts.push(format!("ALTER COLUMN {name} SET DEFAULT ({default})::text"));
            undo.insert(0, format!("ALTER COLUMN {name} DROP DEFAULT"));
            undo.push(format!("ALTER COLUMN {name} SET DEFAULT {default}"));
        }
        if nullable && !column.nullable {
            parts.push(format!("ALTER COLUMN {name} DROP NOT NULL"));
            undo.push(format!("ALTER COLUMN {name} SET NOT NULL"));
        }
        self.part(parts.join(", "), undo.join(", "), None);
    }

    /// Changes an enumeration to text, or lengthens a text column that is too short, and describes the
    /// change.
    pub(super) fn widen_text(&mut self, name: &str, wanted: u32) -> Option<String> {
        let column = self.found.column(name)?;
        if column.is_enum {
            self.retype(column, &format!("varchar({wanted})"), column.nullable);
            return Some(format!("{name} is an enumeration: it becomes VARCHAR({wanted})"));
        }
        let checks = self.found.checks.iter().filter(|check| check.columns == [name]);
        let mut said = None;
        for check in checks {
            let (check_name, definition) = (&check.name, &check.definition);
            self.parts.push(format!("DROP CONSTRAINT \"{check_name}\""));
            self.undo.push(format!("ADD CONSTRAINT \"{check_name}\" {definition}"));
            said = Some(format!("{name} is limited to a list: the check {check_name} will be dropped"));
        }
        let Some(width) = width(&column.definition).filter(|width| *width < wanted) else { return said };
        self.retype(column, &format!("varchar({wanted})"), column.nullable);
        said.or(Some(format!("{name} holds {width} characters: it becomes VARCHAR({wanted})")))
    }

    /// Changes a text column of limited length to TEXT.
    pub(super) fn lengthen_to_text(&mut self, name: &str) -> Option<String> {
        let column = self.found.column(name)?;
        let width = width(&column.definition)?;
        self.retype(column, "text", column.nullable);
        Some(format!("{name} holds {width} characters: it becomes TEXT"))
    }

    /// Makes a column accept NULL.
    pub(super) fn make_nullable(&mut self, name: &str) -> Option<String> {
        let column = self.found.column(name).filter(|column| !column.nullable)?;
        if self.mysql() {
            self.modify(column, &column.definition.replacen(" NOT NULL", " NULL", 1), "is_nullable = 'YES'");
        } else {
            let alter = format!("ALTER COLUMN {name}");
            self.part(format!("{alter} DROP NOT NULL"), format!("{alter} SET NOT NULL"), None);
        }
        Some(format!("{name} is NOT NULL: it becomes NULL, so that an audit outlives its mapping"))
    }

    /// Stops MariaDB from changing a creation time with every update.
    pub(super) fn keep_on_update(&mut self, name: &str) -> Option<String> {
        let column = self.found.column(name)?;
        let at = column.definition.find(" ON UPDATE ")?;
        let rest = &column.definition[at + " ON UPDATE ".len()..];
        let after = rest.find(' ').map_or("", |end| &rest[end..]);
        let definition = format!("{}{after}", &column.definition[..at]);
        self.modify(column, &definition, "extra NOT LIKE '%on update%'");
        Some(format!("{name} changes with every update of its row: it will keep its value"))
    }

    /// Returns the statements.
    pub(super) fn ops(self) -> Vec<Op> {
        let mut ops = Vec::new();
        if !self.parts.is_empty() {
            let alter =
                |parts: Vec<String>| Some(format!("ALTER TABLE {} {}", self.found.table, parts.join(", ")));
            let undo = self.undo.into_iter().rev().collect();
            ops.push(Op { apply: alter(self.parts), undo: alter(undo), probe: self.probe });
        }
        ops.extend(self.indexes);
        ops
    }
}

/// Returns assignments of these columns to themselves: otherwise on MySQL an update changes each column with
/// ON UPDATE.
pub(super) fn keep_times(found: &ExistingTable, alias: &str) -> String {
    let moving = found.columns.iter().filter(|column| column.definition.contains(" ON UPDATE "));
    moving.map(|column| format!(", {alias}`{0}` = {alias}`{0}`", column.name)).collect()
}

/// Builds an UPDATE of the rows of a table, under this alias, that join a row of another table. Columns with
/// ON UPDATE keep their values.
pub(super) fn update(
    (found, alias): (&ExistingTable, &str),
    (other, on): (&str, &str),
    set: &[(&str, String)],
    which: &str,
    d: &Dialect,
) -> String {
    let table = &found.table;
    let prefix = if d.is_mysql() { format!("{alias}.") } else { String::new() };
    let values: Vec<_> = set.iter().map(|(column, value)| format!("{prefix}{column} = {value}")).collect();
    let values = values.join(", ");
    if !d.is_mysql() {
        return format!("UPDATE {table} {alias} SET {values} FROM {other} WHERE {on} AND {which}");
    }
    let mut others = found.clone();
    others.columns.retain(|column| !set.iter().any(|(name, _)| *name == column.name));
    let keep = keep_times(&others, &prefix);
    format!("UPDATE {table} {alias} JOIN {other} ON {on} SET {values}{keep} WHERE {which}")
}

/// Returns the length of the type with which a column's definition begins: `enum('a b','c')`, `bigint(20)
/// unsigned`.
pub(super) fn type_length(definition: &str) -> usize {
    let mut quoted = false;
    let end = definition.char_indices().find(|(_, c)| {
        quoted ^= *c == '\'';
        *c == ' ' && !quoted
    });
    let end = end.map_or(definition.len(), |(at, _)| at);
    if definition[end..].starts_with(" unsigned") { end + " unsigned".len() } else { end }
}

fn without_collation(rest: &str) -> String {
    let mut words = rest.split(' ').peekable();
    let mut kept = Vec::new();
    while let Some(word) = words.next() {
        match word {
            "CHARACTER" => drop((words.next(), words.next())),
            "COLLATE" => drop(words.next()),
            _ => kept.push(word),
        }
    }
    kept.join(" ")
}

/// Returns how many characters a `varchar(n)`, `char(n)` or `character varying(n)` holds.
pub(super) fn width(definition: &str) -> Option<u32> {
    let kind = definition.split('(').next()?;
    let digits = definition.split_once('(')?.1.split_once(')')?.0;
    ["varchar", "char", "character varying", "character"]
        .contains(&kind)
        .then(|| digits.parse().ok())
        .flatten()
}
