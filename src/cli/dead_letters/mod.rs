//! `hostmatch deadletters`: what could not be decided, why, and how it is decided after all.

mod filter;
mod groups;
mod list;
mod masked;
mod payload;
mod cure;
mod show;
mod told;
mod plan;
mod replay;
mod replays;
mod acts;
mod transfer;

use clap::Subcommand;

use super::exit::Exit;
use super::failure::Failure;
use super::gateway;
use super::global::Global;
use acts::What;

/// Dead letters: see them, understand them, replay them
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Groups(groups::Args),
    List(list::Args),
    Show(show::Args),
    Plan(plan::Args),
    Replay(replay::Args),
    Replays(replays::Args),
    /// Put open dead letters away; they can be restored until retention.dead_letters is over
    Discard(acts::Deed),
    /// Open discarded dead letters again
    Restore(acts::Deed),
    Note(acts::Note),
    Export(transfer::Export),
    Import(transfer::Import),
}

impl Command {
    /// It writes nothing, and is let in where nobody may write.
    fn only_looks(&self) -> bool {
        match self {
            Self::Groups(_) | Self::List(_) => true,
            // That personal data is taken out is recorded.
            Self::Show(args) => !args.reveal,
            Self::Replays(args) => {
                matches!(args.command, replays::Command::List { .. } | replays::Command::Show { .. })
            }
            _ => false,
        }
    }
}

/// Runs the command.
///
/// # Errors
/// When the database cannot be reached, or there is no such dead letter.
pub(super) async fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    let config = global.start(&[])?.config;
    let (database, schema) = match args.command.only_looks() {
        true => gateway::open(&config).await?,
        false => gateway::open_to_write(&config).await?,
    };
    let output = global.output;
    let done = match &args.command {
        Command::Groups(args) => groups::run(output, args, &database).await,
        Command::List(args) => list::run(output, args, &database).await,
        Command::Show(args) => Box::pin(show::run(output, args, &config, (&database, schema))).await,
        Command::Plan(args) => Box::pin(plan::run(output, args, &config, (&database, schema))).await,
        Command::Replay(args) => Box::pin(replay::run(output, args, &config, (&database, schema))).await,
        Command::Replays(args) => Box::pin(replays::run(output, args, &config, &database)).await,
        Command::Discard(args) => acts::run(output, What::Discard, args, &database).await,
        Command::Restore(args) => acts::run(output, What::Restore, args, &database).await,
        Command::Note(args) => acts::run_note(output, args, &database).await,
        Command::Export(args) => transfer::export(args, &database).await,
        Command::Import(args) => transfer::import(output, args, &database).await,
    };
    database.close().await;
    done
}
