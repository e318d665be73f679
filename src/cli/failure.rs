//! Failures of commands: an exit code and a text for people, written to stderr as text or as JSON.

use std::fmt::Display;
use std::io::Write as _;

use serde_json::json;

use super::output::{escape_controls, escape_json_controls};
use super::{Exit, Output, next_action::command};
use crate::app::{AppError, ErrorCode, NextAction};
use crate::config::ConfigError;
use crate::edge::EdgeError;
use crate::install::topology::ReadError;
use crate::queue::QueueError;
use crate::store::StoreError;
use crate::telemetry::TelemetryError;
use crate::worker::WorkerError;

/// A failed command.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    message: String,
}

impl Failure {
    /// Creates a failure. `message` says what failed, on what, and what to do next, without secrets and
    /// personal data.
    pub fn new(exit: Exit, message: impl Display) -> Self {
        Self { exit, message: message.to_string() }
    }

    /// Appends a hint.
    pub(super) fn with_hint(mut self, hint: &str) -> Self {
        self.message = format!("{}; {hint}", self.message);
        self
    }

    /// Converts an error of a use case. If an object does not exist, appends the command that lists all.
    pub(super) fn with_list_hint(error: AppError, list: &str) -> Self {
        let is_missing = error.code() == ErrorCode::NotFound;
        let failure = Self::from(error);
        if is_missing { failure.with_hint(&format!("`{list}` shows all")) } else { failure }
    }

    /// Writes the failure to stderr and returns the exit code. Shows control characters instead of sending them:
    /// the message may quote what a sender chose.
    pub fn report(&self, output: Output) -> Exit {
        let text = match output {
            Output::Table => format!("error: {}", escape_controls(&self.message)),
            Output::Json => {
                let error = json!({
                    "code": self.exit.name(), "message": self.message, "exit": self.exit.code()
                });
                escape_json_controls(&json!({ "error": error }).to_string()).into_owned()
            }
        };
        // If stderr is closed, only the exit code remains.
        let _unwritten = writeln!(std::io::stderr().lock(), "{text}");
        self.exit
    }

    /// Returns whether the reader of stdout closed it (`hostmatch … | head`), which is not an error.
    pub(super) fn is_closed_pipe(&self) -> bool {
        self.exit == Exit::Done
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.message.fmt(f)
    }
}

impl From<AppError> for Failure {
    fn from(error: AppError) -> Self {
        if let AppError::Write(error) = error {
            return error.into();
        }
        let exit = match error.code() {
            ErrorCode::Invalid => Exit::Usage,
            ErrorCode::NotFound => Exit::NotFound,
            ErrorCode::NotAllowed => Exit::NotAllowed,
            ErrorCode::ConfigInvalid => Exit::ConfigInvalid,
            ErrorCode::BrokerUnreachable => Exit::BrokerUnreachable,
            ErrorCode::DatabaseUnreachable => Exit::DatabaseUnreachable,
            ErrorCode::Failed => Exit::Failed,
        };
        let next_step = error.next().map(|next| match next {
            NextAction::ChooseSuggestion(_, staff) => {
                let all = staff.iter().map(ToString::to_string).collect::<Vec<_>>();
                format!("choose one with --staff ({})", all.join(", "))
            }
            next => command(&next),
        });
        match next_step {
            Some(next) => Self::new(exit, format!("{error}: {next}")),
            None => Self::new(exit, error),
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::new(Exit::ConfigInvalid, error)
    }
}

impl From<TelemetryError> for Failure {
    fn from(error: TelemetryError) -> Self {
        let is_filter = matches!(error, TelemetryError::Filter(_));
        Self::new(if is_filter { Exit::ConfigInvalid } else { Exit::Failed }, error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        let exit = if error.kind() == std::io::ErrorKind::BrokenPipe { Exit::Done } else { Exit::Failed };
        Self::new(exit, format!("the result cannot be written: {error}"))
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::new(Exit::Failed, format!("writing the result as JSON: {error}"))
    }
}

/// For commands that use the queue without a use case.
impl From<QueueError> for Failure {
    fn from(error: QueueError) -> Self {
        AppError::from(error).into()
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        AppError::from(error).into()
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Config(error) => error.into(),
            error => QueueError::Unavailable(error.to_string()).into(),
        }
    }
}

impl From<EdgeError> for Failure {
    fn from(error: EdgeError) -> Self {
        let exit = match error {
            EdgeError::Tokens { .. } | EdgeError::Spool(_) => Exit::ConfigInvalid,
            EdgeError::TaskFailed(_) | EdgeError::Listen(_) => Exit::Failed,
        };
        Self::new(exit, error)
    }
}

impl From<WorkerError> for Failure {
    fn from(error: WorkerError) -> Self {
        match error {
            WorkerError::Queue(error) => error.into(),
            error @ WorkerError::Task(_) => Self::new(Exit::Failed, error),
        }
    }
}
