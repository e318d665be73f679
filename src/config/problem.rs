//! The problems of a configuration, all reported at once, each with its key and origin.

use std::fmt;

use serde::Serialize;

/// A problem. It never contains a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// `section.key`; empty if the problem concerns a whole file.
    pub key: String,
    /// Where the value came from: a file, an environment variable, a flag, the default.
    pub origin: String,
    /// What is wrong, and which values are valid.
    pub message: String,
}

impl Problem {
    pub(super) fn new(key: &str, origin: &str, message: String) -> Self {
        Self { key: key.to_owned(), origin: origin.to_owned(), message }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key.is_empty() {
            write!(f, "{}: {}", self.origin, self.message)
        } else {
            write!(f, "{} ({}): {}", self.key, self.origin, self.message)
        }
    }
}

/// Everything that is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
#[error("the configuration cannot be used:{}", lines(.0))]
pub struct ConfigError(pub Vec<Problem>);

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("\n  {problem}")).collect()
}
