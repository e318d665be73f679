//! The real program as a process of its own: started, watched through its log, ended by signals.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::eventually;

/// Long enough for a slow machine; nobody waits this long when all is well.
const SOON: Duration = Duration::from_secs(60);

/// A running program. Dropped, it is killed; what it wrote stays in its directory.
pub(crate) struct Process {
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Process {
    /// Starts `command`; what it writes goes to `<name>.stdout` and `<name>.stderr` in `directory`.
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

    /// Waits until it has ended by itself.
    pub(crate) async fn end(&mut self) -> ExitStatus {
        self.ends_within(SOON).await
    }

    /// The same, with more (or less) patience.
    pub(crate) async fn ends_within(&mut self, patience: Duration) -> ExitStatus {
        eventually("the process ends", patience, async || self.child.try_wait().unwrap()).await
    }

    /// Asks it to stop and gives its exit code.
    pub(crate) async fn stop(&mut self) -> Option<i32> {
        assert!(self.is_running(), "it ended by itself: {}", self.stderr());
        self.signal(Signal::SIGTERM);
        self.end().await.code()
    }

    /// Ends it as a crash would.
    pub(crate) async fn kill(&mut self) {
        assert!(self.is_running(), "it ended by itself: {}", self.stderr());
        self.signal(Signal::SIGKILL);
        self.end().await;
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

    /// The one JSON document on stdout.
    pub(crate) fn report(&self) -> Value {
        let text = self.stdout();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}\n{}", self.stderr()))
    }

    /// The lines with this message in its log, which must be in JSON.
    pub(crate) fn said(&self, message: &str) -> Vec<Value> {
        let text = self.stderr();
        // Who waits for one line asks again and again: only what may be it is read as JSON.
        let quoted = serde_json::to_string(message).unwrap();
        let lines = text.lines().filter(|line| line.contains(&quoted));
        // The last line may be half written.
        let lines = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["message"] == message).collect()
    }

    /// Waits until it says this, and gives the line.
    pub(crate) async fn says(&mut self, message: &str) -> Value {
        eventually(message, SOON, async || {
            let said = self.said(message).pop();
            assert!(said.is_some() || self.is_running(), "{message}: it ended: {}", self.stderr());
            said
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
