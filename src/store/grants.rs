//! The least rights with which hostmatch can be run, migrated and looked around with, as the
//! statements that an administrator runs. `tests/it/privileges.rs` runs the program with just these,
//! and takes each of them away.

use migration::gateway::Columns;
use migration::names::{self, ADOPTED, BOOKKEEPING, JOURNAL, TABLES};
use sea_orm::{ConnectionTrait as _, DbBackend, FromQueryResult, Statement};
use serde::Serialize;

use super::{Database, Role, StoreError};

/// The user that gets the rights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its name.
    pub user: String,
    /// MySQL: from where it connects; `%` is anywhere.
    pub host: String,
}

/// The statements for one role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Grants {
    /// Which.
    pub role: Role,
    /// To be run by an administrator, in this order.
    pub statements: Vec<String>,
    /// What else there is to know.
    pub notes: Vec<String>,
}

/// Where the rights are granted.
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
    columns: Option<Columns>,
}

/// The statements for this database, as its tables are here.
///
/// # Errors
/// [`StoreError`]
pub async fn grants(database: &Database, account: &Account, role: Role) -> Result<Grants, StoreError> {
    Ok(place(database).await?.grants(account, role))
}

/// What deciding needs, table by table: privileges as they stand in a GRANT, and the table.
///
/// # Errors
/// [`StoreError`]
pub(super) async fn needed(database: &Database, observes: bool) -> Result<Vec<(String, String)>, StoreError> {
    let place = place(database).await?;
    let account = Account { user: String::new(), host: String::new() };
    let mut statements =
        Statements { place: &place, account: &account, all: Vec::new(), on_tables: Vec::new() };
    let _for_people = statements.run(observes);
    Ok(statements.on_tables)
}

async fn place(database: &Database) -> Result<Place, StoreError> {
    let backend = database.backend();
    let mut place = Place {
        backend,
        database: String::new(),
        schema: None,
        owner: None,
        sequences: Vec::new(),
        has_journal: false,
        columns: Some(Columns::read(database.connection()).await?),
    };
    let ask =
        async |sql: &str| database.connection().query_all_raw(Statement::from_string(backend, sql)).await;
    match backend {
        DbBackend::MySql => {
            let sql = format!(
                "SELECT CAST(DATABASE() AS CHAR) AS name, (SELECT COUNT(*) FROM information_schema.tables \
                 WHERE table_schema = DATABASE() AND table_name = '{JOURNAL}') AS journals"
            );
            if let Some(row) = ask(&sql).await?.first() {
                place.database = row.try_get_by_index(0)?;
                place.has_journal = row.try_get_by_index::<i64>(1)? > 0;
            }
        }
        DbBackend::Postgres => {
            let sql = format!(
                "SELECT current_database()::text AS name, current_schema()::text AS schema, \
                 (SELECT pg_get_userbyid(c.relowner)::text FROM pg_class c \
                 WHERE c.oid = to_regclass('appointments')) AS owner, \
                 to_regclass('{JOURNAL}') IS NOT NULL AS has_journal"
            );
            if let Some(row) = ask(&sql).await?.first() {
                let here = PostgresPlace::from_query_result(row, "")?;
                (place.database, place.has_journal) = (here.name, here.has_journal);
                (place.schema, place.owner) = (here.schema, here.owner);
            }
            let tables = TABLES.map(|table| format!("'{table}'")).join(", ");
            let sql = format!(
                "SELECT s.relname::text AS name FROM pg_class s JOIN pg_depend d ON d.objid = s.oid \
                 AND d.deptype = 'a' JOIN pg_class t ON t.oid = d.refobjid \
                 WHERE s.relkind = 'S' AND pg_table_is_visible(t.oid) AND t.relname IN ({tables})"
            );
            for row in ask(&sql).await? {
                place.sequences.push(row.try_get_by_index(0)?);
            }
        }
        _ => {}
    }
    Ok(place)
}

/// Where PostgreSQL has us.
#[derive(FromQueryResult)]
struct PostgresPlace {
    name: String,
    schema: Option<String>,
    owner: Option<String>,
    has_journal: bool,
}

/// The statements for a gateway as [`migration::baseline()`] makes it, in a database of this name.
pub fn grants_for(backend: DbBackend, database: &str, account: &Account, role: Role) -> Grants {
    let (schema, owner, columns) = (None, None, None);
    let (sequences, has_journal) = (Vec::new(), false);
    Place { backend, database: database.into(), schema, owner, sequences, has_journal, columns }
        .grants(account, role)
}

/// Every column of the gateway's that is read when deciding, and whether the baseline has it.
const READ: [(&str, &str, bool); 17] = [
    ("companies", "id", true),
    ("staff", "id", true),
    ("staff", "company_id", true),
    ("staff", "name", false),
    ("staff", "first_name", true),
    ("staff", "last_name", true),
    ("staff", "email", true),
    ("staff", "is_active", true),
    ("staff", "active", false),
    ("staff", "deleted_at", false),
    ("appointments", "id", true),
    ("appointments", "company_id", true),
    ("appointments", "staff_id", true),
    ("appointments", "calcom_host_id", true),
    ("appointments", "calcom_v2_booking_id", true),
    ("appointments", "calcom_v2_booking_uid", false),
    ("appointments", "calcom_booking_id", false),
];

/// What looking around reads beside them.
const LOOKED_AT: [(&str, &str, bool); 4] = [
    ("staff", "calcom_user_id", false),
    ("appointments", "assignment_model_used", false),
    ("appointments", "updated_at", true),
    ("users", "id", true),
];

/// What deciding does with our own tables, on MySQL and on PostgreSQL. MySQL's way of ignoring a row
/// that is there already is to set a column of it to itself, for which it asks for UPDATE on every
/// column that is inserted; PostgreSQL reads the key.
const OURS: [(&str, &str, &str); 18] = [
    (names::MAPPINGS, "SELECT, INSERT, UPDATE", "SELECT, INSERT, UPDATE"),
    (names::AUDITS, "SELECT, INSERT, UPDATE", "SELECT, INSERT"),
    (names::ASSIGNMENTS, "SELECT, INSERT, UPDATE", "SELECT, INSERT, UPDATE"),
    (names::INBOX, "SELECT, INSERT, UPDATE", "SELECT, INSERT, UPDATE"),
    (names::HOST_LOCKS, "SELECT, INSERT, UPDATE", "SELECT, INSERT, UPDATE (host_id)"),
    (names::EVENTS, "SELECT, INSERT, UPDATE, DELETE", "SELECT, INSERT, UPDATE, DELETE"),
    (names::DEAD_LETTERS, "SELECT, INSERT, UPDATE, DELETE", "SELECT, INSERT, UPDATE, DELETE"),
    (names::REPLAYS, "SELECT, INSERT, UPDATE, DELETE", "SELECT, INSERT, UPDATE, DELETE"),
    (names::REPLAY_ITEMS, "SELECT, INSERT, UPDATE, DELETE", "SELECT, INSERT, UPDATE, DELETE"),
    (names::DEAD_LETTER_ACTIONS, "SELECT, INSERT, DELETE", "SELECT, INSERT, DELETE"),
    (names::DEAD_LETTER_ACTION_LETTERS, "SELECT, INSERT, DELETE", "SELECT, INSERT, DELETE"),
    (names::INBOX_ACTIONS, "SELECT, INSERT", "SELECT, INSERT"),
    (names::REPAIRS, "SELECT, INSERT, UPDATE", "SELECT, INSERT, UPDATE"),
    (names::REPAIR_ITEMS, "SELECT, INSERT, UPDATE", "SELECT, INSERT, UPDATE"),
    (names::IMPORTS, "SELECT, INSERT, UPDATE", "SELECT, INSERT, UPDATE"),
    (names::HAND_OVERS, "SELECT, INSERT, UPDATE", "SELECT, INSERT, UPDATE"),
    (names::WORKERS, "SELECT, INSERT, UPDATE, DELETE", "SELECT, INSERT, UPDATE, DELETE"),
    (BOOKKEEPING, "SELECT", "SELECT"),
];

impl Place {
    fn grants(&self, account: &Account, role: Role) -> Grants {
        if self.backend == DbBackend::Sqlite {
            let note = match role {
                Role::Inspect => {
                    "SQLite has no users: whoever may read the file and write to its directory may look"
                }
                Role::Migrate | Role::Run | Role::Observe => {
                    "SQLite has no users: whoever runs hostmatch needs to read and write the file and its directory"
                }
            };
            return Grants { role, statements: Vec::new(), notes: vec![note.into()] };
        }
        let mut statements = Statements { place: self, account, all: Vec::new(), on_tables: Vec::new() };
        let notes = match role {
            Role::Inspect => statements.inspect(),
            Role::Migrate => statements.migrate(),
            Role::Run => statements.run(false),
            Role::Observe => statements.run(true),
        };
        let statements = statements.all;
        let mut notes: Vec<String> = notes.into_iter().map(str::to_owned).collect();
        if self.columns.is_none() {
            notes.push(
                "for a gateway as `hostmatch migrate baseline` makes it; for the columns of yours, let \
                 database.url lead to it and leave out --for"
                    .into(),
            );
        }
        Grants { role, statements, notes }
    }

    fn has(&self, table: &str, column: &str, in_baseline: bool) -> bool {
        match &self.columns {
            Some(columns) => columns.has(table, column),
            None => in_baseline,
        }
    }

    fn has_table(&self, table: &str) -> bool {
        self.columns.as_ref().is_none_or(|columns| columns.has_table(table))
    }

    /// `table (a, b)`, of those columns that are there.
    fn granted_columns(&self, table: &str, lists: &[&[(&str, &str, bool)]]) -> String {
        let all = lists.iter().flat_map(|list| list.iter());
        let here = all.filter(|(of, column, baseline)| *of == table && self.has(table, column, *baseline));
        here.map(|(_, column, _)| *column).collect::<Vec<_>>().join(", ")
    }

    fn is_mysql(&self) -> bool {
        self.backend == DbBackend::MySql
    }

    fn quoted(&self, name: &str) -> String {
        let quote = if self.is_mysql() { "`" } else { "\"" };
        format!("{quote}{}{quote}", name.replace(quote, &quote.repeat(2)))
    }

    fn table(&self, name: &str) -> String {
        match (self.is_mysql(), &self.schema) {
            (true, _) => format!("{}.{}", self.quoted(&self.database), self.quoted(name)),
            (false, Some(schema)) => format!("{}.{}", self.quoted(schema), self.quoted(name)),
            (false, None) => self.quoted(name),
        }
    }
}

struct Statements<'a> {
    place: &'a Place,
    account: &'a Account,
    all: Vec<String>,
    on_tables: Vec<(String, String)>,
}

impl Statements<'_> {
    fn on_table(&mut self, privileges: &str, table: &str) {
        let object = self.place.table(table);
        self.on_tables.push((privileges.to_owned(), table.to_owned()));
        self.grant(&format!("{privileges} ON {object}"));
    }

    fn grant(&mut self, what: &str) {
        let user = self.place.quoted(&self.account.user);
        let whom = match self.place.is_mysql() {
            true => format!("{user}@{}", self.place.quoted(&self.account.host)),
            false => user,
        };
        self.all.push(format!("GRANT {what} TO {whom}"));
    }

    fn on_schema(&mut self, privileges: &str) {
        if !self.place.is_mysql() {
            let schema = self.place.quoted(self.place.schema.as_deref().unwrap_or("public"));
            self.grant(&format!("{privileges} ON SCHEMA {schema}"));
        }
    }

    fn inspect(&mut self) -> Vec<&'static str> {
        self.on_schema("USAGE");
        for table in ["companies", "users", "staff", "appointments"] {
            let columns = self.place.granted_columns(table, &[&READ, &LOOKED_AT]);
            if !columns.is_empty() {
                self.on_table(&format!("SELECT ({columns})"), table);
            }
        }
        // Before migrating, these are not there.
        let migrated = self.place.has_table(names::ASSIGNMENTS);
        for (table, _, _) in OURS {
            if self.place.has_table(table) || (table == BOOKKEEPING && migrated) {
                self.on_table("SELECT", table);
            }
        }
        if self.place.has_journal {
            self.on_table("SELECT", JOURNAL);
        }
        match self.place.is_mysql() {
            true => vec![
                "looking changes nothing; print these again after `hostmatch migrate up`, for our own tables",
                "MySQL and MariaDB show triggers only to whoever may change them (TRIGGER): that is left out here",
            ],
            false => {
                vec![
                    "looking changes nothing; print these again after `hostmatch migrate up`, for our own tables",
                ]
            }
        }
    }

    fn migrate(&mut self) -> Vec<&'static str> {
        self.on_schema("USAGE, CREATE");
        // Tables that somebody else made are looked through for rows that refer to nobody, and what was
        // adopted is given back by who is of which company.
        let adopts = self.place.has_journal
            || self.place.columns.as_ref().is_some_and(|columns| {
                columns.has_table(names::MAPPINGS) && !columns.has_table(names::ASSIGNMENTS)
            });
        let reads = if adopts { ", SELECT" } else { "" };
        for table in ["companies", "users", "staff"] {
            if self.place.has_table(table) {
                // On a whole table it shows MySQL's users the table's columns, and not its rows.
                let refers = if self.place.is_mysql() { "REFERENCES" } else { "REFERENCES (id)" };
                self.on_table(&format!("{refers}{reads}"), table);
            }
        }
        if self.place.is_mysql() {
            self.on_table(&format!("ALTER, INDEX, REFERENCES{reads}"), "appointments");
            // Where the rows of adopted tables are kept, until they are given back.
            let kept = [names::MAPPINGS, names::AUDITS].map(|table| format!("{ADOPTED}{table}"));
            let kept = kept.iter().map(String::as_str);
            for table in OURS.into_iter().map(|(table, _, _)| table).chain([JOURNAL]).chain(kept) {
                self.on_table(
                    "CREATE, ALTER, DROP, INDEX, REFERENCES, SELECT, INSERT, UPDATE, DELETE",
                    table,
                );
            }
            return vec![
                "only for migrating: REVOKE them, or lock the account, when it is done",
                "for a user of its own: MariaDB does not see REFERENCES on a table beside a right on single columns",
            ];
        }
        match &self.place.owner {
            Some(owner) if *owner != self.account.user => {
                let owner = self.place.quoted(owner);
                self.grant(&owner);
            }
            Some(_) => {}
            None => self.on_table("REFERENCES (id)", "appointments"),
        }
        let mut notes = vec![
            "only the owner of appointments can add a column to it: who migrates has to be a member of the role \
             that owns it (REVOKE that when it is done), or be that role",
        ];
        if self.place.owner.is_none() {
            notes
                .push("that role is not known here, and its GRANT is missing above: GRANT <owner> TO <user>");
        }
        notes
    }

    fn run(&mut self, observes: bool) -> Vec<&'static str> {
        self.on_schema("USAGE");
        for table in ["companies", "staff"] {
            let columns = self.place.granted_columns(table, &[&READ]);
            self.on_table(&format!("SELECT ({columns})"), table);
        }
        let mut read = self.place.granted_columns("appointments", &[&READ]);
        if !self.place.has("appointments", "calcom_host_id", true) {
            read.push_str(", calcom_host_id");
        }
        let stamp = if self.place.has("appointments", "updated_at", true) { ", updated_at" } else { "" };
        // UPDATE is what SELECT … FOR UPDATE asks for, too.
        let writes = format!(", UPDATE (staff_id, calcom_host_id{stamp})");
        let writes = if observes { "" } else { &writes };
        self.on_table(&format!("SELECT ({read}){writes}"), "appointments");
        for (table, mysql, postgres) in OURS {
            let rights = if self.place.is_mysql() { mysql } else { postgres };
            // These may be the gateway's own.
            let only_looked_at = observes && table.starts_with("calcom_host_mapping");
            self.on_table(if only_looked_at { "SELECT" } else { rights }, table);
        }
        for sequence in &self.place.sequences {
            let sequence = self.place.table(sequence);
            self.grant(&format!("USAGE ON SEQUENCE {sequence}"));
        }
        vec![
            "after `hostmatch migrate up`: before, our tables and appointments.calcom_host_id are not there",
            "when the gateway's tables get another column that hostmatch uses (is_active, deleted_at, …), print these again",
        ]
    }
}
