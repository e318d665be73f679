//! A user of a database server with only the privileges that a test grants.

use hostmatch::config::DatabaseConfig;

use super::address::{database_server, with_account};
use super::{Backend, TestDatabase, config};

/// The password of every user: some servers refuse users without one.
const PASSWORD: &str = "p@ss/word";

/// A user whose name and password must be quoted. Dropping it removes it, so it must outlive the databases
/// in which it owns something.
pub(crate) struct User {
    pub(crate) name: String,
    backend: Backend,
}

impl User {
    /// Creates a user on the shared server.
    pub(crate) async fn new(backend: Backend) -> Self {
        let name = format!("it's \"a\" `user` {}", &uuid::Uuid::new_v4().simple().to_string()[..8]);
        let user = Self { name, backend };
        let statement = match backend {
            Backend::MariaDb => format!("CREATE USER {} IDENTIFIED BY '{PASSWORD}'", user.quoted()),
            _ => format!("CREATE ROLE {} LOGIN PASSWORD '{PASSWORD}'", user.quoted()),
        };
        execute_on_server(backend, &[statement]).await;
        user
    }

    /// Returns the name as a statement quotes it.
    pub(crate) fn quoted(&self) -> String {
        match self.backend {
            Backend::MariaDb => format!("`{}`@`%`", self.name.replace('`', "``")),
            _ => format!("\"{}\"", self.name.replace('"', "\"\"")),
        }
    }

    /// Returns the URL of this database for this user.
    pub(crate) fn url(&self, test: &TestDatabase) -> String {
        with_account(&test.url, &self.name, PASSWORD)
    }

    pub(crate) fn config(&self, test: &TestDatabase) -> DatabaseConfig {
        config(&self.url(test))
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let backend = self.backend;
        let statement = match backend {
            Backend::MariaDb => format!("DROP USER IF EXISTS {}", self.quoted()),
            _ => format!("DROP ROLE IF EXISTS {}", self.quoted()),
        };
        // The test's runtime may be ending or panicking, so the removal uses its own.
        let removal = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(execute_on_server(backend, &[statement]));
        });
        assert!(removal.join().is_ok() || std::thread::panicking(), "the test's user was not removed");
    }
}

async fn execute_on_server(backend: Backend, statements: &[String]) {
    use sea_orm::ConnectionTrait as _;
    let mut options = sea_orm::ConnectOptions::new(database_server(backend).unwrap());
    options.max_connections(1).sqlx_logging(false);
    let connection = sea_orm::Database::connect(options).await.unwrap();
    for statement in statements {
        connection.execute_unprepared(statement).await.unwrap();
    }
    connection.close().await.unwrap();
}
