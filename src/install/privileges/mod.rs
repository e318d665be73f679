//! The least rights with which hostmatch can be run, migrated and looked around with, as the
//! statements that an administrator runs, and which of them the connected user lacks.
//! `tests/it/install/privileges/mod.rs` runs the program with just these, and takes each of them away.

mod statements;

use migration::Granted;
use migration::gateway::Columns;
use migration::names::{JOURNAL, TABLES, quoted};
use sea_orm::{ConnectionTrait as _, DbBackend, Statement};
use serde::Serialize;

use self::statements::Statements;
use super::{KNOWN, all, first};
use crate::config::{DatabaseConfig, Mode};
use crate::store::{Database, StoreError};

/// What somebody is to do with the gateway's database.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, strum::EnumString, strum::IntoStaticStr, strum::VariantArray,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub(crate) enum Role {
    /// `hostmatch gateway inspect`, before and after migrating.
    Inspect,
    /// `hostmatch migrate up` and `down`.
    Migrate,
    /// `hostmatch serve` and the commands that look into the database.
    Run,
    /// The same with `worker.mode = "observe"`, and without the commands that decide something.
    Observe,
}

/// Whose rights are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    /// The user that gets them; none: `hostmatch`, `hostmatch_migrate`, …
    pub(crate) user: Option<String>,
    /// MySQL: from where it connects; `%` is anywhere.
    pub(crate) host: String,
    /// For what; none: one after the other what every installation needs.
    pub(crate) role: Option<Role>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Grants {
    pub(crate) role: Role,
    /// To be run by an administrator, in this order.
    pub(crate) statements: Vec<String>,
    /// What else there is to know.
    pub(crate) notes: Vec<&'static str>,
}

/// A privilege on a table, or on these columns of it.
type Right = (&'static str, Vec<&'static str>);

struct Place {
    backend: DbBackend,
    database: String,
    /// PostgreSQL's schema; none where it is not known: the statements name none then.
    schema: Option<String>,
    /// PostgreSQL: who owns `appointments`.
    owner: Option<String>,
    /// PostgreSQL: sequences of ours that are no identity columns, in a schema that was adopted.
    sequences: Vec<String>,
    /// Something was adopted, or a migration was interrupted.
    has_journal: bool,
    /// None: those of the baseline.
    columns: Option<Columns>,
}

/// The statements for this database, as its tables are here.
pub(crate) async fn grants(config: &DatabaseConfig, account: &Account) -> Result<Vec<Grants>, StoreError> {
    let database = Database::connect_to_look(config).await?;
    let place = database.with_deadline(Place::read(&database)).await;
    database.close().await;
    Ok(place?.all(account))
}

/// The statements for a gateway as [`migration::baseline()`] makes it, in a database of this name.
pub(crate) fn grants_for(backend: DbBackend, database: &str, account: &Account) -> Vec<Grants> {
    Place { database: database.to_owned(), ..Place::new(backend, None) }.all(account)
}

/// What the connected user lacks to decide in this mode, a line each; empty if nothing. SQLite has no users.
pub(crate) async fn missing_rights(database: &Database, mode: Mode) -> Result<Vec<String>, StoreError> {
    let connection = database.connection();
    let granted = match database.backend() {
        DbBackend::MySql => Some(Granted::read(connection).await?),
        DbBackend::Postgres => None,
        _ => return Ok(Vec::new()),
    };
    let place = Place::read(database).await?;
    let mut statements = Statements::at(&place, String::new(), "");
    statements.run(mode == Mode::Observe);
    let mut missing = Vec::new();
    for ((privilege, columns), table) in &statements.rights {
        // The empty name is the whole table.
        for column in if columns.is_empty() { &[""] } else { &columns[..] } {
            let may = match &granted {
                Some(granted) if column.is_empty() => granted.whole(privilege, table),
                Some(granted) => granted.column(privilege, table, column),
                None => {
                    let values = [table.as_str().into(), (*column).into(), (*privilege).into()];
                    let query = Statement::from_sql_and_values(DbBackend::Postgres, MAY, values);
                    let row = connection.query_one_raw(query).await?;
                    row.map_or(Ok(true), |row| row.try_get_by_index::<bool>(0))?
                }
            };
            if !may {
                let column = if column.is_empty() { String::new() } else { format!(" ({column})") };
                missing.push(format!("{privilege}{column} on {table}"));
            }
        }
    }
    Ok(missing)
}

/// What is not there at all is told as a missing migration.
const MAY: &str = "SELECT COALESCE((SELECT has_schema_privilege(c.relnamespace, 'USAGE') AND \
     CASE WHEN $2 = '' THEN has_table_privilege(c.oid, $3) ELSE has_column_privilege(c.oid, a.attnum, $3) END \
     FROM pg_class c LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = $2 AND NOT a.attisdropped \
     WHERE c.oid = to_regclass($1)), true) AS may";

impl Role {
    /// Those that every installation has, in the order in which they are needed.
    const USUAL: [Self; 3] = [Self::Inspect, Self::Migrate, Self::Run];

    fn usual_user(self) -> &'static str {
        match self {
            Self::Inspect => "hostmatch_inspect",
            Self::Migrate => "hostmatch_migrate",
            Self::Run => "hostmatch",
            Self::Observe => "hostmatch_observe",
        }
    }
}

impl Place {
    fn new(backend: DbBackend, columns: Option<Columns>) -> Self {
        let (database, sequences) = (String::new(), Vec::new());
        Self { backend, database, schema: None, owner: None, sequences, has_journal: false, columns }
    }

    async fn read(database: &Database) -> Result<Self, StoreError> {
        let columns = Columns::read(database.connection()).await?;
        let mut place = Self::new(database.backend(), Some(columns));
        let here = match place.backend {
            DbBackend::MySql => format!(
                "SELECT CAST(DATABASE() AS CHAR), NULL, NULL, EXISTS (SELECT 1 FROM information_schema.tables \
                 WHERE table_schema = DATABASE() AND table_name = '{JOURNAL}')"
            ),
            DbBackend::Postgres => format!(
                "SELECT current_database()::text, current_schema()::text, \
                 (SELECT pg_get_userbyid(c.relowner)::text FROM pg_class c \
                 WHERE c.oid = to_regclass('appointments')), to_regclass('{JOURNAL}') IS NOT NULL"
            ),
            _ => return Ok(place),
        };
        if let Some(row) = first(database, here).await? {
            (place.database, place.schema) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
            (place.owner, place.has_journal) = (row.try_get_by_index(2)?, row.try_get_by_index(3)?);
        }
        if place.backend == DbBackend::Postgres {
            let sql = format!(
                "SELECT s.relname::text AS name FROM pg_class s JOIN pg_depend d ON d.objid = s.oid \
                 AND d.deptype = 'a' JOIN pg_class t ON t.oid = d.refobjid \
                 WHERE s.relkind = 'S' AND pg_table_is_visible(t.oid) AND t.relname IN ({})",
                quoted(TABLES)
            );
            for row in all(database, sql).await? {
                place.sequences.push(row.try_get_by_index(0)?);
            }
        }
        Ok(place)
    }

    fn all(&self, account: &Account) -> Vec<Grants> {
        let roles = account.role.as_ref().map_or(&Role::USUAL[..], std::slice::from_ref);
        roles.iter().map(|role| self.grants(account, *role)).collect()
    }

    fn grants(&self, account: &Account, role: Role) -> Grants {
        if self.backend == DbBackend::Sqlite {
            let note = match role {
                Role::Inspect => {
                    "SQLite has no users: whoever may read the file and write to its directory may look"
                }
                _ => {
                    "SQLite has no users: whoever runs hostmatch needs to read and write the file and its directory"
                }
            };
            return Grants { role, statements: Vec::new(), notes: vec![note] };
        }
        let user = account.user.clone().unwrap_or_else(|| role.usual_user().to_owned());
        let mut statements = Statements::at(self, user, &account.host);
        match role {
            Role::Inspect => statements.inspect(),
            Role::Migrate => statements.migrate(),
            Role::Run => statements.run(false),
            Role::Observe => statements.run(true),
        }
        let mut notes = statements.notes;
        if self.columns.is_none() {
            notes.push(
                "for a gateway as `hostmatch migrate baseline` makes it; for the columns of yours, let \
                 database.url lead to it and leave out --for",
            );
        }
        Grants { role, statements: statements.all, notes }
    }

    fn has_table(&self, table: &str) -> bool {
        self.columns.as_ref().is_none_or(|columns| columns.has_table(table))
    }

    /// The columns of this table that are there and read when deciding, or also when looking around.
    fn read_columns(&self, table: &str, looks_around: bool) -> Vec<&'static str> {
        let here = KNOWN.iter().filter_map(|(of, name, _, decides, in_baseline)| {
            let is_there = self.columns.as_ref().map_or(*in_baseline, |columns| columns.has(table, name));
            (*of == table && (*decides || looks_around) && is_there).then_some(*name)
        });
        here.collect()
    }

    fn is_mysql(&self) -> bool {
        self.backend == DbBackend::MySql
    }

    fn quoted(&self, name: &str) -> String {
        let quote = if self.is_mysql() { "`" } else { "\"" };
        format!("{quote}{}{quote}", name.replace(quote, &quote.repeat(2)))
    }

    fn table(&self, name: &str) -> String {
        let schema = if self.is_mysql() { Some(&self.database) } else { self.schema.as_ref() };
        let schema = schema.map(|schema| self.quoted(schema) + ".").unwrap_or_default();
        schema + &self.quoted(name)
    }
}
