//! Runs the PHP snippets of docs/gateway.md as an application in a temporary directory.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use super::snippets;
use crate::support::program::{stderr, stdout};
use crate::support::{Backend, TestDatabase};

/// A PHP application. Its scripts run in its directory, after tests/php/prepend.php has loaded its packages.
pub(super) struct Php {
    home: TempDir,
    environment: Vec<(String, String)>,
}

impl Php {
    /// Creates an application with the document's snippets as its files, and this exchange in place of
    /// `hostmatch.events`. Returns `None` if PHP or a package is not installed and
    /// `HOSTMATCH_TEST_SKIP_PHP` is set: the caller then has nothing to test.
    pub(super) fn application(exchange: &str) -> Option<Self> {
        if !is_installed() {
            return None;
        }
        let home = tempfile::tempdir().unwrap();
        for snippet in snippets::all() {
            let path = home.path().join(&snippet.path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, snippet.text.replace("hostmatch.events", exchange)).unwrap();
        }
        Some(Self { home, environment: Vec::new() })
    }

    pub(super) fn home(&self) -> &Path {
        self.home.path()
    }

    /// Sets an environment variable.
    pub(super) fn set(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Sets the broker to use.
    pub(super) fn set_broker(&mut self, url: &str) {
        let (user, host_and_port) = url.trim_start_matches("amqp://").rsplit_once('@').unwrap();
        let (user, password) = user.split_once(':').unwrap();
        let (host, port) = host_and_port.trim_end_matches('/').split_once(':').unwrap();
        for (name, value) in [("HOST", host), ("PORT", port), ("USER", user), ("PASSWORD", password)] {
            self.set(&format!("RABBITMQ_{name}"), value);
        }
    }

    /// Sets the database to use.
    pub(super) fn set_database(&mut self, test: &TestDatabase) {
        let driver = match test.backend {
            Backend::Sqlite => "sqlite",
            Backend::MariaDb => "mysql",
            Backend::Postgres => "pgsql",
        };
        self.set("DB_CONNECTION", driver);
        let rest = test.url.split_once("://").unwrap().1;
        if test.backend == Backend::Sqlite {
            return self.set("DB_DATABASE", rest.split('?').next().unwrap());
        }
        let (authority, database) = rest.split_once('/').unwrap();
        let (user, host_and_port) = authority.rsplit_once('@').unwrap();
        let (user, password) = user.split_once(':').unwrap_or((user, ""));
        let (host, port) = host_and_port.split_once(':').unwrap();
        for (name, value) in [
            ("HOST", host),
            ("PORT", port),
            ("DATABASE", database.split('?').next().unwrap()),
            ("USERNAME", user),
            ("PASSWORD", password),
        ] {
            self.set(&format!("DB_{name}"), value);
        }
    }

    /// Returns the command for a script in the application's directory or in tests/php.
    pub(super) fn command(&self, script: &str, arguments: &[&str]) -> Command {
        let own = self.home().join(script);
        let script = if own.exists() { own } else { in_tests(script) };
        let mut command = Command::new("php");
        let prepend = format!("auto_prepend_file={}", in_tests("prepend.php").display());
        command.args([
            "-d",
            "error_reporting=E_ALL & ~E_DEPRECATED",
            "-d",
            "display_errors=stderr",
            "-d",
            &prepend,
        ]);
        command.arg(script).args(arguments);
        command.envs(self.environment.iter().cloned()).current_dir(self.home()).stdin(Stdio::null());
        command
    }

    /// Runs a script to completion, without blocking other tasks.
    pub(super) async fn run(&self, script: &str, arguments: &[&str]) -> Output {
        self.run_with_stdin(script, arguments, Stdio::null()).await
    }

    /// Runs a script that must succeed, with this file as its input, and returns its output.
    pub(super) async fn run_with_input(&self, script: &str, arguments: &[&str], input: &Path) -> String {
        let output = self.run_with_stdin(script, arguments, std::fs::File::open(input).unwrap().into()).await;
        assert_success(script, &output)
    }

    /// Runs a script that must succeed, and returns its output.
    pub(super) async fn run_successfully(&self, script: &str, arguments: &[&str]) -> String {
        assert_success(script, &self.run(script, arguments).await)
    }

    async fn run_with_stdin(&self, script: &str, arguments: &[&str], input: Stdio) -> Output {
        let mut command = self.command(script, arguments);
        command.stdin(input);
        tokio::process::Command::from(command).kill_on_drop(true).output().await.unwrap()
    }
}

fn assert_success(script: &str, output: &Output) -> String {
    assert!(output.status.success(), "{script}: {}\n{}", stdout(output), stderr(output));
    assert_eq!(stderr(output), "", "{script} wrote to stderr");
    stdout(output).to_owned()
}

fn in_tests(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/php").join(name)
}

/// Returns whether PHP is installed with all packages. If something is missing and `HOSTMATCH_TEST_SKIP_PHP`
/// is not set, the test fails: a test that did not run must not look like one that passed.
pub(super) fn is_installed() -> bool {
    let prepend = format!("auto_prepend_file={}", in_tests("prepend.php").display());
    let code = "foreach (['pdo_mysql', 'pdo_pgsql', 'pdo_sqlite', 'curl'] as $name) extension_loaded($name) || exit(1);";
    let found = Command::new("php").args(["-d", &prepend, "-r", code]).output();
    let is_complete = found.is_ok_and(|output| output.status.success());
    let skip_allowed = std::env::var_os("HOSTMATCH_TEST_SKIP_PHP").is_some();
    assert!(
        is_complete || skip_allowed,
        "PHP or one of its extensions is not installed; scripts/test installs them"
    );
    is_complete
}
