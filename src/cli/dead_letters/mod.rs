//! `hostmatch deadletters`: what could not be decided, why, and how it is decided after all.

mod filter;
mod list;
mod show;
mod acts;
mod replay;
mod replays;

use clap::Subcommand;

use super::{Exit, Failure, Global, operator::Acting, output};
use crate::app::Access;
use crate::app::dead_letters::{LeftOut, LetterAction};

/// Dead letters: see them, understand them, replay them
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Groups(list::Groups),
    List(list::List),
    Show(show::Args),
    Plan(replay::Plan),
    Replay(replay::Replay),
    Replays(replays::Args),
    /// Put open dead letters away; they can be restored until retention.dead_letters is over
    Discard(acts::Change),
    /// Open discarded dead letters again
    Restore(acts::Change),
    Note(acts::Note),
    Export(acts::Export),
    Import(acts::Import),
}

impl Command {
    /// What only reads is let in where nobody may write.
    fn access(&self) -> Access {
        let only_reads = match self {
            Self::Groups(_) | Self::List(_) => true,
            // That personal data is taken out is recorded.
            Self::Show(args) => !args.reveal,
            Self::Replays(args) => args.command.only_reads(),
            _ => false,
        };
        if only_reads { Access::ReadOnly } else { Access::Write }
    }

    fn company(&self) -> Option<i64> {
        let filter = match self {
            Self::Groups(args) => &args.filter.filter,
            Self::List(args) => &args.filter.filter,
            Self::Plan(args) => &args.which.filter,
            Self::Replay(args) => &args.which.filter,
            Self::Discard(args) | Self::Restore(args) => &args.which.filter,
            Self::Export(args) => &args.which.filter,
            Self::Show(_) | Self::Replays(_) | Self::Note(_) | Self::Import(_) => return None,
        };
        filter.company
    }
}

/// Runs the command; fails when the database cannot be reached, or there is no such dead letter.
pub(super) async fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    let command = &args.command;
    let context = global.open(command.access(), &Acting::default(), command.company()).await?;
    let output = global.output;
    let done = match command {
        Command::Groups(args) => list::groups(output, args, &context).await,
        Command::List(args) => list::run(output, args, &context).await,
        Command::Show(args) => Box::pin(show::run(output, args, &context)).await,
        Command::Plan(args) => Box::pin(replay::plan(output, args, &context)).await,
        Command::Replay(args) => Box::pin(replay::run(output, args, &context)).await,
        Command::Replays(args) => Box::pin(replays::run(output, args, &context)).await,
        Command::Discard(args) => acts::run(output, LetterAction::Discard, args, &context).await,
        Command::Restore(args) => acts::run(output, LetterAction::Restore, args, &context).await,
        Command::Note(args) => acts::note(output, args, &context).await,
        Command::Export(args) => acts::export(args, &context).await,
        Command::Import(args) => acts::import(output, args, &context).await,
    };
    context.close().await;
    done
}

/// Says on which letters something could not be done.
fn left_out(letters: &[LeftOut]) -> Result<(), Failure> {
    letters.iter().try_for_each(|one| output::line(&format!("  not {}: {}", one.id, one.why)))
}
