//! Checks that the server is new enough. A worker skips rows that another session has locked (`SKIP LOCKED`):
//! MariaDB supports it from 10.6 on, MySQL from 8.0.1; every maintained version of PostgreSQL does.

use sea_orm::DbBackend;

use super::error::Result;
use super::statement::first_value;
use super::{Database, StoreError};

/// Refuses a server that cannot run our transactions.
///
/// # Errors
/// Returns [`StoreError::Schema`] with the server's version and the minimum.
pub(super) async fn check(database: &Database) -> Result<()> {
    if database.backend() != DbBackend::MySql {
        return Ok(());
    }
    let version: Option<String> =
        first_value(database.connection(), "SELECT CAST(VERSION() AS CHAR)").await?;
    version.as_deref().and_then(too_old).map_or(Ok(()), |why| Err(StoreError::Schema(why)))
}

/// Returns the reason why a MariaDB or MySQL server of this version cannot be used; `None` if it can.
pub(crate) fn too_old(version: &str) -> Option<String> {
    let mut numbers =
        version.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse::<u32>().unwrap_or(0));
    let found = (numbers.next()?, numbers.next()?, numbers.next().unwrap_or(0));
    let (product, oldest) =
        if version.contains("MariaDB") { ("MariaDB", (10, 6, 0)) } else { ("MySQL", (8, 0, 1)) };
    (found < oldest).then(|| {
        format!(
            "the database server is {product} {}.{}.{}, and hostmatch needs {product} {}.{}.{} or newer: older \
             versions cannot skip locked rows (SELECT … FOR UPDATE SKIP LOCKED)",
            found.0, found.1, found.2, oldest.0, oldest.1, oldest.2
        )
    })
}

#[cfg(test)]
mod tests {
    use super::too_old;

    #[test]
    fn a_server_that_cannot_skip_locked_rows_is_refused() {
        for old in ["10.5.29-MariaDB-0+deb11u1", "5.7.44-log", "8.0.0-dmr", "5.5.68-MariaDB"] {
            assert!(too_old(old).is_some_and(|why| why.contains("or newer")), "{old}");
        }
        for new in
            ["10.6.0-MariaDB", "10.11.19-MariaDB-0+deb12u1", "11.4.2-MariaDB", "8.0.1", "8.4.3", "9.1.0"]
        {
            assert_eq!(too_old(new), None, "{new}");
        }
    }
}
