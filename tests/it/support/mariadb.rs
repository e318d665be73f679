//! A MariaDB server for one test, which the test can stop and start at any time.
//!
//! It runs as the user who runs the tests, with its data in its own directory; the shared server is not
//! touched. It is ready after 2 to 5 seconds.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use sea_orm::ConnectionTrait as _;
use tempfile::TempDir;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use super::broker::free_port;
use super::daemon::{Daemon, find};
use super::eventually;

const PROGRAM_DIRECTORIES: [&str; 6] =
    ["/usr/sbin", "/usr/bin", "/usr/local/bin", "/opt/homebrew/bin", "/usr/local/sbin", "/usr/libexec"];

/// A private server. Dropping it kills it and removes its data.
pub(crate) struct MariaDb {
    program: PathBuf,
    user: String,
    port: u16,
    options: Vec<String>,
    daemon: Option<Daemon>,
    directory: TempDir,
    zone: String,
}

impl MariaDb {
    /// Creates a server and waits until it accepts connections. Returns `None` if no MariaDB server is
    /// installed: the caller then has nothing to test.
    pub(crate) async fn start() -> Option<Self> {
        Self::start_as("UTC", Vec::new()).await
    }

    /// Creates a server with this time zone (`SYSTEM`, as on most servers).
    pub(crate) async fn start_in(zone: &'static str) -> Option<Self> {
        Self::start_as(zone, Vec::new()).await
    }

    /// Creates a server with additional options.
    pub(crate) async fn start_with(options: Vec<String>) -> Option<Self> {
        Self::start_as("UTC", options).await
    }

    async fn start_as(zone: &'static str, options: Vec<String>) -> Option<Self> {
        let program = super::require_or_skip("mariadbd", find("mariadbd", PROGRAM_DIRECTORIES))?;
        let installer =
            super::require_or_skip("mariadb-install-db", find("mariadb-install-db", PROGRAM_DIRECTORIES))?;
        let directory = tempfile::tempdir().unwrap();
        // A server that root starts needs an explicit `--user`.
        let user = Command::new("id").arg("-un").output().unwrap().stdout;
        let user = format!("--user={}", String::from_utf8(user).unwrap().trim());
        std::fs::create_dir(directory.path().join("tmp")).unwrap();
        let initialized = Command::new(installer)
            .env("TMPDIR", directory.path().join("tmp"))
            .args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db", &user])
            .arg(format!("--datadir={}", directory.path().join("data").display()))
            .output()
            .unwrap();
        assert!(initialized.status.success(), "{}", String::from_utf8_lossy(&initialized.stderr));
        let mut server = Self {
            program,
            user,
            port: free_port(),
            directory,
            options,
            daemon: None,
            zone: zone.to_owned(),
        };
        server.run().await;
        Some(server)
    }

    /// Returns the server's address.
    pub(crate) fn url(&self) -> String {
        format!("mysql://root@127.0.0.1:{}", self.port)
    }

    /// Stops the clock at this moment, RFC 3339 in UTC, for all new sessions except those of
    /// administrators. Returns the URL of such a user.
    pub(crate) async fn at(&self, moment: &str) -> String {
        let moment = OffsetDateTime::parse(moment, &Rfc3339).unwrap().unix_timestamp();
        let server = sea_orm::Database::connect(self.url()).await.unwrap();
        for statement in [
            "CREATE USER IF NOT EXISTS gateway@'127.0.0.1'",
            // All necessary privileges without CONNECTION ADMIN: init_connect is skipped for users who have it.
            "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, REFERENCES, INDEX, ALTER, TRIGGER, PROCESS \
             ON *.* TO gateway@'127.0.0.1'",
            "SET GLOBAL log_bin_trust_function_creators = 1",
            &format!("SET GLOBAL init_connect = 'SET timestamp = {moment}'"),
        ] {
            server.execute_unprepared(statement).await.unwrap();
        }
        server.close().await.unwrap();
        format!("mysql://gateway@127.0.0.1:{}", self.port)
    }

    /// Sets a variable for all new sessions, such as `sql_mode = 'ANSI_QUOTES'`.
    pub(crate) async fn set(&self, setting: &str) {
        let server = sea_orm::Database::connect(self.url()).await.unwrap();
        server.execute_unprepared(&format!("SET GLOBAL {setting}")).await.unwrap();
        server.close().await.unwrap();
    }

    /// Starts the server with its existing data and waits until it accepts connections.
    pub(crate) async fn run(&mut self) {
        let path = |name: &str| self.directory.path().join(name).display().to_string();
        let mut command = Command::new(&self.program);
        command
            .args(["--no-defaults", "--bind-address=127.0.0.1", "--innodb-buffer-pool-size=32M", &self.user])
            .arg(format!("--port={}", self.port))
            .arg(format!("--datadir={}", path("data")))
            .arg(format!("--socket={}", path("socket")))
            .arg(format!("--pid-file={}", path("pid")))
            .args(&self.options)
            .env("TZ", &self.zone)
            // When it starts, a server removes every temporary table in that directory, including those of
            // other servers, which has crashed the shared one.
            .env("TMPDIR", path("tmp"));
        self.daemon = Some(Daemon::start(&mut command));
        let port = self.port;
        eventually("a private MariaDB accepts connections", Duration::from_secs(60), async || {
            let mut connection = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
            // The server speaks first, when it is ready.
            connection.read_u8().await.ok()
        })
        .await;
    }

    /// Starts the server in this time zone, in the notation of `TZ`.
    pub(crate) async fn run_in(&mut self, zone: String) {
        self.zone = zone;
        self.run().await;
    }

    /// Stops the server cleanly.
    pub(crate) async fn stop(&mut self) {
        self.end(Signal::SIGTERM).await;
    }

    /// Kills the server, as a power failure would.
    pub(crate) async fn kill(&mut self) {
        self.end(Signal::SIGKILL).await;
    }

    async fn end(&mut self, signal: Signal) {
        if let Some(mut daemon) = self.daemon.take() {
            daemon.stop_with(signal).await;
        }
    }
}
