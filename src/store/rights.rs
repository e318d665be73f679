//! Which of the rights that deciding needs the connected user lacks: those that `hostmatch gateway
//! grants --role run` prints, held against what the server says that this user has.

use migration::Granted;
use sea_orm::{ConnectionTrait as _, DbBackend, Statement};

use super::{Database, StoreError, grants};
use crate::config::Mode;

/// One right, on a table or on one column of it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Right {
    privilege: String,
    table: String,
    column: Option<String>,
}

impl Right {
    fn words(&self) -> String {
        match &self.column {
            Some(column) => format!("{} ({column}) on {}", self.privilege, self.table),
            None => format!("{} on {}", self.privilege, self.table),
        }
    }
}

/// What this user lacks to decide in this mode, a line each; empty if nothing. SQLite has no users.
///
/// # Errors
/// [`StoreError`]
pub async fn missing_rights(database: &Database, mode: Mode) -> Result<Vec<String>, StoreError> {
    if database.backend() == DbBackend::Sqlite {
        return Ok(Vec::new());
    }
    let needed = grants::needed(database, mode == Mode::Observe).await?;
    let rights: Vec<Right> =
        needed.iter().flat_map(|(privileges, table)| single(privileges, table)).collect();
    let mut missing = Vec::new();
    if database.backend() == DbBackend::MySql {
        let granted = Granted::read(database.connection()).await?;
        let may = |right: &Right| match &right.column {
            Some(column) => granted.column(&right.privilege, &right.table, column),
            None => granted.whole(&right.privilege, &right.table),
        };
        missing.extend(rights.iter().filter(|right| !may(right)).map(Right::words));
        return Ok(missing);
    }
    for right in &rights {
        // What is not there at all is told as a missing migration.
        let (function, column) = match right.column {
            Some(_) => ("has_column_privilege(c.oid, a.attnum, $3)", right.column.clone()),
            None => ("has_table_privilege(c.oid, $3)", None),
        };
        let sql = format!(
            "SELECT COALESCE((SELECT has_schema_privilege(c.relnamespace, 'USAGE') AND {function} FROM pg_class c \
             LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = $2 AND NOT a.attisdropped \
             WHERE c.oid = to_regclass($1)), true) AS may"
        );
        let values = [right.table.as_str().into(), column.into(), right.privilege.as_str().into()];
        let query = Statement::from_sql_and_values(DbBackend::Postgres, sql, values);
        let row = database.connection().query_one_raw(query).await?;
        if !row.map_or(Ok(true), |row| row.try_get_by_index::<bool>(0))? {
            missing.push(right.words());
        }
    }
    Ok(missing)
}

/// `SELECT (a, b), DELETE` as single rights.
fn single(privileges: &str, table: &str) -> Vec<Right> {
    let mut rights = Vec::new();
    let mut rest = privileges;
    while !rest.trim_matches([',', ' ']).is_empty() {
        rest = rest.trim_start_matches([',', ' ']);
        let end = rest.find([',', '(']).unwrap_or(rest.len());
        let right = |column: Option<&str>| Right {
            privilege: rest[..end].trim().to_owned(),
            table: table.to_owned(),
            column: column.map(|column| column.trim().to_owned()),
        };
        rest = match rest[end..].strip_prefix('(').and_then(|list| list.split_once(')')) {
            Some((columns, after)) => {
                rights.extend(columns.split(',').map(|column| right(Some(column))));
                after
            }
            None => {
                rights.push(right(None));
                &rest[end..]
            }
        };
    }
    rights
}

#[cfg(test)]
mod tests {
    use super::single;

    #[test]
    fn privileges_are_taken_apart() {
        let words = |text: &str| single(text, "t").iter().map(super::Right::words).collect::<Vec<_>>();
        assert_eq!(
            words("SELECT (a, b), UPDATE (c)"),
            ["SELECT (a) on t", "SELECT (b) on t", "UPDATE (c) on t"]
        );
        assert_eq!(words("SELECT, INSERT, UPDATE (host_id)").len(), 3);
        assert_eq!(words("SELECT"), ["SELECT on t"]);
    }
}
