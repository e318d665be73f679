//! The exit codes, on which scripts may rely. The README has the same table.

use std::process::ExitCode;

/// How the program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Exit {
    /// 0: everything was done.
    Done = 0,
    /// 1: the command failed, and no other code is more specific.
    Failed = 1,
    /// 2: the command line is wrong.
    Usage = 2,
    /// 3: the requested thing does not exist.
    NotFound = 3,
    /// 4: the command needs a confirmation: run it on a terminal, or with `--yes`.
    NeedsConfirmation = 4,
    /// 5: only a part was done; the output shows which.
    Partial = 5,
    /// 6: not allowed.
    NotAllowed = 6,
    /// 7: the broker (or the embedded queue) cannot be reached.
    BrokerUnreachable = 7,
    /// 8: the database cannot be reached.
    DatabaseUnreachable = 8,
    /// 9: the configuration is invalid.
    ConfigInvalid = 9,
    /// 10: a check found differences or warnings.
    Findings = 10,
    /// 130: interrupted.
    Interrupted = 130,
}

impl Exit {
    /// Returns the exit code of the process.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// Returns the name in JSON errors (`error.code`).
    pub fn name(self) -> &'static str {
        self.into()
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
