//! The GRANT statements of each role, table by table.

use migration::names::{self, ADOPTED, BOOKKEEPING, JOURNAL, TABLES};

use super::{Place, Right};

fn our_tables() -> impl Iterator<Item = &'static str> {
    TABLES.into_iter().chain([BOOKKEEPING])
}

/// Returns the rights that a worker needs on one of our tables. To ignore an existing row, MySQL sets one of
/// its columns to itself, which needs UPDATE on every inserted column; PostgreSQL reads the key.
fn done_with(table: &str, is_mysql: bool) -> Vec<Right> {
    let privileges = match table {
        BOOKKEEPING => "SELECT",
        names::INBOX_ACTIONS => "SELECT, INSERT",
        names::AUDITS if !is_mysql => "SELECT, INSERT",
        names::DEAD_LETTER_ACTIONS | names::DEAD_LETTER_ACTION_LETTERS => "SELECT, INSERT, DELETE",
        names::EVENTS | names::DEAD_LETTERS | names::REPLAYS | names::REPLAY_ITEMS | names::WORKERS => {
            "SELECT, INSERT, UPDATE, DELETE"
        }
        _ => "SELECT, INSERT, UPDATE",
    };
    let mut rights = whole(privileges);
    if table == names::HOST_LOCKS && !is_mysql {
        rights[2].1.push("host_id");
    }
    rights
}

/// Returns these privileges, on the whole table.
fn whole(privileges: &'static str) -> Vec<Right> {
    privileges.split(", ").map(|privilege| (privilege, Vec::new())).collect()
}

pub(super) struct Statements<'a> {
    place: &'a Place,
    user: String,
    /// The user, as written after TO.
    whom: String,
    pub(super) all: Vec<String>,
    /// The rights in these statements, of tables only.
    pub(super) rights: Vec<(Right, String)>,
    pub(super) notes: Vec<&'static str>,
}

impl<'a> Statements<'a> {
    pub(super) fn at(place: &'a Place, user: String, host: &str) -> Self {
        let mut whom = place.quoted(&user);
        if place.is_mysql() {
            whom = format!("{whom}@{}", place.quoted(host));
        }
        Self { place, user, whom, all: Vec::new(), rights: Vec::new(), notes: Vec::new() }
    }

    fn on_table(&mut self, rights: Vec<Right>, table: &str) {
        let words = rights.iter().map(|(privilege, columns)| match columns.as_slice() {
            [] => (*privilege).to_owned(),
            columns => format!("{privilege} ({})", columns.join(", ")),
        });
        let words = words.collect::<Vec<_>>().join(", ");
        self.grant(&format!("{words} ON {}", self.place.table(table)));
        self.rights.extend(rights.into_iter().map(|right| (right, table.to_owned())));
    }

    fn grant(&mut self, what: &str) {
        self.all.push(format!("GRANT {what} TO {}", self.whom));
    }

    fn on_schema(&mut self, privileges: &str) {
        if !self.place.is_mysql() {
            let schema = self.place.quoted(self.place.schema.as_deref().unwrap_or("public"));
            self.grant(&format!("{privileges} ON SCHEMA {schema}"));
        }
    }

    pub(super) fn inspect(&mut self) {
        self.on_schema("USAGE");
        for table in ["companies", "users", "staff", "appointments"] {
            let columns = self.place.read_columns(table, true);
            if !columns.is_empty() {
                self.on_table(vec![("SELECT", columns)], table);
            }
        }
        // Before the migration, our tables do not exist.
        let migrated = self.place.has_table(names::ASSIGNMENTS);
        for table in our_tables() {
            if self.place.has_table(table) || (table == BOOKKEEPING && migrated) {
                self.on_table(whole("SELECT"), table);
            }
        }
        if self.place.has_journal {
            self.on_table(whole("SELECT"), JOURNAL);
        }
        self.notes.push(
            "inspecting changes nothing; print these again after `hostmatch migrate up`, for our own tables",
        );
        if self.place.is_mysql() {
            self.notes.push(
                "MySQL and MariaDB show triggers only to users who may change them; TRIGGER is left out here",
            );
        }
    }

    pub(super) fn migrate(&mut self) {
        self.on_schema("USAGE, CREATE");
        // Adoption searches tables of another program for rows that refer to missing rows, and restoring
        // these tables needs the company of each member of staff.
        let adopts = self.place.has_journal
            || self.place.columns.as_ref().is_some_and(|columns| {
                columns.has_table(names::MAPPINGS) && !columns.has_table(names::ASSIGNMENTS)
            });
        let reads = if adopts { whole("SELECT") } else { Vec::new() };
        for table in ["companies", "users", "staff"] {
            if self.place.has_table(table) {
                // On a whole table, REFERENCES shows MySQL's users its columns, but not its rows.
                let columns = if self.place.is_mysql() { vec![] } else { vec!["id"] };
                self.on_table([vec![("REFERENCES", columns)], reads.clone()].concat(), table);
            }
        }
        if self.place.is_mysql() {
            self.on_table([whole("ALTER, INDEX, REFERENCES"), reads].concat(), "appointments");
            // The tables that keep the rows of adopted tables until `migrate down` restores them.
            let kept = [names::MAPPINGS, names::AUDITS].map(|table| format!("{ADOPTED}{table}"));
            for table in our_tables().chain([JOURNAL]).map(str::to_owned).chain(kept) {
                let all = "CREATE, ALTER, DROP, INDEX, REFERENCES, SELECT, INSERT, UPDATE, DELETE";
                self.on_table(whole(all), &table);
            }
            self.notes = vec![
                "only for migrating: REVOKE them, or lock the account, after it is done",
                "use a separate user: MariaDB ignores REFERENCES on a table beside a right on single columns",
            ];
            return;
        }
        self.notes.push(
            "only the owner of appointments can add a column to it: the migrating user has to be that role, \
             or a member of it (REVOKE that after it is done)",
        );
        match &self.place.owner {
            Some(owner) if *owner != self.user => self.grant(&self.place.quoted(owner)),
            Some(_) => {}
            None => {
                self.on_table(vec![("REFERENCES", vec!["id"])], "appointments");
                self.notes.push(
                    "that role is unknown here, so its GRANT is missing above: GRANT <owner> TO <user>",
                );
            }
        }
    }

    pub(super) fn run(&mut self, observes: bool) {
        self.on_schema("USAGE");
        for table in ["companies", "staff"] {
            let columns = self.place.read_columns(table, false);
            self.on_table(vec![("SELECT", columns)], table);
        }
        let mut read = self.place.read_columns("appointments", false);
        if !read.contains(&"calcom_host_id") {
            read.push("calcom_host_id");
        }
        let mut rights = vec![("SELECT", read)];
        if !observes {
            // SELECT … FOR UPDATE needs UPDATE, too.
            let mut written = vec!["staff_id", "calcom_host_id"];
            let seen = self.place.read_columns("appointments", true);
            written.extend(seen.into_iter().filter(|column| *column == "updated_at"));
            rights.push(("UPDATE", written));
        }
        self.on_table(rights, "appointments");
        for table in our_tables() {
            // These tables may be the gateway's own.
            let only_read = observes && table.starts_with("calcom_host_mapping");
            let rights = done_with(table, self.place.is_mysql());
            self.on_table(if only_read { whole("SELECT") } else { rights }, table);
        }
        for sequence in &self.place.sequences {
            self.grant(&format!("USAGE ON SEQUENCE {}", self.place.table(sequence)));
        }
        self.notes = vec![
            "run these after `hostmatch migrate up`, which creates our tables and appointments.calcom_host_id",
            "when the gateway's tables get another column that hostmatch uses (is_active, deleted_at, …), print these again",
        ];
    }
}
