//! The engine, and the column types that depend on it or on the gateway.

use sea_orm_migration::sea_orm::DbBackend;

use crate::gateway::{Column, Columns};
use crate::names;

/// The engine, and the gateway's key types, which our columns must match.
#[derive(Clone, Debug)]
pub(crate) struct Dialect {
    pub(crate) backend: DbBackend,
    pub(crate) company: String,
    pub(crate) staff: String,
    pub(crate) appointment: String,
    /// None if there is no table `users` that a foreign key can reference.
    pub(crate) user: Option<String>,
    /// The type of `calcom_host_mappings.id`: our own, or that of an adopted table.
    pub(crate) mapping: String,
    /// Whether `appointments` can take one more index: the gateway may already use all 64 that MySQL allows.
    pub(crate) room_for_index: bool,
}

impl Dialect {
    /// Takes the key types from the existing columns. Falls back to an integer key for a missing table, which
    /// [`Columns::problems`] has already refused.
    pub(crate) fn of(columns: &Columns) -> Self {
        let key = |table| columns.get(table, "id").map(Column::reference_type);
        let backend = columns.backend();
        let default = || big_key(backend).to_owned();
        Self {
            backend,
            company: key("companies").unwrap_or_else(default),
            staff: key("staff").unwrap_or_else(default),
            appointment: key("appointments").unwrap_or_else(default),
            user: columns
                .get("users", "id")
                .filter(|id| id.key_kind(backend).is_some())
                .map(Column::reference_type),
            mapping: key(names::MAPPINGS)
                .unwrap_or_else(|| by_engine(backend, ["BIGINT", "BIGINT", "INTEGER"]).to_owned()),
            room_for_index: columns.appointments_keys < 64,
        }
    }

    pub(crate) fn is_mysql(&self) -> bool {
        self.backend == DbBackend::MySql
    }

    /// Replaces the placeholders in a column's definition by this engine's or the gateway's types.
    pub(crate) fn filled(&self, definition: &str) -> String {
        let types = [
            ("{company}", self.company.as_str()),
            ("{staff}", &self.staff),
            ("{moment}", self.moment()),
            ("{now}", self.fine_moment_now()),
            ("{json}", self.json()),
        ];
        types.iter().fold(definition.to_owned(), |text, (place, kind)| text.replace(place, kind))
    }

    /// Returns a text type that is compared and ordered by its bytes.
    pub(crate) fn exact(&self, length: u8) -> String {
        let collation = if self.backend == DbBackend::Postgres { " COLLATE \"C\"" } else { "" };
        format!("VARCHAR({length}){collation}")
    }

    pub(crate) fn long_text(&self) -> &'static str {
        by_engine(self.backend, ["LONGTEXT", "TEXT", "TEXT"])
    }

    pub(crate) fn bytes(&self) -> &'static str {
        by_engine(self.backend, ["LONGBLOB", "BYTEA", "BLOB"])
    }

    pub(crate) fn json(&self) -> &'static str {
        by_engine(self.backend, ["JSON", "JSONB", "TEXT"])
    }

    /// Returns the type of a timestamp to the second. Its columns need an explicit default: without one
    /// MariaDB changes the first NOT NULL timestamp of a table with every update.
    pub(crate) fn moment(&self) -> &'static str {
        by_engine(self.backend, ["TIMESTAMP", "TIMESTAMPTZ", "TIMESTAMP"])
    }

    /// Returns a timestamp at the engine's best precision, with the current time as its default.
    pub(crate) fn fine_moment_now(&self) -> &'static str {
        let definitions = [
            "TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6)",
            "TIMESTAMPTZ NOT NULL DEFAULT CURRENT_TIMESTAMP",
            "TIMESTAMP NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now'))",
        ];
        by_engine(self.backend, definitions)
    }
}

/// Picks this engine's value from those for MariaDB and MySQL, PostgreSQL, and SQLite.
pub fn by_engine<T>(backend: DbBackend, [mysql, postgres, sqlite]: [T; 3]) -> T {
    match backend {
        DbBackend::MySql => mysql,
        DbBackend::Postgres => postgres,
        _ => sqlite,
    }
}

/// Returns the usual type of a gateway's key: BIGINT UNSIGNED where the engine has it.
pub(crate) fn big_key(backend: DbBackend) -> &'static str {
    by_engine(backend, ["bigint unsigned", "bigint", "INTEGER"])
}
