//! The engine, and the column types that are its own or the gateway's.

use sea_orm_migration::sea_orm::DbBackend;

use crate::gateway::{Column, Columns};
use crate::names;

/// The engine, and the types of the gateway's keys as our columns must have them.
#[derive(Clone, Debug)]
pub(crate) struct Dialect {
    pub(crate) backend: DbBackend,
    pub(crate) company: String,
    pub(crate) staff: String,
    pub(crate) appointment: String,
    /// None without a table `users` to which a foreign key can point.
    pub(crate) user: Option<String>,
    /// `calcom_host_mappings.id`: our own, or that of an adopted table.
    pub(crate) mapping: String,
    /// `appointments` can take one more index: the gateway's may have all 64 that MySQL allows a table.
    pub(crate) room_for_index: bool,
}

impl Dialect {
    /// Takes the key types from what is there; falls back to an integer key where a table is
    /// missing, which [`Columns::problems`] has refused before.
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

    /// A column's definition, with the types that are this engine's or the gateway's in their places.
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

    /// A text that is compared and ordered by its bytes.
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

    /// A moment, to the second. MariaDB would make the first NOT NULL one of a table change with
    /// every update; an explicit default prevents it.
    pub(crate) fn moment(&self) -> &'static str {
        by_engine(self.backend, ["TIMESTAMP", "TIMESTAMPTZ", "TIMESTAMP"])
    }

    /// A moment as fine as the engine has it, with "now" as its default.
    pub(crate) fn fine_moment_now(&self) -> &'static str {
        let definitions = [
            "TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6)",
            "TIMESTAMPTZ NOT NULL DEFAULT CURRENT_TIMESTAMP",
            "TIMESTAMP NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now'))",
        ];
        by_engine(self.backend, definitions)
    }
}

/// That of these which is this engine's: MariaDB's and MySQL's, PostgreSQL's, SQLite's.
pub fn by_engine<T>(backend: DbBackend, [mysql, postgres, sqlite]: [T; 3]) -> T {
    match backend {
        DbBackend::MySql => mysql,
        DbBackend::Postgres => postgres,
        _ => sqlite,
    }
}

/// A gateway's usual key: BIGINT UNSIGNED where the engine has it.
pub(crate) fn big_key(backend: DbBackend) -> &'static str {
    by_engine(backend, ["bigint unsigned", "bigint", "INTEGER"])
}
