//! Database errors, classified by how to handle them.
//!
//! The texts never contain a value. Servers quote the offending data in their messages ("Duplicate entry
//! 'jane@…'"), so a message is shown only if its kind is known to be free of data. The driver's error is not
//! kept as a source, because printing a chain of errors would print it.

use sea_orm::sqlx::{self, mysql::MySqlDatabaseError, postgres::PgDatabaseError, sqlite::SqliteError};
use sea_orm::{ConnAcquireErr, DbErr, RuntimeErr};

/// A failed database operation.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The server is unreachable, or refuses every session. Hold the work, and try again when the server is
    /// available again.
    #[error("the database is not available: {reason}")]
    Unavailable {
        /// The reason.
        reason: String,
        /// The operating system's error, if there is one.
        #[source]
        source: Option<std::io::Error>,
    },
    /// The user lacks a privilege. This is handled like an unreachable server until the privilege is granted.
    /// A command that reads several tables still shows the others.
    #[error("the database is not available: {0}")]
    Denied(String),
    /// The server answers, but has no free connection. This is handled like an unreachable server.
    #[error("the database is not available: {0}")]
    Full(String),
    /// This session conflicted with another one (deadlock, lock, time limit): a retry may succeed.
    #[error("the database aborted this transaction: {0}")]
    Conflict(String),
    /// The plan changes a host whose lock is shared: it has to be loaded and planned again with an exclusive
    /// lock.
    #[error(
        "other workers share the lock of a host that this decision changes: it is repeated under an exclusive lock"
    )]
    SharedHost,
    /// The database refuses this data: a retry fails again.
    #[error("the database refused the data: {0}")]
    Rejected(String),
    /// Our tables are missing, or older than this program: run `hostmatch migrate up`.
    #[error(
        "hostmatch's tables are missing or older than this version: run `hostmatch migrate up` (pending: {0})"
    )]
    Behind(String),
    /// The tables or the configuration cannot be used: an operator must fix them.
    #[error("{0}")]
    Schema(String),
}

/// The result of a database operation.
pub(super) type Result<T, E = StoreError> = std::result::Result<T, E>;

/// How to handle a [`StoreError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreErrorKind {
    /// Hold the work, and try again when the database is available again.
    Unavailable,
    /// Try again.
    Conflict,
    /// A retry with the same data fails again.
    Rejected,
    /// Migrations are pending: hold the work, and try again when they have been applied.
    Behind,
    /// An operator must fix the tables or the configuration.
    Schema,
}

impl StoreError {
    /// Returns the kind of this error, which determines how to handle it.
    pub fn kind(&self) -> StoreErrorKind {
        match self {
            Self::Unavailable { .. } | Self::Denied(_) | Self::Full(_) => StoreErrorKind::Unavailable,
            Self::Conflict(_) | Self::SharedHost => StoreErrorKind::Conflict,
            Self::Rejected(_) => StoreErrorKind::Rejected,
            Self::Behind(_) => StoreErrorKind::Behind,
            Self::Schema(_) => StoreErrorKind::Schema,
        }
    }

    pub(super) fn unreachable(host: &str, port: u16, source: std::io::Error) -> Self {
        let reason = format!("cannot connect to {host}:{port}: {source}");
        Self::Unavailable { reason, source: Some(source) }
    }

    pub(super) fn cannot_open(file: &std::path::Path, error: &sqlx::Error) -> Self {
        let why =
            error.as_database_error().map_or_else(|| error.to_string(), |error| error.message().to_owned());
        unavailable(&format!("cannot open {}: {why}", file.display()))
    }

    pub(super) fn file_missing(file: &std::path::Path) -> Self {
        unavailable(&format!(
            "the file {} does not exist; check database.url (hostmatch config show database.url)",
            file.display()
        ))
    }

    /// Creates an error of the first connection, where the server's messages do not quote data.
    pub(super) fn cannot_connect(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(refusal) => match Self::from_driver(&error) {
                full @ Self::Full(_) => full,
                _ => unavailable(refusal.message()),
            },
            other if other.to_string().contains("RSA auth backend disabled") => Self::Schema(
                "the database server asks for caching_sha2_password over an unencrypted connection, which \
                 hostmatch does not support: enable TLS on the server (MySQL 8 creates certificates at its first \
                 start, unless --skip-ssl or auto_generate_certs=OFF prevents it; then connect with \
                 ?ssl-mode=required), or give hostmatch's user the plugin mysql_native_password"
                    .into(),
            ),
            other => Self::from_driver(other),
        }
    }

    fn from_driver(error: &sqlx::Error) -> Self {
        use sqlx::Error as E;
        match error {
            E::Database(error) => {
                if let Some(error) = error.try_downcast_ref::<MySqlDatabaseError>() {
                    mysql(error)
                } else if let Some(error) = error.try_downcast_ref::<PgDatabaseError>() {
                    postgres(error)
                } else if let Some(error) = error.try_downcast_ref::<SqliteError>() {
                    sqlite(error)
                } else {
                    Self::Rejected("unknown database error".into())
                }
            }
            E::Io(error) => {
                let source = Some(std::io::Error::new(error.kind(), error.to_string()));
                Self::Unavailable { reason: format!("the connection failed: {error}"), source }
            }
            E::Tls(error) => unavailable(&format!("the encrypted connection failed: {error}")),
            E::PoolTimedOut => unavailable("no connection became free in time"),
            E::PoolClosed | E::WorkerCrashed | E::BeginFailed => unavailable("the connection was closed"),
            // A server that shuts down may close the connection in the middle of a packet.
            E::Protocol(_) => unavailable("the connection ended in the middle of a response"),
            E::Configuration(error) => Self::Schema(format!("database.url cannot be used: {error}")),
            E::ColumnDecode { index, source } => decoding(index, source.as_ref()),
            E::Decode(source) => decoding("a value", source.as_ref()),
            E::ColumnNotFound(column) => Self::Schema(format!("the result has no column {column}")),
            E::TypeNotFound { type_name } => Self::Schema(format!("the database has no type {type_name}")),
            E::Encode(_) => Self::Rejected("a value could not be encoded".into()),
            _ => Self::Rejected("the driver could not execute the statement".into()),
        }
    }
}

impl From<DbErr> for StoreError {
    fn from(error: DbErr) -> Self {
        match error {
            DbErr::ConnectionAcquire(ConnAcquireErr::Timeout) => {
                unavailable("no connection became free in time")
            }
            DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed) => {
                unavailable("the connection was closed")
            }
            DbErr::Conn(RuntimeErr::SqlxError(error))
            | DbErr::Exec(RuntimeErr::SqlxError(error))
            | DbErr::Query(RuntimeErr::SqlxError(error)) => Self::from_driver(&error),
            DbErr::Conn(RuntimeErr::Internal(_)) => unavailable("the connection is not usable"),
            DbErr::Exec(RuntimeErr::Internal(_)) | DbErr::Query(RuntimeErr::Internal(_)) => {
                Self::Rejected("the driver could not execute the statement".into())
            }
            DbErr::TryIntoErr { from, into, .. } => {
                Self::Rejected(format!("a {from} cannot be converted to {into}"))
            }
            DbErr::Type(_) | DbErr::Json(_) => {
                Self::Rejected("a value is missing, or its type differs from its column's".into())
            }
            DbErr::Migration(text) => Self::Schema(text),
            DbErr::BackendNotSupported { db, ctx } => Self::Schema(format!("{db} does not support {ctx}")),
            DbErr::RecordNotFound(_) => Self::Rejected("a required row is missing".into()),
            DbErr::RecordNotInserted => Self::Rejected("no row was inserted".into()),
            DbErr::RecordNotUpdated => Self::Rejected("no row was updated".into()),
            DbErr::MutexPoisonError => unavailable("the connection is not usable"),
            _ => Self::Rejected("the statement could not be executed".into()),
        }
    }
}

impl From<sea_orm::TryGetError> for StoreError {
    fn from(error: sea_orm::TryGetError) -> Self {
        DbErr::from(error).into()
    }
}

fn unavailable(reason: &str) -> StoreError {
    StoreError::Unavailable { reason: reason.to_owned(), source: None }
}

/// Builds an error for a value that cannot be read. Only a type mismatch is safe to quote; other decoders
/// quote the value.
fn decoding(column: &str, source: &(dyn std::error::Error + 'static)) -> StoreError {
    let text = source.to_string();
    if text.contains("is not compatible with SQL type") {
        StoreError::Schema(format!("column {column}: {text}"))
    } else {
        StoreError::Rejected(format!("column {column}: its value has the wrong type"))
    }
}

/// The codes for: shutdown, too many statements, limits of an account, killed, network, disk full, read-only, login
/// refused.
const MYSQL_UNAVAILABLE: [u16; 32] = [
    1021, 1041, 1042, 1043, 1045, 1053, 1077, 1078, 1079, 1080, 1081, 1114, 1129, 1130, 1152, 1156, 1157,
    1158, 1159, 1160, 1161, 1184, 1226, 1290, 1461, 1698, 1792, 1836, 1927, 3100, 3169, 4031,
];

fn mysql(error: &MySqlDatabaseError) -> StoreError {
    let (number, message) = (error.number(), error.message());
    let quoted = || format!("{message} (error {number})");
    match number {
        // A missing privilege on a table, a column, a database or the server.
        1044 | 1142 | 1143 | 1227 => StoreError::Denied(quoted()),
        // Too many connections, of all users or of this one.
        1040 | 1203 => StoreError::Full(quoted()),
        number if MYSQL_UNAVAILABLE.contains(&number) => unavailable(&quoted()),
        // Deadlock, lock wait, changed row, interrupted, time limit (MariaDB, MySQL), NOWAIT.
        1020 | 1205 | 1213 | 1317 | 1412 | 1615 | 1969 | 3024 | 3058 | 3572 => StoreError::Conflict(quoted()),
        // Unknown database, table, column, routine.
        1049 | 1051 | 1054 | 1109 | 1146 | 1305 => StoreError::Schema(format!("{}{HINT}", quoted())),
        // The key's name comes last, after the data.
        1022 | 1062 | 1169 | 1586 => {
            let key = message.rsplit_once("for key '").map_or("?", |(_, key)| key.trim_end_matches('\''));
            StoreError::Rejected(format!("duplicate value for key {key} (error {number})"))
        }
        // These name columns and constraints, not values.
        1048 | 1064 | 1136 | 1153 | 1264 | 1364 | 1406 | 1451 | 1452 | 4025 => StoreError::Rejected(quoted()),
        _ => StoreError::Rejected(format!("error {number}")),
    }
}

fn postgres(error: &PgDatabaseError) -> StoreError {
    let code = error.code();
    let quoted = || format!("{} (SQLSTATE {code})", error.message());
    match (&code[..code.len().min(2)], code) {
        (_, "57014" | "55P03" | "55006") | ("40", _) => StoreError::Conflict(quoted()),
        // "cached plan must not change result type": the gateway migrated while this connection was open. It
        // cannot run this statement until the connection is replaced.
        (_, "0A000") if error.message().contains("cached plan") => unavailable(&quoted()),
        (_, "53300") => StoreError::Full(quoted()),
        (_, "42501") => StoreError::Denied(quoted()),
        // Connection, no privilege to connect, resources, shutdown, read-only, I/O.
        (_, "25006") | ("08" | "28" | "53" | "57" | "58" | "XX", _) => unavailable(&quoted()),
        (_, "42P01" | "42703" | "42883" | "42704" | "3D000" | "3F000") => {
            StoreError::Schema(format!("{}{HINT}", quoted()))
        }
        (_, "42601" | "42804" | "42P10" | "42P18") => StoreError::Rejected(quoted()),
        _ => {
            let mut location = String::new();
            for (what, name) in
                [("table", error.table()), ("column", error.column()), ("constraint", error.constraint())]
            {
                if let Some(name) = name {
                    location.push_str(&format!("{what} {name}, "));
                }
            }
            let is_id = code == "23505" && error.constraint().is_some_and(|name| name.ends_with("_pkey"));
            StoreError::Rejected(format!("{location}SQLSTATE {code}{}", if is_id { ID_TAKEN } else { "" }))
        }
    }
}

fn sqlite(error: &SqliteError) -> StoreError {
    use sqlx::error::DatabaseError as _;
    let message = error.message();
    let code = error.code().and_then(|code| code.parse::<u32>().ok()).unwrap_or_default();
    let quoted = || format!("{message} (SQLite {code})");
    // The low byte is the primary result code; the higher bytes are details.
    match code & 0xff {
        // abort, busy, locked, interrupt, schema changed, locking protocol
        4 | 5 | 6 | 9 | 15 | 17 => StoreError::Conflict(quoted()),
        // permission, memory, read-only, I/O, corrupt, full, cannot open, authorisation, not a database
        3 | 7 | 8 | 10 | 11 | 13 | 14 | 23 | 26 => unavailable(&quoted()),
        1 if message.contains("no such") => StoreError::Schema(format!("{}{HINT}", quoted())),
        // SQLite names columns, not values.
        _ => StoreError::Rejected(quoted()),
    }
}

const ID_TAKEN: &str = ": the id is already in use; if it came from a sequence, the sequence lags behind its \
                        table: `hostmatch migrate up` sets it";

const HINT: &str = "; run `hostmatch migrate status`";
