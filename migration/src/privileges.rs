//! Checks which privileges a run of statements needs, and whether this server and this user allow it. The
//! check comes before the first statement, because MySQL cannot roll back the statements before a refused
//! one.

use std::collections::BTreeSet;

use sea_orm_migration::sea_orm::{
    ConnectionTrait, DatabaseConnection, DbBackend, DbErr, TransactionTrait as _,
};

use crate::catalog::rows;
use crate::error::MigrateError;
use crate::gateway::GATEWAY_TABLES;

use crate::names::JOURNAL;
use crate::show_grants::Granted;
use crate::status::drift;

/// Checks that the server accepts writes, that this user sees the gateway's tables, and that what the applied
/// migrations created exists.
pub(crate) async fn check_can_begin(connection: &DatabaseConnection) -> Result<(), MigrateError> {
    if let Some(why) = read_only(connection).await.map_err(failed)? {
        return Err(MigrateError::ReadOnly(why));
    }
    let hidden = hidden_tables(connection).await.map_err(failed)?;
    if !hidden.is_empty() {
        return Err(MigrateError::MissingPrivileges(hidden));
    }
    let drift = drift(connection).await?;
    if drift.is_empty() { Ok(()) } else { Err(MigrateError::Drift(drift)) }
}

/// Checks that this user may run all of these statements, and keep the journal where one is needed.
pub(crate) async fn check_can_run(
    connection: &DatabaseConnection,
    statements: &[String],
) -> Result<(), MigrateError> {
    let mut statements = statements.to_vec();
    if connection.get_database_backend() == DbBackend::MySql {
        let journal = ["CREATE TABLE", "DROP TABLE", "INSERT INTO", "UPDATE", "DELETE FROM"];
        statements.extend(journal.map(|verb| format!("{verb} {JOURNAL}")));
    }
    let lacking = missing_privileges(connection, &statements).await.map_err(failed)?;
    if lacking.is_empty() { Ok(()) } else { Err(MigrateError::MissingPrivileges(lacking)) }
}

fn failed(source: DbErr) -> MigrateError {
    MigrateError::of("reading the privileges of this user", source)
}

/// A privilege, under MySQL's name, and its table.
type Privilege = (&'static str, String);

/// Returns the reason why this server refuses writes from every user; `None` if it accepts them.
pub async fn read_only(connection: &DatabaseConnection) -> Result<Option<String>, DbErr> {
    match connection.get_database_backend() {
        DbBackend::MySql => {
            let sql = "SHOW GLOBAL VARIABLES WHERE Variable_name IN \
                       ('read_only', 'super_read_only', 'innodb_read_only', 'tx_read_only', 'transaction_read_only')";
            for row in rows(connection, sql).await? {
                let (name, value): (String, String) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
                if !matches!(value.as_str(), "OFF" | "0" | "") {
                    return Ok(Some(format!("its variable {name} is {value}")));
                }
            }
            Ok(None)
        }
        DbBackend::Postgres => {
            // The value at the session's start: our read-only sessions set it themselves afterwards.
            let sql = "SELECT CASE WHEN pg_is_in_recovery() THEN 'it is a replica (pg_is_in_recovery)' \
                       WHEN (SELECT reset_val FROM pg_settings WHERE name = 'default_transaction_read_only') = 'on' \
                       THEN 'default_transaction_read_only is on' END";
            rows(connection, sql).await?.first().map_or(Ok(None), |row| row.try_get_by_index(0))
        }
        _ => {
            let tx = connection.begin().await?;
            let written = tx.execute_unprepared("CREATE TABLE hostmatch_may_write (x INTEGER)").await;
            tx.rollback().await?;
            match written {
                Err(error) if error.to_string().contains("readonly") => {
                    Ok(Some("the file is read-only".into()))
                }
                Err(error) => Err(error),
                Ok(_) => Ok(None),
            }
        }
    }
}

/// Returns the privileges that this user lacks to see the gateway's tables at all. MySQL shows a table only
/// to users who have a privilege on it: without this check, a hidden table would be reported as missing.
async fn hidden_tables(connection: &DatabaseConnection) -> Result<Vec<String>, DbErr> {
    if connection.get_database_backend() != DbBackend::MySql {
        return Ok(Vec::new());
    }
    let granted = Granted::read(connection).await?;
    let hidden =
        ["companies", "staff", "appointments"].into_iter().filter(|table| !granted.any(&SHOWS, table));
    Ok(hidden.map(|table| format!("REFERENCES on {table}")).collect())
}

/// With any of these privileges on a table, MySQL shows its columns.
const SHOWS: [&str; 4] = ["SELECT", "INSERT", "UPDATE", "REFERENCES"];

/// Returns the privileges that this user lacks to run these statements, one line each.
pub async fn missing_privileges(
    connection: &DatabaseConnection,
    statements: &[String],
) -> Result<Vec<String>, DbErr> {
    let needs: BTreeSet<Privilege> = statements.iter().flat_map(|statement| needs(statement)).collect();
    match connection.get_database_backend() {
        DbBackend::MySql => {
            let granted = Granted::read(connection).await?;
            let lacking = needs.iter().filter(|(privilege, table)| match *privilege {
                "REFERENCES" if granted.mariadb => !may_refer(&granted, table),
                privilege => !granted.any(&[privilege], table),
            });
            let lacking = lacking.map(|(privilege, table)| {
                let is_hidden = *privilege == "REFERENCES" && granted.any(&["REFERENCES"], table);
                format!("{privilege} on {table}{}", if is_hidden { HIDDEN } else { "" })
            });
            Ok(lacking.collect())
        }
        DbBackend::Postgres => postgres(connection, &needs).await,
        _ => Ok(Vec::new()),
    }
}

const HIDDEN: &str = " (it is granted, but MariaDB ignores it if the user also has privileges on single columns of the \
                      table: migrate as a separate user)";

/// Returns whether a user may reference a table. MariaDB allows it with any of these privileges, but it
/// checks them in this order and stops at the first that exists, which must then cover the whole table.
fn may_refer(granted: &Granted, table: &str) -> bool {
    let in_its_order = ["SELECT", "INSERT", "UPDATE", "DELETE", "REFERENCES"];
    let first = in_its_order.into_iter().find(|privilege| granted.any(&[privilege], table));
    first.is_some_and(|privilege| granted.whole(privilege, table))
}

async fn postgres(
    connection: &DatabaseConnection,
    needs: &BTreeSet<Privilege>,
) -> Result<Vec<String>, DbErr> {
    let mut missing = BTreeSet::new();
    for (privilege, table) in needs {
        let on_table = format!("{privilege} on {table}");
        // Members of the owning role count as owner. A table that does not exist yet will be our own.
        let (lacks, may) = match *privilege {
            "CREATE" => ("CREATE on the schema".to_owned(), String::new()),
            "ALTER" | "INDEX" | "DROP" => (
                format!("ownership of {table} (or membership in the role that owns it)"),
                "pg_has_role(c.relowner, 'USAGE')".to_owned(),
            ),
            "REFERENCES" => (
                on_table,
                "(SELECT has_column_privilege(c.oid, a.attnum, 'REFERENCES') FROM pg_attribute a \
                 WHERE a.attrelid = c.oid AND a.attname = 'id')"
                    .to_owned(),
            ),
            "DELETE" => (on_table, "has_table_privilege(c.oid, 'DELETE')".to_owned()),
            one => (
                on_table,
                format!("has_any_column_privilege(c.oid, '{one}') OR has_table_privilege(c.oid, '{one}')"),
            ),
        };
        let sql = match may.as_str() {
            "" => "SELECT COALESCE(has_schema_privilege(current_schema(), 'CREATE'), false)".to_owned(),
            may => {
                format!(
                    "SELECT COALESCE((SELECT {may} FROM pg_class c WHERE c.oid = to_regclass('{table}')), true)"
                )
            }
        };
        let rows = rows(connection, sql).await?;
        if !rows.first().map_or(Ok(false), |row| row.try_get_by_index::<bool>(0))? {
            missing.insert(lacks);
        }
    }
    Ok(missing.into_iter().collect())
}

/// Returns the privileges that one of our statements needs. All our statements are written in the same form,
/// so the first words are enough.
fn needs(statement: &str) -> Vec<Privilege> {
    let words: Vec<&str> = statement
        .split(|c: char| c.is_whitespace() || c == '(')
        .map(|word| word.trim_matches(['`', '"', ';', ',', ')']))
        .filter(|word| !matches!(*word, "" | "IF" | "NOT" | "EXISTS" | "UNIQUE"))
        .collect();
    let mut needs = Vec::new();
    let mut need = |privilege, table: Option<&&str>| {
        let ours = |table: &str| {
            table.starts_with("hostmatch_")
                || crate::names::TABLES.contains(&table)
                || GATEWAY_TABLES.contains(&table)
        };
        if let Some(table) = table.filter(|table| ours(table)) {
            needs.push((privilege, (*table).to_owned()));
        }
    };
    match words.as_slice() {
        ["CREATE", "TABLE", table, ..] => need("CREATE", Some(table)),
        ["CREATE", "INDEX", _, "ON", table, ..] => need("INDEX", Some(table)),
        ["ALTER", "TABLE", table, ..] => need("ALTER", Some(table)),
        ["DROP", "TABLE", table, ..] => need("DROP", Some(table)),
        ["INSERT", "INTO", table, ..] => need("INSERT", Some(table)),
        ["UPDATE", table, ..] => need("UPDATE", Some(table)),
        ["DELETE", "FROM", table, ..] => need("DELETE", Some(table)),
        _ => {}
    }
    for pair in words.windows(2) {
        match pair[0] {
            "REFERENCES" => need("REFERENCES", pair.get(1)),
            "FROM" | "JOIN" => need("SELECT", pair.get(1)),
            _ => {}
        }
    }
    needs
}

#[cfg(test)]
mod tests {
    use super::needs;

    fn of(statement: &str) -> Vec<String> {
        needs(statement).iter().map(|(privilege, table)| format!("{privilege} {table}")).collect()
    }

    #[test]
    fn each_kind_of_statement_has_its_needs() {
        assert_eq!(
            of("CREATE TABLE IF NOT EXISTS `hostmatch_migrations` ( `version` …"),
            ["CREATE hostmatch_migrations"]
        );
        assert_eq!(
            of("CREATE TABLE hostmatch_host_locks (\n    FOREIGN KEY (staff_id) REFERENCES staff (id)\n)"),
            ["CREATE hostmatch_host_locks", "REFERENCES staff"]
        );
        assert_eq!(
            of("CREATE UNIQUE INDEX a ON hostmatch_dead_letters (id)"),
            ["INDEX hostmatch_dead_letters"]
        );
        assert_eq!(of("ALTER TABLE appointments ADD COLUMN x INT"), ["ALTER appointments"]);
        assert_eq!(of("DROP TABLE hostmatch_host_locks"), ["DROP hostmatch_host_locks"]);
        assert_eq!(
            of("INSERT INTO hostmatch_migrations (version) VALUES ('x')"),
            ["INSERT hostmatch_migrations"]
        );
        assert_eq!(of("UPDATE staff SET x = 'from users'"), ["UPDATE staff"]);
        assert_eq!(
            of("DELETE FROM \"hostmatch_migrations\" WHERE 1"),
            ["DELETE hostmatch_migrations", "SELECT hostmatch_migrations"]
        );
    }
}
