//! `deadletters discard|restore|note|export|import`: changes the state of letters, adds notes, and moves letters to
//! another installation.

use std::io::{BufReader, Cursor};
use std::path::{Path, PathBuf};

use super::filter::Selection;
use super::print_left_out;
use crate::app::dead_letters::{self, LetterAction, past_participle};
use crate::app::{AppContext, pluralize};
use crate::cli::{Exit, Failure, Output, items, output};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Change {
    #[command(flatten)]
    pub(super) selection: Selection,
    /// The reason to record
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
}

/// Write a note on a group, which is shown with the group
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Note {
    /// The group's fingerprint, or its beginning
    group: String,
    /// The note
    text: String,
}

/// Import exported dead letters as open ones
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Import {
    /// The file; - is standard input
    file: PathBuf,
}

pub(super) async fn run(
    output: Output,
    action: LetterAction,
    args: &Change,
    context: &AppContext,
) -> Result<Exit, Failure> {
    let filter = args.selection.to_filter()?;
    let ids = dead_letters::preview(context, action, &filter).await?;
    let letters = pluralize(ids.len(), "dead letter", "dead letters");
    let question = format!("{} {letters}?", action.as_str());
    output::confirm_change(args.yes, &question, past_participle(action))?;
    let view = dead_letters::change_state(context, action, &filter, &ids, &args.reason).await?;
    let done: usize = view.done.values().map(Vec::len).sum();
    output.show(&view, || {
        output::print_line(&format!("{done} {}", past_participle(action)))?;
        print_left_out(&view.refused)
    })?;
    Ok(match (done, view.refused.is_empty()) {
        (_, true) => Exit::Done,
        (0, false) => Exit::NotFound,
        (_, false) => Exit::Partial,
    })
}

pub(super) async fn note(output: Output, args: &Note, context: &AppContext) -> Result<Exit, Failure> {
    let note = dead_letters::note(context, &args.group, &args.text).await?;
    output.show(&note, || output::print_line(&format!("Wrote the note on group {}", note.group)))
}

pub(super) async fn export(selection: &Selection, context: &AppContext) -> Result<Exit, Failure> {
    let letters = dead_letters::export(context, &selection.to_filter()?, output::json_line).await?;
    Ok(if letters == 0 { Exit::NotFound } else { Exit::Done })
}

pub(super) async fn import(output: Output, args: &Import, context: &AppContext) -> Result<Exit, Failure> {
    let name = args.file.display().to_string();
    let view = if args.file == Path::new("-") {
        dead_letters::import(context, Cursor::new(items::read(&args.file)?), &name).await?
    } else {
        dead_letters::import(context, BufReader::new(items::open(&args.file)?), &name).await?
    };
    output.show(&view, || {
        output::print_line(&format!("{} imported, {} were already here", view.imported, view.known))
    })
}
