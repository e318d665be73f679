//! Runs the program as a separate process: starts and stops it, and reads its peak memory.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

use crate::Result;

const WAIT_TIMEOUT: Duration = Duration::from_secs(60);

/// The measured program, which is killed when this is dropped.
pub(crate) struct Program {
    child: Child,
}

impl Program {
    /// Starts the program with these arguments and this configuration, in `directory`. Its log goes to
    /// `<name>.log` there.
    ///
    /// # Errors
    /// Fails if it cannot be started.
    pub(crate) fn start(
        directory: &Path,
        name: &str,
        arguments: &[&str],
        settings: &[(&str, String)],
    ) -> Result<Self> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hostmatch"));
        command.args(arguments).current_dir(directory).kill_on_drop(true);
        for (key, value) in settings {
            command.env(format!("HOSTMATCH_{}", key.replace('.', "__")), value);
        }
        let log = std::fs::File::create(directory.join(format!("{name}.log")))?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        Ok(Self { child: command.spawn()? })
    }

    /// Returns the process id.
    ///
    /// # Errors
    /// Fails if the program has ended.
    pub(crate) fn id(&mut self) -> Result<u32> {
        match self.child.try_wait()? {
            Some(status) => Err(format!("the program ended by itself: {status}").into()),
            None => self.child.id().ok_or_else(|| "the program has ended".into()),
        }
    }

    /// Asks the program to stop, and waits until it has ended.
    ///
    /// # Errors
    /// Fails if it does not end, or ends with a failure.
    pub(crate) async fn stop(mut self) -> Result<()> {
        kill(Pid::from_raw(i32::try_from(self.id()?)?), Signal::SIGTERM)?;
        let status = tokio::time::timeout(WAIT_TIMEOUT, self.child.wait()).await??;
        if status.success() { Ok(()) } else { Err(format!("the program ended with {status}").into()) }
    }
}

/// Returns the peak memory of a process so far, in bytes.
pub(crate) fn peak_memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or_default() * 1024
}
