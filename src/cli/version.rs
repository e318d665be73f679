//! `hostmatch version`

use serde_json::json;

use super::exit::Exit;
use super::failure::Failure;
use super::output::{self, Output};

/// Runs the command.
///
/// # Errors
/// When stdout cannot be written.
pub(super) fn run(output: Output) -> Result<Exit, Failure> {
    let (name, version) = (env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
    match output {
        Output::Table => output::line(&format!("{name} {version}"))?,
        Output::Json => output::json(&json!({ "name": name, "version": version }))?,
    }
    Ok(Exit::Done)
}
