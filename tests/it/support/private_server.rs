//! A private database server of either engine, and an installation on it.

use super::mariadb::MariaDb;
use super::postgres::Postgres;
use super::{Backend, GatewayShape, Stack, TestDatabase, World, amqp_url};

/// A private server. Dropping it kills it and removes its data.
pub(crate) enum Server {
    MariaDb(MariaDb),
    Postgres(Postgres),
}

impl Server {
    /// Starts a server with this connection limit. Returns `None` if the engine is not installed: the caller
    /// then has nothing to test.
    pub(crate) async fn start(backend: Backend, connections: u32) -> Option<Self> {
        match backend {
            Backend::MariaDb => {
                let options = vec![format!("--max-connections={connections}")];
                MariaDb::start_with(options).await.map(Self::MariaDb)
            }
            _ => {
                let options = vec![format!("max_connections={connections}")];
                Postgres::start_with(options).await.map(Self::Postgres)
            }
        }
    }

    /// Returns the server's address.
    pub(crate) fn address(&self) -> String {
        match self {
            Self::MariaDb(server) => server.url(),
            Self::Postgres(server) => server.url(),
        }
    }

    /// Creates a migrated gateway database on this server.
    pub(crate) async fn create_gateway(&self) -> TestDatabase {
        let (url, backend) = match self {
            Self::MariaDb(server) => (server.url(), Backend::MariaDb),
            Self::Postgres(server) => (server.url(), Backend::Postgres),
        };
        TestDatabase::migrated_on(url, backend, GatewayShape::Live).await
    }

    /// Creates an installation on this server, with short timeouts.
    pub(crate) async fn create_stack(&self) -> Stack {
        let mut stack =
            Stack::on(World::in_database(self.create_gateway().await, &[]).await, Some(amqp_url())).await;
        stack.set("database.acquire_timeout", "1s");
        stack
    }

    /// Starts the server again with its existing data, and waits until it accepts connections.
    pub(crate) async fn restart(&mut self) {
        match self {
            Self::MariaDb(server) => server.run().await,
            Self::Postgres(server) => server.run().await,
        }
    }

    /// Stops the server cleanly.
    pub(crate) async fn stop(&mut self) {
        match self {
            Self::MariaDb(server) => server.stop().await,
            Self::Postgres(server) => server.stop().await,
        }
    }

    /// Kills the server, as a power failure would.
    pub(crate) async fn kill(&mut self) {
        match self {
            Self::MariaDb(server) => server.kill().await,
            Self::Postgres(server) => server.kill().await,
        }
    }
}
