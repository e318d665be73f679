//! Reads the columns of the gateway's tables and of ours as plain data, and reports what makes them unusable.

use sea_orm_migration::sea_orm::{self, ConnectionTrait, DbBackend, DbErr, FromQueryResult};
use serde::Serialize;

use crate::catalog::{number, rows};
use crate::dialect::by_engine;
use crate::names::{TABLES, quoted};

/// The gateway's tables that we read or reference.
pub const GATEWAY_TABLES: [&str; 7] =
    ["companies", "branches", "services", "staff", "users", "appointments", "calls"];

/// Tables of the gateway that the baseline does not create, and that are read if they exist.
const MORE_TABLES: [&str; 1] = ["customers"];

/// A column as the database describes it.
#[derive(Clone, Debug, PartialEq, Eq, FromQueryResult, Serialize)]
pub struct Column {
    /// Its table.
    #[serde(skip)]
    #[sea_orm(from_alias = "tab")]
    pub table: String,
    /// Its name.
    pub name: String,
    /// The base type under the engine's name, in lower case: `bigint`, `char`; PostgreSQL `int8`, `uuid`.
    #[serde(skip)]
    pub data_type: String,
    /// The whole type as written in DDL: `bigint(20) unsigned`, `char(36)`, `character varying(36)`.
    #[serde(rename = "type")]
    pub full_type: String,
    /// The character set, of text columns on MySQL.
    #[serde(skip)]
    pub charset: Option<String>,
    /// The collation of text columns; on PostgreSQL only if it is not the database's default.
    pub collation: Option<String>,
    /// Whether it may be NULL.
    pub nullable: bool,
}

/// How a column can be used as a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// An integer of any width, signed or not.
    Integer,
    /// CHAR, VARCHAR, TEXT; also MariaDB's UUID, which is read and written as text.
    Text,
    /// PostgreSQL's own `uuid`.
    Uuid,
}

impl Column {
    /// Returns its kind of key; none for a type that cannot be used as one.
    pub fn key_kind(&self, backend: DbBackend) -> Option<KeyKind> {
        let kind = self.data_type.as_str();
        match backend {
            DbBackend::Sqlite if kind.contains("int") => Some(KeyKind::Integer),
            DbBackend::Sqlite => ["char", "text", "clob", "uuid", "guid"]
                .iter()
                .any(|t| kind.contains(t))
                .then_some(KeyKind::Text),
            DbBackend::Postgres if kind == "uuid" => Some(KeyKind::Uuid),
            _ => match kind {
                "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "int2" | "int4" | "int8" => {
                    Some(KeyKind::Integer)
                }
                "char" | "varchar" | "bpchar" | "text" | "uuid" => Some(KeyKind::Text),
                _ => None,
            },
        }
    }

    /// Returns whether it is an integer of any width.
    pub(crate) fn is_integer(&self, backend: DbBackend) -> bool {
        self.key_kind(backend) == Some(KeyKind::Integer)
    }

    /// Returns the type that our own column needs to reference this one. On MySQL, foreign keys on text need
    /// the same character set and collation.
    pub(crate) fn reference_type(&self) -> String {
        let mut sql = self.full_type.clone();
        match (&self.charset, &self.collation) {
            (Some(charset), Some(collation)) => {
                sql.push_str(&format!(" CHARACTER SET {charset} COLLATE {collation}"));
            }
            (None, Some(collation)) => sql.push_str(&format!(" COLLATE \"{collation}\"")),
            (_, None) => {}
        }
        sql
    }
}

/// All existing columns of the gateway's tables and of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns {
    backend: DbBackend,
    columns: Vec<Column>,
    /// How many indexes `appointments` has, the primary key included; counted on MySQL only.
    pub(crate) appointments_keys: i64,
}

impl Columns {
    /// Reads the columns of the connected database (on PostgreSQL: of its search path).
    ///
    /// # Errors
    /// Returns the database's error if its catalogue cannot be read.
    pub async fn read<C: ConnectionTrait>(connection: &C) -> Result<Self, DbErr> {
        let backend = connection.get_database_backend();
        let names = quoted(GATEWAY_TABLES.iter().chain(&MORE_TABLES).chain(&TABLES));
        let sql = by_engine(backend, [MYSQL, POSTGRES, SQLITE]).replace("{names}", &names);
        let columns = rows(connection, sql).await?;
        let columns =
            columns.iter().map(|row| Column::from_query_result(row, "")).collect::<Result<_, _>>()?;
        let appointments_keys =
            if backend == DbBackend::MySql { number(connection, MYSQL_KEYS).await? } else { 0 };
        Ok(Self { backend, columns, appointments_keys })
    }

    /// Pretends that these columns exist.
    pub(crate) fn assumed(backend: DbBackend, columns: Vec<Column>) -> Self {
        Self { backend, columns, appointments_keys: 0 }
    }

    /// Returns the engine.
    pub fn backend(&self) -> DbBackend {
        self.backend
    }

    /// Returns whether the table exists.
    pub fn has_table(&self, table: &str) -> bool {
        self.columns.iter().any(|column| column.table == table)
    }

    /// Returns the column, if it exists.
    pub fn get(&self, table: &str, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.table == table && column.name == name)
    }

    /// Returns the columns of a table, in its order; none if the table does not exist.
    pub fn in_table<'a>(&'a self, table: &'a str) -> impl Iterator<Item = &'a Column> {
        self.columns.iter().filter(move |column| column.table == table)
    }

    /// Returns whether the column exists.
    pub fn has(&self, table: &str, name: &str) -> bool {
        self.get(table, name).is_some()
    }

    /// Returns one line for each table, column or type that we need and that the gateway does not have.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for (table, columns) in REQUIRED {
            if !self.has_table(table) {
                problems.push(format!("there is no table {table}"));
                continue;
            }
            let missing = columns.iter().filter(|column| !self.has(table, column));
            problems.extend(missing.map(|column| format!("there is no column {table}.{column}")));
        }
        if self.has_table("staff")
            && !self.has("staff", "name")
            && !(self.has("staff", "first_name") && self.has("staff", "last_name"))
        {
            problems.push("there is neither staff.name nor staff.first_name with staff.last_name".into());
        }
        for (table, name, integer_only) in KEYS {
            let Some(column) = self.get(table, name) else { continue };
            let kind = column.key_kind(self.backend);
            if kind.is_none() || (integer_only && kind != Some(KeyKind::Integer)) {
                let wanted = if integer_only { "an integer" } else { "an integer, a string or a UUID" };
                problems.push(format!("{table}.{name} is {} and must be {wanted}", column.full_type));
            }
        }
        problems
    }
}

const REQUIRED: [(&str, &[&str]); 3] = [
    ("companies", &["id"]),
    ("staff", &["id", "company_id"]),
    ("appointments", &["id", "company_id", "staff_id", "calcom_v2_booking_id"]),
];

/// Key columns, and whether each must be an integer.
const KEYS: [(&str, &str, bool); 3] =
    [("companies", "id", true), ("appointments", "id", true), ("staff", "id", false)];

// MySQL 8 returns some of these columns as binary: CAST makes them text on every version.
const MYSQL: &str = "SELECT CAST(table_name AS CHAR) AS tab, CAST(column_name AS CHAR) AS name, \
     CAST(data_type AS CHAR) AS data_type, CAST(column_type AS CHAR) AS full_type, \
     CAST(character_set_name AS CHAR) AS charset, CAST(collation_name AS CHAR) AS collation, \
     CAST(is_nullable = 'YES' AS SIGNED) AS nullable \
     FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name IN ({names}) \
     ORDER BY table_name, ordinal_position";

const MYSQL_KEYS: &str = "SELECT COUNT(DISTINCT index_name) FROM information_schema.statistics \
     WHERE table_schema = DATABASE() AND table_name = 'appointments'";

const POSTGRES: &str = "SELECT c.relname::text AS tab, a.attname::text AS name, t.typname::text AS data_type, \
     format_type(a.atttypid, a.atttypmod) AS full_type, NULL::text AS charset, o.collname::text AS collation, \
     NOT a.attnotnull AS nullable \
     FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_type t ON t.oid = a.atttypid \
     LEFT JOIN pg_collation o ON o.oid = a.attcollation AND o.collname <> 'default' \
     WHERE pg_table_is_visible(c.oid) AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped \
     AND c.relname IN ({names}) ORDER BY c.relname, a.attnum";

const SQLITE: &str = "SELECT m.name AS tab, p.name AS name, lower(p.type) AS data_type, p.type AS full_type, \
     NULL AS charset, NULL AS collation, p.\"notnull\" = 0 AS nullable \
     FROM sqlite_master m JOIN pragma_table_xinfo(m.name) p \
     WHERE m.type = 'table' AND m.name IN ({names}) ORDER BY m.name, p.cid";
