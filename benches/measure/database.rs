//! A database for one measurement, created on an existing server or in a file, and removed afterwards.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use hostmatch::config::{DatabaseConfig, Secret};
use hostmatch::store::{Database, DbId};
use sea_orm::{ConnectionTrait as _, Statement};

use crate::Result;
use crate::address::server;

/// The number of rows in one INSERT.
const ROWS: u64 = 1000;

/// A database engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Engine {
    Mariadb,
    Postgres,
    Sqlite,
}

impl Engine {
    /// Returns the name of the engine for output.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Mariadb => "MariaDB",
            Self::Postgres => "PostgreSQL",
            Self::Sqlite => "SQLite",
        }
    }

    /// Returns the address of the server, the same as for the tests.
    pub(crate) fn server(self) -> Option<String> {
        match self {
            Self::Mariadb => Some(server("HOSTMATCH_TEST_MYSQL_URL", "mysql://root@127.0.0.1:3306")),
            Self::Postgres => {
                Some(server("HOSTMATCH_TEST_POSTGRES_URL", "postgres://postgres@127.0.0.1:5432/postgres"))
            }
            Self::Sqlite => None,
        }
    }
}

/// A database with the gateway's tables and ours, all empty.
pub(crate) struct Scratch {
    pub(crate) url: String,
    pub(crate) database: Database,
    server: Option<String>,
}

impl Scratch {
    /// Creates the database; `directory` is for the SQLite file.
    ///
    /// # Errors
    /// Fails if the server cannot be used.
    pub(crate) async fn open(engine: Engine, directory: &Path) -> Result<Self> {
        let name = format!("hostmatch_bench_{}", uuid::Uuid::new_v4().simple());
        let (url, server) = match engine.server() {
            Some(server) => {
                let options =
                    if engine == Engine::Postgres { "TEMPLATE template0" } else { "CHARACTER SET utf8mb4" };
                administer(&server, &format!("CREATE DATABASE {name} {options}")).await?;
                // Everything else in the server's address is kept.
                let mut url = reqwest::Url::parse(&server)?;
                url.set_path(&format!("/{name}"));
                (String::from(url), Some(server))
            }
            None => (format!("sqlite://{}", directory.join(name).display()), None),
        };
        let database = Database::connect(&config(&url)).await?;
        migration::baseline(database.connection()).await?;
        migration::up(database.connection()).await?;
        Ok(Self { url, database, server })
    }

    /// Inserts rows, a thousand at a time.
    ///
    /// # Errors
    /// Fails if the database refuses them.
    pub(crate) async fn insert(&self, into: &str, rows: impl Iterator<Item = String>) -> Result<()> {
        let mut rows = rows.peekable();
        while rows.peek().is_some() {
            let mut statement = format!("INSERT INTO {into} VALUES ");
            for (n, row) in rows.by_ref().take(usize::try_from(ROWS)?).enumerate() {
                write!(statement, "{}{row}", if n == 0 { "" } else { ", " })?;
            }
            self.run(&statement).await?;
        }
        Ok(())
    }

    /// Runs a statement.
    ///
    /// # Errors
    /// Fails if the database refuses it.
    pub(crate) async fn run(&self, statement: &str) -> Result<()> {
        self.database.connection().execute_unprepared(statement).await?;
        Ok(())
    }

    /// Reads a number, such as a count.
    ///
    /// # Errors
    /// Fails if the query fails.
    pub(crate) async fn number(&self, query: &str) -> Result<u64> {
        let statement = Statement::from_string(self.database.backend(), query);
        let row = self.database.connection().query_one_raw(statement).await?.ok_or("no row")?;
        Ok(u64::try_from(row.try_get_by_index::<DbId>(0)?.0)?)
    }

    /// Removes the database.
    ///
    /// # Errors
    /// Fails if the database cannot be removed.
    pub(crate) async fn remove(self) -> Result<()> {
        self.database.close().await;
        if let Some(server) = self.server {
            let url = reqwest::Url::parse(&self.url)?;
            administer(&server, &format!("DROP DATABASE {}", url.path().trim_start_matches('/'))).await?;
        }
        Ok(())
    }
}

fn config(url: &str) -> DatabaseConfig {
    DatabaseConfig {
        url: Secret::new(url),
        url_file: std::path::PathBuf::new(),
        max_connections: 8,
        acquire_timeout: Duration::from_secs(10),
        statement_timeout: Duration::from_secs(60),
    }
}

async fn administer(server: &str, statement: &str) -> Result<()> {
    let mut options = sea_orm::ConnectOptions::new(server);
    options.max_connections(1).sqlx_logging(false);
    let connection = sea_orm::Database::connect(options).await?;
    connection.execute_unprepared(statement).await?;
    Ok(connection.close().await?)
}
