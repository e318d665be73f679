//! Creates the statements that grant the least privileges for running, migrating and inspecting, and finds
//! the privileges that the connected user lacks. `tests/it/install/privileges/mod.rs` runs the program with
//! exactly these privileges, and revokes each of them in turn.

mod statements;

use migration::Granted;
use migration::gateway::Columns;
use migration::names::{JOURNAL, TABLES, quoted};
use sea_orm::{ConnectionTrait as _, DbBackend, Statement};
use serde::Serialize;

use self::statements::Statements;
use super::{GATEWAY_COLUMNS, query_all, query_first};
use crate::config::{DatabaseConfig, Mode};
use crate::store::{Database, StoreError};

/// The purpose for which a user accesses the gateway's database.
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
    /// `hostmatch serve` and the commands that read the database.
    Run,
    /// Like `Run`, but with `worker.mode = "observe"`, and without the commands by which operators decide.
    Observe,
}

/// The account for which GRANT statements are requested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    /// The user that gets the privileges; `None` means `hostmatch`, `hostmatch_migrate`, …
    pub(crate) user: Option<String>,
    /// MySQL: the host from which it connects; `%` means any.
    pub(crate) host: String,
    /// The role; `None` means all roles that every installation needs.
    pub(crate) role: Option<Role>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Grants {
    pub(crate) role: Role,
    /// The statements that an administrator runs, in this order.
    pub(crate) statements: Vec<String>,
    /// Notes for the administrator.
    pub(crate) notes: Vec<&'static str>,
}

/// A privilege on these columns of a table; no columns means the whole table.
type Privilege = (&'static str, Vec<&'static str>);

struct DatabaseFacts {
    backend: DbBackend,
    database: String,
    /// PostgreSQL: the schema; `None` if it is unknown, and the statements contain no schema.
    schema: Option<String>,
    /// PostgreSQL: the owner of `appointments`.
    owner: Option<String>,
    /// PostgreSQL: our sequences that do not belong to identity columns, in an adopted schema.
    sequences: Vec<String>,
    /// Whether tables were adopted, or a migration was interrupted.
    has_journal: bool,
    /// `None` means the columns of the baseline.
    columns: Option<Columns>,
}

/// Returns the statements for this database with its current tables.
pub(crate) async fn grants(config: &DatabaseConfig, account: &Account) -> Result<Vec<Grants>, StoreError> {
    let database = Database::connect_read_only(config).await?;
    let facts = database.with_deadline(DatabaseFacts::read(&database)).await;
    database.close().await;
    Ok(facts?.all_grants(account))
}

/// Returns the statements for the gateway of [`migration::baseline()`], in a database of this name.
pub(crate) fn grants_for(backend: DbBackend, database: &str, account: &Account) -> Vec<Grants> {
    DatabaseFacts { database: database.to_owned(), ..DatabaseFacts::new(backend, None) }.all_grants(account)
}

/// Returns the privileges that the connected user lacks for a worker in this mode, one string each. SQLite has
/// no users.
pub(crate) async fn missing_privileges(database: &Database, mode: Mode) -> Result<Vec<String>, StoreError> {
    let connection = database.connection();
    let granted = match database.backend() {
        DbBackend::MySql => Some(Granted::read(connection).await?),
        DbBackend::Postgres => None,
        _ => return Ok(Vec::new()),
    };
    let facts = DatabaseFacts::read(database).await?;
    let mut statements = Statements::new(&facts, String::new(), "");
    statements.add_run(mode == Mode::Observe);
    let mut missing = Vec::new();
    for ((privilege, columns), table) in &statements.privileges {
        // The empty name means the whole table.
        for column in if columns.is_empty() { &[""] } else { &columns[..] } {
            let is_granted = match &granted {
                Some(granted) if column.is_empty() => granted.whole(privilege, table),
                Some(granted) => granted.column(privilege, table, column),
                None => {
                    let values = [table.as_str().into(), (*column).into(), (*privilege).into()];
                    let query = Statement::from_sql_and_values(DbBackend::Postgres, HAS_PRIVILEGE, values);
                    let row = connection.query_one_raw(query).await?;
                    row.map_or(Ok(true), |row| row.try_get_by_index::<bool>(0))?
                }
            };
            if !is_granted {
                let column = if column.is_empty() { String::new() } else { format!(" ({column})") };
                missing.push(format!("{privilege}{column} on {table}"));
            }
        }
    }
    Ok(missing)
}

/// Reads whether a privilege is granted; true for a missing table, which is reported as a missing migration.
const HAS_PRIVILEGE: &str = "SELECT COALESCE((SELECT has_schema_privilege(c.relnamespace, 'USAGE') AND \
     CASE WHEN $2 = '' THEN has_table_privilege(c.oid, $3) ELSE has_column_privilege(c.oid, a.attnum, $3) END \
     FROM pg_class c LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = $2 AND NOT a.attisdropped \
     WHERE c.oid = to_regclass($1)), true) AS may";

impl Role {
    /// The roles of every installation, in the order in which they are needed.
    const USUAL: [Self; 3] = [Self::Inspect, Self::Migrate, Self::Run];

    fn default_user(self) -> &'static str {
        match self {
            Self::Inspect => "hostmatch_inspect",
            Self::Migrate => "hostmatch_migrate",
            Self::Run => "hostmatch",
            Self::Observe => "hostmatch_observe",
        }
    }
}

impl DatabaseFacts {
    fn new(backend: DbBackend, columns: Option<Columns>) -> Self {
        let (database, sequences) = (String::new(), Vec::new());
        Self { backend, database, schema: None, owner: None, sequences, has_journal: false, columns }
    }

    async fn read(database: &Database) -> Result<Self, StoreError> {
        let columns = Columns::read(database.connection()).await?;
        let mut facts = Self::new(database.backend(), Some(columns));
        let query = match facts.backend {
            DbBackend::MySql => format!(
                "SELECT CAST(DATABASE() AS CHAR), NULL, NULL, EXISTS (SELECT 1 FROM information_schema.tables \
                 WHERE table_schema = DATABASE() AND table_name = '{JOURNAL}')"
            ),
            DbBackend::Postgres => format!(
                "SELECT current_database()::text, current_schema()::text, \
                 (SELECT pg_get_userbyid(c.relowner)::text FROM pg_class c \
                 WHERE c.oid = to_regclass('appointments')), to_regclass('{JOURNAL}') IS NOT NULL"
            ),
            _ => return Ok(facts),
        };
        if let Some(row) = query_first(database, query).await? {
            (facts.database, facts.schema) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
            (facts.owner, facts.has_journal) = (row.try_get_by_index(2)?, row.try_get_by_index(3)?);
        }
        if facts.backend == DbBackend::Postgres {
            let sql = format!(
                "SELECT s.relname::text AS name FROM pg_class s JOIN pg_depend d ON d.objid = s.oid \
                 AND d.deptype = 'a' JOIN pg_class t ON t.oid = d.refobjid \
                 WHERE s.relkind = 'S' AND pg_table_is_visible(t.oid) AND t.relname IN ({})",
                quoted(TABLES)
            );
            for row in query_all(database, sql).await? {
                facts.sequences.push(row.try_get_by_index(0)?);
            }
        }
        Ok(facts)
    }

    fn all_grants(&self, account: &Account) -> Vec<Grants> {
        let roles = account.role.as_ref().map_or(&Role::USUAL[..], std::slice::from_ref);
        roles.iter().map(|role| self.grants(account, *role)).collect()
    }

    fn grants(&self, account: &Account, role: Role) -> Grants {
        if self.backend == DbBackend::Sqlite {
            let note = match role {
                Role::Inspect => {
                    "SQLite has no users: an inspection needs to read the file and to write to its directory"
                }
                _ => "SQLite has no users: hostmatch needs to read and write the file and its directory",
            };
            return Grants { role, statements: Vec::new(), notes: vec![note] };
        }
        let user = account.user.clone().unwrap_or_else(|| role.default_user().to_owned());
        let mut statements = Statements::new(self, user, &account.host);
        match role {
            Role::Inspect => statements.add_inspect(),
            Role::Migrate => statements.add_migrate(),
            Role::Run => statements.add_run(false),
            Role::Observe => statements.add_run(true),
        }
        let mut notes = statements.notes;
        if self.columns.is_none() {
            notes.push(
                "these statements are for the tables that `hostmatch migrate baseline` creates; for your gateway's own \
                 columns, set database.url to its database and omit --for",
            );
        }
        Grants { role, statements: statements.all, notes }
    }

    fn has_table(&self, table: &str) -> bool {
        self.columns.as_ref().is_none_or(|columns| columns.has_table(table))
    }

    /// Returns the existing columns of this table that a worker reads and, with `inspects`, those that an
    /// inspection reads.
    fn read_columns(&self, table: &str, inspects: bool) -> Vec<&'static str> {
        let existing = GATEWAY_COLUMNS.iter().filter_map(|(of, name, _, decides, in_baseline)| {
            let exists = self.columns.as_ref().map_or(*in_baseline, |columns| columns.has(table, name));
            (*of == table && (*decides || inspects) && exists).then_some(*name)
        });
        existing.collect()
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
