//! A RabbitMQ node for one test, which the test can stop and start at any time.
//!
//! It runs as the user who runs the tests, with its data in its own directory; the shared broker and its
//! settings are not touched. It is ready after 5 to 10 seconds.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;
use tempfile::TempDir;
use tokio::net::TcpStream;

use super::daemon::Daemon;
use super::{eventually, unique};

/// The server's own script: the one in `sbin` runs only as root or rabbitmq.
const SCRIPTS: [&str; 3] = [
    "/usr/lib/rabbitmq/bin/rabbitmq-server",
    "/opt/homebrew/opt/rabbitmq/sbin/rabbitmq-server",
    "/usr/local/opt/rabbitmq/sbin/rabbitmq-server",
];

/// One scheduler that does not spin, and ports only on loopback.
const ERLANG: &str =
    "+S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}";

/// A private node. Dropping it kills it and removes its data.
pub(crate) struct Broker {
    script: PathBuf,
    name: String,
    port: u16,
    distribution_port: u16,
    management_port: Option<u16>,
    daemon: Option<Daemon>,
    directory: TempDir,
}

impl Broker {
    /// Prepares a node without starting it; its address is already known. Returns `None` if RabbitMQ is not
    /// installed: the caller then has nothing to test. `HOSTMATCH_TEST_RABBITMQ_SERVER` is the path of its
    /// script, if it is not one of the usual paths.
    pub(crate) fn prepare() -> Option<Self> {
        let named = std::env::var_os("HOSTMATCH_TEST_RABBITMQ_SERVER").map(PathBuf::from);
        let script = named.into_iter().chain(SCRIPTS.map(PathBuf::from)).find(|script| script.exists());
        let script = super::require_or_skip("rabbitmq-server", script)?;
        let (port, distribution_port) = (free_port(), free_port());
        let directory = tempfile::tempdir().unwrap();
        let config = format!("listeners.tcp.1 = 127.0.0.1:{port}\nlog.console = false\n");
        std::fs::write(directory.path().join("rabbitmq.conf"), config).unwrap();
        std::fs::write(directory.path().join("plugins"), "[].").unwrap();
        Some(Self {
            script,
            name: unique("hm"),
            port,
            distribution_port,
            directory,
            management_port: None,
            daemon: None,
        })
    }

    /// Adds lines to the node's configuration.
    pub(crate) fn configure(&self, lines: &str) {
        let path = self.directory.path().join("rabbitmq.conf");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(path, format!("{text}{lines}")).unwrap();
    }

    /// Enables the management API on its own port for the next start; returns its address.
    pub(crate) fn with_management(&mut self) -> String {
        let port = free_port();
        std::fs::write(self.directory.path().join("plugins"), "[rabbitmq_management].").unwrap();
        self.configure(&format!("management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {port}\n"));
        self.management_port = Some(port);
        format!("http://127.0.0.1:{port}")
    }

    /// Returns the node's address, even before it runs.
    pub(crate) fn url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}", self.port)
    }

    /// Starts the node with its existing data and waits until it accepts connections.
    pub(crate) async fn run(&mut self) {
        let home = self.directory.path();
        let mut command = Command::new(&self.script);
        command
            .env("HOME", home)
            .env("RABBITMQ_NODENAME", format!("{}@localhost", self.name))
            .env("RABBITMQ_DIST_PORT", self.distribution_port.to_string())
            .env("RABBITMQ_MNESIA_BASE", home.join("mnesia"))
            .env("RABBITMQ_LOG_BASE", home.join("log"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", home.join("plugins"))
            .env("RABBITMQ_CONFIG_FILE", home.join("rabbitmq.conf"))
            .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", ERLANG)
            // Erlang's name server, which the first node starts and all nodes share.
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .current_dir(home);
        // The process is stored before the wait, so that the node is killed even if the wait fails.
        let daemon = self.daemon.insert(Daemon::start(&mut command));
        for port in std::iter::once(self.port).chain(self.management_port) {
            eventually("a private RabbitMQ accepts connections", Duration::from_secs(90), async || {
                assert!(daemon.is_running(), "the private RabbitMQ ended immediately");
                TcpStream::connect(("127.0.0.1", port)).await.ok()
            })
            .await;
        }
    }

    /// Stops the node cleanly.
    pub(crate) async fn stop(&mut self) {
        self.end(Signal::SIGTERM).await;
    }

    /// Kills the node, as a power failure would.
    pub(crate) async fn kill(&mut self) {
        self.end(Signal::SIGKILL).await;
    }

    /// Runs `rabbitmqctl` on this node.
    pub(crate) async fn control(&self, arguments: &[&str]) {
        let home = self.directory.path();
        // The node accepts connections shortly before it has fully started.
        let output = eventually("a private RabbitMQ has started", Duration::from_secs(60), async || {
            let output = tokio::process::Command::new(self.script.with_file_name("rabbitmqctl"))
                .args(["--node", &format!("{}@localhost", self.name)])
                .args(arguments)
                .env("HOME", home)
                .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
                .stdin(Stdio::null())
                .output()
                .await
                .unwrap();
            let is_starting =
                String::from_utf8_lossy(&output.stderr).contains("requires the 'rabbit' app to be running");
            (!is_starting).then_some(output)
        })
        .await;
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    async fn end(&mut self, signal: Signal) {
        let Some(mut daemon) = self.daemon.take() else { return };
        daemon.stop_with(signal).await;
        let port = self.port;
        eventually("a private RabbitMQ has closed its port", Duration::from_secs(30), async || {
            TcpStream::connect(("127.0.0.1", port)).await.err()
        })
        .await;
    }
}

/// Returns a port for a server that is not started yet. It is below the ephemeral range of the system, so
/// that the system does not assign it to another test in the meantime.
pub(crate) fn free_port() -> u16 {
    static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| {
        let [one, two, ..] = *uuid::Uuid::new_v4().as_bytes();
        AtomicU16::new(u16::from_be_bytes([one, two]))
    });
    loop {
        let port = 20_000 + NEXT.fetch_add(1, Ordering::Relaxed) % 10_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
