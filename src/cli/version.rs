//! `hostmatch version`

use serde_json::json;

use super::{Exit, Failure, Output, output};

/// Runs the command.
pub(super) fn run(output: Output) -> Result<Exit, Failure> {
    let (name, version) = (env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
    match output {
        Output::Table => output::line(&format!("{name} {version}"))?,
        Output::Json => output::json(&json!({ "name": name, "version": version }))?,
    }
    Ok(Exit::Done)
}
