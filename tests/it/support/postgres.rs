//! A PostgreSQL server of the test's own, to be stopped and started in the middle of things.
//!
//! PostgreSQL refuses to run as root: it runs as `postgres` then, else as whoever runs the tests,
//! with its data in a directory of its own; the shared server is not touched. Ready after a few
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

/// A private server. Dropped, it is killed and its data removed.
pub(crate) struct Postgres {
    /// Where its programs are.
    programs: PathBuf,
    port: u16,
    options: Vec<String>,
    daemon: Option<Daemon>,
    directory: TempDir,
}

impl Postgres {
    /// Makes a server with these settings (`max_connections=20`) and waits until it takes
    /// connections. `None` where no PostgreSQL server is installed: the caller has nothing to test
    /// then.
    pub(crate) async fn start_with(options: Vec<String>) -> Option<Self> {
        let mut server = Self::prepare()?;
        server.options = options;
        server.run().await;
        Some(server)
    }

    /// The same, not running yet.
    pub(crate) fn prepare() -> Option<Self> {
        let initdb = super::or_skip("PostgreSQL (initdb)", find("initdb", places()))?;
        let programs = initdb.parent().unwrap().to_owned();
        let directory = tempfile::tempdir().unwrap();
        let server = Self { programs, port: free_port(), directory, options: Vec::new(), daemon: None };
        give(server.directory.path());
        let made = server
            .program("initdb")
            .args(["--username=postgres", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C"])
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Some(server)
    }

    /// Sets something for when it runs.
    pub(crate) fn configure(&mut self, option: String) {
        self.options.push(option);
    }

    /// A file that only the server may read, as it wants its key to be.
    pub(crate) fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        give(&path);
        path
    }

    /// Where it is.
    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Starts the server, with the data that it had, and waits until it takes connections.
    pub(crate) async fn run(&mut self) {
        let home = self.directory.path().display();
        let mut command = self.program("postgres");
        command.args(["-p", &self.port.to_string(), "-c", "listen_addresses=127.0.0.1"]);
        // What a killed process had written is with the kernel; this is no test of the disk.
        command.args(["-c", "fsync=off", "-c", &format!("unix_socket_directories={home}")]);
        // With its data, and gone with it: what lies in /dev/shm outlives a server that is killed.
        command.args(["-c", "dynamic_shared_memory_type=mmap"]);
        for option in &self.options {
            command.args(["-c", option]);
        }
        let url = self.url();
        let daemon = self.daemon.insert(Daemon::start(&mut command));
        eventually("a private PostgreSQL takes connections", Duration::from_secs(60), async || {
            assert!(daemon.is_running(), "the private PostgreSQL ended at once");
            sea_orm::Database::connect(&url).await.ok()?.close().await.ok()
        })
        .await;
    }

    /// Stops the server in order, whoever is connected.
    pub(crate) async fn stop(&mut self) {
        self.end(Signal::SIGINT).await;
    }

    /// Kills the server, as a power failure would.
    pub(crate) async fn kill(&mut self) {
        self.end(Signal::SIGKILL).await;
    }

    async fn end(&mut self, signal: Signal) {
        if let Some(mut daemon) = self.daemon.take() {
            daemon.end(signal).await;
        }
    }

    /// One of its programs, as the right user, on the data.
    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        command.arg("-D").arg(self.directory.path().join("data")).current_dir(self.directory.path());
        if let Some((user, group)) = other_user() {
            command.uid(user).gid(group);
        }
        command
    }
}

/// Makes it the server's.
fn give(path: &Path) {
    if let Some((user, group)) = other_user() {
        chown(path, Some(user), Some(group)).unwrap();
    }
}

/// Who runs the server, where root runs the tests.
fn other_user() -> Option<(u32, u32)> {
    let number = |arguments: &[&str]| {
        let output = Command::new("id").args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().parse().expect("there is a user postgres")
    };
    (number(&["-u"]) == 0).then(|| (number(&["-u", "postgres"]), number(&["-g", "postgres"])))
}

/// Where Debian has the newest version, and where others have theirs.
fn places() -> Vec<PathBuf> {
    let versions = Path::new("/usr/lib/postgresql").read_dir().into_iter().flatten();
    let mut places: Vec<PathBuf> = versions.map(|version| version.unwrap().path().join("bin")).collect();
    places.sort_by_key(|place| place.parent()?.file_name()?.to_str()?.parse::<u32>().ok());
    places.reverse();
    places.extend(["/usr/local/bin", "/opt/homebrew/bin", "/usr/bin"].map(PathBuf::from));
    places
}
