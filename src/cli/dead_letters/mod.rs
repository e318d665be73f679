//! `hostmatch deadletters`: lists, explains and replays events that could not be decided.

mod filter;
mod list;
mod show;
mod actions;
mod replay;
mod replays;

use super::{Exit, Failure, Global, global::ActorArgs, output};
use crate::app::AppContext;
use crate::app::dead_letters::{LetterAction, RefusedLetter};
use crate::event::CompanyId;

/// Dead letters: list, explain and replay them
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    Groups(list::Groups),
    List(list::List),
    Show(show::Args),
    /// Freeze a set of open dead letters and predict the outcome of each; changes nothing else
    ///
    /// Decides as a worker does, in read-only transactions. `replay --plan` carries the plan out; letters
    /// that arrive later are not part of it.
    Plan(filter::Selection),
    Replay(replay::Replay),
    #[command(subcommand)]
    Replays(replays::Command),
    /// Discard open dead letters; they can be restored until retention.dead_letters has passed
    Discard(actions::Change),
    /// Reopen discarded dead letters
    Restore(actions::Change),
    Note(actions::Note),
    /// Write dead letters to stdout, one JSON object per line, personal data included
    Export(filter::Selection),
    Import(actions::Import),
}

impl Command {
    /// Returns whether the command only reads, and so works where writing is not allowed.
    fn is_read_only(&self) -> bool {
        match self {
            Self::Groups(_) | Self::List(_) => true,
            // Revealing personal data is recorded.
            Self::Show(args) => !args.reveal,
            Self::Replays(command) => command.is_read_only(),
            _ => false,
        }
    }

    fn company(&self) -> Option<CompanyId> {
        let filter = match self {
            Self::Groups(args) => &args.filter.filter,
            Self::List(args) => &args.filter.filter,
            Self::Plan(selection) | Self::Export(selection) => &selection.filter,
            Self::Replay(args) => &args.selection.filter,
            Self::Discard(args) | Self::Restore(args) => &args.selection.filter,
            Self::Show(_) | Self::Replays(_) | Self::Note(_) | Self::Import(_) => return None,
        };
        filter.scope.company
    }
}

/// Runs the command; fails when the database cannot be reached, or there is no such dead letter.
pub(super) async fn run(global: &Global, command: &Command) -> Result<Exit, Failure> {
    let default_actor = ActorArgs::default();
    let actor = (!command.is_read_only()).then_some(&default_actor);
    let output = global.output;
    let work = async |context: &AppContext| match command {
        Command::Groups(args) => list::groups(output, args, context).await,
        Command::List(args) => list::run(output, args, context).await,
        Command::Show(args) => show::run(output, args, context).await,
        Command::Plan(selection) => replay::plan(output, selection, context).await,
        Command::Replay(args) => replay::run(output, args, context).await,
        Command::Replays(command) => replays::run(output, command, context).await,
        Command::Discard(args) => actions::run(output, LetterAction::Discard, args, context).await,
        Command::Restore(args) => actions::run(output, LetterAction::Restore, args, context).await,
        Command::Note(args) => actions::note(output, args, context).await,
        Command::Export(selection) => actions::export(selection, context).await,
        Command::Import(args) => actions::import(output, args, context).await,
    };
    global.with_context(actor, command.company(), work).await
}

/// Writes the letters that were left out, with the reasons.
fn print_left_out(letters: &[RefusedLetter]) -> Result<(), Failure> {
    letters.iter().try_for_each(|one| output::print_line(&format!("  {} was left out: {}", one.id, one.why)))
}
