//! A server's process and its child processes, which end together.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use super::eventually;

/// A running server. Dropping it kills it.
pub(super) struct Daemon(Child);

impl Daemon {
    /// Starts the server in its own process group, with its output discarded.
    pub(super) fn start(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.process_group(0).spawn().unwrap())
    }

    /// Returns whether the server is still running.
    pub(super) fn is_running(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }

    /// Sends the signal and waits until the server has ended.
    pub(super) async fn stop_with(&mut self, signal: Signal) {
        self.send(signal);
        eventually("a private server has ended", Duration::from_secs(60), async || {
            self.0.try_wait().unwrap()
        })
        .await;
    }

    /// Signals the group; a kill also reaches children that have left the group, as PostgreSQL's do.
    fn send(&self, signal: Signal) {
        let group = Pid::from_raw(i32::try_from(self.0.id()).unwrap());
        if signal != Signal::SIGKILL {
            killpg(group, signal).unwrap();
            return;
        }
        // A stopped process cannot start more children.
        let _ = kill(group, Signal::SIGSTOP);
        let children = std::fs::read_to_string(format!("/proc/{group}/task/{group}/children"));
        let _ = killpg(group, signal);
        for child in children.unwrap_or_default().split_whitespace() {
            let _ = kill(Pid::from_raw(child.parse().unwrap()), signal);
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // After the server has ended, its process id may belong to another process.
        if matches!(self.0.try_wait(), Ok(None)) {
            self.send(Signal::SIGKILL);
            let _ = self.0.wait();
        }
    }
}

/// Returns the path of the program in the first of these directories that has it.
pub(super) fn find(
    program: &str,
    directories: impl IntoIterator<Item = impl AsRef<Path>>,
) -> Option<PathBuf> {
    directories.into_iter().map(|directory| directory.as_ref().join(program)).find(|path| path.exists())
}
