//! `hostmatch gateway`: what stands in the gateway's database, and which rights hostmatch needs
//! there.

mod report;
mod grants;

use super::{Exit, Failure, Global};
use crate::install::inspection::{Verdict, inspect};

/// Look at the gateway's database before letting hostmatch in
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// What is there, what hostmatch would use and do, and what stands in its way; changes nothing
    ///
    /// Needs no more than the right to read, and works before any migration. The exit code is 0
    /// when all is well, 10 when there is something to put right or to know.
    Inspect,
    Grants(grants::Args),
}

/// Runs the command; fails when the database cannot be reached.
pub(super) async fn run(global: &Global, command: &Command) -> Result<Exit, Failure> {
    match command {
        Command::Inspect => {
            let inspection = inspect(&global.start(&[])?.config).await?;
            global.output.show(&inspection, || report::show(&inspection))?;
            Ok(if inspection.verdict == Verdict::Ready { Exit::Done } else { Exit::Findings })
        }
        Command::Grants(args) => grants::run(global, args).await,
    }
}
