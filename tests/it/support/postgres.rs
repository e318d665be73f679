//! A PostgreSQL server for one test, which the test can stop and start at any time.
//!
//! PostgreSQL refuses to run as root, so for root it runs as `postgres`, otherwise as the user who runs the
//! tests, with its data in its own directory; the shared server is not touched. It is ready after a few
//! seconds.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::broker::free_port;
use super::daemon::{Daemon, find};
use super::eventually;

/// A private server. Dropping it kills it and removes its data.
pub(crate) struct Postgres {
    /// The directory of PostgreSQL's programs.
    programs: PathBuf,
    port: u16,
    options: Vec<String>,
    daemon: Option<Daemon>,
    directory: TempDir,
}

impl Postgres {
    /// Creates a server with these settings (`max_connections=20`) and waits until it accepts connections.
    /// Returns `None` if no PostgreSQL server is installed: the caller then has nothing to test.
    pub(crate) async fn start_with(options: Vec<String>) -> Option<Self> {
        let mut server = Self::prepare()?;
        server.options = options;
        server.run().await;
        Some(server)
    }

    /// Prepares a server without starting it.
    pub(crate) fn prepare() -> Option<Self> {
        let initdb = super::require_or_skip("PostgreSQL (initdb)", find("initdb", program_directories()))?;
        let programs = initdb.parent().unwrap().to_owned();
        let directory = tempfile::tempdir().unwrap();
        let server = Self { programs, port: free_port(), directory, options: Vec::new(), daemon: None };
        chown_to_server(server.directory.path());
        let initialized = server
            .program("initdb")
            .args(["--username=postgres", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C"])
            .output()
            .unwrap();
        assert!(initialized.status.success(), "{}", String::from_utf8_lossy(&initialized.stderr));
        Some(server)
    }

    /// Adds a setting for the next start.
    pub(crate) fn configure(&mut self, option: String) {
        self.options.push(option);
    }

    /// Writes a file that only the server may read, as it requires for its key.
    pub(crate) fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        chown_to_server(&path);
        path
    }

    /// Returns the server's address.
    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Starts the server with its existing data and waits until it accepts connections.
    pub(crate) async fn run(&mut self) {
        let home = self.directory.path().display();
        let mut command = self.program("postgres");
        command.args(["-p", &self.port.to_string(), "-c", "listen_addresses=127.0.0.1"]);
        // Durability on disk is not tested: the kernel keeps the data that a killed process had written.
        command.args(["-c", "fsync=off", "-c", &format!("unix_socket_directories={home}")]);
        // Shared memory next to the data, removed with it: files in /dev/shm outlive a killed server.
        command.args(["-c", "dynamic_shared_memory_type=mmap"]);
        for option in &self.options {
            command.args(["-c", option]);
        }
        let url = self.url();
        let daemon = self.daemon.insert(Daemon::start(&mut command));
        eventually("a private PostgreSQL accepts connections", Duration::from_secs(60), async || {
            assert!(daemon.is_running(), "the private PostgreSQL ended immediately");
            sea_orm::Database::connect(&url).await.ok()?.close().await.ok()
        })
        .await;
    }

    /// Stops the server cleanly, even with open connections.
    pub(crate) async fn stop(&mut self) {
        self.end(Signal::SIGINT).await;
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

    /// Returns the command for one of PostgreSQL's programs, on the data and as the server's user.
    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        command.arg("-D").arg(self.directory.path().join("data")).current_dir(self.directory.path());
        if let Some((user, group)) = server_user() {
            command.uid(user).gid(group);
        }
        command
    }
}

/// Makes the server's user the owner of the path.
fn chown_to_server(path: &Path) {
    if let Some((user, group)) = server_user() {
        chown(path, Some(user), Some(group)).unwrap();
    }
}

/// Returns the user for the server if root runs the tests.
fn server_user() -> Option<(u32, u32)> {
    let id = |arguments: &[&str]| {
        let output = Command::new("id").args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().parse().expect("the user postgres does not exist")
    };
    (id(&["-u"]) == 0).then(|| (id(&["-u", "postgres"]), id(&["-g", "postgres"])))
}

/// Returns the directories in which the programs may be: Debian's, the newest version first, then the usual ones.
fn program_directories() -> Vec<PathBuf> {
    let versions = Path::new("/usr/lib/postgresql").read_dir().into_iter().flatten();
    let mut directories: Vec<PathBuf> = versions.map(|version| version.unwrap().path().join("bin")).collect();
    directories.sort_by_key(|directory| directory.parent()?.file_name()?.to_str()?.parse::<u32>().ok());
    directories.reverse();
    directories.extend(["/usr/local/bin", "/opt/homebrew/bin", "/usr/bin"].map(PathBuf::from));
    directories
}
