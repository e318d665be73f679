//! `hostmatch validate FILE|-`: how a message is read, whatever its shape, and what is wrong with it.

mod envelope;
mod reading;

use std::path::PathBuf;

use serde_json::json;

use super::exit::Exit;
use super::failure::Failure;
use super::global::Global;
use super::items::{self, Place};
use super::output::{self, Output};
use envelope::Outside;
use reading::{Reading, Verdict};

/// Check messages of any shape: how each is read, and what is wrong with it
///
/// A JSON object, an array of them, or one a line. Nothing is sent anywhere, and no database is
/// looked at. The exit code is 0 when all can be read, 10 when one cannot.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The file; - is standard input
    file: PathBuf,
    #[command(flatten)]
    outside: Outside,
}

/// Runs the command.
///
/// # Errors
/// When the file cannot be read.
pub(super) fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    global.start(&[])?;
    let input = items::read(&args.file)?;
    // What is no JSON at all is a message as well, and a wrong one.
    let items = items::split(&input).unwrap_or_else(|_| vec![(Place::Whole, &input[..])]);
    let readings: Vec<Reading> =
        items.into_iter().map(|(place, body)| Reading::of(place, body, &args.outside)).collect();
    match global.output {
        Output::Json => output::json(&json!({ "messages": readings }))?,
        Output::Table => readings.iter().try_for_each(Reading::print)?,
    }
    let is_wrong =
        readings.is_empty() || readings.iter().any(|reading| reading.verdict == Verdict::Malformed);
    Ok(if is_wrong { Exit::Findings } else { Exit::Done })
}
