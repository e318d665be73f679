//! Reads the privileges of a MySQL or MariaDB user from `SHOW GRANTS`. It is the only source that includes
//! privileges granted through a role, and every user may run it for their own account.

use sea_orm_migration::sea_orm::{ConnectionTrait, DbErr};

use crate::catalog::rows;

/// The privileges of the connected user in the connected database.
#[derive(Clone, Debug)]
pub struct Granted {
    database: String,
    lines: Vec<GrantLine>,
    /// Whether the server is MariaDB, not MySQL.
    pub mariadb: bool,
}

/// One line of the result: privileges on an object, each with its columns; no columns means all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct GrantLine {
    privileges: Vec<(String, Vec<String>)>,
    /// A pattern, as in LIKE; `*` is all.
    database: String,
    /// `*` is all.
    table: String,
}

impl Granted {
    /// Reads the grants from the server.
    pub async fn read<C: ConnectionTrait>(connection: &C) -> Result<Self, DbErr> {
        let sql = "SELECT CAST(COALESCE(DATABASE(), '') AS CHAR), CAST(VERSION() AS CHAR)";
        let (database, version): (String, String) = match rows(connection, sql).await?.first() {
            Some(row) => (row.try_get_by_index(0)?, row.try_get_by_index(1)?),
            None => Default::default(),
        };
        let mut lines = Vec::new();
        for row in rows(connection, "SHOW GRANTS").await? {
            lines.extend(parse_grant(&row.try_get_by_index::<String>(0)?));
        }
        Ok(Self { database, lines, mariadb: version.contains("MariaDB") })
    }

    /// Returns whether one of these privileges is granted on this table, or on some of its columns.
    pub fn any(&self, privileges: &[&str], table: &str) -> bool {
        privileges.iter().any(|wanted| self.has(wanted, table, |_| true))
    }

    /// Returns whether the privilege is granted on the whole of this table.
    pub fn whole(&self, privilege: &str, table: &str) -> bool {
        self.has(privilege, table, <[String]>::is_empty)
    }

    /// Returns whether the privilege is granted on this column.
    pub fn column(&self, privilege: &str, table: &str, column: &str) -> bool {
        self.has(privilege, table, |columns| columns.is_empty() || columns.iter().any(|one| one == column))
    }

    fn has(&self, wanted: &str, table: &str, enough: impl Fn(&[String]) -> bool) -> bool {
        self.lines.iter().any(|line| {
            // The database's name is a pattern only in a grant on the whole database.
            let here = match line.table.as_str() {
                "*" => line.database == "*" || matches(&line.database, &self.database),
                one => one == table && line.database == self.database,
            };
            let is_wanted = |(privilege, columns): &(String, Vec<String>)| {
                enough(columns) && (privilege == wanted || privilege.starts_with("ALL PRIVILEGES"))
            };
            here && line.privileges.iter().any(is_wanted)
        })
    }
}

/// Parses ``GRANT SELECT (`a`), UPDATE ON `db`.`table` TO …``. A line without an object grants a role.
fn parse_grant(text: &str) -> Option<GrantLine> {
    let mut rest = text.strip_prefix("GRANT ")?;
    let mut privileges = Vec::new();
    let object = loop {
        // A privilege ends before its columns, the next privilege, or the object.
        let ends = ["(", ",", " ON "].into_iter().filter_map(|end| Some((rest.find(end)?, end)));
        let (at, end) = ends.min()?;
        let privilege = rest[..at].trim().to_owned();
        rest = &rest[at + end.len()..];
        let of = if end == "(" { columns(&mut rest)? } else { Vec::new() };
        privileges.push((privilege, of));
        if let Some(object) = Some(rest).filter(|_| end == " ON ").or_else(|| rest.strip_prefix(" ON ")) {
            break object;
        }
        rest = rest.trim_start_matches([',', ' ']);
    };
    let object = object.strip_prefix("TABLE ").unwrap_or(object);
    let (database, object) = name(object)?;
    let (table, _) = name(object.strip_prefix('.')?)?;
    Some(GrantLine { privileges, database, table })
}

/// Parses a list of columns, whose names may contain any character; sets `rest` to what follows.
fn columns(rest: &mut &str) -> Option<Vec<String>> {
    let mut columns = Vec::new();
    loop {
        let (column, after) = name(rest.trim_start_matches([',', ' ']))?;
        columns.push(column);
        *rest = after;
        if let Some(after) = rest.strip_prefix(')') {
            *rest = after;
            return Some(columns);
        }
    }
}

/// Parses a name in backticks (or, under ANSI_QUOTES, in double quotes), or a bare `*`; returns it and what
/// follows.
fn name(text: &str) -> Option<(String, &str)> {
    if let Some(rest) = text.strip_prefix('*') {
        return Some(("*".into(), rest));
    }
    let quote = text.chars().next().filter(|c| matches!(c, '`' | '"'))?;
    let mut name = String::new();
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c != quote {
            name.push(c);
        } else if chars.next_if(|(_, next)| *next == quote).is_some() {
            name.push(quote);
        } else {
            return Some((name, &text[at + 1..]));
        }
    }
    None
}

/// Matches a LIKE pattern: `%` is any string, `_` any character, `\` escapes the next one.
fn matches(pattern: &str, text: &str) -> bool {
    let mut rest = pattern.chars();
    let after_any = |pattern: &str| {
        let mut text = text.chars();
        text.next().is_some() && matches(pattern, text.as_str())
    };
    let after =
        |wanted: char, pattern: &str| text.strip_prefix(wanted).is_some_and(|text| matches(pattern, text));
    match rest.next() {
        None => text.is_empty(),
        Some('%') => matches(rest.as_str(), text) || after_any(pattern),
        Some('_') => after_any(rest.as_str()),
        Some('\\') => after(rest.next().unwrap_or('\\'), rest.as_str()),
        Some(plain) => after(plain, rest.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Granted, parse_grant};

    fn granted(lines: &[&str]) -> Granted {
        Granted {
            database: "my_gateway".into(),
            lines: lines.iter().filter_map(|text| parse_grant(text)).collect(),
            mariadb: true,
        }
    }

    #[test]
    fn privileges_are_read_on_every_level() {
        for (text, privilege, table, expected) in [
            ("GRANT ALL PRIVILEGES ON *.* TO `root`@`localhost` WITH GRANT OPTION", "ALTER", "staff", true),
            ("GRANT USAGE ON *.* TO `a`@`%` IDENTIFIED BY PASSWORD '*0'", "SELECT", "staff", false),
            ("GRANT SELECT, CREATE ON `my\\_gateway`.* TO `a`@`%`", "CREATE", "staff", true),
            ("GRANT SELECT ON `my%`.* TO `a`@`%`", "SELECT", "staff", true),
            ("GRANT SELECT ON `my_`.* TO `a`@`%`", "SELECT", "staff", false),
            ("GRANT SELECT ON `myXgateway`.* TO `a`@`%`", "SELECT", "staff", false),
            ("GRANT SELECT ON `my_gateway`.`staff` TO `a`@`%`", "SELECT", "staff", true),
            ("GRANT SELECT ON `my_gateway`.`staff` TO `a`@`%`", "UPDATE", "staff", false),
            ("GRANT SELECT ON \"my_gateway\".\"staff\" TO \"a\"@\"%\"", "SELECT", "staff", true),
            (
                "GRANT SELECT (`id`, `a) ON ``b`), UPDATE (`x`) ON `my_gateway`.`staff` TO `a`",
                "UPDATE",
                "staff",
                true,
            ),
            ("GRANT SELECT (`id`), UPDATE (`x`) ON `my_gateway`.`staff` TO `a`@`%`", "SELECT", "staff", true),
            ("GRANT SELECT (`id`) ON `my_gateway`.`staff` TO `a`@`%`", "UPDATE", "staff", false),
            ("GRANT SELECT ON `other`.`staff` TO `a`@`%`", "SELECT", "staff", false),
            ("GRANT EXECUTE ON FUNCTION `my_gateway`.`staff` TO `a`@`%`", "EXECUTE", "staff", false),
            ("GRANT `a role`@`%` TO `a`@`%`", "SELECT", "staff", false),
            ("GRANT PROXY ON ''@'%' TO 'root'@'localhost'", "PROXY", "staff", false),
        ] {
            assert_eq!(granted(&[text]).any(&[privilege], table), expected, "{text}");
        }
        let parts = granted(&["GRANT SELECT (`id`), UPDATE ON `my_gateway`.`staff` TO `a`@`%`"]);
        assert!(parts.whole("UPDATE", "staff") && !parts.whole("SELECT", "staff"));
        assert!(parts.column("SELECT", "staff", "id") && !parts.column("SELECT", "staff", "email"));
        assert!(parts.column("UPDATE", "staff", "email"));
    }
}
