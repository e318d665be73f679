//! A database for one test, on any engine. It is removed when the test ends, even by a panic.

use std::fmt;
use std::time::Duration;

use hostmatch::config::{DatabaseConfig, GatewayConfig, Secret};
use hostmatch::store::{Database, GatewaySchema};
use sea_orm::{ConnectionTrait as _, Statement};

use super::address;
use super::adopted::Variant;
use super::gateway::GatewayShape;

/// An engine under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    Sqlite,
    MariaDb,
    Postgres,
}

/// A database for one test. Dropping it removes it from the server.
pub(crate) struct TestDatabase {
    /// The URL for a program under test.
    pub(crate) url: String,
    /// A connection with the program's settings.
    pub(crate) db: Database,
    pub(crate) backend: Backend,
    pub(crate) shape: GatewayShape,
    _storage: Storage,
}

impl TestDatabase {
    /// Creates a database with a gateway of this shape and none of our tables.
    pub(crate) async fn fresh(backend: Backend, shape: GatewayShape) -> Self {
        Self::fresh_in(Storage::create(backend).await, backend, shape).await
    }

    /// Creates a database with this gateway and none of our tables on a private server.
    pub(crate) async fn fresh_on(server: String, backend: Backend, shape: GatewayShape) -> Self {
        Self::fresh_in(Storage::create_on(server, backend).await, backend, shape).await
    }

    /// Creates a database with this gateway on a private server and migrates it.
    pub(crate) async fn migrated_on(server: String, backend: Backend, shape: GatewayShape) -> Self {
        let this = Self::fresh_on(server, backend, shape).await;
        migration::up(this.db.connection()).await.unwrap();
        this
    }

    /// Adds our tables as the gateway's own migrations created them, with their rows.
    pub(crate) async fn with_existing_tables(self, variant: Variant) -> Self {
        let in_production = matches!(self.shape, GatewayShape::Production(_));
        let mut tables = super::adopted::tables(self.backend, variant);
        if in_production {
            // The gateway's keys are strings; on MariaDB `appointments` has the maximum number of indexes.
            let exceeds_limit = |sql: &String| {
                self.backend == Backend::MariaDb && sql.starts_with("ALTER TABLE appointments ADD INDEX")
            };
            tables.retain(|sql| !exceeds_limit(sql));
            tables = tables.into_iter().map(|sql| sql.replace(" UUID ", " CHAR(36) ")).collect();
        }
        self.run(&tables).await;
        self.run(&super::adopted::rows(self.backend, variant)).await;
        self
    }

    /// Adopts the gateway's tables.
    pub(crate) async fn with_adopted(self) -> Self {
        let this = self.with_existing_tables(Variant::Plan).await;
        migration::adopt(this.db.connection()).await.unwrap();
        this
    }

    async fn fresh_in(storage: Storage, backend: Backend, shape: GatewayShape) -> Self {
        let url = storage.url();
        let db = Database::connect(&config(&url)).await.unwrap();
        let this = Self { url, db, backend, shape, _storage: storage };
        match shape {
            GatewayShape::Empty => {}
            GatewayShape::Roadmap => drop(migration::baseline(this.db.connection()).await.unwrap()),
            GatewayShape::Live => this.run(&super::gateway::live(backend)).await,
            GatewayShape::Production(updated_at) => {
                this.run(&super::production::tables(backend, updated_at)).await;
            }
        }
        this
    }

    /// Creates a database with a gateway of this shape and migrates it.
    pub(crate) async fn migrated(backend: Backend, shape: GatewayShape) -> Self {
        let this = Self::fresh(backend, shape).await;
        migration::up(this.db.connection()).await.unwrap();
        this
    }

    /// Creates a migrated database on PostgreSQL, with a collation that sorts strings as a dictionary does.
    pub(crate) async fn migrated_in_dictionary_order() -> Self {
        let storage = Storage::create_in_dictionary_order().await;
        let this = Self::fresh_in(storage, Backend::Postgres, GatewayShape::Roadmap).await;
        migration::up(this.db.connection()).await.unwrap();
        this
    }

    /// Returns the database name on the server.
    pub(crate) fn name(&self) -> &str {
        address::database_of(&self.url)
    }

    /// Reads the gateway's schema as the program does.
    pub(crate) async fn schema(&self) -> GatewaySchema {
        GatewaySchema::read(&self.db, &GatewayConfig { timezone: "server".into() }).await.unwrap()
    }

    /// Runs the statements one by one.
    pub(crate) async fn run<S: AsRef<str>>(&self, statements: &[S]) {
        for statement in statements {
            let statement = statement.as_ref();
            let done = self.db.connection().execute_unprepared(statement).await;
            done.unwrap_or_else(|error| panic!("{self:?}: {statement}: {error}"));
        }
    }

    /// Reconnects, so that settings made for new sessions apply.
    pub(crate) async fn reconnected(self) -> Self {
        self.db.close().await;
        let db = Database::connect(&config(&self.url)).await.unwrap();
        Self { db, ..self }
    }

    /// Returns the first column of every row as a session in this time zone reads it. The column must
    /// contain strings.
    pub(crate) async fn strings_in_zone(&self, zone: &str, query: &str) -> Vec<String> {
        let tx = self.db.begin().await.unwrap();
        let setting = if self.backend == Backend::MariaDb { "SESSION time_zone =" } else { "TIME ZONE" };
        tx.execute_unprepared(&format!("SET {setting} '{zone}'")).await.unwrap();
        let rows = tx.query_all_raw(Statement::from_string(self.db.backend(), query)).await.unwrap();
        // Reset the session before it returns to the pool.
        tx.execute_unprepared(&format!("SET {setting} '+00:00'")).await.unwrap();
        tx.rollback().await.unwrap();
        rows.iter().map(|row| row.try_get_by_index::<String>(0).unwrap()).collect()
    }

    /// Returns the first column of every row, which must contain strings.
    pub(crate) async fn strings(&self, query: &str) -> Vec<String> {
        let statement = Statement::from_string(self.db.backend(), query);
        let rows = self.db.connection().query_all_raw(statement).await;
        let rows = rows.unwrap_or_else(|error| panic!("{self:?}: {query}: {error}"));
        rows.iter()
            .map(|row| row.try_get_by_index::<Option<String>>(0).unwrap().unwrap_or("NULL".into()))
            .collect()
    }

    /// Returns a number, such as a count.
    pub(crate) async fn number(&self, query: &str) -> i64 {
        let statement = Statement::from_string(self.db.backend(), query);
        let row = self.db.connection().query_one_raw(statement).await.unwrap().unwrap();
        row.try_get_by_index::<hostmatch::store::DbId>(0).unwrap().0
    }
}

impl fmt::Debug for TestDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}/{:?}", self.backend, self.shape)
    }
}

/// Returns a configuration for this URL, with limits that suit a test.
pub(crate) fn config(url: &str) -> DatabaseConfig {
    DatabaseConfig {
        url: Secret::new(url),
        url_file: std::path::PathBuf::new(),
        max_connections: 4,
        acquire_timeout: Duration::from_secs(10),
        statement_timeout: Duration::from_secs(10),
    }
}

/// A database file, or a database on a server. Dropping it removes it.
enum Storage {
    File(tempfile::TempDir),
    Server { server: String, name: String },
}

impl Storage {
    async fn create(backend: Backend) -> Self {
        match address::database_server(backend) {
            Some(server) => Self::create_on(server, backend).await,
            None => Self::File(tempfile::tempdir().unwrap()),
        }
    }

    async fn create_on(server: String, backend: Backend) -> Self {
        let name = format!("hostmatch_test_{}", uuid::Uuid::new_v4().simple());
        // Another session may be using template1; live gateways have another collation than their keys.
        let options = match backend {
            Backend::Postgres => "TEMPLATE template0",
            _ => "CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci",
        };
        execute_on(&server, &format!("CREATE DATABASE {name} {options}")).await.unwrap();
        Self::Server { server, name }
    }

    /// Creates a PostgreSQL database whose collation sorts strings as a dictionary does.
    async fn create_in_dictionary_order() -> Self {
        let server = address::database_server(Backend::Postgres).unwrap();
        let name = format!("hostmatch_test_{}", uuid::Uuid::new_v4().simple());
        let options = "TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US'";
        execute_on(&server, &format!("CREATE DATABASE {name} {options}")).await.unwrap();
        Self::Server { server, name }
    }

    fn url(&self) -> String {
        match self {
            Self::File(folder) => format!("sqlite://{}", folder.path().join("gateway.db").display()),
            Self::Server { server, name } => address::with_database(server, name),
        }
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        let Self::Server { server, name } = self else { return };
        let (server, name) = (server.clone(), name.clone());
        // The test's runtime may be ending or panicking, so the removal uses its own.
        let removal = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(drop_database(&server, &name)).unwrap();
        });
        assert!(removal.join().is_ok() || std::thread::panicking(), "the test's database was not removed");
    }
}

async fn execute_on(server: &str, statement: &str) -> Result<(), sea_orm::DbErr> {
    let mut options = sea_orm::ConnectOptions::new(server);
    options.max_connections(1).sqlx_logging(false);
    let connection = sea_orm::Database::connect(options).await?;
    connection.execute_unprepared(statement).await?;
    connection.close().await
}

/// Closes remaining connections, then drops the database: an open transaction of a test would block that.
async fn drop_database(server: &str, name: &str) -> Result<(), sea_orm::DbErr> {
    if server.starts_with("postgres") {
        return execute_on(server, &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await;
    }
    let connection = sea_orm::Database::connect(server).await?;
    let query = format!("SELECT id FROM information_schema.processlist WHERE db = '{name}'");
    for row in
        connection.query_all_raw(Statement::from_string(connection.get_database_backend(), query)).await?
    {
        let id = row.try_get::<hostmatch::store::DbId>("", "id")?.0;
        // The connection may have ended in the meantime.
        let _ = connection.execute_unprepared(&format!("KILL {id}")).await;
    }
    connection.execute_unprepared(&format!("DROP DATABASE IF EXISTS {name}")).await?;
    connection.close().await
}
