//! `hostmatch gateway inspect`.

use super::report;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::global::Global;
use crate::cli::output::{self, Output};
use crate::install::inspection::{Verdict, inspect};
use crate::store::Database;

/// Runs the command.
///
/// # Errors
/// When the database cannot be reached.
pub(super) async fn run(global: &Global) -> Result<Exit, Failure> {
    let config = global.start(&[])?.config;
    let database = Database::connect_to_look(&config.database).await?;
    let inspected = database.in_time(inspect(&database, &config.gateway)).await;
    database.close().await;
    let inspection = inspected?;
    match global.output {
        Output::Json => output::json(&inspection)?,
        Output::Table => report::show(&inspection)?,
    }
    Ok(if inspection.verdict == Verdict::Ready { Exit::Done } else { Exit::Findings })
}
