//! `hostmatch companies list`.

use super::{Exit, Failure, Global, output, output::dash};
use crate::app::people::{self, CompanyView};

/// Companies, with their ids
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Companies by id, with the number of their active members of staff
    List,
}

/// Runs the command; fails if the database cannot be reached.
pub(super) async fn run(global: &Global, command: &Command) -> Result<Exit, Failure> {
    let Command::List = command;
    let list = global.with_context(None, None, async |context| Ok(people::companies(context).await?)).await?;
    global.output.list(&list, &list.companies, "No companies.", |companies| {
        let row =
            |one: &CompanyView| [one.company.to_string(), dash(one.name.as_deref()), one.staff.to_string()];
        output::table(&["COMPANY", "NAME", "STAFF"], companies.iter().map(row))
    })
}
