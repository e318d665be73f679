//! A server's process and those that it starts, ended as one.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use super::eventually;

/// A running server. Dropped, it is killed.
pub(super) struct Daemon(Child);

impl Daemon {
    /// Starts it in a group of its own, heard by nobody.
    pub(super) fn start(command: &mut Command) -> Self {
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(quiet.process_group(0).spawn().unwrap())
    }

    /// Whether it has not ended by itself.
    pub(super) fn is_running(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }

    /// Sends the signal and waits for the end.
    pub(super) async fn end(&mut self, signal: Signal) {
        self.send(signal);
        eventually("a private server ends", Duration::from_secs(60), async || self.0.try_wait().unwrap())
            .await;
    }

    /// To the group, and in a kill to those children that have left it, as PostgreSQL's do.
    fn send(&self, signal: Signal) {
        let group = Pid::from_raw(i32::try_from(self.0.id()).unwrap());
        if signal != Signal::SIGKILL {
            killpg(group, signal).unwrap();
            return;
        }
        // Stopped, it makes no more of them.
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
        // One that has ended is gone; its number may be somebody else's by now.
        if matches!(self.0.try_wait(), Ok(None)) {
            self.send(Signal::SIGKILL);
            let _ = self.0.wait();
        }
    }
}

/// The program in the first of these places that has it.
pub(super) fn find(program: &str, places: impl IntoIterator<Item = impl AsRef<Path>>) -> Option<PathBuf> {
    places.into_iter().map(|place| place.as_ref().join(program)).find(|path| path.exists())
}
