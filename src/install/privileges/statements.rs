//! The GRANT statements of each role, table by table.

use migration::names::{self, ADOPTED, BOOKKEEPING, JOURNAL, TABLES};

use super::{DatabaseFacts, Privilege};

fn our_tables() -> impl Iterator<Item = &'static str> {
    TABLES.into_iter().chain([BOOKKEEPING])
}

/// Returns the privileges that a worker needs on one of our tables. To ignore an existing row, MySQL sets a
/// column to its own value, which needs UPDATE on every inserted column; PostgreSQL reads the key.
fn worker_privileges(table: &str, is_mysql: bool) -> Vec<Privilege> {
    let names = match table {
        BOOKKEEPING => "SELECT",
        names::INBOX_ACTIONS => "SELECT, INSERT",
        names::AUDITS if !is_mysql => "SELECT, INSERT",
        names::DEAD_LETTER_ACTIONS | names::DEAD_LETTER_ACTION_LETTERS => "SELECT, INSERT, DELETE",
        names::EVENTS
        | names::DEAD_LETTERS
        | names::REPLAYS
        | names::REPLAY_ITEMS
        | names::WORKERS
        | names::INBOX => "SELECT, INSERT, UPDATE, DELETE",
        _ => "SELECT, INSERT, UPDATE",
    };
    let mut privileges = on_whole_table(names);
    if table == names::HOST_LOCKS && !is_mysql {
        privileges[2].1.push("host_id");
    }
    privileges
}

/// Returns the privileges with these names on the whole table.
fn on_whole_table(names: &'static str) -> Vec<Privilege> {
    names.split(", ").map(|name| (name, Vec::new())).collect()
}

pub(super) struct Statements<'a> {
    facts: &'a DatabaseFacts,
    user: String,
    /// The user, as it is written after TO.
    grantee: String,
    pub(super) all: Vec<String>,
    /// The privileges that these statements grant, each with its table.
    pub(super) privileges: Vec<(Privilege, String)>,
    pub(super) notes: Vec<&'static str>,
}

impl<'a> Statements<'a> {
    pub(super) fn new(facts: &'a DatabaseFacts, user: String, host: &str) -> Self {
        let mut grantee = facts.quoted(&user);
        if facts.is_mysql() {
            grantee = format!("{grantee}@{}", facts.quoted(host));
        }
        Self { facts, user, grantee, all: Vec::new(), privileges: Vec::new(), notes: Vec::new() }
    }

    fn grant_on_table(&mut self, privileges: Vec<Privilege>, table: &str) {
        let list = privileges.iter().map(|(name, columns)| match columns.as_slice() {
            [] => (*name).to_owned(),
            columns => format!("{name} ({})", columns.join(", ")),
        });
        let list = list.collect::<Vec<_>>().join(", ");
        self.grant(&format!("{list} ON {}", self.facts.table(table)));
        self.privileges.extend(privileges.into_iter().map(|privilege| (privilege, table.to_owned())));
    }

    fn grant(&mut self, what: &str) {
        self.all.push(format!("GRANT {what} TO {}", self.grantee));
    }

    fn grant_on_schema(&mut self, privileges: &str) {
        if !self.facts.is_mysql() {
            let schema = self.facts.quoted(self.facts.schema.as_deref().unwrap_or("public"));
            self.grant(&format!("{privileges} ON SCHEMA {schema}"));
        }
    }

    pub(super) fn add_inspect(&mut self) {
        self.grant_on_schema("USAGE");
        for table in ["companies", "users", "staff", "appointments"] {
            let columns = self.facts.read_columns(table, true);
            if !columns.is_empty() {
                self.grant_on_table(vec![("SELECT", columns)], table);
            }
        }
        // Before the migration, our tables do not exist.
        let migrated = self.facts.has_table(names::ASSIGNMENTS);
        for table in our_tables() {
            if self.facts.has_table(table) || (table == BOOKKEEPING && migrated) {
                self.grant_on_table(on_whole_table("SELECT"), table);
            }
        }
        if self.facts.has_journal {
            self.grant_on_table(on_whole_table("SELECT"), JOURNAL);
        }
        self.notes.push(
            "inspecting changes nothing; print the statements again after `hostmatch migrate up`, for our own tables",
        );
        if self.facts.is_mysql() {
            self.notes.push(
                "MySQL and MariaDB show triggers only to users who may change them; TRIGGER is not granted here",
            );
        }
    }

    pub(super) fn add_migrate(&mut self) {
        self.grant_on_schema("USAGE, CREATE");
        // Adoption searches tables of another program for rows that refer to missing rows, and restoring
        // these tables needs the company of each member of staff.
        let adopts = self.facts.has_journal
            || self.facts.columns.as_ref().is_some_and(|columns| {
                columns.has_table(names::MAPPINGS) && !columns.has_table(names::ASSIGNMENTS)
            });
        let reads = if adopts { on_whole_table("SELECT") } else { Vec::new() };
        for table in ["companies", "users", "staff"] {
            if self.facts.has_table(table) {
                // On a whole table, REFERENCES shows MySQL's users its columns, but not its rows.
                let columns = if self.facts.is_mysql() { vec![] } else { vec!["id"] };
                self.grant_on_table([vec![("REFERENCES", columns)], reads.clone()].concat(), table);
            }
        }
        if self.facts.is_mysql() {
            self.grant_on_table([on_whole_table("ALTER, INDEX, REFERENCES"), reads].concat(), "appointments");
            // The tables that keep the rows of adopted tables until `migrate down` restores them.
            let kept = [names::MAPPINGS, names::AUDITS].map(|table| format!("{ADOPTED}{table}"));
            for table in our_tables().chain([JOURNAL]).map(str::to_owned).chain(kept) {
                let all = "CREATE, ALTER, DROP, INDEX, REFERENCES, SELECT, INSERT, UPDATE, DELETE";
                self.grant_on_table(on_whole_table(all), &table);
            }
            self.notes = vec![
                "only for migrating: REVOKE the privileges, or lock the account, after the migration",
                "use a separate user: MariaDB ignores REFERENCES on a table if a privilege on its columns is granted",
            ];
            return;
        }
        self.notes.push(
            "only the owner of appointments can add a column to it: the migrating user has to be that role, \
             or a member of it (REVOKE the membership after the migration)",
        );
        match &self.facts.owner {
            Some(owner) if *owner != self.user => self.grant(&self.facts.quoted(owner)),
            Some(_) => {}
            None => {
                self.grant_on_table(vec![("REFERENCES", vec!["id"])], "appointments");
                self.notes
                    .push("the owner is unknown here, so run this statement too: GRANT <owner> TO <user>");
            }
        }
    }

    pub(super) fn add_run(&mut self, observes: bool) {
        self.grant_on_schema("USAGE");
        for table in ["companies", "staff"] {
            let columns = self.facts.read_columns(table, false);
            self.grant_on_table(vec![("SELECT", columns)], table);
        }
        let mut read = self.facts.read_columns("appointments", false);
        if !read.contains(&"calcom_host_id") {
            read.push("calcom_host_id");
        }
        let mut privileges = vec![("SELECT", read)];
        if !observes {
            // SELECT … FOR UPDATE also needs UPDATE.
            let mut written = vec!["staff_id", "calcom_host_id"];
            let existing = self.facts.read_columns("appointments", true);
            written.extend(existing.into_iter().filter(|column| *column == "updated_at"));
            privileges.push(("UPDATE", written));
        }
        self.grant_on_table(privileges, "appointments");
        for table in our_tables() {
            // These tables may be the gateway's own.
            let only_read = observes && table.starts_with("calcom_host_mapping");
            let privileges = worker_privileges(table, self.facts.is_mysql());
            self.grant_on_table(if only_read { on_whole_table("SELECT") } else { privileges }, table);
        }
        for sequence in &self.facts.sequences {
            self.grant(&format!("USAGE ON SEQUENCE {}", self.facts.table(sequence)));
        }
        self.notes = vec![
            "run the statements after `hostmatch migrate up`, which creates our tables and appointments.calcom_host_id",
            "when the gateway's tables get another column that hostmatch uses (is_active, deleted_at, …), print the statements again",
        ];
    }
}
