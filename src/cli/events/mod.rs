//! `hostmatch events`: is my message arriving, and how was it read?

mod filter;
mod line;
mod list;
mod tail;
mod show;

use clap::Subcommand;

use super::exit::Exit;
use super::failure::Failure;
use super::gateway;
use super::global::Global;

/// The last events: how each was read, and what became of it
///
/// What the edge refused never became an event: its log has a line for each request.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(list::Args),
    Tail(tail::Args),
    Show(show::Args),
}

/// Runs the command. It only looks.
///
/// # Errors
/// When the database cannot be reached, or there is no such event.
pub(super) async fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    let config = global.start(&[])?.config;
    let (database, _) = gateway::open(&config).await?;
    let output = global.output;
    let done = match &args.command {
        Command::List(args) => list::run(output, args, &database).await,
        Command::Tail(args) => tail::run(output, args, &database).await,
        Command::Show(args) => show::run(output, args, &database).await,
    };
    database.close().await;
    done
}
