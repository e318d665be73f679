//! Reads one of our tables that the gateway created, as the engine itself describes it, so that adoption can
//! restore it exactly.

use sea_orm_migration::sea_orm::{self, ConnectionTrait, DbBackend, DbErr, FromQueryResult};

use crate::catalog::rows;
use crate::dialect::Dialect;
use crate::migration::Op;
use crate::names::ADOPTED;

/// A table, with its parts as written in DDL.
#[derive(Clone, Debug, Default)]
pub(crate) struct ExistingTable {
    pub(crate) table: String,
    pub(crate) columns: Vec<ExistingColumn>,
    pub(crate) indexes: Vec<ExistingIndex>,
    pub(crate) foreign_keys: Vec<ExistingConstraint>,
    /// PostgreSQL's checks, which Laravel uses for enumerations there.
    pub(crate) checks: Vec<ExistingConstraint>,
    /// The names of MySQL's checks, except those of JSON columns.
    pub(crate) stray_checks: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, FromQueryResult)]
pub(crate) struct ExistingColumn {
    pub(crate) name: String,
    /// What follows the name in DDL; on PostgreSQL only the type.
    pub(crate) definition: String,
    pub(crate) nullable: bool,
    /// Whether an INSERT may leave it out: it is nullable, has a default, counts up automatically, or is
    /// computed.
    #[sea_orm(from_alias = "counts")]
    pub(crate) fills_itself: bool,
    /// PostgreSQL's default.
    #[sea_orm(from_alias = "fallback")]
    pub(crate) default: Option<String>,
    /// ENUM, or an enumerated type of PostgreSQL.
    pub(crate) is_enum: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ExistingIndex {
    pub(crate) name: String,
    pub(crate) unique: bool,
    pub(crate) columns: Vec<String>,
    /// The condition of a partial index.
    pub(crate) condition: Option<String>,
}

/// A foreign key or a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ExistingConstraint {
    pub(crate) name: String,
    pub(crate) columns: Vec<String>,
    /// What follows the name in DDL: `FOREIGN KEY … REFERENCES …`, `CHECK (…)`.
    pub(crate) definition: String,
}

impl ExistingTable {
    /// Reads an existing table. On SQLite nothing is adopted, so nothing is read.
    pub(crate) async fn read<C: ConnectionTrait>(connection: &C, table: &str) -> Result<Self, DbErr> {
        match connection.get_database_backend() {
            DbBackend::MySql => {
                let rows = rows(connection, format!("SHOW CREATE TABLE {table}")).await?;
                let text: String = rows.first().map_or(Ok(String::new()), |row| row.try_get_by_index(1))?;
                Ok(Self::parse(table, &text))
            }
            DbBackend::Postgres => Self::read_postgres(connection, table).await,
            _ => Ok(Self { table: table.to_owned(), ..Self::default() }),
        }
    }

    pub(crate) fn column(&self, name: &str) -> Option<&ExistingColumn> {
        self.columns.iter().find(|column| column.name == name)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.column(name).is_some()
    }

    /// Returns whether an index begins with these columns: then another one would be useless. (On MySQL it
    /// could even replace an index that the server created for a foreign key, and that index would then be
    /// missing after `down`.)
    pub(crate) fn has_index(&self, columns: &[&str]) -> bool {
        self.indexes.iter().any(|index| {
            index.condition.is_none()
                && index.columns.len() >= columns.len()
                && index.columns.iter().zip(columns).all(|(a, b)| a == b)
        })
    }

    /// Returns whether the database keeps these columns unique.
    pub(crate) fn has_unique(&self, columns: &[&str]) -> bool {
        self.indexes.iter().any(|index| {
            index.unique
                && index.condition.is_none()
                && index.columns.len() == columns.len()
                && index.columns.iter().all(|column| columns.contains(&column.as_str()))
        })
    }

    pub(crate) fn foreign_keys_of<'a>(
        &'a self,
        column: &'a str,
    ) -> impl Iterator<Item = &'a ExistingConstraint> {
        self.foreign_keys.iter().filter(move |key| key.columns == [column])
    }

    /// Keeps a copy of the rows until `down`: their ids, and those of these columns that exist. The copy
    /// shows which rows existed before, and what this program may have changed in them since.
    pub(crate) fn keep(&self, d: &Dialect, columns: &[&str]) -> Op {
        let (table, copy) = (&self.table, copy_of(&self.table));
        let kept = std::iter::once("id").chain(columns.iter().copied().filter(|column| self.has(column)));
        let kept = kept.collect::<Vec<_>>().join(", ");
        let key = if d.is_mysql() { " (PRIMARY KEY (id)) ENGINE=InnoDB" } else { "" };
        Op::table(d.backend, &copy, format!("CREATE TABLE {copy}{key} AS SELECT {kept} FROM {table}"))
    }

    /// Parses MySQL's SHOW CREATE TABLE, which has one part per line.
    pub(crate) fn parse(table: &str, text: &str) -> Self {
        let mut found = Self { table: table.to_owned(), ..Self::default() };
        for line in text.lines().skip(1) {
            let Some(line) = line.strip_prefix("  ") else { continue };
            let line = line.strip_suffix(',').unwrap_or(line);
            let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
            match first {
                "PRIMARY" => found.indexes.push(index("PRIMARY", true, rest)),
                "UNIQUE" | "KEY" => {
                    let rest = rest.strip_prefix("KEY ").unwrap_or(rest);
                    let (name, columns) = rest.split_once(' ').unwrap_or((rest, ""));
                    found.indexes.push(index(name.trim_matches('`'), first == "UNIQUE", columns));
                }
                "CONSTRAINT" => {
                    let Some((name, definition)) = rest.split_once(' ') else { continue };
                    if definition.starts_with("CHECK ") && !definition.contains("json_valid(") {
                        found.stray_checks.push(name.trim_matches('`').to_owned());
                    }
                    if let Some(columns) = definition.strip_prefix("FOREIGN KEY ") {
                        found.foreign_keys.push(ExistingConstraint {
                            name: name.trim_matches('`').to_owned(),
                            columns: names(columns),
                            definition: definition.to_owned(),
                        });
                    }
                }
                name if name.starts_with('`') => {
                    let name = name.trim_matches('`').to_owned();
                    if rest.contains(" CHECK (") && !rest.contains("json_valid(") {
                        found.stray_checks.push(format!("the check of the column {name}"));
                    }
                    let nullable = !rest.contains(" NOT NULL");
                    let fillers = [" DEFAULT ", " AUTO_INCREMENT", " GENERATED ", " AS ("];
                    found.columns.push(ExistingColumn {
                        name,
                        definition: rest.to_owned(),
                        nullable,
                        fills_itself: nullable || fillers.iter().any(|word| rest.contains(word)),
                        default: None,
                        is_enum: rest.starts_with("enum("),
                    });
                }
                _ => {}
            }
        }
        found
    }

    async fn read_postgres<C: ConnectionTrait>(connection: &C, table: &str) -> Result<Self, DbErr> {
        let mut found = Self { table: table.to_owned(), ..Self::default() };
        let rows = |sql: &str| rows(connection, sql.replace("{table}", table));
        for row in rows(POSTGRES_COLUMNS).await? {
            let mut column = ExistingColumn::from_query_result(&row, "")?;
            column.fills_itself |= column.nullable || column.default.is_some();
            found.columns.push(column);
        }
        let list = |text: String| text.split(',').map(str::to_owned).collect::<Vec<_>>();
        for row in rows(POSTGRES_INDEXES).await? {
            found.indexes.push(ExistingIndex {
                name: row.try_get("", "name")?,
                unique: row.try_get("", "is_unique")?,
                columns: list(row.try_get("", "cols")?),
                condition: row.try_get("", "condition")?,
            });
        }
        for row in rows(POSTGRES_CONSTRAINTS).await? {
            let (name, definition): (String, String) =
                (row.try_get("", "name")?, row.try_get("", "definition")?);
            let columns = list(row.try_get::<Option<String>>("", "cols")?.unwrap_or_default());
            let is_key = row.try_get::<String>("", "kind")? == "f";
            let list = if is_key { &mut found.foreign_keys } else { &mut found.checks };
            list.push(ExistingConstraint { name, columns, definition });
        }
        Ok(found)
    }
}

/// Returns the name of the table that keeps the rows of an adopted table.
pub(crate) fn copy_of(table: &str) -> String {
    format!("{ADOPTED}{table}")
}

fn index(name: &str, unique: bool, columns: &str) -> ExistingIndex {
    ExistingIndex { name: name.to_owned(), unique, columns: names(columns), condition: None }
}

/// Returns the names in `` (`a`,`b`(20)) ``, up to the end of the list.
fn names(list: &str) -> Vec<String> {
    let end = list.find(") ").map_or(list, |end| &list[..end]);
    end.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

const POSTGRES_COLUMNS: &str = "SELECT a.attname::text AS name, \
     format_type(a.atttypid, a.atttypmod) || COALESCE(' COLLATE \"' || o.collname || '\"', '') AS definition, \
     NOT a.attnotnull AS nullable, pg_get_expr(d.adbin, d.adrelid) AS fallback, \
     (a.attidentity <> '' OR a.attgenerated <> '') AS counts, t.typtype = 'e' AS is_enum \
     FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid \
     LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
     LEFT JOIN pg_collation o ON o.oid = a.attcollation AND o.collname <> 'default' \
     WHERE a.attrelid = '{table}'::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";

const POSTGRES_INDEXES: &str = "SELECT c.relname::text AS name, i.indisunique AS is_unique, \
     pg_get_expr(i.indpred, i.indrelid) AS condition, \
     (SELECT string_agg(COALESCE(a.attname::text, ''), ',' ORDER BY k.place) \
      FROM unnest(i.indkey::int[]) WITH ORDINALITY AS k (col, place) \
      LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.col) AS cols \
     FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid \
     WHERE i.indrelid = '{table}'::regclass AND i.indisvalid ORDER BY 1";

const POSTGRES_CONSTRAINTS: &str = "SELECT conname::text AS name, contype::text AS kind, \
     pg_get_constraintdef(oid) AS definition, \
     (SELECT string_agg(a.attname::text, ',' ORDER BY k.place) \
      FROM unnest(conkey) WITH ORDINALITY AS k (col, place) \
      JOIN pg_attribute a ON a.attrelid = conrelid AND a.attnum = k.col) AS cols \
     FROM pg_constraint WHERE conrelid = '{table}'::regclass AND contype IN ('f', 'c') ORDER BY 1";
