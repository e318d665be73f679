//! Runs the real binary as a separate process, observes it through its log, and ends it by signals.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::eventually;

/// Long enough for a slow machine; a passing test never waits this long.
const WAIT_TIMEOUT: Duration = Duration::from_secs(60);

/// A running program. Dropping it kills it; its output stays in its directory.
pub(crate) struct Process {
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Process {
    /// Starts `command`; its output goes to `<name>.stdout` and `<name>.stderr` in `directory`.
    pub(crate) fn start(mut command: Command, directory: &std::path::Path, name: &str) -> Self {
        let path = |kind: &str| directory.join(format!("{name}.{kind}"));
        let (stdout, stderr) = (path("stdout"), path("stderr"));
        command.stdout(File::create_new(&stdout).unwrap()).stderr(File::create_new(&stderr).unwrap());
        Self { child: command.spawn().unwrap(), stdout, stderr }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    /// Waits until the process has ended by itself.
    pub(crate) async fn wait(&mut self) -> ExitStatus {
        self.wait_within(WAIT_TIMEOUT).await
    }

    /// Waits until the process has ended by itself, with this time limit.
    pub(crate) async fn wait_within(&mut self, time_limit: Duration) -> ExitStatus {
        eventually("the process has ended", time_limit, async || self.child.try_wait().unwrap()).await
    }

    /// Asks the process to stop and returns its exit code.
    pub(crate) async fn stop(&mut self) -> Option<i32> {
        assert!(self.is_running(), "the process ended by itself: {}", self.stderr());
        self.signal(Signal::SIGTERM);
        self.wait().await.code()
    }

    /// Kills the process, as a crash would.
    pub(crate) async fn kill(&mut self) {
        assert!(self.is_running(), "the process ended by itself: {}", self.stderr());
        self.signal(Signal::SIGKILL);
        self.wait().await;
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub(crate) fn stderr(&self) -> String {
        std::fs::read_to_string(&self.stderr).unwrap()
    }

    pub(crate) fn stdout(&self) -> String {
        std::fs::read_to_string(&self.stdout).unwrap()
    }

    /// Returns the one JSON document on stdout.
    pub(crate) fn report(&self) -> Value {
        let text = self.stdout();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}\n{}", self.stderr()))
    }

    /// Returns the lines with this message in its log, which must be JSON.
    pub(crate) fn log_lines(&self, message: &str) -> Vec<Value> {
        let text = self.stderr();
        // Waiting for one line polls often: only lines that contain the message are parsed as JSON.
        let quoted = serde_json::to_string(message).unwrap();
        let lines = text.lines().filter(|line| line.contains(&quoted));
        // The last line may be incomplete.
        let lines = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["message"] == message).collect()
    }

    /// Waits until the process logs this message, and returns the line.
    pub(crate) async fn wait_for_log(&mut self, message: &str) -> Value {
        eventually(message, WAIT_TIMEOUT, async || {
            let line = self.log_lines(message).pop();
            assert!(line.is_some() || self.is_running(), "{message}: the process ended: {}", self.stderr());
            line
        })
        .await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
